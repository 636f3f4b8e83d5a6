/* SPDX-License-Identifier: Apache-2.0 */
/* The invariants: each one function with the sentence that it keeps. */
#include "core/core_int.h"
#include "guest/internal.h"
#include "sim/sim.h"

#include <stdio.h>

struct model {
    struct map acknowledged; /* job ids that a client was told */
    bool resting;            /* the manager's store does not change: what has been read of it is kept */
    struct map records;      /* json_t * by key */
};

static struct model *model(struct sim *s) {
    if (!s->model)
        s->model = xcalloc(1, sizeof *s->model);
    return s->model;
}

void check_done(struct sim *s) {
    if (!s->model)
        return;
    map_done(&s->model->acknowledged);
    free(s->model);
}

/* ---- after every event that changes what really is ---- */

static void no_guest_runs_twice(struct sim *s) {
    for (int i = 0; i < s->config.servers; i++) {
        struct sim_guest *g, *h;
        list_for_each(g, &s->servers[i].guests, link) {
            for (int k = i; k < s->config.servers; k++)
                list_for_each(h, &s->servers[k].guests,
                              link) if (h != g && str_eq(g->vm, h->vm) && driver_has(g) && driver_has(h))
                    sim_broken(s, "no guest runs twice", "%s on %s and on %s", g->vm, s->servers[i].name,
                               s->servers[k].name);
        }
    }
}

static void no_disk_has_two_writers(struct sim *s) {
    for (int i = 0; i < s->config.servers; i++) {
        struct sim_guest *g, *h;
        list_for_each(g, &s->servers[i].guests, link) {
            for (int k = i; k < s->config.servers; k++) {
                list_for_each(h, &s->servers[k].guests, link) {
                    if (h == g || !driver_has(g) || !driver_has(h))
                        continue;
                    for (size_t a = 0; a < g->n_disks; a++)
                        for (size_t b = 0; b < h->n_disks; b++)
                            if (str_eq(g->disks[a], h->disks[b]))
                                sim_broken(s, "no disk has two writers", "%s: %s and %s", g->disks[a], g->vm, h->vm);
                }
            }
        }
    }
}

void check_event(struct sim *s) {
    no_guest_runs_twice(s);
    no_disk_has_two_writers(s);
}

/* ---- at the borders ---- */

/* A record of the manager's store, by its key, or an agent's. */
static json_t *record(struct sim *s, const struct map *live, const char *key) {
    struct model *m = model(s);
    bool kept = m->resting && live == &s->m.p.disk.live;
    json_t *j = kept ? map_get(&m->records, key) : NULL;
    if (j)
        return json_incref(j);
    const char *text = map_get(live, key);
    j = text ? json_loads(text, 0, NULL) : NULL;
    if (j && kept)
        map_put(&m->records, key, json_incref(j));
    return j;
}

static const char *key_of(char buf[400], const char *kind, const char *id) {
    snprintf(buf, 400, "%s/%.300s", kind, id);
    return buf;
}

static json_t *stored(struct sim *s, const struct map *live, const char *kind, const char *id) {
    char key[400];
    return record(s, live, key_of(key, kind, id));
}

static void records_forget(struct model *m) {
    size_t pos = 0;
    void *value;
    while (map_next(&m->records, &pos, NULL, &value))
        json_decref(value);
    map_done(&m->records);
}

/* An effect leaves the manager only when the job's record, durable, has said that it is under way. */
static void an_effect_is_durable_before_it_leaves(struct sim *s, const char *id, const char *op) {
    if (!map_get(&s->m.p.disk.calls, id))
        sim_broken(s, "an effect is durable before it leaves the manager", "%s %s", op, id);
}

void check_send(struct sim *s, const json_t *m) {
    const char *op = json_str(m, "op"), *id = json_str(m, "id");
    /* Events, questions, and what is told again with each report until it is so, have no record. */
    bool unrecorded = !*op || str_eq(op, "cluster.check") || strncmp(id, "stale/", 6) == 0;
    if (!unrecorded && !str_eq(op, "op.forget") && !str_eq(op, "op.cancel"))
        an_effect_is_durable_before_it_leaves(s, id, op);
    if (str_eq(op, "op.forget")) {
        char key[400];
        const char *job = map_get(&s->m.p.disk.live, key_of(key, "job", json_str(json_object_get(m, "args"), "job")));
        if (job && !sim_job_has_ended(job))
            sim_broken(s, "answers are forgotten only when the job has ended durably", "%s: %.300s", id, job);
    }
}

static bool job_has_ended(struct sim *s, const char *op) {
    _cleanup_free_ char *id = xstrndup(op, strcspn(op, "/"));
    char key[400];
    const char *job = map_get(&s->m.p.disk.live, key_of(key, "job", id));
    return !job || sim_job_has_ended(job);
}

/* What an agent tells is durable there. */
void check_answer(struct sim *s, int server, const json_t *m) {
    struct sim_server *v = &s->servers[server];
    const char *id = json_str(m, "id");
    if (*id && json_is_true(json_object_get(m, "ok")) && strncmp(id, "forget/", 7) && strncmp(id, "cancel/", 7) &&
        strncmp(id, "check/", 6) &&
        strncmp(id, "stale/", 6)) { /* stale ones may be forgotten together, and are then told again */
        char key[400];
        bool o = map_get(&v->p.disk.live, key_of(key, "op", id)) != NULL;
        /* One that was told before may have been forgotten since, and one of a job that has ended without it. */
        if (!o && !map_get(&v->done, id) && !job_has_ended(s, id))
            sim_broken(s, "an answer is durable before it is told", "%s %s", v->name, id);
        map_put(&v->done, id, v);
    }
    if (str_eq(json_str(m, "event"), "guest.state")) {
        const json_t *args = json_object_get(m, "args");
        char key[400];
        const char *g = map_get(&v->p.disk.live, key_of(key, "guest", json_str(args, "vm")));
        const struct guest *now = map_get(&v->h->guests, json_str(args, "vm"));
        bool forgotten = !g && (!now || !now->r.kept); /* since, and that was durable in the same moment */
        if (!forgotten && (!g || sim_number_after(g, "\"sequence\":", -1) < json_int(args, "sequence", 0)))
            sim_broken(s, "a change of state is durable before it is told", "%s %s", v->name, json_str(args, "vm"));
    }
}

/* However often it was sent, and whatever crashed: what has told its end is not begun again. */
static void an_op_that_has_answered_is_not_done_again(struct sim *s, int server, const struct host_effect *e) {
    struct sim_server *v = &s->servers[server];
    const struct call *c;
    list_for_each(c, &v->h->calls, link) if (c->id == e->call && c->op && map_get(&v->done, c->op->id))
        sim_broken(s, "an op that has answered is not done again", "%s %s", v->name, c->op->id);
}

/* What the restart policy does is overtaken by what the manager asked for. */
static void a_restart_needs_a_guest_that_should_run(struct sim *s, int server, const struct host_effect *e) {
    const struct call *c;
    list_for_each(c, &s->servers[server].h->calls, link) if (c->id == e->call && c->purpose == CALL_RESTART) {
        _cleanup_json_ json_t *g = stored(s, &s->servers[server].p.disk.live, "guest", c->guest->vm);
        if (!json_bool(g, "should_run", true))
            sim_broken(s, "a guest that was stopped on request is not restarted", "%s", c->guest->vm);
    }
}

void check_call(struct sim *s, int server, const struct host_effect *e) {
    an_op_that_has_answered_is_not_done_again(s, server, e);
    a_restart_needs_a_guest_that_should_run(s, server, e);
    if (e->op != API_AGENT_OP_GUEST_START)
        return;
    const char *vm = json_str(json_object_get(e->args, "vm"), "id");
    char key[400];
    if (!map_get(&s->servers[server].p.disk.live, key_of(key, "guest", vm)))
        sim_broken(s, "a guest's record is durable before it is started", "%s %s", s->servers[server].name, vm);
}

/* Said of a request that was refused at once: what it may have touched is as before. */
void check_refused(struct sim *s, const char *operation, int64_t before, int64_t after) {
    if (before != after)
        sim_broken(s, "a refused request changes nothing", "%s: revision %lld, then %lld", operation, (long long)before,
                   (long long)after);
    struct core_counts n;
    core_counts(s->m.c, &n);
    const size_t *jobs = n.by_state[API_KIND_JOB];
    size_t recorded = jobs[API_JOB_STATE_QUEUED] + jobs[API_JOB_STATE_RUNNING] + jobs[API_JOB_STATE_UNDOING],
           run = n.jobs_active + n.jobs_queued;
    if (recorded != run && !core_read_only(s->m.c)) /* those are begun anew when it can be written again */
        sim_broken(s, "a refused request changes nothing", "%s: %zu jobs are to run, %zu do", operation, recorded, run);
}

/* Nothing that was acknowledged is forgotten: when a client is told, the store has it. */
void check_reply(struct sim *s, const char *operation, const char *param, int status, const char *text) {
    if (status == 204 && param) {
        const char *end = strstr(operation, "_delete");
        _cleanup_free_ char *of = xstrndup(operation, end ? (size_t)(end - operation) : 0);
        _cleanup_json_ json_t *left = end ? stored(s, &s->m.p.disk.live, of, param) : NULL;
        if (left)
            sim_broken(s, "nothing that was acknowledged is forgotten", "%s %s", operation, param);
        return;
    }
    bool changed = status == 200 && strstr(operation, "_change");
    if ((status != 201 && status != 202 && !changed) || !text)
        return;
    _cleanup_json_ json_t *j = json_loads(text, 0, NULL);
    const char *id = json_str(j, "id");
    const char *kind = json_object_get(j, "steps") ? "job" : NULL;
    for (int k = 0; k < API_KIND_COUNT && !kind; k++) {
        size_t n = strlen(api_kinds[k].name);
        if (strncmp(operation, api_kinds[k].name, n) == 0 && operation[n] == '_')
            kind = api_kinds[k].name;
    }
    _cleanup_json_ json_t *o = kind ? stored(s, &s->m.p.disk.live, kind, id) : NULL;
    bool gone = kind && !str_eq(kind, "job") && !o; /* deleted since, by another client */
    if (!gone && json_int(o, "revision", -1) < json_int(j, "revision", 0))
        sim_broken(s, "nothing that was acknowledged is forgotten", "%s %s", operation, id);
    if (str_eq(kind, "job"))
        map_put(&model(s)->acknowledged, id, s);
}

/* ---- when all is quiet ---- */

/* What is asked of each job, as text: parsing them all took most of the time. */
struct job_text {
    char kind[40], state[20], object_kind[24], object[UUID_LEN + 1];
};

static struct job_text job_read(const char *record) {
    struct job_text j = {0};
    sim_text_after(record, "\"kind\":\"", j.kind, sizeof j.kind);
    sim_text_after(record, "\"state\":\"", j.state, sizeof j.state);
    const char *object = strstr(record, "\"object\":{");
    if (object) {
        sim_text_after(object, "\"kind\":\"", j.object_kind, sizeof j.object_kind);
        sim_text_after(object, "\"id\":\"", j.object, sizeof j.object);
    }
    return j;
}

static void every_job_has_ended(struct sim *s) {
    size_t pos = 0;
    const char *key;
    void *value;
    while (map_next(&s->m.p.disk.live, &pos, &key, &value)) {
        if (strncmp(key, "job/", 4) || sim_job_has_ended(value))
            continue;
        _cleanup_json_ json_t *j = record(s, &s->m.p.disk.live, key);
        sim_broken(s, "when faults stop, every job ends", "%s %s is %s: %s", json_str(j, "kind"), key + 4,
                   json_str(j, "state"), json_str(j, "message"));
    }
    pos = 0;
    while (map_next(&model(s)->acknowledged, &pos, &key, NULL)) {
        char of[400];
        if (!map_get(&s->m.p.disk.live, key_of(of, "job", key)))
            sim_broken(s, "nothing that was acknowledged is forgotten", "job %s", key);
    }
}

static struct sim_server *server_of(struct sim *s, const char *id) {
    for (int i = 0; i < s->config.servers; i++)
        if (str_eq(s->servers[i].id, id))
            return &s->servers[i];
    return NULL;
}

static void check_vm(struct sim *s, const json_t *vm) {
    const char *state = json_str(vm, "state"), *id = json_str(vm, "id");
    struct sim_server *v = server_of(s, json_str(vm, "server"));
    struct sim_guest *g = v ? driver_guest(v, id) : NULL;
    const char *real = !g || g->over ? "stopped" : g->running ? "running" : "suspended";
    bool fits = str_eq(state, real) || (str_eq(real, "stopped") && str_eq(state, "crashed"));
    if (!fits)
        sim_broken(s, "the inventory equals what really runs", "%s is %s in the inventory and %s in truth", id, state,
                   real);
}

static bool has_file(struct sim *s, const char *kind, const char *id, const json_t *o) {
    char key[128];
    snprintf(key, sizeof key, "%s/%.40s/%.40s", kind, id, json_str(o, "repository"));
    const struct sim_file *f = map_get(&s->storage, key);
    return f && (str_eq(kind, "disk") || str_eq(kind, "iso") ? f->whole : str_eq(kind, "template") ? f->sealed : true);
}

/* Each server has open what is presented to it, and nothing else. */
static void repositories_are_open_where_presented(struct sim *s, const char *repository, const json_t *o) {
    for (int i = 0; i < s->config.servers; i++) {
        const struct sim_server *v = &s->servers[i];
        size_t k;
        json_t *id;
        bool named = false;
        json_array_foreach(json_object_get(o, "servers"), k, id) named |= str_eq(json_string_value(id), v->id);
        if (core_server(s->m.c, v->id) && named != (map_get(&v->opened, repository) != NULL))
            sim_broken(s, "a server has open what is presented to it", "%s on %s", repository, v->name);
    }
}

static void the_inventory_equals_what_is(struct sim *s) {
    static const char *const kinds[] = {"disk", "template", "iso", "upload", "repository"};
    size_t pos = 0;
    const char *key;
    void *value;
    while (map_next(&s->m.p.disk.live, &pos, &key, &value)) {
        if (strncmp(key, "vm/", 3) == 0) {
            _cleanup_json_ json_t *vm = record(s, &s->m.p.disk.live, key);
            check_vm(s, vm);
        }
        for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
            size_t n = strlen(kinds[i]);
            if (strncmp(key, kinds[i], n) != 0 || key[n] != '/')
                continue;
            _cleanup_json_ json_t *o = record(s, &s->m.p.disk.live, key);
            if (str_eq(kinds[i], "repository"))
                repositories_are_open_where_presented(s, key + n + 1, o);
            else if (!has_file(s, kinds[i], key + n + 1, o))
                sim_broken(s, "the inventory equals what is on the disks", "%s is not there", key);
            if (str_eq(json_str(o, "state"), "creating"))
                sim_broken(s, "nothing is left half made", "%s", key);
        }
    }
}

static void no_file_is_left_over(struct sim *s) {
    size_t pos = 0;
    const char *key;
    void *value;
    while (map_next(&s->storage, &pos, &key, &value)) {
        const char *id = strchr(key, '/') + 1, *in = strrchr(key, '/') + 1;
        _cleanup_free_ char *kind = xstrndup(key, (size_t)(id - key) - 1), *just = xstrndup(id, (size_t)(in - id) - 1);
        if (str_eq(kind, "proof"))
            continue;
        _cleanup_json_ json_t *o = stored(s, &s->m.p.disk.live, kind, just);
        if (!o)
            sim_broken(s, "no disk or template is left over", "%s", key);
        else if (!str_eq(json_str(o, "repository"), in))
            sim_broken(s, "no disk is left where it was", "%s", key);
    }
}

static void nothing_is_left_over(struct sim *s) {
    no_file_is_left_over(s);
    for (int i = 0; i < s->config.servers; i++) {
        struct sim_server *v = &s->servers[i];
        size_t pos = 0;
        const char *key;
        void *value;
        if (!core_server(s->m.c, v->id))
            continue; /* removed from the inventory, with nothing on it */
        struct sim_guest *g;
        list_for_each(g, &v->guests, link) {
            _cleanup_json_ json_t *j = stored(s, &s->m.p.disk.live, "vm", g->vm);
            if (!j || !str_eq(json_str(j, "server"), v->id) || g->incoming || g->sent)
                sim_broken(s, "no process is left over", "%s on %s", g->vm, v->name);
        }
        pos = 0;
        while (map_next(&v->p.disk.live, &pos, &key, &value)) {
            if (strncmp(key, "op/", 3) == 0 &&
                strncmp(key, "op/stale/", 9)) /* those are forgotten with the next report */
                sim_broken(s, "agents do not keep the answers of ended jobs", "%s on %s", key, v->name);
            bool guest = strncmp(key, "guest/", 6) == 0 && !s->config.pool;
            _cleanup_json_ json_t *j = guest ? stored(s, &s->m.p.disk.live, "vm", key + 6) : NULL;
            /* Where servers are given up, the record of a guest that is dead may stay until it comes back. */
            if (guest && !str_eq(json_str(j, "server"), v->id))
                sim_broken(s, "agents forget deleted guests, and those that have left", "%s on %s", key, v->name);
        }
    }
}

/* The last order given to each virtual machine, if it was carried out, is what holds. */
static void a_stopped_guest_stays_stopped(struct sim *s) {
    struct map last = {0}; /* vm id: the key of its last ended job */
    size_t pos = 0;
    const char *key;
    void *value;
    while (map_next(&s->m.p.disk.live, &pos, &key, &value)) {
        if (strncmp(key, "job/", 4))
            continue;
        struct job_text j = job_read(value);
        const char *old = map_get(&last, j.object);
        bool order = strncmp(j.kind, "vm.", 3) == 0 && !str_eq(j.kind, "vm.policy");
        uintptr_t at = (uintptr_t)map_get(&s->ends, key + 4);
        if (order && *j.object && (!old || at > (uintptr_t)map_get(&s->ends, old + 4)))
            map_put(&last, j.object, (void *)key);
    }
    pos = 0;
    while (map_next(&last, &pos, &key, &value)) {
        struct job_text j = job_read(map_get(&s->m.p.disk.live, value));
        bool stopped = str_eq(j.kind, "vm.stop") || str_eq(j.kind, "vm.kill");
        if (!stopped || !str_eq(j.state, "done"))
            continue;
        _cleanup_json_ json_t *vm = stored(s, &s->m.p.disk.live, "vm", key);
        if (vm && !str_eq(json_str(vm, "state"), "stopped") && !str_eq(json_str(vm, "state"), "crashed"))
            sim_broken(s, "what was stopped on request stays stopped", "%s is %s after %s", key, json_str(vm, "state"),
                       j.kind);
    }
    map_done(&last);
}

static void jobs_have_done_all_or_nothing(struct sim *s) {
    size_t pos = 0;
    const char *key;
    void *value;
    while (map_next(&s->m.p.disk.live, &pos, &key, &value)) {
        if (strncmp(key, "job/", 4))
            continue;
        struct job_text j = job_read(value);
        const char *dot = strchr(j.kind, '.');
        char of[400];
        snprintf(of, sizeof of, "%s/%s", j.object_kind, j.object);
        bool there = map_get(&s->m.p.disk.live, of) != NULL, done = str_eq(j.state, "done");
        bool creation = dot && str_eq(dot, ".create"), deletion = dot && str_eq(dot, ".delete");
        if (there && ((creation && !done) || (deletion && done)))
            sim_broken(s, "a job has done all or nothing", "%s %s is %s and its object is there", j.kind, key, j.state);
    }
}

static void each_guest(struct sim *s, void (*check)(struct sim *s, const struct sim_server *v, const struct guest *g)) {
    for (int i = 0; i < s->config.servers; i++) {
        const struct sim_server *v = &s->servers[i];
        size_t pos = 0;
        void *value;
        while (v->p.up && map_next(&v->h->guests, &pos, NULL, &value))
            check(s, v, value);
    }
}

/* The rest has lasted longer than a restart is ever put off. */
static void a_promised_restart_happens(struct sim *s, const struct sim_server *v, const struct guest *g) {
    if (g->r.should_run && (g->r.state == API_VM_STATE_STOPPED || g->r.state == API_VM_STATE_CRASHED))
        sim_broken(s, "a restart that was promised happens", "%s on %s: %s", g->vm, v->name, g->r.reason);
}

/* Its agent says that it ended with its server's lease, it is to be highly available, and nobody has said otherwise.
   What is lost while its pool's failover is none stays so when that is turned on again. */
static void what_was_lost_is_started_again(struct sim *s, const struct sim_server *v, const struct guest *g) {
    const struct api_vm *vm = core_vm(s->m.c, g->vm);
    const struct api_pool *pool = vm ? CORE_GET(s->m.c, pool, POOL, vm->pool) : NULL;
    if (g->r.lost && g->r.state == API_VM_STATE_CRASHED && pool && str_eq(vm->server, v->id) &&
        vm->state == API_VM_STATE_CRASHED && vm->has_ha && vm->ha.enabled &&
        pool->failover == API_FAILOVER_POLICY_RESTART && !s->failover_off && !s->config.ha_changes)
        sim_broken(s, "a guest that was lost with its server's lease is started again", "%s, %s", g->vm, v->name);
}

/* All its servers are well, for longer than it takes to say so: whoever made it highly available, and whenever. What a
   server could not take then is told again. */
static void what_is_highly_available_is_watched(struct sim *s) {
    const struct table *t = &s->m.c->tables[API_KIND_VM];
    for (size_t i = 0; i < t->n; i++) {
        const struct api_vm *vm = t->sorted[i]->v->data;
        const struct api_server *server = core_server(s->m.c, vm->server);
        if (vm->has_ha && vm->ha.enabled && vm->state == API_VM_STATE_RUNNING && server && server->has_cluster &&
            server->cluster.armed && !vm->watched && !core_agent(s->m.c, server->id)->tell_at)
            sim_broken(s, "what is highly available is watched", "%s on %s", vm->id, server->name);
    }
}

/* Who is to end with the lease: the deadman, the agent and the manager mean the same guests. */
static void all_mean_the_same_guests(struct sim *s, const struct sim_server *v, const struct guest *g) {
    int i = (int)(v - s->servers);
    const struct sim_guest *there = driver_guest((struct sim_server *)v, g->vm);
    const struct api_vm *vm = core_vm(s->m.c, g->vm);
    const struct api_server *server = core_server(s->m.c, v->id);
    if (!there || !driver_has(there) || !v->ring.armed || !v->ring.deadman || !vm || !str_eq(vm->server, v->id) ||
        !server->has_cluster || core_agent(s->m.c, v->id)->tell_at)
        return;
    bool watched = ring_is_watched(s, i, there->life);
    if (watched != g->r.guarded || (vm->state == API_VM_STATE_RUNNING && watched != vm->watched))
        sim_broken(s, "all mean the same guests", "%s: %swatched, the agent says %d, the manager %d", g->vm,
                   watched ? "" : "not ", g->r.guarded, vm->watched);
}

/* The manager's memory is what its store says. */
static void memory_equals_the_store(struct sim *s) {
    size_t pos = 0;
    const char *key;
    void *value;
    while (map_next(&s->m.p.disk.live, &pos, &key, &value)) {
        if (strncmp(key, "vm/", 3))
            continue;
        const struct api_vm *vm = core_vm(s->m.c, key + 3);
        _cleanup_json_ json_t *j = record(s, &s->m.p.disk.live, key);
        if (!vm || vm->revision != json_int(j, "revision", -1) ||
            !str_eq(api_vm_state_text(vm->state), json_str(j, "state")))
            sim_broken(s, "the manager's memory is what its store says", "%s", key);
    }
}

void check_rest(struct sim *s) {
    model(s)->resting = true;
    every_job_has_ended(s);
    the_inventory_equals_what_is(s);
    nothing_is_left_over(s);
    a_stopped_guest_stays_stopped(s);
    jobs_have_done_all_or_nothing(s);
    each_guest(s, a_promised_restart_happens);
    each_guest(s, what_was_lost_is_started_again);
    what_is_highly_available_is_watched(s);
    each_guest(s, all_mean_the_same_guests);
    a_watcher_has_seen_every_change(s);
    memory_equals_the_store(s);
    model(s)->resting = false;
    records_forget(model(s));
}

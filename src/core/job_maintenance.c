/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server's maintenance. From its first step on it takes no guest (place.c), and those that run there are moved away
 * by jobs of their own, the greatest first, as many at once as the pool allows. What is stopped needs nothing: it
 * starts elsewhere, or where its disks are when the server is back. Guests that cannot be moved are named, with the
 * reasons, and asked about again: the job waits until they can be moved, or were stopped. An abort ends the moves that
 * it began.
 */
#include "core/core_int.h"

#include <errno.h>

#define LOOK_MS     5000  /* besides each end of a move */
#define AGAIN_MS    10000 /* after a refusal, times the tries */
#define PARALLEL    2     /* without a pool */
#define REASON_SHOW 5

static const char *server_of(const struct job_ctx *x) { return x->job->object.id; }

static void set_maintenance(struct core *c, const char *server, enum api_maintenance_state state) {
    const struct api_server *old = CORE_GET(c, server, SERVER, server);
    if (!old || old->maintenance == state)
        return;
    struct api_server *s = CORE_COPY(server, SERVER, old);
    s->maintenance = state;
    core_put(c, API_KIND_SERVER, s);
}

/* ---- who is left ---- */

/* One that is being created is placed anew. */
static bool is_there(const struct api_vm *vm, const char *server) {
    if (vm->state == API_VM_STATE_CREATING || (vm->state == API_VM_STATE_DELETING && !vm->reserved))
        return false;
    return vm_needs_server(vm, server);
}

static int by_size(const void *a, const void *b) {
    const struct api_vm *x = *(const struct api_vm *const *)a, *y = *(const struct api_vm *const *)b;
    if (x->memory != y->memory)
        return x->memory > y->memory ? -1 : 1;
    return strcmp(x->id, y->id);
}

/* Borrowed from the inventory until it changes; the array is the caller's. */
static const struct api_vm **guests_of(const struct core *c, const char *server, size_t *ret_n) {
    const struct table *t = &c->tables[API_KIND_VM];
    const struct api_vm **list = xcalloc(t->n + 1, sizeof *list);
    *ret_n = 0;
    for (size_t i = 0; i < t->n; i++) {
        const struct api_vm *vm = t->sorted[i]->v->data;
        if (is_there(vm, server))
            list[(*ret_n)++] = vm;
    }
    qsort(list, *ret_n, sizeof *list, by_size);
    return list;
}

/* vars.moves: VM -> {job, tries, at, why} */
static json_t *moves_of(struct api_job *j) {
    json_t *moves = json_object_get(j->vars, "moves");
    if (!moves)
        json_object_set_new(j->vars, "moves", moves = json_object());
    return moves;
}

static json_t *move_of(struct api_job *j, const char *vm) {
    json_t *m = json_object_get(moves_of(j), vm);
    if (!m)
        json_object_set_new(moves_of(j), vm, m = json_object());
    return m;
}

static void refused(struct job_ctx *x, json_t *m, const char *why) {
    int64_t tries = json_int(m, "tries", 0) + 1;
    json_set_int(m, "tries", tries);
    json_set_int(m, "at", x->c->wall_ms + AGAIN_MS * (tries < 6 ? tries : 6));
    json_set_str(m, "why", why);
    json_set_str(m, "job", "");
}

/* What has become of the move that was asked for; true while it is under way. */
static bool is_moving(struct job_ctx *x, json_t *m) {
    const char *id = json_str(m, "job");
    const struct api_job *j = CORE_GET(x->c, job, JOB, id);
    if (str_empty(id))
        return false;
    if (jobs_active(x->c, id))
        return true;
    if (j && j->state != API_JOB_STATE_DONE)
        refused(x, m, str_or(j->error, "its move was aborted"));
    json_set_str(m, "job", "");
    return false;
}

/* Moves of guests that run elsewhere by now, but still need this server: for their memory (post-copy), or to end what
 * is left. */
static size_t count_leaving(struct job_ctx *x) {
    const char *vm;
    json_t *m;
    size_t n = 0;
    json_object_foreach(moves_of(x->job), vm, m) {
        const struct api_vm *v = CORE_GET(x->c, vm, VM, vm);
        n += (!v || !is_there(v, server_of(x))) && *json_str(m, "job") && jobs_active(x->c, json_str(m, "job"));
    }
    return n;
}

static bool is_due(const struct job_ctx *x, const json_t *m) {
    int64_t at = json_int(m, "at", 0);
    return at <= x->c->wall_ms || at > x->c->wall_ms + 10 * AGAIN_MS; /* the clock was set back */
}

/* ---- moving ---- */

static bool can_be_asked(const struct api_vm *vm) {
    return vm->state == API_VM_STATE_RUNNING || vm->state == API_VM_STATE_SUSPENDED;
}

static void begin_move(struct job_ctx *x, const struct api_vm *vm, json_t *m) {
    _cleanup_error_ struct error e = ERROR_INIT;
    char job[UUID_LEN + 1] = "";
    struct vm_migrate move = {.vm = vm->id, .disks = json_bool(x->job->args, "disks", false), .actor = x->job->actor};
    if (vm_migrate(x->c, &move, job, &e) < 0)
        refused(x, m, e.message);
    else
        json_set_str(m, "job", job);
}

static int64_t parallel_of(const struct core *c, const char *server) {
    const struct api_server *s = CORE_GET(c, server, SERVER, server);
    const struct api_pool *p = s ? CORE_GET(c, pool, POOL, s->pool) : NULL;
    return p ? p->migration.parallel : PARALLEL;
}

/* "; cannot move: a: …; b: …"; how many. */
static size_t add_stuck(struct job_ctx *x, const struct api_vm *const *guests, size_t n, struct buf *text) {
    size_t stuck = 0;
    for (size_t i = 0; i < n; i++) {
        const json_t *m = json_object_get(moves_of(x->job), guests[i]->id);
        const char *why = json_str(m, "why");
        if (!*why || *json_str(m, "job"))
            continue;
        if (stuck++ < REASON_SHOW)
            buf_addf(text, "%s%s: %s", stuck == 1 ? "; cannot move: " : "; ", guests[i]->name, why);
    }
    if (stuck > REASON_SHOW)
        buf_addf(text, "; and %zu more", stuck - REASON_SHOW);
    return stuck;
}

/* "moves 2 of 5 guests that are left", and what it cannot move. */
static void tell(struct job_ctx *x, const struct api_vm *const *guests, size_t n, size_t leaving, size_t moving) {
    struct buf text = {0};
    buf_addf(&text, "moves %zu of %zu guests that are left", moving, n + leaving);
    size_t stuck = add_stuck(x, guests, n, &text);
    if (stuck && !moving && !str_eq(x->job->message, text.data)) {
        const struct api_server *s = CORE_GET(x->c, server, SERVER, server_of(x));
        core_event(x->c, API_SEVERITY_WARNING, "tarn", "server.drain-waits", API_KIND_SERVER, s->id, s->name,
                   x->job->id, "Server %s cannot be emptied yet: %s", s->name, text.data);
    }
    str_take(&x->job->message, buf_take(&text));
}

static int time_is_over(struct job_ctx *x, const struct api_vm *const *guests, size_t n, struct error *e) {
    _cleanup_buf_ struct buf text = {0};
    add_stuck(x, guests, n, &text);
    str_set(&x->job->message, "");
    return error_set(e, ERR_TIMEOUT, "its time is over, and %zu guest%s left on the server%s", n,
                     n == 1 ? " is" : "s are", str_or(text.data, ""));
}

/* Until its time is over, not more than until it looks again. */
static int64_t left_ms(const struct job_ctx *x) {
    int64_t timeout = json_int(x->job->args, "timeout", 0), began;
    if (!timeout || time_parse(x->job->started, &began) < 0)
        return LOOK_MS;
    int64_t left = began + timeout * 1000 - x->c->wall_ms;
    return left < 0 ? 0 : left < LOOK_MS ? left : LOOK_MS;
}

static int drain(struct job_ctx *x, struct error *e) {
    size_t n, leaving = count_leaving(x), moving = leaving;
    int64_t left = left_ms(x);
    _cleanup_free_ const struct api_vm **guests = guests_of(x->c, server_of(x), &n);
    if (!n && !leaving)
        return STEP_DONE;
    for (size_t i = 0; i < n; i++)
        moving += is_moving(x, move_of(x->job, guests[i]->id));
    if (!left && !moving)
        return time_is_over(x, guests, n, e);
    for (size_t i = 0; i < n && (int64_t)moving < parallel_of(x->c, server_of(x)); i++) {
        const struct api_vm *vm = guests[i];
        json_t *m = move_of(x->job, vm->id);
        if (*json_str(m, "job") || !is_due(x, m))
            continue;
        if (!str_eq(vm->server, server_of(x)))
            continue; /* on its way here, or has left: its job ends that */
        if (vm->state == API_VM_STATE_UNKNOWN)
            refused(x, m, "its server does not answer");
        else if (vm_is_off(vm))
            refused(x, m, "it has ended and is about to be restarted; if it is not to be, kill it (tarn vm kill)");
        if (!can_be_asked(vm))
            continue;
        begin_move(x, vm, m);
        moving += *json_str(m, "job") != '\0';
        free(guests); /* the inventory has changed */
        guests = guests_of(x->c, server_of(x), &n);
    }
    tell(x, guests, n, leaving, moving);
    x->run->retry_at = x->c->mono_ms + (left ? left : LOOK_MS);
    return STEP_LATER;
}

/* ---- steps ---- */

static int begin(struct job_ctx *x, struct error *e) {
    set_maintenance(x->c, server_of(x), API_MAINTENANCE_STATE_DRAINING);
    return STEP_DONE;
}

/* Not wanted any more, or given up: what moves stays where it is. */
static int take_back(struct job_ctx *x, struct error *e) {
    const char *vm;
    json_t *m;
    json_object_foreach(moves_of(x->job), vm, m) {
        _cleanup_error_ struct error ignored = ERROR_INIT;
        if (*json_str(m, "job") && jobs_active(x->c, json_str(m, "job")))
            job_abort(x->c, json_str(m, "job"), x->job->actor, &ignored);
    }
    set_maintenance(x->c, server_of(x), API_MAINTENANCE_STATE_OFF);
    return STEP_DONE;
}

static int finish(struct job_ctx *x, struct error *e) {
    const struct api_server *s = CORE_GET(x->c, server, SERVER, server_of(x));
    str_set(&x->job->message, "");
    job_changed(x, API_KIND_SERVER, server_of(x), s ? s->name : "", "changed", "is in maintenance, empty");
    set_maintenance(x->c, server_of(x), API_MAINTENANCE_STATE_ON);
    return STEP_DONE;
}

static int end(struct job_ctx *x, struct error *e) {
    const struct api_server *s = CORE_GET(x->c, server, SERVER, server_of(x));
    job_changed(x, API_KIND_SERVER, server_of(x), s ? s->name : "", "changed", "takes guests again");
    set_maintenance(x->c, server_of(x), API_MAINTENANCE_STATE_OFF);
    return STEP_DONE;
}

static int check(struct job_ctx *x, struct error *e) {
    const struct api_server *s = CORE_GET(x->c, server, SERVER, server_of(x));
    bool on = json_bool(x->job->args, "on", true);
    if (!s)
        return error_set(e, ERR_NOT_FOUND, "the server is gone");
    if (on && s->maintenance == API_MAINTENANCE_STATE_ON)
        return error_set(e, ERR_CONFLICT, "server \"%s\" is in maintenance already", s->name);
    if (!on && s->maintenance == API_MAINTENANCE_STATE_OFF)
        return error_set(e, ERR_CONFLICT, "server \"%s\" is not in maintenance", s->name);
    return 0;
}

static const struct job_step_def steps[] = {
    {"close", 1, false, begin, NULL, take_back, NULL, false},
    {"move guests", 20, false, drain, NULL, NULL, NULL, false},
    {"maintenance", 1, false, finish, NULL, NULL, NULL, false},
    {"open", 1, false, end, NULL, NULL, NULL, false},
};
const struct job_kind job_server_maintenance = {
    .name = "server.maintenance", .steps = steps, .n_steps = ARRAY_LEN(steps), .check = check};

void maintenance_look(struct core *c, const char *server) {
    const char *holder = locks_holder(c, server);
    const struct api_job *j = holder ? CORE_GET(c, job, JOB, holder) : NULL;
    if (j && str_eq(j->kind, job_server_maintenance.name))
        job_soon(c, j->id);
}

/* ---- the operation ---- */

/* Who asks for the end while guests are still being moved wants that to stop. */
static bool stop_draining(struct core *c, const struct core_request *r, const struct object *server, bool on) {
    const char *holder = locks_holder(c, server->id);
    const struct api_job *j = holder ? CORE_GET(c, job, JOB, holder) : NULL;
    _cleanup_error_ struct error ignored = ERROR_INIT;
    if (on || !j || !str_eq(j->kind, job_server_maintenance.name) || !json_bool(j->args, "on", true))
        return false;
    _cleanup_free_ char *id = xstrdup(j->id);
    if (job_abort(c, id, r->actor, &ignored) < 0)
        return false;
    job_abort_note(c, r, id);
    core_reply_object(c, r->id, 202, core_find(c, API_KIND_JOB, id), NULL);
    return true;
}

/* Asked for again while it is under way: whoever asks may wait for the same job. */
static int drains_already(struct core *c, const struct core_request *r, const struct object *server, const json_t *args,
                          struct error *e) {
    const char *holder = locks_holder(c, server->id);
    const struct api_job *j = holder ? CORE_GET(c, job, JOB, holder) : NULL;
    if (!json_bool(args, "on", false) || !j || !str_eq(j->kind, job_server_maintenance.name) ||
        !json_bool(j->args, "on", true) || j->state != API_JOB_STATE_RUNNING || j->abort_requested)
        return 0;
    if (!json_equal(j->args, args))
        return error_set(e, ERR_CONFLICT,
                         "server \"%s\" is being emptied already, with other options; to begin anew end that first: "
                         "tarn server maintenance off %s",
                         object_name(server), object_name(server));
    core_reply_object(c, r->id, 202, core_find(c, API_KIND_JOB, j->id), NULL);
    return 1;
}

int op_server_maintenance(struct core *c, const struct core_request *r, struct error *e) {
    struct object *o = core_param(c, r, 0, API_KIND_SERVER, e);
    struct api_server_maintenance in;
    int result = o ? core_check_if_match(r, o, e) : -ENOENT;
    if (result == 0)
        result = api_server_maintenance_parse(r->body, API_CREATE, &in, e);
    if (result < 0)
        return result;
    bool on = in.on;
    json_t *args = json_pack("{s:b, s:b, s:I}", "on", on, "disks", in.disks, "timeout", (json_int_t)in.timeout);
    api_server_maintenance_done(&in);
    result = stop_draining(c, r, o, on) ? 1 : drains_already(c, r, o, args, e);
    if (result != 0) {
        json_decref(args);
        return result < 0 ? result : 0;
    }
    struct job_request q = {
        .kind = &job_server_maintenance,
        .actor = r->actor,
        .request = r->id,
        .object_kind = API_KIND_SERVER,
        .object_id = o->id,
        .object_name = object_name(o),
        .title = xasprintf("%s server %s", on ? "Empty and keep free" : "End the maintenance of", object_name(o)),
        .args = args};
    struct api_job *j = job_draft(c, &q);
    job_lock(j, API_KIND_SERVER, o->id, object_name(o), false);
    for (size_t i = 0; i < ARRAY_LEN(steps); i++)
        if (on != (i == ARRAY_LEN(steps) - 1))
            job_add_step(j, q.kind, steps[i].name, 0);
    return job_submit(c, &q, j, e);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a virtual machine is to run: a pure function of the inventory. Each server of its pool (or, without a pool,
 * each that has its storage) goes through the filters in their order; the first that it fails is its reason. Those that
 * are left are weighed: free memory and CPUs, by what is promised and by what is measured, and the network's; what ran
 * there last; rules that it should keep. Equal ones are taken in the order of their ids, so that the same inventory
 * always gives the same answer. tests/golden/place has the cases.
 */
#include "core/place.h"

#include <stdio.h>

#define KEEP_BONUS   120  /* for where it ran last: of 1000 for an empty server */
#define SOFT_MALUS   2000 /* a broken "should" outweighs all room */
#define SPREAD_MALUS 300  /* for each fellow there */
#define LINK_DEFAULT 1000 /* Mbit/s */

/* What admission goes by. */
struct spare {
    int64_t *losses; /* a server's: what is free there and what its highly available guests need elsewhere; falling */
    size_t n;
    int64_t free; /* on all of them */
};

struct placing {
    const struct core *c;
    const struct api_vm *vm;
    const struct api_pool *pool; /* NULL: none */
    const struct place_options *o;
    struct rule_uses rules;
    size_t *fewest;            /* for each rule */
    struct spare cpus, memory; /* of the whole pool */
    bool counted;              /* it is among what the pool has promised already */
};

/* ---- room ---- */

struct server_room pool_room(const struct api_pool *pool, const struct api_server *s) {
    struct server_room r = {-1, -1};
    if (!pool)
        return r;
    if (s->hardware.cpus)
        r.cpus = s->hardware.cpus * pool->cpu_overcommit / 100;
    if (s->hardware.memory) {
        int64_t own = s->hardware.memory - pool->memory_reserve;
        r.memory = own > 0 ? own / 100 * pool->memory_overcommit + own % 100 * pool->memory_overcommit / 100 : 0;
    }
    return r;
}

static struct server_room room_of(const struct placing *p, const struct api_server *s) { return pool_room(p->pool, s); }

/* Promised to others: its own share, where it counts there already, is not in its way. */
static struct server_load others(const struct placing *p, const struct api_server *s) {
    struct server_load l = *server_load(p->c, s->id);
    const struct api_vm *kept = CORE_GET(p->c, vm, VM, p->vm->id); /* as it is counted */
    bool here = kept && vm_counts_at(kept, s->id);
    if (here) {
        l.cpus -= kept->cpus;
        l.memory -= kept->memory;
        if (kept->ha.enabled) {
            l.ha_cpus -= kept->cpus;
            l.ha_memory -= kept->memory;
        }
    }
    return l;
}

static bool takes_part(const struct placing *p, const struct api_server *s) {
    return str_eq(s->pool, p->pool->id) && s->maintenance == API_MAINTENANCE_STATE_OFF &&
           core_agent_is_connected(p->c, s->id);
}

/* The largest losses first. */
static int compare_losses(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x > y ? -1 : x < y;
}

/*
 * Admission: if the n servers that hurt most fail, the rest must have room for their highly available guests. So what
 * is free on all must not be less than the n greatest losses.
 */
static void count_spare(struct placing *p) {
    const struct table *t = &p->c->tables[API_KIND_SERVER];
    if (!p->pool || !p->pool->admission_failures)
        return;
    p->cpus.losses = xcalloc(t->n + 1, sizeof *p->cpus.losses);
    p->memory.losses = xcalloc(t->n + 1, sizeof *p->memory.losses);
    for (size_t i = 0; i < t->n; i++) {
        const struct api_server *s = t->sorted[i]->v->data;
        if (!takes_part(p, s))
            continue;
        struct server_room r = room_of(p, s);
        struct server_load l = others(p, s);
        p->cpus.losses[p->cpus.n++] = r.cpus - l.cpus + l.ha_cpus;
        p->memory.losses[p->memory.n++] = r.memory - l.memory + l.ha_memory;
        p->cpus.free += r.cpus - l.cpus;
        p->memory.free += r.memory - l.memory;
    }
    qsort(p->cpus.losses, p->cpus.n, sizeof *p->cpus.losses, compare_losses);
    qsort(p->memory.losses, p->memory.n, sizeof *p->memory.losses, compare_losses);
}

/* With `more` on a server whose loss is `loss` now. One that is not highly available makes that smaller: it is lost
   itself. */
static bool can_spare(const struct spare *sp, size_t failures, int64_t loss, int64_t more, bool ha) {
    int64_t worst = 0, with = ha ? loss : loss - more;
    size_t n = failures < sp->n ? failures : sp->n;
    for (size_t i = 0; i < n; i++)
        worst += sp->losses[i];
    if (n && loss >= sp->losses[n - 1]) {
        int64_t next = n < sp->n ? sp->losses[n] : with;
        worst += (with > next ? with : next) - loss;
    }
    return sp->free - more >= worst;
}

/* ---- filters: NULL, or why not ---- */

static char *no_server(const struct placing *p, const struct api_server *s, enum error_code *code) {
    if (str_eq(s->id, p->o->not_on)) {
        *code = ERR_CONFLICT;
        return xstrdup("has it now");
    }
    if (!core_agent_is_connected(p->c, s->id)) {
        *code = ERR_UNAVAILABLE;
        return xstrdup("is not connected: check that tarn-agent runs there and reaches the manager");
    }
    if (s->maintenance != API_MAINTENANCE_STATE_OFF) {
        *code = ERR_CONFLICT;
        return xstrdup("is in maintenance");
    }
    const char *holder = locks_holder(p->c, s->id);
    const struct api_job *j = holder ? CORE_GET(p->c, job, JOB, holder) : NULL;
    if (j && str_eq(j->kind, job_pool_remove.name)) { /* what it has of the pool is being taken away */
        *code = ERR_CONFLICT;
        return xstrdup("is leaving the pool");
    }
    return NULL;
}

/* What a failure has spared: a server that has lost the others may be the one that is given up next. */
static char *no_cluster(const struct placing *p, const struct api_server *s, enum error_code *code) {
    if (s->has_cluster && s->cluster.gone)
        return xstrdup("is given up as lost");
    const struct agent *a = map_get(&p->c->agents, s->id);
    if (a && a->mute) { /* its connection looks well for a long time yet */
        *code = ERR_UNAVAILABLE;
        return xstrdup("does not answer, and the others of its pool do not see it");
    }
    if (!p->o->recovery || !p->pool || !p->pool->clustered)
        return NULL;
    if (!s->has_cluster || !str_eq(s->cluster.pool, p->pool->id))
        return xstrdup("is not in the cluster of the pool yet");
    if (!core_agent_ready(p->c, s->id)) {
        *code = ERR_UNAVAILABLE;
        return xstrdup("has come back just now, and has not told yet what runs on it");
    }
    if (a && a->probe) {
        *code = ERR_UNAVAILABLE;
        return xstrdup("is being asked whether it is still there: others of its pool do not see it");
    }
    return s->cluster.armed && !s->cluster.quorate ? xstrdup("does not see enough of the pool's servers") : NULL;
}

static char *no_driver(const struct placing *p, const struct api_server *s, enum error_code *code) {
    const char *why = "no hypervisor driver";
    for (size_t i = 0; i < s->n_hypervisors; i++) {
        const struct api_hypervisor *h = &s->hypervisors[i];
        if (!str_empty(p->vm->hypervisor) && !str_eq(h->driver, p->vm->hypervisor))
            continue;
        if (h->usable)
            return NULL;
        why = str_or(h->reason, why);
    }
    return s->n_hypervisors ? xasprintf("cannot run virtual machines: %s", why) : NULL; /* one that has not told may */
}

static char *no_cpu_model(const struct placing *p, const struct api_server *s, enum error_code *code) {
    const char *model = p->o->moving ? p->vm->cpu_model : p->pool ? p->pool->cpu_model : "";
    if (!server_has_cpu_model(s, model))
        return xasprintf("has a CPU without all features of %s", model);
    const struct api_server *from = p->o->moving ? CORE_GET(p->c, server, SERVER, p->vm->server) : NULL;
    if (from && str_eq(model, "host") && from->has_hardware && s->has_hardware &&
        !str_eq(from->hardware.cpu_model, s->hardware.cpu_model))
        return xasprintf("has another CPU (%s) than it was started with", s->hardware.cpu_model);
    if (from && servers_differ_in_cpu(from, s) && !cpu_model_is_neutral(model))
        return xasprintf("has a CPU of another vendor (%s) than server \"%s\" (%s); a running guest cannot change over "
                         "unless its CPU model is kvm64 or qemu64: stop it, then start it there",
                         s->hardware.cpu_vendor, from->name, from->hardware.cpu_vendor);
    return NULL;
}

static char *no_storage(const struct placing *p, const struct api_server *s, enum error_code *code) {
    const struct api_repository *missing = p->o->takes_storage ? NULL : vm_unreached(p->c, p->vm, s->id);
    *code = ERR_CONFLICT;
    if (missing)
        return xasprintf("does not reach the storage repository \"%s\"", missing->name);
    const struct api_repository *unusable = vm_unusable(p->c, p->vm, s->id);
    if (!unusable)
        return NULL;
    *code = ERR_UNAVAILABLE;
    return xasprintf("cannot use the storage repository \"%s\" now%s%s", unusable->name,
                     str_empty(repository_on(unusable, s->id)->reason) ? "" : ": ",
                     repository_on(unusable, s->id)->reason);
}

static char *no_such_size(const struct placing *p, const struct api_server *s, enum error_code *code) {
    char want[SIZE_TEXT_MAX], has[SIZE_TEXT_MAX];
    if (!s->has_hardware || !s->hardware.memory || p->vm->memory <= s->hardware.memory)
        return NULL;
    return xasprintf("has %s of memory, it needs %s", size_format(s->hardware.memory, has),
                     size_format(p->vm->memory, want));
}

static char *no_memory(const struct placing *p, const struct api_server *s, enum error_code *code) {
    char want[SIZE_TEXT_MAX], has[SIZE_TEXT_MAX], all[SIZE_TEXT_MAX];
    struct server_room r = room_of(p, s);
    int64_t left = r.memory - others(p, s).memory;
    if (r.memory < 0 || p->vm->memory <= left)
        return NULL;
    return xasprintf("has %s of %s of memory left, it needs %s", size_format(left > 0 ? left : 0, has),
                     size_format(r.memory, all), size_format(p->vm->memory, want));
}

static char *no_cpus(const struct placing *p, const struct api_server *s, enum error_code *code) {
    struct server_room r = room_of(p, s);
    int64_t left = r.cpus - others(p, s).cpus;
    if (r.cpus < 0 || p->vm->cpus <= left)
        return NULL;
    return xasprintf("has %lld of %lld virtual CPUs left, it needs %lld", (long long)(left > 0 ? left : 0),
                     (long long)r.cpus, (long long)p->vm->cpus);
}

static char *no_limits(const struct placing *p, const struct api_server *s, enum error_code *code) {
    _cleanup_free_ char *problem = server_limits_problem(s, p->vm);
    return problem ? xasprintf("cannot keep its limits: %s", problem) : NULL;
}

static char *no_rule(const struct placing *p, const struct api_server *s, enum error_code *code) {
    for (size_t i = 0; i < p->rules.n; i++) {
        char *why = p->rules.uses[i].rule->must ? rule_broken_by(&p->rules.uses[i], s, p->fewest[i]) : NULL;
        if (why)
            return why;
    }
    return NULL;
}

static char *no_admission(const struct placing *p, const struct api_server *s, enum error_code *code) {
    size_t failures = p->pool ? (size_t)p->pool->admission_failures : 0;
    if (!failures || p->o->recovery || p->counted)
        return NULL;
    struct server_room r = room_of(p, s);
    struct server_load l = others(p, s);
    bool ha = p->vm->ha.enabled;
    if (can_spare(&p->cpus, failures, r.cpus - l.cpus + l.ha_cpus, p->vm->cpus, ha) &&
        can_spare(&p->memory, failures, r.memory - l.memory + l.ha_memory, p->vm->memory, ha))
        return NULL;
    if (failures >= p->cpus.n)
        return xasprintf("has no room to spare: the pool is to bear the failure of %zu server%s, and %zu can take "
                         "guests now (to change that: tarn pool set %s --admission-failures N)",
                         failures, failures == 1 ? "" : "s", p->cpus.n, p->pool->name);
    return xasprintf("has no room to spare: the pool keeps some for the failure of %zu server%s (to change that: tarn "
                     "pool set %s --admission-failures N)",
                     failures, failures == 1 ? "" : "s", p->pool->name);
}

static const struct {
    char *(*refuses)(const struct placing *p, const struct api_server *s, enum error_code *code);
    bool only_to_run; /* of no account for one that does not start now */
} filters[] = {
    /* clang-format off */
    {no_server, false},
    {no_cluster, true},
    {no_driver, false},
    {no_cpu_model, false},
    {no_storage, false},
    {no_such_size, false},
    {no_memory, true},
    {no_cpus, true},
    {no_limits, true},
    {no_rule, true},
    {no_admission, true},
    /* clang-format on */
};

/* ---- weighing ---- */

static int64_t thousandth(double part) { return part < 0 ? 0 : part > 1 ? 1000 : (int64_t)(part * 1000 + 0.5); }

static int64_t free_memory(const struct placing *p, const struct api_server *s, const struct server_load *l) {
    struct server_room r = room_of(p, s);
    int64_t all = r.memory > 0 ? r.memory : s->hardware.memory;
    return all > 0 ? thousandth((double)(all - l->memory - p->vm->memory) / (double)all) : 0;
}

static int64_t free_cpus(const struct placing *p, const struct api_server *s, const struct server_load *l) {
    struct server_room r = room_of(p, s);
    int64_t all = r.cpus > 0 ? r.cpus : s->hardware.cpus;
    int64_t promised = all > 0 ? thousandth((double)(all - l->cpus - p->vm->cpus) / (double)all) : 0;
    if (!load_is_told(p->c, l) || !s->hardware.cpus)
        return promised;
    int64_t idle = thousandth(1 - l->busy_cpus / (double)s->hardware.cpus);
    return idle < promised ? idle : promised;
}

static int64_t free_network(const struct placing *p, const struct api_server *s, const struct server_load *l) {
    int64_t speed = 0;
    for (size_t i = 0; i < s->hardware.n_nics; i++)
        if (s->hardware.nics[i].up && s->hardware.nics[i].speed > speed)
            speed = s->hardware.nics[i].speed;
    double link = (double)(speed ? speed : LINK_DEFAULT) * 1e6 / 8;
    return load_is_told(p->c, l) ? thousandth(1 - l->busy_net / link) : 1000;
}

static void weigh(const struct placing *p, struct place_choice *ch) {
    const struct api_server *s = ch->server;
    struct server_load l = others(p, s);
    int64_t memory = free_memory(p, s, &l), cpus = free_cpus(p, s, &l), network = free_network(p, s, &l);
    bool pack = p->pool && p->pool->placement == API_PLACEMENT_POLICY_PACK;
    ch->score = ((pack ? 1000 - memory : memory) * 4 + (pack ? 1000 - cpus : cpus) * 4 + network * 2) / 10;
    struct buf why = {0};
    buf_addf(&why, "%lld %% of memory, %lld %% of CPUs and %lld %% of the network free with it",
             (long long)(memory / 10), (long long)(cpus / 10), (long long)(network / 10));
    if (str_eq(p->vm->server, s->id) && !p->o->fresh) {
        ch->score += KEEP_BONUS;
        buf_adds(&why, str_empty(p->vm->started) ? "; was to run there" : "; ran there last");
    }
    for (size_t i = 0; i < p->rules.n; i++) {
        const struct rule_use *u = &p->rules.uses[i];
        if (u->rule->type == API_RULE_TYPE_SPREAD)
            ch->score -= SPREAD_MALUS * (int64_t)rule_fellows_at(u, s->id);
        _cleanup_free_ char *broken = u->rule->must ? NULL : rule_broken_by(u, s, p->fewest[i]);
        if (!broken)
            continue;
        ch->score -= u->rule->type == API_RULE_TYPE_SPREAD ? 0 : SOFT_MALUS;
        buf_addf(&why, "; %s", broken);
    }
    ch->reason = buf_take(&why);
}

/* ---- all of it ---- */

static bool looked_at(const struct placing *p, const struct api_server *s) {
    if (!str_empty(p->o->only))
        return str_eq(s->id, p->o->only);
    if (p->pool)
        return str_eq(s->pool, p->pool->id);
    return str_empty(s->pool) && (p->o->takes_storage || !vm_unreached(p->c, p->vm, s->id));
}

static void consider(const struct placing *p, const struct api_server *s, struct placement *ret) {
    struct place_choice *ch = &ret->choices[ret->n++];
    *ch = (struct place_choice){.server = s, .code = ERR_NO_CAPACITY};
    if (p->pool && !str_eq(s->pool, p->pool->id)) {
        ch->code = ERR_CONFLICT;
        ch->reason = xasprintf("is not in the pool \"%s\"", p->pool->name);
    }
    const struct api_pool *other = p->pool ? NULL : CORE_GET(p->c, pool, POOL, s->pool);
    if (other && !str_eq(p->vm->server, s->id)) { /* whose room, rules and CPU model would not be looked at */
        ch->code = ERR_CONFLICT;
        ch->reason = xasprintf("is in the pool \"%s\", the virtual machine in none", other->name);
    }
    for (size_t i = 0; i < ARRAY_LEN(filters) && !ch->reason; i++) {
        if (filters[i].only_to_run && p->o->stopped)
            continue;
        ch->code = ERR_NO_CAPACITY;
        ch->reason = filters[i].refuses(p, s, &ch->code);
    }
    if (ch->reason)
        return;
    ch->ok = true;
    ch->code = ERR_OK;
    weigh(p, ch);
}

/* For "spread": the fewest fellows on any server that could be taken but for that rule. */
static void count_fewest(struct placing *p) {
    const struct table *t = &p->c->tables[API_KIND_SERVER];
    p->fewest = xcalloc(p->rules.n + 1, sizeof *p->fewest);
    for (size_t k = 0; k < p->rules.n; k++) {
        const struct rule_use *u = &p->rules.uses[k];
        bool any = false;
        for (size_t i = 0; i < t->n && u->rule->type == API_RULE_TYPE_SPREAD; i++) {
            const struct api_server *s = t->sorted[i]->v->data;
            size_t here = rule_fellows_at(u, s->id);
            if (!takes_part(p, s) || vm_unreached(p->c, p->vm, s->id) || (any && here >= p->fewest[k]))
                continue;
            p->fewest[k] = here;
            any = true;
        }
    }
}

static int by_rank(const void *a, const void *b) {
    const struct place_choice *x = a, *y = b;
    if (x->ok != y->ok)
        return x->ok ? -1 : 1;
    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    return strcmp(x->server->id, y->server->id);
}

void place(const struct core *c, const struct api_vm *vm, const struct place_options *o, struct placement *ret) {
    static const struct place_options none;
    const struct table *t = &c->tables[API_KIND_SERVER];
    struct placing p = {.c = c, .vm = vm, .o = o ? o : &none, .pool = CORE_GET(c, pool, POOL, vm->pool)};
    const struct api_vm *kept = CORE_GET(c, vm, VM, vm->id);
    p.counted = kept && vm_counts(kept);
    rules_gather(c, vm, &p.rules);
    count_fewest(&p);
    count_spare(&p);
    *ret = (struct placement){.choices = xcalloc(t->n + 1, sizeof *ret->choices)};
    for (size_t i = 0; i < t->n; i++)
        if (looked_at(&p, t->sorted[i]->v->data))
            consider(&p, t->sorted[i]->v->data, ret);
    qsort(ret->choices, ret->n, sizeof *ret->choices, by_rank);
    ret->best = ret->n && ret->choices[0].ok ? ret->choices[0].server : NULL;
    rules_done(&p.rules);
    free(p.fewest);
    free(p.cpus.losses);
    free(p.memory.losses);
}

const struct api_server *placement_keeps(const struct placement *p, const char *server) {
    for (size_t i = 0; i < p->n; i++)
        if (p->choices[i].ok && str_eq(p->choices[i].server->id, server))
            return p->choices[i].server;
    return p->best;
}

void placement_done(struct placement *p) {
    for (size_t i = 0; i < p->n; i++)
        free(p->choices[i].reason);
    free(p->choices);
    *p = (struct placement){0};
}

/* ---- telling ---- */

/* One server: its own reason. Several: all of them, as far as a line goes. */
int placement_error(const struct placement *p, const struct api_vm *vm, struct error *e) {
    if (!p->n)
        return error_set(e, ERR_NO_CAPACITY, "no server can run virtual machine \"%s\": none has all of its storage",
                         vm->name);
    enum error_code code = p->choices[0].code;
    struct buf why = {0};
    for (size_t i = 0; i < p->n; i++) {
        code = p->choices[i].code == code ? code : ERR_NO_CAPACITY;
        if (why.len < 1500)
            buf_addf(&why, "%sserver \"%s\" %s", i ? "; " : "", p->choices[i].server->name, p->choices[i].reason);
        else if (i + 1 == p->n)
            buf_addf(&why, "; and more");
    }
    int r = p->n == 1 ? error_set(e, code, "%s", why.data)
                      : error_set(e, code, "no server can take virtual machine \"%s\": %s", vm->name, why.data);
    buf_done(&why);
    return r;
}

static void add_choice(struct api_placement_choice **list, size_t *n, const struct place_choice *ch, bool chosen) {
    *list = xreallocarray(*list, *n + 1, sizeof **list);
    struct api_placement_choice *to = &(*list)[(*n)++];
    memset(to, 0, sizeof *to);
    api_placement_choice_init(to);
    str_set(&to->server, ch->server->id);
    str_set(&to->name, ch->server->name);
    to->ok = ch->ok;
    to->chosen = chosen;
    to->score = ch->score;
    str_set(&to->reason, ch->reason);
}

/* The chosen one, then as many as fit: half of them those that could have been taken, half those that could not. */
void placement_keep(const struct placement *p, const struct api_server *chosen, struct api_job *j) {
    for (size_t i = 0; i < j->n_placement; i++)
        api_placement_choice_done(&j->placement[i]);
    j->n_placement = 0;
    size_t ok = 0, refused = 0;
    while (ok < p->n && p->choices[ok].ok)
        ok++;
    refused = p->n - ok;
    size_t show_refused = refused < PLACEMENT_KEPT / 2 || ok == 0 ? refused : PLACEMENT_KEPT / 2;
    size_t show_ok = ok < PLACEMENT_KEPT - show_refused ? ok : PLACEMENT_KEPT - show_refused;
    for (size_t i = 0; i < ok; i++)
        if (p->choices[i].server == chosen)
            add_choice(&j->placement, &j->n_placement, &p->choices[i], true);
    for (size_t i = 0; i < ok && j->n_placement < show_ok; i++)
        if (p->choices[i].server != chosen)
            add_choice(&j->placement, &j->n_placement, &p->choices[i], false);
    for (size_t i = ok; i < p->n && j->n_placement < PLACEMENT_KEPT; i++)
        add_choice(&j->placement, &j->n_placement, &p->choices[i], false);
}

void placement_tell(const struct placement *p, struct api_placement *ret) {
    api_placement_init(ret);
    str_set(&ret->server, p->best ? p->best->id : "");
    for (size_t i = 0; i < p->n; i++)
        add_choice(&ret->servers, &ret->n_servers, &p->choices[i], p->choices[i].server == p->best);
}

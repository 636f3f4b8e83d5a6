/* SPDX-License-Identifier: Apache-2.0 */
/* Figures of everything: what there are many of is counted as it changes, the rest is added up when somebody asks. */
#include "core/core_int.h"

static bool vm_may_run(enum api_vm_state state) {
    switch (state) {
    case API_VM_STATE_CREATING:
    case API_VM_STATE_STOPPED:
    case API_VM_STATE_CRASHED:
    case API_VM_STATE_DELETING:
        return false;
    default:
        return true;
    }
}

/* The kinds' field "state", where it is an enumeration. */
void counts_init(struct core *c) {
    for (int kind = 0; kind < API_KIND_COUNT; kind++) {
        const struct api_schema *s = api_kinds[kind].schema;
        for (size_t i = 0; i < s->n_fields; i++)
            if (s->fields[i].type == API_TYPE_ENUM && strcmp(s->fields[i].name, "state") == 0)
                c->states[kind] = &s->fields[i];
    }
}

struct pool_sum {
    size_t servers[CORE_STATES], vms[CORE_STATES];
    int64_t vm_cpus, vm_memory;
};

void counts_done(struct core *c) {
    size_t pos = 0;
    void *value;
    while (map_next(&c->pool_sums, &pos, NULL, &value))
        free(value);
    map_done(&c->pool_sums);
}

static const char *pool_of(enum api_kind kind, const void *data) {
    return kind == API_KIND_VM       ? ((const struct api_vm *)data)->pool
           : kind == API_KIND_SERVER ? ((const struct api_server *)data)->pool
                                     : "";
}

static void count_in_pool(struct core *c, const struct object *o, int state, int by) {
    const char *pool = pool_of(o->kind, o->v->data);
    if (str_empty(pool))
        return;
    struct pool_sum *s = map_get(&c->pool_sums, pool);
    if (!s) {
        s = xcalloc(1, sizeof *s);
        map_put(&c->pool_sums, pool, s);
    }
    (o->kind == API_KIND_VM ? s->vms : s->servers)[state] += (size_t)by;
    const struct api_vm *vm = o->v->data;
    if (o->kind == API_KIND_VM && vm_may_run(vm->state)) {
        s->vm_cpus += by * vm->cpus;
        s->vm_memory += by * vm->memory;
    }
}

void count_state(struct core *c, const struct object *o, int by) {
    const struct api_field *f = c->states[o->kind];
    int state = f ? *(const int *)((const char *)o->v->data + f->offset) : -1;
    if (state < 0 || state >= CORE_STATES)
        return;
    c->counts.by_state[o->kind][state] += (size_t)by;
    count_in_pool(c, o, state, by);
    const struct api_vm *vm = o->v->data;
    if (o->kind == API_KIND_VM && vm_may_run(vm->state)) {
        c->counts.vm_cpus += by * vm->cpus;
        c->counts.vm_memory += by * vm->memory;
    }
}

static void add_count(const char *state, size_t count, struct api_state_count **ret, size_t *n) {
    if (!count)
        return;
    *ret = xreallocarray(*ret, *n + 1, sizeof **ret);
    struct api_state_count *s = &(*ret)[(*n)++];
    api_state_count_init(s);
    str_set(&s->state, state);
    s->count = (int64_t)count;
}

static void add_states(const struct core *c, enum api_kind kind, const size_t counts[static CORE_STATES], size_t end,
                       struct api_state_count **ret, size_t *n) {
    const struct api_choices *names = c->states[kind]->choices;
    for (size_t i = 0; i < end && i < names->n && i < CORE_STATES; i++)
        add_count(names->texts[i], counts[i], ret, n);
}

/* Whether what a job or an alarm is about belongs to the pool. */
static bool ref_in_pool(const struct core *c, const struct api_object_ref *r, const char *pool) {
    int kind = api_kind_from_text(r->kind);
    const void *data = kind >= 0 ? core_data(c, (enum api_kind)kind, r->id) : NULL;
    if (!data)
        return false;
    if (kind == API_KIND_REPOSITORY)
        return str_eq(repository_pool(c, data), pool);
    return str_eq(r->id, pool) || str_eq(pool_of((enum api_kind)kind, data), pool);
}

static void count_pool_jobs(const struct core *c, const char *pool, size_t counts[static CORE_STATES]) {
    const struct job_run *run;
    list_for_each(run, &c->jobs, link) {
        const struct api_job *j = CORE_GET(c, job, JOB, run->id);
        if (j && j->state < CORE_STATES && ref_in_pool(c, &j->object, pool))
            counts[j->state]++;
    }
}

static void count_pool_alarms(const struct core *c, const char *pool, size_t counts[static API_SEVERITY_COUNT]) {
    size_t pos = 0;
    void *value;
    while (map_next(&c->alarms, &pos, NULL, &value)) {
        const struct api_alarm *a = ((const struct object *)value)->v->data;
        if (ref_in_pool(c, &a->object, pool))
            counts[a->severity]++;
    }
}

/* What they say they have need not be true. */
static void add_told(int64_t *sum, int64_t told) {
    if (told > 0 && __builtin_add_overflow(*sum, told, sum))
        *sum = INT64_MAX;
}

/* Servers and repositories are few: what they have is added up, of everything when one of them has changed. */
static struct capacity capacity_of(const struct core *c, const char *pool) {
    struct capacity sum = {0};
    const struct table *t = &c->tables[API_KIND_SERVER];
    sum.servers = t->swaps;
    for (size_t i = 0; i < t->n; i++) {
        const struct api_server *s = t->sorted[i]->v->data;
        if (s->state != API_SERVER_STATE_ONLINE || (pool && !str_eq(s->pool, pool)))
            continue;
        add_told(&sum.cpus, s->hardware.cpus);
        add_told(&sum.memory, s->hardware.memory);
    }
    t = &c->tables[API_KIND_REPOSITORY];
    sum.repositories = t->swaps;
    for (size_t i = 0; i < t->n; i++) {
        const struct api_repository *r = t->sorted[i]->v->data;
        if (pool && !str_eq(repository_pool(c, r), pool))
            continue;
        add_told(&sum.storage, r->capacity);
        add_told(&sum.storage_free, r->free);
        if (r->state < CORE_STATES)
            sum.repository_states[r->state]++;
    }
    return sum;
}

static void add_capacity(struct core *c, const char *pool, struct api_summary *ret) {
    const struct capacity *whole = &c->capacity;
    if (!pool && (whole->servers != c->tables[API_KIND_SERVER].swaps ||
                  whole->repositories != c->tables[API_KIND_REPOSITORY].swaps))
        c->capacity = capacity_of(c, NULL);
    struct capacity sum = pool ? capacity_of(c, pool) : *whole;
    ret->has_capacity = true;
    ret->capacity.cpus = sum.cpus;
    ret->capacity.memory = sum.memory;
    ret->capacity.storage = sum.storage;
    ret->capacity.storage_free = sum.storage_free;
    add_states(c, API_KIND_REPOSITORY, sum.repository_states, SIZE_MAX, &ret->repositories, &ret->n_repositories);
}

void core_summary(struct core *c, const char *pool, struct api_summary *ret) {
    static const struct pool_sum nothing;
    const struct pool_sum *s = pool ? map_get(&c->pool_sums, pool) : NULL;
    size_t jobs[CORE_STATES] = {0}, alarms[API_SEVERITY_COUNT] = {0};
    if (!s)
        s = &nothing;
    if (pool) {
        count_pool_jobs(c, pool, jobs);
        count_pool_alarms(c, pool, alarms);
    } else {
        memcpy(jobs, c->counts.by_state[API_KIND_JOB], sizeof jobs);
        memcpy(alarms, c->counts.alarms, sizeof alarms);
    }
    add_states(c, API_KIND_SERVER, pool ? s->servers : c->counts.by_state[API_KIND_SERVER], SIZE_MAX, &ret->servers,
               &ret->n_servers);
    add_states(c, API_KIND_VM, pool ? s->vms : c->counts.by_state[API_KIND_VM], SIZE_MAX, &ret->vms, &ret->n_vms);
    /* Most of those that have ended are in the store only. */
    add_states(c, API_KIND_JOB, jobs, API_JOB_STATE_DONE, &ret->jobs, &ret->n_jobs);
    for (int i = 0; i < API_SEVERITY_COUNT; i++)
        add_count(api_severity_text((enum api_severity)i), alarms[i], &ret->alarms, &ret->n_alarms);
    add_capacity(c, pool, ret);
    ret->capacity.cpus_allocated = pool ? s->vm_cpus : c->counts.vm_cpus;
    ret->capacity.memory_allocated = pool ? s->vm_memory : c->counts.vm_memory;
}

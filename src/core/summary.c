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

/* The kind's field "state", which is an enumeration; NULL if it has none. */
static const struct api_field *state_field(enum api_kind kind) {
    const struct api_schema *s = api_kinds[kind].schema;
    for (size_t i = 0; i < s->n_fields; i++)
        if (s->fields[i].type == API_TYPE_ENUM && strcmp(s->fields[i].name, "state") == 0)
            return &s->fields[i];
    return NULL;
}

void count_state(struct core *c, const struct object *o, int by) {
    const struct api_field *f = state_field(o->kind);
    if (!f)
        return;
    int state = *(const int *)((const char *)o->v->data + f->offset);
    if (state >= 0 && state < CORE_STATES)
        c->counts.by_state[o->kind][state] += (size_t)by;
    if (o->kind != API_KIND_VM)
        return;
    const struct api_vm *vm = o->v->data;
    if (vm_may_run(vm->state)) {
        c->counts.vm_cpus += by * vm->cpus;
        c->counts.vm_memory += by * vm->memory;
    }
}

static void add_states(const struct core *c, enum api_kind kind, size_t end, struct api_state_count **ret, size_t *n) {
    const struct api_choices *names = state_field(kind)->choices;
    for (size_t i = 0; i < end && i < names->n && i < CORE_STATES; i++) {
        if (!c->counts.by_state[kind][i])
            continue;
        *ret = xreallocarray(*ret, *n + 1, sizeof **ret);
        struct api_state_count *s = &(*ret)[(*n)++];
        api_state_count_init(s);
        str_set(&s->state, names->texts[i]);
        s->count = (int64_t)c->counts.by_state[kind][i];
    }
}

void core_summary(const struct core *c, struct api_summary *ret) {
    add_states(c, API_KIND_SERVER, SIZE_MAX, &ret->servers, &ret->n_servers);
    add_states(c, API_KIND_VM, SIZE_MAX, &ret->vms, &ret->n_vms);
    add_states(c, API_KIND_REPOSITORY, SIZE_MAX, &ret->repositories, &ret->n_repositories);
    /* Most of those that have ended are in the store only. */
    add_states(c, API_KIND_JOB, API_JOB_STATE_DONE, &ret->jobs, &ret->n_jobs);
    for (int i = 0; i < API_SEVERITY_COUNT; i++) {
        if (!c->counts.alarms[i])
            continue;
        ret->alarms = xreallocarray(ret->alarms, ret->n_alarms + 1, sizeof *ret->alarms);
        struct api_state_count *s = &ret->alarms[ret->n_alarms++];
        api_state_count_init(s);
        str_set(&s->state, api_severity_text((enum api_severity)i));
        s->count = (int64_t)c->counts.alarms[i];
    }
    struct api_capacity *sum = &ret->capacity;
    ret->has_capacity = true;
    sum->cpus_allocated = c->counts.vm_cpus;
    sum->memory_allocated = c->counts.vm_memory;
    const struct table *t = &c->tables[API_KIND_SERVER];
    for (size_t i = 0; i < t->n; i++) {
        const struct api_server *s = t->sorted[i]->v->data;
        if (s->state != API_SERVER_STATE_ONLINE)
            continue;
        sum->cpus += s->hardware.cpus;
        sum->memory += s->hardware.memory;
    }
    t = &c->tables[API_KIND_REPOSITORY];
    for (size_t i = 0; i < t->n; i++) {
        const struct api_repository *r = t->sorted[i]->v->data;
        sum->storage += r->capacity;
        sum->storage_free += r->free;
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Placement rules as they bear on one virtual machine. Where its fellows run is gathered once for each rule; each
 * server is then asked about. Fellows that are stopped bind nobody, and those on a server that is in maintenance do not
 * keep others there: they will leave it too.
 */
#include "core/place.h"

static bool names(char *const *list, size_t n, const char *id) {
    for (size_t i = 0; i < n; i++)
        if (str_eq(list[i], id))
            return true;
    return false;
}

static bool is_about(const struct api_rule *r, const struct api_vm *vm) {
    return str_eq(r->pool, vm->pool) &&
           (names(r->vms, r->n_vms, vm->id) || (!str_empty(r->tag) && names(vm->tags, vm->n_tags, r->tag)));
}

static void count_at(struct rule_use *u, const char *server) {
    size_t *n = map_get(&u->at, server);
    if (!n) {
        n = xcalloc(1, sizeof *n);
        map_put(&u->at, server, n);
    }
    ++*n;
    u->n_fellows++;
}

static void count_where(const struct core *c, struct rule_use *u, const char *server) {
    const struct api_server *s = CORE_GET(c, server, SERVER, server);
    if (s && s->maintenance == API_MAINTENANCE_STATE_OFF)
        count_at(u, server);
}

static void count_fellow(const struct core *c, struct rule_use *u, const struct api_vm *self, const struct api_vm *vm) {
    if (!vm || str_eq(vm->id, self->id) || (!vm_counts(vm) && str_empty(vm->target)))
        return;
    count_where(c, u, str_or(vm->target, vm->server));
    /* One that is being moved may still have to stay where it is. */
    bool moves = !str_empty(vm->target) && !str_eq(vm->target, vm->server) && vm_counts_at(vm, vm->server);
    if (u->rule->type == API_RULE_TYPE_APART && moves)
        count_where(c, u, vm->server);
}

static void gather(const struct core *c, struct rule_use *u, const struct api_vm *self) {
    const struct api_rule *r = u->rule;
    for (size_t i = 0; i < r->n_vms; i++)
        count_fellow(c, u, self, CORE_GET(c, vm, VM, r->vms[i]));
    const struct table *t = &c->tables[API_KIND_VM];
    for (size_t i = 0; i < t->n && !str_empty(r->tag); i++) {
        const struct api_vm *vm = t->sorted[i]->v->data;
        if (str_eq(vm->pool, r->pool) && names(vm->tags, vm->n_tags, r->tag) && !names(r->vms, r->n_vms, vm->id))
            count_fellow(c, u, self, vm);
    }
}

void rules_gather(const struct core *c, const struct api_vm *vm, struct rule_uses *ret) {
    const struct table *t = &c->tables[API_KIND_RULE];
    *ret = (struct rule_uses){0};
    for (size_t i = 0; i < t->n && !str_empty(vm->pool); i++) {
        const struct api_rule *r = t->sorted[i]->v->data;
        if (!is_about(r, vm))
            continue;
        ret->uses = xreallocarray(ret->uses, ret->n + 1, sizeof *ret->uses);
        struct rule_use *u = &ret->uses[ret->n++];
        *u = (struct rule_use){.rule = r};
        if (r->type != API_RULE_TYPE_ON_SERVERS && r->type != API_RULE_TYPE_NOT_ON_SERVERS)
            gather(c, u, vm);
    }
}

void rules_done(struct rule_uses *uses) {
    for (size_t i = 0; i < uses->n; i++) {
        size_t pos = 0;
        void *value;
        while (map_next(&uses->uses[i].at, &pos, NULL, &value))
            free(value);
        map_done(&uses->uses[i].at);
    }
    free(uses->uses);
}

size_t rule_fellows_at(const struct rule_use *u, const char *server) {
    const size_t *n = map_get(&u->at, server);
    return n ? *n : 0;
}

/* How the server breaks the rule, or NULL. fewest: fellows on the server that has the fewest of them (spread). */
char *rule_broken_by(const struct rule_use *u, const struct api_server *s, size_t fewest) {
    const struct api_rule *r = u->rule;
    size_t here = rule_fellows_at(u, s->id);
    switch (r->type) {
    case API_RULE_TYPE_TOGETHER:
        return u->n_fellows && !here
                   ? xasprintf("breaks rule %s: it belongs together with others that run elsewhere", r->name)
                   : NULL;
    case API_RULE_TYPE_APART:
        return here ? xasprintf("breaks rule %s: it is to be apart from %s there", r->name,
                                here == 1 ? "another one" : "others")
                    : NULL;
    case API_RULE_TYPE_ON_SERVERS:
        return names(r->servers, r->n_servers, s->id) ? NULL
                                                      : xasprintf("breaks rule %s: it is to run on others", r->name);
    case API_RULE_TYPE_NOT_ON_SERVERS:
        return names(r->servers, r->n_servers, s->id) ? xasprintf("breaks rule %s: it is not to run there", r->name)
                                                      : NULL;
    case API_RULE_TYPE_SPREAD:
        return here > fewest
                   ? xasprintf("breaks rule %s: %zu of them are there and only %zu on another", r->name, here, fewest)
                   : NULL;
    default:
        return NULL;
    }
}

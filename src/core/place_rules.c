/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Placement rules as they bear on one virtual machine. Where its fellows run is gathered once for each rule; each
 * server is then asked about. Fellows that are stopped bind nobody, and those on a server that is in maintenance do not
 * keep others there: they will leave it too.
 *
 * Those that have a tag are listed with it, so that nobody looks at thirty thousand virtual machines for a few.
 */
#include "core/place.h"

#include <stdio.h>

static bool names(char *const *list, size_t n, const char *id) {
    for (size_t i = 0; i < n; i++)
        if (str_eq(list[i], id))
            return true;
    return false;
}

bool rule_is_about(const struct api_rule *r, const struct api_vm *vm) {
    return str_eq(r->pool, vm->pool) &&
           (names(r->vms, r->n_vms, vm->id) || (!str_empty(r->tag) && names(vm->tags, vm->n_tags, r->tag)));
}

bool rule_bars(const struct api_rule *r) {
    return r->must && (r->type == API_RULE_TYPE_ON_SERVERS || r->type == API_RULE_TYPE_NOT_ON_SERVERS);
}

const struct api_rule *rule_barring(const struct core *c, const struct api_vm *vm, const char *server) {
    const struct table *t = &c->tables[API_KIND_RULE];
    for (size_t i = 0; i < t->n; i++) {
        const struct api_rule *r = t->sorted[i]->v->data;
        bool on = r->type == API_RULE_TYPE_ON_SERVERS;
        if (rule_bars(r) && names(r->servers, r->n_servers, server) != on && rule_is_about(r, vm))
            return r;
    }
    return NULL;
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

/* ---- who has a tag ---- */

#define TAG_KEY 320

struct tagged {
    struct object **vms;
    size_t n, cap;
};

static void tag_key(const char *pool, const char *tag, char key[static TAG_KEY]) {
    snprintf(key, TAG_KEY, "%s/%s", pool, tag);
}

static void tag_add(struct core *c, struct object *o, const char *key) {
    struct tagged *t = map_get(&c->tagged, key);
    if (!t) {
        t = xcalloc(1, sizeof *t);
        map_put(&c->tagged, key, t);
    }
    if (t->n == t->cap) {
        t->cap = t->cap ? t->cap * 2 : 4;
        t->vms = xreallocarray(t->vms, t->cap, sizeof(struct object *));
    }
    t->vms[t->n++] = o;
}

static void tag_remove(struct core *c, const struct object *o, const char *key) {
    struct tagged *t = map_get(&c->tagged, key);
    size_t i = 0;
    while (t && i < t->n && t->vms[i] != o)
        i++;
    if (!t || i == t->n)
        return;
    t->vms[i] = t->vms[--t->n];
    if (t->n)
        return;
    map_remove(&c->tagged, key);
    free(t->vms);
    free(t);
}

static bool same_tags(const struct api_vm *a, const struct api_vm *b) {
    bool same = str_eq(a->pool, b->pool) && a->n_tags == b->n_tags;
    for (size_t i = 0; same && i < a->n_tags; i++)
        same = str_eq(a->tags[i], b->tags[i]);
    return same;
}

static void tags_change(struct core *c, struct object *o, const struct api_vm *vm, bool add) {
    for (size_t i = 0; vm && i < vm->n_tags && !str_empty(vm->pool); i++) {
        char key[TAG_KEY];
        if (names(vm->tags, i, vm->tags[i]))
            continue; /* it has it twice */
        tag_key(vm->pool, vm->tags[i], key);
        if (add)
            tag_add(c, o, key);
        else
            tag_remove(c, o, key);
    }
}

void tags_index(struct core *c, struct object *o, const struct version *old) {
    const struct api_vm *a = old ? old->data : NULL, *b = o->v ? o->v->data : NULL;
    if (o->kind != API_KIND_VM || (a && b && same_tags(a, b)))
        return;
    tags_change(c, o, a, false);
    tags_change(c, o, b, true);
}

void tags_done(struct core *c) {
    size_t pos = 0;
    void *value;
    while (map_next(&c->tagged, &pos, NULL, &value)) {
        free(((struct tagged *)value)->vms);
        free(value);
    }
    map_done(&c->tagged);
}

/* ---- a rule's fellows ---- */

static void gather(const struct core *c, struct rule_use *u, const struct api_vm *self) {
    const struct api_rule *r = u->rule;
    for (size_t i = 0; i < r->n_vms; i++)
        count_fellow(c, u, self, CORE_GET(c, vm, VM, r->vms[i]));
    char key[TAG_KEY];
    tag_key(r->pool, r->tag, key);
    const struct tagged *t = str_empty(r->tag) ? NULL : map_get(&c->tagged, key);
    for (size_t i = 0; t && i < t->n; i++) {
        const struct api_vm *vm = t->vms[i]->v->data;
        if (!names(r->vms, r->n_vms, vm->id))
            count_fellow(c, u, self, vm);
    }
}

void rules_gather(const struct core *c, const struct api_vm *vm, struct rule_uses *ret) {
    const struct table *t = &c->tables[API_KIND_RULE];
    *ret = (struct rule_uses){0};
    for (size_t i = 0; i < t->n && !str_empty(vm->pool); i++) {
        const struct api_rule *r = t->sorted[i]->v->data;
        if (!rule_is_about(r, vm))
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

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rules that must hold and cannot all: told when one is made or changed, not at the next start of a guest. Virtual
 * machines that must be together are one group, through as many rules as it takes. A group contradicts itself when two
 * of it must be apart, or when no server of the pool is left that all its rules allow and that has the storage of all.
 * Only what the rule or the virtual machine in question has a part in is refused: what was so before stays as it is.
 */
#include "core/core_int.h"

#define NAMED_MOST 6

/* What is asked about. */
struct question {
    const struct api_rule *rule; /* NULL: a virtual machine */
    const struct api_vm *vm;
};

struct checking {
    const struct core *c;
    const struct question *q;
    const struct api_rule **rules; /* of the pool, that must hold; not of type spread */
    size_t n_rules;
    const struct api_vm **vms; /* that any of them is about */
    size_t n;
    struct map index;                  /* by id: where it is in vms, and one */
    bool *about;                       /* [rule * n + vm] */
    size_t *group;                     /* of each: another one of it, at last the same for all */
    size_t *head, *next;               /* a group's members: one more than the index; 0: no more */
    const struct api_server **servers; /* of the pool */
    size_t n_servers;
};

static bool is_about(const struct checking *k, size_t rule, size_t vm) { return k->about[rule * k->n + vm]; }

/* ---- who it is about ---- */

static void vm_add(struct checking *k, const struct api_vm *vm) {
    if (!vm || map_get(&k->index, vm->id))
        return;
    k->vms = xreallocarray(k->vms, k->n + 1, sizeof *k->vms);
    k->vms[k->n++] = vm;
    map_put(&k->index, vm->id, (void *)(uintptr_t)k->n);
}

/* As it is to be, where it is the one in question. */
static const struct api_vm *vm_get(const struct checking *k, const char *id) {
    return k->q->vm && str_eq(k->q->vm->id, id) ? k->q->vm : CORE_GET(k->c, vm, VM, id);
}

static bool has_tag(const struct api_vm *vm, const char *tag) {
    for (size_t i = 0; i < vm->n_tags && !str_empty(tag); i++)
        if (str_eq(vm->tags[i], tag))
            return true;
    return false;
}

static void gather_vms(struct checking *k, const char *pool) {
    const struct table *t = &k->c->tables[API_KIND_VM];
    bool tags = false;
    for (size_t i = 0; i < k->n_rules; i++) {
        const struct api_rule *r = k->rules[i];
        tags |= !str_empty(r->tag);
        for (size_t j = 0; j < r->n_vms; j++)
            vm_add(k, vm_get(k, r->vms[j]));
    }
    if (k->q->vm)
        vm_add(k, k->q->vm);
    for (size_t i = 0; i < t->n && tags; i++) {
        const struct api_vm *vm = vm_get(k, t->sorted[i]->id);
        for (size_t j = 0; j < k->n_rules && str_eq(vm->pool, pool); j++)
            if (has_tag(vm, k->rules[j]->tag))
                vm_add(k, vm);
    }
    k->about = xcalloc(k->n_rules * k->n + 1, sizeof *k->about);
    for (size_t i = 0; i < k->n_rules; i++) {
        const struct api_rule *r = k->rules[i];
        for (size_t j = 0; j < r->n_vms; j++) {
            uintptr_t at = (uintptr_t)map_get(&k->index, r->vms[j]);
            if (at)
                k->about[i * k->n + at - 1] = true;
        }
        for (size_t j = 0; j < k->n; j++)
            k->about[i * k->n + j] |= has_tag(k->vms[j], r->tag);
    }
}

static void gather_rules(struct checking *k, const char *pool) {
    const struct table *t = &k->c->tables[API_KIND_RULE];
    k->rules = xcalloc(t->n + 1, sizeof *k->rules);
    for (size_t i = 0; i < t->n; i++) {
        const struct api_rule *r = t->sorted[i]->v->data;
        bool counts = r->type != API_RULE_TYPE_SPREAD && r->must && str_eq(r->pool, pool);
        if (counts && !(k->q->rule && str_eq(r->id, k->q->rule->id)))
            k->rules[k->n_rules++] = r;
    }
    if (k->q->rule)
        k->rules[k->n_rules++] = k->q->rule;
    t = &k->c->tables[API_KIND_SERVER];
    k->servers = xcalloc(t->n + 1, sizeof *k->servers);
    for (size_t i = 0; i < t->n; i++) {
        const struct api_server *s = t->sorted[i]->v->data;
        if (str_eq(s->pool, pool))
            k->servers[k->n_servers++] = s;
    }
}

/* ---- groups ---- */

static size_t group_of(struct checking *k, size_t i) {
    while (k->group[i] != i)
        i = k->group[i] = k->group[k->group[i]];
    return i;
}

static void make_groups(struct checking *k) {
    k->group = xcalloc(k->n + 1, sizeof *k->group);
    for (size_t i = 0; i < k->n; i++)
        k->group[i] = i;
    for (size_t r = 0; r < k->n_rules; r++) {
        size_t first = SIZE_MAX;
        for (size_t i = 0; i < k->n && k->rules[r]->type == API_RULE_TYPE_TOGETHER; i++) {
            if (!is_about(k, r, i))
                continue;
            if (first == SIZE_MAX)
                first = i;
            k->group[group_of(k, i)] = group_of(k, first);
        }
    }
    for (size_t i = 0; i < k->n; i++)
        k->group[i] = group_of(k, i);
    k->head = xcalloc(k->n + 1, sizeof *k->head);
    k->next = xcalloc(k->n + 1, sizeof *k->next);
    for (size_t i = k->n; i-- > 0;) {
        k->next[i] = k->head[k->group[i]];
        k->head[k->group[i]] = i + 1;
    }
}

/* One group with the rules about any of it. */
struct group {
    size_t *members, n, cap;
    bool *rules;
    bool asked; /* what the question is about has a part in it */
};

static void group_fill(const struct checking *k, size_t id, struct group *g) {
    *g = (struct group){.rules = xcalloc(k->n_rules + 1, sizeof(bool))};
    for (size_t at = k->head[id]; at; at = k->next[at - 1]) {
        size_t i = at - 1;
        if (g->n == g->cap) {
            g->cap = g->cap ? g->cap * 2 : 4;
            g->members = xreallocarray(g->members, g->cap, sizeof *g->members);
        }
        g->members[g->n++] = i;
        for (size_t r = 0; r < k->n_rules; r++)
            g->rules[r] |= is_about(k, r, i);
        g->asked |= k->q->vm == k->vms[i];
    }
    g->asked |= k->q->rule && g->rules[k->n_rules - 1];
}

static void group_done(struct group *g) {
    free(g->members);
    free(g->rules);
}

/* ---- what contradicts ---- */

/* "a", "b": those of these types (a mask) that are about the group, but for the one in question. */
static char *name_rules(const struct checking *k, const struct group *g, unsigned types) {
    struct buf out = {0};
    for (size_t i = 0, n = 0; i < k->n_rules; i++) {
        const struct api_rule *r = k->rules[i];
        if (r != k->q->rule && g->rules[i] && (types & 1u << r->type) && n++ < NAMED_MOST)
            buf_addf(&out, "%s\"%s\"", n > 1 ? ", " : "", r->name);
    }
    return buf_take(&out);
}

#define TOGETHER   (1u << API_RULE_TYPE_TOGETHER)
#define OF_SERVERS (1u << API_RULE_TYPE_ON_SERVERS | 1u << API_RULE_TYPE_NOT_ON_SERVERS)

static int check_apart(const struct checking *k, const struct group *g, size_t rule, struct error *e) {
    const struct api_vm *first = NULL, *second = NULL;
    for (size_t i = 0; i < g->n && !second; i++) {
        const struct api_vm *vm = is_about(k, rule, g->members[i]) ? k->vms[g->members[i]] : NULL;
        second = first ? vm : NULL;
        first = first ? first : vm;
    }
    if (!second)
        return 0;
    const struct api_rule *r = k->rules[rule];
    _cleanup_free_ char *near = name_rules(k, g, TOGETHER);
    _cleanup_free_ char *others =
        r == k->q->rule ? xstrdup(near) : xasprintf("%s%s\"%s\"", near, *near ? ", " : "", r->name);
    return error_set_field(e, ERR_CONFLICT, k->q->rule ? "type" : "tags",
                           "virtual machines \"%s\" and \"%s\" would have to run both together and apart: with the "
                           "rules %s",
                           first->name, second->name, others);
}

static bool allows(const struct api_rule *r, const char *server) {
    bool named = false;
    for (size_t i = 0; i < r->n_servers && !named; i++)
        named = str_eq(r->servers[i], server);
    return r->type == API_RULE_TYPE_ON_SERVERS ? named : r->type == API_RULE_TYPE_NOT_ON_SERVERS ? !named : true;
}

static bool group_may(const struct checking *k, const struct group *g, const char *server) {
    for (size_t i = 0; i < k->n_rules; i++)
        if (g->rules[i] && !allows(k->rules[i], server))
            return false;
    return true;
}

static const struct api_vm *unreached_on(const struct checking *k, const struct group *g, const char *server) {
    for (size_t i = 0; i < g->n; i++)
        if (vm_unreached(k->c, k->vms[g->members[i]], server))
            return k->vms[g->members[i]];
    return NULL;
}

/* What has no server even by itself is not the rules' fault. */
static bool each_has_a_server(const struct checking *k, const struct group *g) {
    for (size_t i = 0; i < g->n; i++) {
        bool any = false;
        for (size_t j = 0; j < k->n_servers && !any; j++)
            any = !vm_unreached(k->c, k->vms[g->members[i]], k->servers[j]->id);
        if (!any)
            return false;
    }
    return true;
}

static int check_servers(const struct checking *k, const struct group *g, struct error *e) {
    size_t allowed = 0;
    const char *field = !k->q->rule ? "tags" : k->q->rule->n_servers ? "servers" : "type";
    for (size_t i = 0; i < k->n_servers; i++) {
        if (!group_may(k, g, k->servers[i]->id))
            continue;
        allowed++;
        if (g->n < 2 || !unreached_on(k, g, k->servers[i]->id))
            return 0;
    }
    if (!k->n_servers || (allowed && !each_has_a_server(k, g)))
        return 0;
    _cleanup_free_ char *others = name_rules(k, g, TOGETHER | OF_SERVERS);
    const char *vm = k->vms[g->members[0]]->name;
    if (!allowed)
        return error_set_field(e, ERR_CONFLICT, field,
                               *others ? "virtual machine \"%s\" would have no server left: with the rules %s"
                                       : "virtual machine \"%s\" would have no server left",
                               vm, others);
    return error_set_field(e, ERR_CONFLICT, field,
                           *others ? "virtual machines that would have to run together with \"%s\" have no server in "
                                     "common that has all their storage: with the rules %s"
                                   : "virtual machines that would have to run together with \"%s\" have no server in "
                                     "common that has all their storage",
                           vm, others);
}

static int check_group(const struct checking *k, const struct group *g, struct error *e) {
    int result = 0;
    for (size_t r = 0; r < k->n_rules && result == 0; r++)
        if (k->rules[r]->type == API_RULE_TYPE_APART && g->n > 1 && (g->asked || k->rules[r] == k->q->rule))
            result = check_apart(k, g, r, e);
    return result == 0 && g->asked ? check_servers(k, g, e) : result;
}

static int check(const struct core *c, const char *pool, const struct question *q, struct error *e) {
    struct checking k = {.c = c, .q = q};
    int r = 0;
    gather_rules(&k, pool);
    gather_vms(&k, pool);
    make_groups(&k);
    for (size_t i = 0; i < k.n && k.n_rules && r == 0; i++) {
        struct group g;
        if (k.group[i] != i)
            continue;
        group_fill(&k, i, &g);
        r = check_group(&k, &g, e);
        group_done(&g);
    }
    map_done(&k.index);
    free(k.rules);
    free(k.vms);
    free(k.about);
    free(k.group);
    free(k.head);
    free(k.next);
    free(k.servers);
    return r;
}

int rules_check(const struct core *c, const struct api_rule *rule, struct error *e) {
    bool matters = rule->must && rule->type != API_RULE_TYPE_SPREAD;
    return matters ? check(c, rule->pool, &(struct question){.rule = rule}, e) : 0;
}

int rules_check_vm(const struct core *c, const struct api_vm *old, const struct api_vm *vm, struct error *e) {
    const struct table *t = &c->tables[API_KIND_RULE];
    bool matters = false;
    for (size_t i = 0; i < t->n && vm->n_tags && !matters; i++) {
        const struct api_rule *r = t->sorted[i]->v->data;
        matters = r->must && str_eq(r->pool, vm->pool) && has_tag(vm, r->tag) && !(old && has_tag(old, r->tag));
    }
    return matters ? check(c, vm->pool, &(struct question){.vm = vm}, e) : 0;
}

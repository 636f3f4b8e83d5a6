/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which servers have a repository, and which of them does an op on it. `servers` is where it is to be, `presented`
 * where it has been opened: only that is asked here. Ops go to the virtual machine's own server where that has the
 * repository, else to the first that is connected, so that one object's ops go to one server as long as that is there.
 */
#include "core/core_int.h"

const struct api_repository_server *repository_on(const struct api_repository *r, const char *server) {
    for (size_t i = 0; r && i < r->n_presented; i++)
        if (str_eq(r->presented[i].server, server))
            return &r->presented[i];
    return NULL;
}

static bool can_do(const struct core *c, const struct api_repository_server *p) {
    return p && p->usable && core_agent_ready(c, p->server);
}

const char *repository_route(const struct core *c, const struct api_repository *r, const char *prefer) {
    if (can_do(c, repository_on(r, prefer)))
        return repository_on(r, prefer)->server;
    for (size_t i = 0; i < r->n_presented; i++)
        if (can_do(c, &r->presented[i]))
            return r->presented[i].server;
    for (size_t i = 0; i < r->n_presented; i++)
        if (core_agent_ready(c, r->presented[i].server))
            return r->presented[i].server;
    return r->n_presented ? r->presented[0].server : "";
}

int core_need_repository(struct core *c, const struct api_repository *r, struct error *e) {
    if (r->n_presented < 2)
        return core_need_agent(c, r->n_presented ? r->presented[0].server : r->server, e);
    for (size_t i = 0; i < r->n_presented; i++)
        if (core_agent_is_connected(c, r->presented[i].server))
            return 0;
    return error_set(e, ERR_UNAVAILABLE,
                     "none of the servers to which storage repository \"%s\" is presented is "
                     "connected: check that tarn-agent runs there and reaches the manager",
                     r->name);
}

const char *repository_pool(const struct core *c, const struct api_repository *r) {
    const char *pool = NULL;
    if (!str_empty(r->pool))
        return r->pool;
    for (size_t i = 0; i < r->n_presented; i++) {
        const struct api_server *s = CORE_GET(c, server, SERVER, r->presented[i].server);
        if (s && pool && !str_eq(pool, s->pool))
            return "";
        if (s)
            pool = s->pool;
    }
    return str_or(pool, "");
}

/* ---- changing ---- */

static void servers_add(struct api_repository *r, const char *server) {
    for (size_t i = 0; i < r->n_servers; i++)
        if (str_eq(r->servers[i], server))
            return;
    r->servers = xreallocarray(r->servers, r->n_servers + 1, sizeof *r->servers);
    r->servers[r->n_servers++] = xstrdup(server);
}

static void servers_drop(struct api_repository *r, const char *server) {
    size_t kept = 0;
    for (size_t i = 0; i < r->n_servers; i++) {
        if (str_eq(r->servers[i], server))
            free(r->servers[i]);
        else
            r->servers[kept++] = r->servers[i];
    }
    r->n_servers = kept;
}

/* One server's own has its name; what several share has none. */
static void set_sole(struct api_repository *r) {
    str_set(&r->server, str_empty(r->pool) && r->n_presented == 1 ? r->presented[0].server : "");
}

void repository_presented(struct api_repository *r, const char *server, bool usable, const char *reason) {
    struct api_repository_server *p = (struct api_repository_server *)repository_on(r, server);
    if (!p) {
        r->presented = xreallocarray(r->presented, r->n_presented + 1, sizeof *r->presented);
        p = &r->presented[r->n_presented++];
        memset(p, 0, sizeof *p);
        api_repository_server_init(p);
        str_set(&p->server, server);
    }
    p->usable = usable;
    str_set(&p->reason, reason);
    servers_add(r, server);
    set_sole(r);
}

void repository_withdrawn(struct api_repository *r, const char *server) {
    size_t kept = 0;
    for (size_t i = 0; i < r->n_presented; i++) {
        if (str_eq(r->presented[i].server, server))
            api_repository_server_done(&r->presented[i]);
        else
            r->presented[kept++] = r->presented[i];
    }
    r->n_presented = kept;
    servers_drop(r, server);
    set_sole(r);
}

bool repository_usable(const struct api_repository *r) {
    for (size_t i = 0; i < r->n_presented; i++)
        if (r->presented[i].usable)
            return true;
    return false;
}

void repository_upgrade(struct api_repository *r) {
    if (!r->n_presented && !str_empty(r->server) && r->state != API_OBJECT_STATE_CREATING)
        repository_presented(r, r->server, r->state != API_OBJECT_STATE_UNAVAILABLE, "");
}

void repositories_forget_server(struct core *c, const char *server) {
    struct table *t = &c->tables[API_KIND_REPOSITORY];
    for (size_t i = 0; i < t->n; i++) {
        const struct api_repository *old = t->sorted[i]->v->data;
        if (!repository_on(old, server))
            continue;
        struct api_repository *r = CORE_COPY(repository, REPOSITORY, old);
        repository_withdrawn(r, server);
        core_put(c, API_KIND_REPOSITORY, r);
    }
}

/* ---- virtual machines ---- */

/* Calls visit for each repository that it needs; until that returns true. */
static bool vm_visit(const struct core *c, const struct api_vm *vm, bool (*visit)(void *ctx, const char *repository),
                     void *ctx) {
    if (!str_empty(vm->repository) && visit(ctx, vm->repository))
        return true;
    const struct api_template *t = vm->direct_boot ? CORE_GET(c, template, TEMPLATE, vm->template) : NULL;
    if (t && !str_eq(t->repository, vm->repository) && visit(ctx, t->repository))
        return true;
    for (size_t i = 0; i < vm->n_disks; i++) {
        const struct api_disk *d = CORE_GET(c, disk, DISK, vm->disks[i].disk);
        const struct api_iso *iso = CORE_GET(c, iso, ISO, vm->disks[i].iso);
        const char *in = d ? d->repository : iso ? iso->repository : "";
        if (!str_empty(in) && !str_eq(in, vm->repository) && visit(ctx, in))
            return true;
    }
    return false;
}

static bool same_repository(void *ctx, const char *repository) { return str_eq(ctx, repository); }

bool vm_needs_repository(const struct core *c, const struct api_vm *vm, const char *repository) {
    return vm_visit(c, vm, same_repository, (void *)repository);
}

struct reach {
    const struct core *c;
    const char *server;
    const struct api_repository *missing;
};

static bool not_reached(void *ctx, const char *repository) {
    struct reach *x = ctx;
    const struct api_repository *r = CORE_GET(x->c, repository, REPOSITORY, repository);
    if (!r || repository_on(r, x->server))
        return false;
    x->missing = r;
    return true;
}

const struct api_repository *vm_unreached(const struct core *c, const struct api_vm *vm, const char *server) {
    struct reach x = {c, server, NULL};
    vm_visit(c, vm, not_reached, &x);
    return x.missing;
}

static bool not_usable(void *ctx, const char *repository) {
    struct reach *x = ctx;
    const struct api_repository *r = CORE_GET(x->c, repository, REPOSITORY, repository);
    const struct api_repository_server *p = repository_on(r, x->server);
    if (!p || p->usable)
        return false;
    x->missing = r;
    return true;
}

const struct api_repository *vm_unusable(const struct core *c, const struct api_vm *vm, const char *server) {
    struct reach x = {c, server, NULL};
    vm_visit(c, vm, not_usable, &x);
    return x.missing;
}

int vm_check_reach(const struct core *c, const struct api_vm *vm, struct error *e) {
    const struct api_repository *r = CORE_GET(c, repository, REPOSITORY, vm->repository), *missing = NULL;
    if (!r)
        return 0;
    for (size_t i = 0; i < r->n_presented; i++) {
        const struct api_repository *m = vm_unreached(c, vm, r->presented[i].server);
        if (!m)
            return 0;
        missing = m;
    }
    return error_set(e, ERR_CONFLICT,
                     "no server has all storage repositories that the virtual machine needs: none that has \"%s\" has "
                     "\"%s\"",
                     r->name, missing ? missing->name : r->name);
}

bool repository_is_only_on(const struct api_repository *r, const char *server) {
    bool named = repository_on(r, server) != NULL;
    for (size_t i = 0; i < r->n_servers; i++) {
        if (!str_eq(r->servers[i], server))
            return false;
        named = true;
    }
    for (size_t i = 0; i < r->n_presented; i++)
        if (!str_eq(r->presented[i].server, server))
            return false;
    return named && str_empty(r->pool);
}

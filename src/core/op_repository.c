/* SPDX-License-Identifier: Apache-2.0 */
/* Operations on storage repositories. */
#include "core/core_int.h"

#include <errno.h>

int repository_check_path(struct core *c, const struct api_repository *r, const char *server, struct error *e) {
    struct table *t = &c->tables[API_KIND_REPOSITORY];
    for (size_t i = 0; i < t->n; i++) {
        const struct api_repository *other = t->sorted[i]->v->data;
        bool there = repository_on(other, server) != NULL;
        for (size_t k = 0; k < other->n_servers && !there; k++)
            there = str_eq(other->servers[k], server);
        if (!there || str_eq(other->id, r->id) || !path_overlaps(other->path, r->path))
            continue;
        size_t theirs = strlen(other->path), ours = strlen(r->path);
        if (str_eq(other->path, r->path) || theirs == ours)
            return error_set_field(e, ERR_EXISTS, "path", "is the storage repository \"%s\" already", other->name);
        return error_set_field(e, ERR_CONFLICT, "path", "%s the storage repository \"%s\" (%s); give one of its own",
                               theirs < ours ? "is inside of" : "holds", other->name, other->path);
    }
    return 0;
}

/* ---- create ---- */

static void add_server(struct api_repository *n, const char *id) {
    n->servers = xreallocarray(n->servers, n->n_servers + 1, sizeof *n->servers);
    n->servers[n->n_servers++] = xstrdup(id);
}

/* Exactly one way of saying where it is; in the end all servers stand in `servers`. */
static int pick_servers(struct core *c, struct api_repository *n, struct error *e) {
    struct table *t = &c->tables[API_KIND_SERVER];
    int ways = !str_empty(n->server) + (n->n_servers > 0) + !str_empty(n->pool);
    if (ways > 1)
        return error_set_field(e, ERR_INVALID, n->n_servers ? "servers" : "pool",
                               "give one of server, servers and pool");
    if (!str_empty(n->pool)) {
        for (size_t i = 0; i < t->n; i++) {
            const struct api_server *s = t->sorted[i]->v->data;
            if (str_eq(s->pool, n->pool))
                add_server(n, s->id);
        }
        if (!n->n_servers)
            return error_set_field(e, ERR_CONFLICT, "pool", "the pool has no servers yet: add one first");
    } else if (!str_empty(n->server)) {
        add_server(n, n->server);
    } else if (!n->n_servers) {
        if (t->n != 1)
            return error_set_field(e, ERR_INVALID, "server",
                                   t->n ? "there are several: name one of them, those that share it (servers), or "
                                          "their pool (pool)"
                                        : "no server has joined yet");
        add_server(n, t->sorted[0]->id);
    }
    str_set(&n->server, n->n_servers == 1 && str_empty(n->pool) ? n->servers[0] : "");
    return 0;
}

static int check_servers(struct core *c, const struct api_repository *n, struct error *e) {
    int result = 0;
    for (size_t i = 0; i < n->n_servers && result == 0; i++) {
        for (size_t k = 0; k < i && result == 0; k++)
            if (str_eq(n->servers[i], n->servers[k]))
                result = error_set_field(e, ERR_INVALID, "servers", "names a server twice");
        if (result == 0)
            result = core_need_agent(c, n->servers[i], e);
        if (result == 0)
            result = repository_check_path(c, n, n->servers[i], e);
    }
    return result;
}

static int submit_create(struct core *c, const struct core_request *r, struct api_repository *n, struct error *e) {
    char proof[UUID_LEN + 1];
    json_t *present = json_array();
    core_new_id(c, proof);
    for (size_t i = 0; i < n->n_servers; i++)
        json_array_append_new(
            present, json_pack("{s:s, s:s, s:s}", "repository", n->id, "server", n->servers[i], "proof", proof));
    struct job_request q = {.kind = &job_repository_create,
                            .actor = r->actor,
                            .request = r->id,
                            .object_kind = API_KIND_REPOSITORY,
                            .object_id = n->id,
                            .object_name = n->name,
                            .title = xasprintf("Create storage repository %s", n->name),
                            .args = json_pack("{s:s, s:o}", "first", n->servers[0], "present", present)};
    struct api_job *j = job_draft(c, &q);
    job_lock(j, API_KIND_REPOSITORY, n->id, n->name, false);
    const struct api_pool *pool = CORE_GET(c, pool, POOL, n->pool);
    if (pool) /* its members stay what they are meanwhile */
        job_lock(j, API_KIND_POOL, pool->id, pool->name, true);
    job_add_step(j, q.kind, "open", 0);
    if (n->n_servers > 1)
        job_add_step(j, q.kind, "prove", 1);
    for (size_t i = 1; i < n->n_servers; i++)
        job_add_step(j, q.kind, "present", (int64_t)i);
    if (n->n_servers > 1)
        job_add_step(j, q.kind, "tidy", 1);
    job_add_step(j, q.kind, "publish", 0);
    core_put(c, API_KIND_REPOSITORY, n);
    return job_submit(c, &q, j, e);
}

int op_repository_create(struct core *c, const struct core_request *r, struct error *e) {
    struct api_repository *n = xcalloc(1, sizeof *n);
    char id[UUID_LEN + 1], now[TIME_TEXT_MAX];
    int result = api_repository_parse(r->body, API_CREATE, n, e);
    if (result < 0) {
        free(n);
        return result;
    }
    result = core_resolve_refs(c, API_KIND_REPOSITORY, n, e);
    if (result == 0)
        result = core_check_name_free(c, API_KIND_REPOSITORY, n->name, NULL, e);
    if (result == 0)
        result = pick_servers(c, n, e);
    if (result == 0)
        result = check_servers(c, n, e);
    if (result < 0) {
        api_repository_done(n);
        free(n);
        return result;
    }
    core_new_id(c, id);
    str_set(&n->id, id);
    str_set(&n->created, core_now(c, now));
    n->state = API_OBJECT_STATE_CREATING;
    return submit_create(c, r, n, e);
}

/* ---- change, delete ---- */

int op_repository_change(struct core *c, const struct core_request *r, struct error *e) {
    return core_change_and_reply(c, r, API_KIND_REPOSITORY, NULL, e);
}

static struct api_job *draft(struct core *c, const struct job_request *q, const struct api_repository *n) {
    struct api_job *j = job_draft(c, q);
    job_lock(j, API_KIND_REPOSITORY, n->id, n->name, false);
    const struct api_pool *pool = CORE_GET(c, pool, POOL, n->pool);
    if (pool)
        job_lock(j, API_KIND_POOL, pool->id, pool->name, true);
    return j;
}

int op_repository_delete(struct core *c, const struct core_request *r, struct error *e) {
    struct object *o = core_param(c, r, 0, API_KIND_REPOSITORY, e);
    int result = o ? core_check_if_match(r, o, e) : -ENOENT;
    if (result < 0)
        return result;
    struct job_request q = {.kind = &job_repository_delete,
                            .actor = r->actor,
                            .request = r->id,
                            .object_kind = o->kind,
                            .object_id = o->id,
                            .object_name = object_name(o),
                            .title = xasprintf("Delete storage repository %s", object_name(o))};
    return job_submit(c, &q, draft(c, &q, o->v->data), e);
}

/* ---- present, withdraw ---- */

static int submit_server(struct core *c, const struct core_request *r, const struct job_kind *kind, struct error *e) {
    struct object *o = core_param(c, r, 0, API_KIND_REPOSITORY, e);
    struct api_pool_server in;
    char proof[UUID_LEN + 1];
    int result = o ? core_check_if_match(r, o, e) : -ENOENT;
    if (result == 0)
        result = api_pool_server_parse(r->body, API_CREATE, &in, e);
    if (result < 0)
        return result;
    const struct api_server *s = CORE_GET(c, server, SERVER, in.server);
    if (!s)
        result = error_set_field(e, ERR_NOT_FOUND, "server", "there is no server \"%.*s\"", 128, in.server);
    api_pool_server_done(&in);
    if (result < 0)
        return result;
    core_new_id(c, proof);
    bool present = kind == &job_repository_present;
    struct job_request q = {.kind = kind,
                            .actor = r->actor,
                            .request = r->id,
                            .object_kind = o->kind,
                            .object_id = o->id,
                            .object_name = object_name(o),
                            .title =
                                xasprintf("%s storage repository %s %s server %s", present ? "Present" : "Withdraw",
                                          object_name(o), present ? "to" : "from", s->name),
                            .args = json_pack("{s:s, s:[{s:s, s:s, s:s}]}", "server", s->id, "present", "repository",
                                              o->id, "server", s->id, "proof", proof)};
    struct api_job *j = draft(c, &q, o->v->data);
    job_lock(j, API_KIND_SERVER, s->id, s->name, true);
    for (size_t i = 0; i < kind->n_steps; i++)
        job_add_step(j, kind, kind->steps[i].name, 0);
    return job_submit(c, &q, j, e);
}

int op_repository_present(struct core *c, const struct core_request *r, struct error *e) {
    return submit_server(c, r, &job_repository_present, e);
}

int op_repository_withdraw(struct core *c, const struct core_request *r, struct error *e) {
    return submit_server(c, r, &job_repository_withdraw, e);
}

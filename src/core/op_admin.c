/* SPDX-License-Identifier: Apache-2.0 */
/* Operations on users, tokens, servers, jobs and events, and on the manager itself. */
#include "core/core_int.h"

#include <errno.h>
#include <strings.h>

static int show(struct core *c, const struct core_request *r, enum api_kind kind, struct error *e) {
    const struct object *o = core_param(c, r, 0, kind, e);
    if (!o)
        return -ENOENT;
    core_reply_object(c, r->id, 200, o, r->query.fields);
    return 0;
}

#define LIST_AND_SHOW(lower, UPPER)                                                                                    \
    int op_##lower##_list(struct core *c, const struct core_request *r, struct error *e) {                             \
        return core_list(c, r, API_KIND_##UPPER, NULL, NULL, e);                                                       \
    }                                                                                                                  \
    int op_##lower##_show(struct core *c, const struct core_request *r, struct error *e) {                             \
        return show(c, r, API_KIND_##UPPER, e);                                                                        \
    }
LIST_AND_SHOW(user, USER)
LIST_AND_SHOW(server, SERVER)
LIST_AND_SHOW(repository, REPOSITORY)
LIST_AND_SHOW(upload, UPLOAD)
LIST_AND_SHOW(disk, DISK)
LIST_AND_SHOW(iso, ISO)
LIST_AND_SHOW(template, TEMPLATE)
LIST_AND_SHOW(vm, VM)
LIST_AND_SHOW(pool, POOL)
LIST_AND_SHOW(rule, RULE)

int op_about(struct core *c, const struct core_request *r, struct error *e) {
    json_t *j = json_pack("{s:s, s:s, s:i, s:I, s:b, s:s}", "product", "Tarn", "version", c->config.version, "protocol",
                          API_AGENT_PROTOCOL, "revision", (json_int_t)c->revision, "read_only", c->read_only,
                          "read_only_reason", c->read_only ? "the store cannot be written" : "");
    char *text = json_text(j);
    json_decref(j);
    core_reply(c, r->id, 200, text, 0, 0);
    return 0;
}

/* ---- users ---- */

static size_t administrators(const struct core *c) {
    const struct table *t = &c->tables[API_KIND_USER];
    size_t n = 0;
    for (size_t i = 0; i < t->n; i++)
        n += ((const struct api_user *)t->sorted[i]->v->data)->role == API_ROLE_ADMINISTRATOR;
    return n;
}

int op_user_create(struct core *c, const struct core_request *r, struct error *e) {
    struct api_user in;
    _cleanup_json_ json_t *body = json_deep_copy(r->body);
    /* The shell has hashed the password and taken it out; what stands in its place only satisfies the check for
     * presence. */
    if (r->password_hash && json_is_object(body) && !json_object_get(body, "password"))
        json_object_set_new(body, "password", json_string("(taken out)"));
    int result = api_user_parse(body, API_CREATE, &in, e);
    if (result < 0)
        return result;
    struct api_user *u = xmemdup(&in, sizeof in);
    result = core_check_name_free(c, API_KIND_USER, u->name, NULL, e);
    if (result == 0 && strcasecmp(u->name, "tarn") == 0)
        result = error_set_field(e, ERR_INVALID, "name", "is what Tarn calls itself in the log of events");
    if (result == 0 && str_empty(r->password_hash))
        result = error_set_field(e, ERR_INVALID, "password", "is missing");
    if (result < 0) {
        api_user_done(u);
        free(u);
        return result;
    }
    char id[UUID_LEN + 1], now[TIME_TEXT_MAX];
    core_new_id(c, id);
    str_set(&u->id, id);
    str_set(&u->created, core_now(c, now));
    str_set(&u->password, "");
    str_set(&u->password_hash, r->password_hash);
    core_event(c, API_SEVERITY_INFO, r->actor, "user.created", API_KIND_USER, u->id, u->name, NULL,
               "%s created user %s (%s)", r->actor, u->name, api_role_text(u->role));
    core_put(c, API_KIND_USER, u);
    core_reply_object(c, r->id, 201, core_find(c, API_KIND_USER, id), NULL);
    return 0;
}

/* Who signed in as the user before the password changed must do so again. */
static void end_sessions(struct core *c, const char *user, const char *kept, bool all_kinds) {
    struct table *t = &c->tables[API_KIND_TOKEN];
    for (size_t i = t->n; i-- > 0;) {
        const struct api_token *tok = t->sorted[i]->v->data;
        if (str_eq(tok->user, user) && !str_eq(tok->id, kept) && (all_kinds || tok->kind == API_TOKEN_KIND_SESSION))
            core_remove(c, API_KIND_TOKEN, tok->id);
    }
}

/* Everybody may change their own password and full name; the rest is an administrator's. */
static int check_may_change(const struct core_request *r, const struct object *o, struct error *e) {
    const char *key;
    json_t *value;
    if (core_is_admin(r))
        return 0;
    json_object_foreach(
        (json_t *)r->body, key,
        value) if (!str_eq(key, "password") &&
                   !str_eq(key, "full_name")) return error_set_field(e, ERR_FORBIDDEN, key,
                                                                     "may be changed by administrators only");
    return 0;
}

int op_user_change(struct core *c, const struct core_request *r, struct error *e) {
    struct object *o = core_find(c, API_KIND_USER, r->params[0]);
    struct api_user next;
    /* Who may not see users does not learn which there are. */
    if (!core_is_admin(r) && (!o || !str_eq(r->user_id, o->id)))
        return error_set(e, ERR_FORBIDDEN, "only administrators may change other users");
    if (!core_param(c, r, 0, API_KIND_USER, e))
        return -ENOENT;
    const struct api_user *old = o->v->data;
    int result = check_may_change(r, o, e);
    if (result == 0)
        result = core_check_if_match(r, o, e);
    if (result == 0)
        result = api_user_merge(old, r->body, &next, e);
    if (result < 0)
        return result;
    bool last_admin =
        old->role == API_ROLE_ADMINISTRATOR && next.role != API_ROLE_ADMINISTRATOR && administrators(c) == 1;
    if (last_admin) {
        api_user_done(&next);
        return error_set_field(e, ERR_CONFLICT, "role", "\"%s\" is the last administrator", old->name);
    }
    struct api_user *u = xmemdup(&next, sizeof next);
    str_set(&u->password, "");
    if (!str_empty(r->password_hash)) {
        str_set(&u->password_hash, r->password_hash);
        end_sessions(c, u->id, NULL, false);
    }
    _cleanup_free_ char *role =
        u->role == old->role ? NULL
                             : xasprintf(" (role: %s, was %s)", api_role_text(u->role), api_role_text(old->role));
    core_event(c, API_SEVERITY_INFO, r->actor, "user.changed", API_KIND_USER, u->id, u->name, NULL,
               "%s changed user %s%s%s", r->actor, u->name, str_empty(r->password_hash) ? "" : " (password)",
               str_or(role, ""));
    core_put(c, API_KIND_USER, u);
    core_reply_object(c, r->id, 200, o, NULL);
    return 0;
}

int op_user_delete(struct core *c, const struct core_request *r, struct error *e) {
    struct object *o = core_param(c, r, 0, API_KIND_USER, e);
    if (!o)
        return -ENOENT;
    const struct api_user *u = o->v->data;
    int result = core_check_if_match(r, o, e);
    if (result < 0)
        return result;
    if (u->role == API_ROLE_ADMINISTRATOR && administrators(c) == 1)
        return error_set(e, ERR_CONFLICT, "\"%s\" is the last administrator", u->name);
    end_sessions(c, u->id, NULL, true);
    core_event(c, API_SEVERITY_INFO, r->actor, "user.deleted", API_KIND_USER, u->id, u->name, NULL,
               "%s deleted user %s", r->actor, u->name);
    core_remove(c, API_KIND_USER, u->id);
    core_reply(c, r->id, 204, NULL, 0, 0);
    return 0;
}

/* ---- tokens ---- */

static bool own_token(void *ctx, const void *data) {
    const struct core_request *r = ctx;
    const struct api_token *t = data;
    return str_eq(t->user, r->user_id);
}

int op_token_list(struct core *c, const struct core_request *r, struct error *e) {
    return core_list(c, r, API_KIND_TOKEN, core_is_admin(r) ? NULL : own_token, (void *)r, e);
}

int op_token_delete(struct core *c, const struct core_request *r, struct error *e) {
    const struct object *o = core_find(c, API_KIND_TOKEN, r->params[0]);
    const struct api_token *t = o ? o->v->data : NULL;
    if (!t || (!core_is_admin(r) && !str_eq(t->user, r->user_id)))
        return error_set(e, ERR_NOT_FOUND, "there is no token with the id \"%.*s\"", 128, r->params[0]);
    core_event(c, API_SEVERITY_INFO, r->actor, "token.deleted", API_KIND_TOKEN, t->id, t->name, NULL,
               "%s revoked token %s", r->actor, t->name);
    core_remove(c, API_KIND_TOKEN, t->id);
    core_reply(c, r->id, 204, NULL, 0, 0);
    return 0;
}

static bool refuse_read_only(struct core *c, uint64_t request) {
    if (!c->read_only)
        return false;
    _cleanup_error_ struct error e = ERROR_INIT;
    error_set(&e, ERR_READ_ONLY, "the manager's store takes no changes now; Tarn tries again each second");
    core_reply_error(c, request, &e);
    return true;
}

#define TOKENS_MAX 250 /* of one user and kind */

/*
 * Room for one more, or whoever may sign in fills the store: the oldest session goes; of API tokens their user must say
 * which. Tokens to join with are made by administrators, for as many servers as there are.
 */
static int make_room(struct core *c, const struct api_token *t, struct error *e) {
    const struct table *all = &c->tables[API_KIND_TOKEN];
    const struct api_token *oldest = NULL;
    size_t n = 0;
    for (size_t i = 0; i < all->n; i++) {
        const struct api_token *other = all->sorted[i]->v->data;
        if (other->kind != t->kind || !str_eq(other->user, t->user))
            continue;
        n++;
        if (!oldest || strcmp(other->id, oldest->id) < 0)
            oldest = other;
    }
    if (n < TOKENS_MAX || t->kind == API_TOKEN_KIND_JOIN)
        return 0;
    if (t->kind != API_TOKEN_KIND_SESSION)
        return error_set(e, ERR_CONFLICT, "there are %zu tokens already; revoke those that are not used any more", n);
    core_remove(c, API_KIND_TOKEN, oldest->id);
    return 0;
}

void core_token_add(struct core *c, uint64_t request, const char *actor, const struct api_token *t) {
    _cleanup_error_ struct error e = ERROR_INIT;
    if (refuse_read_only(c, request))
        return;
    char id[UUID_LEN + 1], now[TIME_TEXT_MAX];
    core_begin(c);
    if (make_room(c, t, &e) < 0) {
        core_reply_error(c, request, &e);
        core_end(c);
        return;
    }
    struct api_token *put = CORE_COPY(token, TOKEN, t);
    core_new_id(c, id);
    str_set(&put->id, id);
    str_set(&put->created, core_now(c, now));
    str_set(&put->address, c->client);
    if (str_empty(put->expires))
        str_set(&put->expires, time_format(c->wall_ms + put->lifetime * 1000, now));
    core_event(c, API_SEVERITY_INFO, actor, put->kind == API_TOKEN_KIND_SESSION ? "session.created" : "token.created",
               API_KIND_TOKEN, id, put->name, NULL,
               put->kind == API_TOKEN_KIND_SESSION ? "%s signed in" : "%s created token %s", actor, put->name);
    core_put(c, API_KIND_TOKEN, put);
    core_reply_object(c, request, 201, core_find(c, API_KIND_TOKEN, id), NULL);
    core_end(c);
}

void core_token_remove(struct core *c, uint64_t request, const char *actor, const char *id) {
    if (refuse_read_only(c, request))
        return;
    core_begin(c);
    const struct api_token *t = CORE_GET(c, token, TOKEN, id);
    if (t) {
        core_event(c, API_SEVERITY_INFO, actor, "session.deleted", API_KIND_TOKEN, id, t->name, NULL, "%s signed out",
                   actor);
        core_remove(c, API_KIND_TOKEN, id);
    }
    core_reply(c, request, 204, NULL, 0, 0);
    core_end(c);
}

/* ---- servers ---- */

static int join(struct core *c, uint64_t request, const char *hash, const char *name, const char *version,
                const char *cert, struct error *e) {
    const struct api_token *t = core_token_by_hash(c, hash);
    int64_t expires = 0;
    if (!t || t->kind != API_TOKEN_KIND_JOIN)
        return error_set_field(e, ERR_UNAUTHENTICATED, "token",
                               "is not a join token of this manager, or it has been used; "
                               "make a new one with: tarn server token create");
    if (time_parse(t->expires, &expires) < 0 || expires < c->wall_ms)
        return error_set_field(e, ERR_UNAUTHENTICATED, "token",
                               "expired at %s; make a new one with: tarn server token create", t->expires);
    const char *problem = name_problem(name);
    if (problem)
        return error_set_field(e, ERR_INVALID, "name", "%s", problem);
    if (core_find(c, API_KIND_SERVER, name))
        return error_set_field(e, ERR_EXISTS, "name",
                               "there is a server with the name \"%s\" already: remove it, or join under "
                               "another name with --name",
                               name);
    char id[UUID_LEN + 1], now[TIME_TEXT_MAX];
    struct api_server *s = xcalloc(1, sizeof *s);
    api_server_init(s);
    core_new_id(c, id);
    str_set(&s->id, id);
    str_set(&s->name, name);
    str_set(&s->version, version);
    str_set(&s->certificate, cert);
    str_set(&s->created, core_now(c, now));
    s->state = API_SERVER_STATE_OFFLINE;
    str_set(&s->state_reason, "has not connected yet");
    if (t->uses <= 1) {
        core_remove(c, API_KIND_TOKEN, t->id);
    } else {
        struct api_token *put = CORE_COPY(token, TOKEN, t);
        put->uses--;
        core_put(c, API_KIND_TOKEN, put);
    }
    core_event(c, API_SEVERITY_INFO, "tarn", "server.joined", API_KIND_SERVER, id, name, NULL, "Server %s joined",
               name);
    core_put(c, API_KIND_SERVER, s);
    core_reply_object(c, request, 201, core_find(c, API_KIND_SERVER, id), NULL);
    return 0;
}

void core_server_join(struct core *c, uint64_t request, const char *token_hash, const char *name, const char *version,
                      const char *certificate_sha256) {
    if (refuse_read_only(c, request))
        return;
    _cleanup_error_ struct error e = ERROR_INIT;
    core_begin(c);
    if (join(c, request, token_hash, name, version, certificate_sha256, &e) < 0)
        core_reply_error(c, request, &e);
    core_end(c);
}

static bool has_addresses(const struct core_request *r) { return json_object_get(r->body, "addresses") != NULL; }

static int check_server(struct core *c, const struct core_request *r, const struct object *o, const void *next,
                        struct error *e) {
    int result = has_addresses(r) ? server_check_addresses(c, o->v->data, next, e) : 0;
    return result < 0 || !json_object_get(r->body, "fence") ? result : server_check_fence(next, e);
}

int op_server_change(struct core *c, const struct core_request *r, struct error *e) {
    struct object *o;
    int result = core_change(c, r, API_KIND_SERVER, check_server, &o, e);
    if (result < 0)
        return result;
    if (has_addresses(r)) {
        server_tell_addresses(c, o->v->data);
        server_note_addresses(c, o->v->data, o->v->data);
    }
    if (json_object_get(r->body, "fence"))
        fencing_changed(c, o->id);
    core_reply_object(c, r->id, 200, o, NULL);
    return 0;
}

/* Of one that is connected: what is to be done, in the order in which it can be. */
static int check_online(struct core *c, const struct api_server *s, struct error *e) {
    const struct api_pool *pool = CORE_GET(c, pool, POOL, s->pool);
    int r = server_check_stopped(c, s, e);
    if (r == 0 && pool)
        r = error_set(e, ERR_IN_USE, "server \"%s\" is in the pool \"%s\": first tarn pool remove %s %s", s->name,
                      pool->name, pool->name, s->name);
    if (r == 0)
        r = error_set(e, ERR_CONFLICT, "server \"%s\" is online: stop tarn-agent there first", s->name);
    return r;
}

/* With force. A connection looks well for a while after its other end has gone: until then nobody knows, and no other
   advice can be followed. */
static int check_connected(struct core *c, const struct api_server *s, struct error *e) {
    if ((s->has_cluster && s->cluster.gone) || core_agent(c, s->id)->mute)
        return error_set(e, ERR_CONFLICT,
                         "server \"%s\" %s, but counts as connected until it has been silent for %d s: wait until it "
                         "is offline (tarn server show %s), then do this again",
                         s->name, core_agent(c, s->id)->mute ? "does not answer" : "is given up by its pool",
                         CORE_SILENCE_MS / 1000, s->name);
    _cleanup_error_ struct error why = ERROR_INIT;
    check_online(c, s, &why);
    return error_set(e, why.code,
                     "server \"%s\" is connected. If it has failed just now, it counts as that until it has been "
                     "silent for %d s: wait until it is offline (tarn server show %s), then do this again. If it has "
                     "not: %s",
                     s->name, CORE_SILENCE_MS / 1000, s->name, why.message);
}

/* Of one that is not connected. */
static int check_empty(struct core *c, const struct api_server *s, struct error *e) {
    const struct api_pool *pool = CORE_GET(c, pool, POOL, s->pool);
    if (pool)
        return error_set(e, ERR_IN_USE,
                         "server \"%s\" is in the pool \"%s\" and not connected, so that it cannot be removed there: "
                         "bring it back, or if it is gone for good, give --force",
                         s->name, pool->name);
    if (map_get(&c->locks, s->id))
        return error_set(e, ERR_CONFLICT, "a job works on server \"%s\"", s->name);
    struct table *t = &c->tables[API_KIND_VM];
    for (size_t i = 0; i < t->n; i++) {
        const struct api_vm *vm = t->sorted[i]->v->data;
        if (str_eq(vm->server, s->id) || str_eq(vm->target, s->id))
            return error_set(e, ERR_IN_USE,
                             "server \"%s\" still has the virtual machine \"%s\"; if it is gone for good, give --force",
                             s->name, vm->name);
    }
    t = &c->tables[API_KIND_REPOSITORY];
    for (size_t i = 0; i < t->n; i++) {
        const struct api_repository *rep = t->sorted[i]->v->data;
        bool named = repository_on(rep, s->id) != NULL;
        for (size_t k = 0; k < rep->n_servers && !named; k++)
            named = str_eq(rep->servers[k], s->id);
        if (named)
            return error_set(
                e, ERR_IN_USE,
                "server \"%s\" still has the storage repository \"%s\"; if it is gone for good, give --force", s->name,
                rep->name);
    }
    return 0;
}

int op_server_delete(struct core *c, const struct core_request *r, struct error *e) {
    struct object *o = core_param(c, r, 0, API_KIND_SERVER, e);
    struct api_server_removal q;
    int result = o ? core_check_if_match(r, o, e) : -ENOENT;
    if (result == 0)
        result = r->args ? api_server_removal_parse(r->args, API_CREATE, &q, e) : (api_server_removal_init(&q), 0);
    if (result < 0)
        return result;
    const struct api_server *s = o->v->data;
    json_t *removed = NULL;
    if (core_agent_is_connected(c, s->id)) {
        result = q.force ? check_connected(c, s, e) : check_online(c, s, e);
    } else if (q.force && failover_is_seen(c, s)) {
        result = error_set(e, ERR_CONFLICT,
                           "server \"%s\" is up, the others of its pool see it, and its virtual machines may run: "
                           "start tarn-agent there, or switch it off (tarn server fence %s --action off, or by "
                           "hand) and delete it then",
                           s->name, s->name);
    } else if (q.force) {
        result = server_forget(c, s->id, r->actor, &removed, e);
    } else if ((result = check_empty(c, s, e)) == 0) {
        core_event(c, API_SEVERITY_INFO, r->actor, "server.deleted", API_KIND_SERVER, s->id, s->name, NULL,
                   "%s removed server %s", r->actor, s->name);
        _cleanup_free_ char *id = xstrdup(s->id), *name = xstrdup(s->name);
        core_remove(c, API_KIND_SERVER, id);
        jobs_server_forgotten(c, id, name); /* it may have been asked for something about another, as a power switch */
    }
    api_server_removal_done(&q);
    if (result < 0)
        return result;
    if (!removed)
        removed = json_pack("{s:[], s:[], s:[]}", "lost", "crashed", "warnings");
    core_reply(c, r->id, 200, json_text(removed), 0, 0);
    json_decref(removed);
    return 0;
}

/* ---- jobs and events ---- */

int op_job_list(struct core *c, const struct core_request *r, struct error *e) {
    return core_list(c, r, API_KIND_JOB, NULL, NULL, e);
}
int op_event_list(struct core *c, const struct core_request *r, struct error *e) {
    return core_list(c, r, API_KIND_EVENT, NULL, NULL, e);
}

int op_job_show(struct core *c, const struct core_request *r, struct error *e) {
    const struct object *o = core_find(c, API_KIND_JOB, r->params[0]);
    if (o) {
        core_reply_object(c, r->id, 200, o, r->query.fields);
        return 0;
    }
    if (!uuid_valid(r->params[0]))
        return error_set(e, ERR_NOT_FOUND, "there is no job \"%.*s\"", 128, r->params[0]);
    /* An old one: in the store only. */
    struct core_effect *effect = effect_new(CORE_HISTORY);
    effect->request = r->id;
    effect->object_kind = api_kinds[API_KIND_JOB].name;
    effect->object_id = xstrdup(r->params[0]);
    effect->fields = xstrdup(r->query.fields);
    list_append(&c->txn->effects, &effect->link);
    return 0;
}

void job_abort_note(struct core *c, const struct core_request *r, const char *id) {
    const struct api_job *j = CORE_GET(c, job, JOB, id);
    core_event(c, API_SEVERITY_INFO, r->actor, "job.abort", API_KIND_JOB, j->id, j->title, j->id,
               "%s asked to abort: %s", r->actor, j->title);
}

/* Whoever may do nothing to a server or a pool does not call off what an administrator does to it. */
static int check_may_abort(const struct core_request *r, const struct api_job *j, struct error *e) {
    size_t n = strcspn(j->kind, ".");
    for (int op = 0; op < API_OP_COUNT; op++) {
        const char *permission = api_ops[op].permission;
        if (strncmp(permission, j->kind, n) == 0 && permission[n] == '.' && strcmp(permission + n, ".read") != 0 &&
            api_ops[op].roles & 1u << r->role)
            return 0;
    }
    return error_set(e, ERR_FORBIDDEN, "the role %s may not abort a job of the kind %s", api_role_text(r->role),
                     j->kind);
}

int op_job_abort(struct core *c, const struct core_request *r, struct error *e) {
    struct object *o = core_param(c, r, 0, API_KIND_JOB, e);
    if (!o)
        return -ENOENT;
    int result = check_may_abort(r, o->v->data, e);
    if (result == 0)
        result = job_abort(c, o->id, r->actor, e);
    if (result < 0)
        return result;
    job_abort_note(c, r, o->id);
    core_reply_object(c, r->id, 200, o, NULL);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Jobs on repositories, and the steps by which one is presented to a further server, which joining a pool takes too.
 *
 * That two servers have the same storage at a path cannot be seen from its mark: a copy has the mark as well. So a
 * server that has it writes an empty file of a name never used before, and the further one opens the repository only
 * where it sees that file.
 */
#include "core/core_int.h"

static const char *object_id_of(const struct job_ctx *x) { return x->job->object.id; }

static json_t *repository_args(const struct api_repository *r) {
    return json_pack("{s:s, s:s, s:s}", "repository", r->id, "driver", api_repository_driver_text(r->driver), "path",
                     r->path);
}

/* ---- presenting: args.present[param] = {repository, server, proof} ---- */

static const json_t *entry_of(const struct job_ctx *x) {
    return json_array_get(json_object_get(x->job->args, "present"), (size_t)x->param);
}
static const struct api_repository *entry_repository(const struct job_ctx *x) {
    return CORE_GET(x->c, repository, REPOSITORY, json_str(entry_of(x), "repository"));
}

void present_entry(struct job_ctx *x, const char *repository, const char *server, const char *proof) {
    json_t *list = json_object_get(x->job->args, "present");
    if (!list) {
        list = json_array();
        json_object_set_new(x->job->args, "present", list);
    }
    json_array_append_new(list,
                          json_pack("{s:s, s:s, s:s}", "repository", repository, "server", server, "proof", proof));
}

static int prove(struct job_ctx *x, bool remove, struct error *e) {
    const struct api_repository *r = entry_repository(x);
    if (!r || !r->n_presented)
        return STEP_DONE;
    const char *server = repository_route(x->c, r, NULL);
    if (remove && !core_agent_ready(x->c, server))
        return STEP_DONE; /* an empty file is left; nothing waits for that */
    return job_call(
        x, server, API_AGENT_OP_REPOSITORY_PROVE,
        json_pack("{s:s, s:s, s:b}", "repository", r->id, "proof", json_str(entry_of(x), "proof"), "remove", remove),
        e);
}

int present_prove(struct job_ctx *x, struct error *e) { return prove(x, false, e); }
int present_tidy(struct job_ctx *x, struct error *e) { return prove(x, true, e); }

int present_open(struct job_ctx *x, struct error *e) {
    const struct api_repository *r = entry_repository(x);
    const struct api_server *by = r ? CORE_GET(x->c, server, SERVER, repository_route(x->c, r, NULL)) : NULL;
    if (!r)
        return error_set(e, ERR_NOT_FOUND, "the storage repository is gone");
    json_t *args = repository_args(r);
    json_set_str(args, "proof", r->n_presented ? json_str(entry_of(x), "proof") : "");
    json_set_str(args, "proved_by", by ? by->name : "");
    return job_call(x, json_str(entry_of(x), "server"), API_AGENT_OP_REPOSITORY_OPEN, args, e);
}

int present_opened(struct job_ctx *x, const json_t *result, struct error *e) {
    const struct api_repository *old = entry_repository(x);
    if (!old)
        return 0;
    const char *server = json_str(entry_of(x), "server");
    const struct api_server *s = CORE_GET(x->c, server, SERVER, server);
    struct api_repository *r = CORE_COPY(repository, REPOSITORY, old);
    repository_presented(r, server, true, "");
    if (r->state == API_OBJECT_STATE_UNAVAILABLE)
        r->state = API_OBJECT_STATE_READY;
    _cleanup_free_ char *detail = xasprintf("presented to server %s", s ? s->name : server);
    job_changed(x, API_KIND_REPOSITORY, r->id, r->name, "changed", detail);
    core_put(x->c, API_KIND_REPOSITORY, r);
    return 0;
}

int present_close(struct job_ctx *x, struct error *e) {
    const struct api_repository *r = entry_repository(x);
    if (!r)
        return STEP_DONE;
    json_t *args = repository_args(r);
    json_object_set_new(args, "keep", json_true());
    return job_call(x, json_str(entry_of(x), "server"), API_AGENT_OP_REPOSITORY_CLOSE, args, e);
}

int present_take_away(struct job_ctx *x, struct error *e) {
    const struct api_repository *old = entry_repository(x);
    if (!old)
        return STEP_DONE;
    struct api_repository *r = CORE_COPY(repository, REPOSITORY, old);
    repository_withdrawn(r, json_str(entry_of(x), "server"));
    core_put(x->c, API_KIND_REPOSITORY, r);
    return STEP_DONE;
}

int present_closed(struct job_ctx *x, const json_t *result, struct error *e) { return present_take_away(x, e); }

/* ---- create ---- */

static const char *first_server(const struct job_ctx *x) { return json_str(x->job->args, "first"); }

static int create_open(struct job_ctx *x, struct error *e) {
    const struct api_repository *r = CORE_GET(x->c, repository, REPOSITORY, object_id_of(x));
    return job_call(x, first_server(x), API_AGENT_OP_REPOSITORY_OPEN, repository_args(r), e);
}

static int create_close(struct job_ctx *x, struct error *e) {
    const struct api_repository *r = CORE_GET(x->c, repository, REPOSITORY, object_id_of(x));
    return r ? job_call(x, first_server(x), API_AGENT_OP_REPOSITORY_CLOSE, repository_args(r), e) : STEP_DONE;
}

static int create_opened(struct job_ctx *x, const json_t *result, struct error *e) {
    struct api_repository *r =
        CORE_COPY(repository, REPOSITORY, CORE_GET(x->c, repository, REPOSITORY, object_id_of(x)));
    repository_presented(r, first_server(x), true, "");
    r->capacity = json_int(result, "capacity", 0);
    r->free = json_int(result, "free", 0);
    core_put(x->c, API_KIND_REPOSITORY, r);
    return 0;
}

static int create_publish(struct job_ctx *x, struct error *e) {
    struct api_repository *r =
        CORE_COPY(repository, REPOSITORY, CORE_GET(x->c, repository, REPOSITORY, object_id_of(x)));
    r->state = API_OBJECT_STATE_READY;
    job_changed(x, API_KIND_REPOSITORY, r->id, r->name, "created", r->path);
    core_put(x->c, API_KIND_REPOSITORY, r);
    return STEP_DONE;
}

static void create_ended(struct job_ctx *x) {
    if (x->job->state != API_JOB_STATE_DONE)
        core_remove(x->c, API_KIND_REPOSITORY, object_id_of(x));
}

static const struct job_step_def create_steps[] = {
    {"open", 1, false, create_open, create_opened, create_close, NULL, false},
    {"prove", 1, false, present_prove, NULL, present_tidy, NULL, false, ANYWHERE_DO | ANYWHERE_UNDO},
    {"present", 1, false, present_open, present_opened, present_close, present_closed, false},
    {"tidy", 1, false, present_tidy, NULL, NULL, NULL, false, ANYWHERE_DO},
    {"publish", 1, false, create_publish, NULL, NULL, NULL, false},
};
const struct job_kind job_repository_create = {
    .name = "repository.create", .steps = create_steps, .n_steps = ARRAY_LEN(create_steps), .ended = create_ended};

/* ---- present ---- */

static const char *server_arg(const struct job_ctx *x) { return json_str(x->job->args, "server"); }

static int present_check(struct job_ctx *x, struct error *e) {
    const struct api_repository *r = CORE_GET(x->c, repository, REPOSITORY, object_id_of(x));
    const struct api_server *s = CORE_GET(x->c, server, SERVER, server_arg(x));
    if (!r || !s)
        return error_set(e, ERR_NOT_FOUND, "the %s is gone", r ? "server" : "storage repository");
    if (r->state != API_OBJECT_STATE_READY)
        return error_set(e, ERR_CONFLICT, "storage repository \"%s\" is %s", r->name, api_object_state_text(r->state));
    if (!str_empty(r->pool))
        return error_set(
            e, ERR_CONFLICT,
            "storage repository \"%s\" is presented to the servers of its pool: add the server to the pool", r->name);
    if (repository_on(r, s->id))
        return error_set(e, ERR_CONFLICT, "storage repository \"%s\" is presented to server \"%s\" already", r->name,
                         s->name);
    int result = repository_check_path(x->c, r, s->id, e);
    if (result == 0)
        result = core_need_agent(x->c, s->id, e);
    return result < 0 ? result : core_need_repository(x->c, r, e);
}

static const struct job_step_def present_steps[] = {
    {"prove", 1, false, present_prove, NULL, present_tidy, NULL, false, ANYWHERE_DO | ANYWHERE_UNDO},
    {"present", 1, false, present_open, present_opened, present_close, present_closed, false},
    {"tidy", 1, false, present_tidy, NULL, NULL, NULL, false, ANYWHERE_DO},
};
const struct job_kind job_repository_present = {
    .name = "repository.present", .steps = present_steps, .n_steps = ARRAY_LEN(present_steps), .check = present_check};

/* ---- withdraw ---- */

/* Whoever runs there needs it; who is stopped must be able to start elsewhere. */
static int check_not_needed(struct core *c, const struct api_repository *r, const struct api_server *s,
                            struct error *e) {
    struct table *t = &c->tables[API_KIND_VM];
    for (size_t i = 0; i < t->n; i++) {
        const struct api_vm *vm = t->sorted[i]->v->data;
        if (!vm_needs_repository(c, vm, r->id))
            continue;
        if (vm_needs_server(vm, s->id))
            return error_set(e, ERR_IN_USE, "virtual machine \"%s\" uses it on server \"%s\"", vm->name, s->name);
        bool elsewhere = false;
        for (size_t k = 0; k < r->n_presented && !elsewhere; k++)
            elsewhere = !str_eq(r->presented[k].server, s->id) && !vm_unreached(c, vm, r->presented[k].server);
        if (!elsewhere)
            return error_set(e, ERR_IN_USE,
                             "virtual machine \"%s\" could run nowhere any more: the rest of its storage is on server "
                             "\"%s\" only",
                             vm->name, s->name);
    }
    return 0;
}

static int withdraw_check(struct job_ctx *x, struct error *e) {
    const struct api_repository *r = CORE_GET(x->c, repository, REPOSITORY, object_id_of(x));
    const struct api_server *s = CORE_GET(x->c, server, SERVER, server_arg(x));
    if (!r || !s)
        return error_set(e, ERR_NOT_FOUND, "the %s is gone", r ? "server" : "storage repository");
    if (!str_empty(r->pool))
        return error_set(
            e, ERR_CONFLICT,
            "storage repository \"%s\" is presented to all servers of its pool: remove the server from the "
            "pool",
            r->name);
    if (!repository_on(r, s->id))
        return error_set(e, ERR_CONFLICT, "storage repository \"%s\" is not presented to server \"%s\"", r->name,
                         s->name);
    if (r->n_presented < 2)
        return error_set(e, ERR_CONFLICT,
                         "\"%s\" is the only server that has it: delete the storage repository instead", s->name);
    int result = check_not_needed(x->c, r, s, e);
    return result < 0 ? result : core_need_agent(x->c, s->id, e);
}

static int withdraw_put_back(struct job_ctx *x, struct error *e) { return present_opened(x, NULL, e); }

static const struct job_step_def withdraw_steps[] = {
    {"take away", 1, false, present_take_away, NULL, withdraw_put_back, NULL, false},
    {"close", 1, true, present_close, NULL, NULL, NULL, false},
};
const struct job_kind job_repository_withdraw = {.name = "repository.withdraw",
                                                 .steps = withdraw_steps,
                                                 .n_steps = ARRAY_LEN(withdraw_steps),
                                                 .check = withdraw_check};

/* ---- delete ---- */

static int check_empty(const struct job_ctx *x, struct error *e) {
    const char *id = object_id_of(x);
    static const enum api_kind kinds[] = {API_KIND_DISK, API_KIND_TEMPLATE, API_KIND_ISO, API_KIND_UPLOAD, API_KIND_VM};
    for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
        struct table *t = &x->c->tables[kinds[k]];
        for (size_t i = 0; i < t->n; i++) {
            void *data = t->sorted[i]->v->data;
            const char *repository = kinds[k] == API_KIND_DISK       ? ((struct api_disk *)data)->repository
                                     : kinds[k] == API_KIND_TEMPLATE ? ((struct api_template *)data)->repository
                                     : kinds[k] == API_KIND_ISO      ? ((struct api_iso *)data)->repository
                                     : kinds[k] == API_KIND_UPLOAD   ? ((struct api_upload *)data)->repository
                                                                     : ((struct api_vm *)data)->repository;
            if (str_eq(repository, id))
                return error_set(e, ERR_IN_USE, "the repository is not empty: %s \"%s\" is in it", kind_word(kinds[k]),
                                 object_name(t->sorted[i]));
        }
    }
    return 0;
}

/* Each of its servers closes it, the last one for good. Which these are is known only when its turn has come. */
static int delete_check(struct job_ctx *x, struct error *e) {
    const struct api_repository *r = CORE_GET(x->c, repository, REPOSITORY, object_id_of(x));
    int result = r ? check_empty(x, e) : error_set(e, ERR_NOT_FOUND, "the storage repository is gone");
    for (size_t i = 0; result == 0 && i < r->n_presented; i++)
        result = core_need_agent(x->c, r->presented[i].server, e);
    if (result < 0)
        return result;
    job_add_step(x->job, &job_repository_delete, "mark", 0);
    for (size_t i = 0; i < r->n_presented; i++) {
        present_entry(x, r->id, r->presented[i].server, "");
        job_add_step(x->job, &job_repository_delete, "close", (int64_t)i);
    }
    job_add_step(x->job, &job_repository_delete, "remove", 0);
    return 0;
}

static int delete_mark(struct job_ctx *x, struct error *e) {
    struct api_repository *r =
        CORE_COPY(repository, REPOSITORY, CORE_GET(x->c, repository, REPOSITORY, object_id_of(x)));
    r->state = API_OBJECT_STATE_DELETING;
    core_put(x->c, API_KIND_REPOSITORY, r);
    return STEP_DONE;
}

static int delete_close(struct job_ctx *x, struct error *e) {
    const struct api_repository *r = entry_repository(x);
    if (!r)
        return STEP_DONE;
    json_t *args = repository_args(r);
    if ((size_t)x->param + 1 < json_array_size(json_object_get(x->job->args, "present")))
        json_object_set_new(args, "keep", json_true());
    return job_call(x, json_str(entry_of(x), "server"), API_AGENT_OP_REPOSITORY_CLOSE, args, e);
}

static int delete_remove(struct job_ctx *x, struct error *e) {
    job_changed(x, API_KIND_REPOSITORY, object_id_of(x), x->job->object.name, "deleted", NULL);
    core_remove(x->c, API_KIND_REPOSITORY, object_id_of(x));
    return STEP_DONE;
}

static const struct job_step_def delete_steps[] = {
    {"mark", 1, true, delete_mark, NULL, NULL, NULL, false},
    {"close", 1, true, delete_close, NULL, NULL, NULL, false},
    {"remove", 1, true, delete_remove, NULL, NULL, NULL, false},
};
const struct job_kind job_repository_delete = {
    .name = "repository.delete", .steps = delete_steps, .n_steps = ARRAY_LEN(delete_steps), .check = delete_check};

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Undoing a job that is done: the table says which operation takes back what each kind did. The undo is that operation,
 * asked for by whoever undoes, with a job of its own that names the one it undoes; it is offered until anything else
 * has touched the object: a later job that locked it, a change by a client, or its own change of state.
 */
#include "core/core_int.h"

static json_t *migrate_back(const struct api_job *j) {
    const char *repository = json_str(j->args, "old_repository");
    json_t *body = json_pack("{s:s}", "to", json_str(j->args, "from"));
    if (json_array_size(json_object_get(j->args, "local"))) {
        json_object_set_new(body, "disks", json_true());
        if (*repository)
            json_set_str(body, "repository", repository);
    }
    return body;
}

static json_t *same_server(const struct api_job *j) {
    return json_pack("{s:s}", "server", json_str(j->args, "server"));
}

static const struct {
    const char *kind;
    enum api_op_id op;
    json_t *(*body)(const struct api_job *j); /* from its arguments, before they are dropped; NULL: none */
} inverses[] = {
    {"vm.create", API_OP_VM_DELETE, NULL},
    {"vm.start", API_OP_VM_STOP, NULL},
    {"vm.stop", API_OP_VM_START, NULL},
    {"vm.suspend", API_OP_VM_RESUME, NULL},
    {"vm.resume", API_OP_VM_SUSPEND, NULL},
    {"vm.migrate", API_OP_VM_MIGRATE, migrate_back},
    {"disk.create", API_OP_DISK_DELETE, NULL},
    {"template.create", API_OP_TEMPLATE_DELETE, NULL},
    {"repository.create", API_OP_REPOSITORY_DELETE, NULL},
    {"pool.add", API_OP_POOL_REMOVE, same_server},
    {"pool.remove", API_OP_POOL_ADD, same_server},
};

void undo_offer(struct api_job *j) {
    for (size_t i = 0; i < ARRAY_LEN(inverses) && j->state == API_JOB_STATE_DONE; i++) {
        if (strcmp(inverses[i].kind, j->kind) != 0)
            continue;
        json_decref(j->inverse);
        j->inverse = json_pack("{s:s}", "op", api_ops[inverses[i].op].name);
        if (inverses[i].body)
            json_object_set_new(j->inverse, "body", inverses[i].body(j));
        j->undoable = true;
    }
}

void undo_index(struct core *c, struct object *o, bool add) {
    const struct api_job *j = o->v->data;
    if (!j->undoable)
        return;
    if (add)
        map_put(&c->undoable, j->object.id, o);
    else if (map_get(&c->undoable, j->object.id) == o)
        map_remove(&c->undoable, j->object.id);
}

void undo_touched(struct core *c, const char *object) {
    const struct object *o = map_count(&c->undoable) ? map_get(&c->undoable, object) : NULL;
    if (!o)
        return;
    struct api_job *j = CORE_COPY(job, JOB, o->v->data);
    j->undoable = false;
    json_decref(j->inverse);
    j->inverse = NULL;
    core_put(c, API_KIND_JOB, j);
}

static enum api_op_id op_by_name(const char *name) {
    for (int op = 0; op < API_OP_COUNT; op++)
        if (str_eq(api_ops[op].name, name))
            return (enum api_op_id)op;
    return API_OP_COUNT;
}

static int check_undoable(const struct core *c, const struct core_request *r, const struct api_job *j,
                          struct error *e) {
    if (j->state < API_JOB_STATE_DONE)
        return error_set(e, ERR_CONFLICT, "the job has not ended; abort it instead");
    if (j->state != API_JOB_STATE_DONE)
        return error_set(e, ERR_CONFLICT, "the job was undone when it %s", api_job_state_text(j->state));
    if (!str_empty(j->undone_by))
        return error_set(e, ERR_CONFLICT, "the job has been undone already");
    enum api_op_id op = op_by_name(json_str(j->inverse, "op"));
    if (!j->undoable || op == API_OP_COUNT)
        return error_set(e, ERR_CONFLICT,
                         "the job cannot be undone: nothing takes back a %s, or \"%s\" has changed since", j->kind,
                         j->object.name);
    if (!(api_ops[op].roles & 1u << r->role))
        return error_set(e, ERR_FORBIDDEN, "undoing it takes the permission %s, which the role %s does not have",
                         api_ops[op].permission, api_role_text(r->role));
    return 0;
}

int op_job_undo(struct core *c, const struct core_request *r, struct error *e) {
    const struct object *o = core_param(c, r, 0, API_KIND_JOB, e);
    if (!o)
        return -1;
    const struct api_job *j = o->v->data;
    int result = check_undoable(c, r, j, e);
    if (result < 0)
        return result;
    _cleanup_json_ json_t *inverse = json_incref(j->inverse);
    _cleanup_free_ char *id = xstrdup(j->id), *object = xstrdup(j->object.id);
    struct core_request take_back = *r;
    take_back.op = op_by_name(json_str(inverse, "op"));
    take_back.params[0] = object;
    take_back.body = json_object_get(inverse, "body");
    take_back.if_match = NULL;
    c->undoing = id;
    *c->undone_by = 0;
    result = c->handlers[take_back.op](c, &take_back, e);
    c->undoing = NULL;
    if (result < 0)
        return result;
    struct api_job *put = CORE_COPY(job, JOB, core_data(c, API_KIND_JOB, id));
    put->undoable = false;
    str_set(&put->undone_by, c->undone_by);
    core_put(c, API_KIND_JOB, put);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal of ops: what makes each happen once.
 *
 * An op is waiting (in memory only: after a crash the manager sends it again), begun (durable, its call may have come
 * out) or done (durable, with its answer). A commit carries as much as an event changes: beginning a guest.start and
 * the guest's record are one commit, its answer and the guest's new state another.
 */
#include "guest/internal.h"

#include <errno.h>

static void answer_now(struct host *h, const char *id, const struct error *error) {
    json_t *frame = json_object();
    json_set_str(frame, "id", id);
    json_object_set_new(frame, "ok", json_boolean(!error));
    if (error)
        json_object_set_new(frame, "error", error_print(error));
    else
        json_object_set_new(frame, "result", json_object());
    host_send(h, frame, false);
}

static void answer_result(struct host *h, const char *id, json_t *result) {
    json_t *frame = json_object();
    json_set_str(frame, "id", id);
    json_object_set_new(frame, "ok", json_true());
    json_object_set_new(frame, "result", result);
    host_send(h, frame, false);
}

static void refuse(struct host *h, const char *id, enum error_code code, const char *message) {
    struct error e = {.code = code, .message = (char *)message};
    answer_now(h, id, &e);
}

static void refuse_unstored(struct host *h, const char *id) {
    switch (-h->broken) {
    case ENOSPC:
    case EDQUOT:
        refuse(h, id, ERR_NO_SPACE,
               "the disk of the agent's state directory is full: free some space there; nothing was done");
        return;
    case EROFS:
        refuse(h, id, ERR_READ_ONLY, "the agent's state directory is read-only; nothing was done");
        return;
    default:
        refuse(h, id, ERR_IO, "the agent cannot write to its state directory (see its log); nothing was done");
    }
}

/* ---- what an op is about ---- */

static bool op_is_guest(enum api_agent_op kind) { return kind <= API_AGENT_OP_GUEST_POLICY; }

/* About the server itself: no guest, no repository. */
static bool op_is_server(enum api_agent_op kind) {
    return kind >= API_AGENT_OP_CLUSTER_CONFIGURE && kind <= API_AGENT_OP_FENCE_RUN;
}

static const char *op_vm(enum api_agent_op kind, const json_t *args) {
    return kind == API_AGENT_OP_GUEST_START ? json_str(json_object_get(args, "vm"), "id") : json_str(args, "vm");
}

/* The field that names what a storage op works on. */
static const char *op_object_field(enum api_agent_op kind) {
    switch (kind) {
    case API_AGENT_OP_DISK_CREATE:
    case API_AGENT_OP_DISK_DELETE:
        return "disk";
    case API_AGENT_OP_TEMPLATE_MAKE:
    case API_AGENT_OP_TEMPLATE_SEAL:
    case API_AGENT_OP_TEMPLATE_DELETE:
        return "template";
    case API_AGENT_OP_ISO_MAKE:
    case API_AGENT_OP_ISO_DELETE:
        return "iso";
    case API_AGENT_OP_UPLOAD_OPEN:
    case API_AGENT_OP_UPLOAD_DELETE:
        return "upload";
    default:
        return "repository";
    }
}

static int check_args(enum api_agent_op kind, const json_t *args, struct error *e) {
    const struct api_schema *schema = api_agent_ops[kind].args;
    _cleanup_free_ void *object = xcalloc(1, schema->size);
    int r = api_object_parse(schema, args, API_PEER, object, e);
    if (r < 0)
        return r;
    api_object_done(schema, object);
    if (!api_agent_ops[kind].once)
        return 0;
    if (op_is_guest(kind)) {
        if (!uuid_valid(op_vm(kind, args)))
            return error_set_field(e, ERR_INVALID, "vm", "the virtual machine's id is missing or malformed");
        return 0;
    }
    if (op_is_server(kind))
        return 0;
    const char *fields[] = {"repository", op_object_field(kind)};
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        if (!uuid_valid(json_str(args, fields[i])))
            return error_set_field(e, ERR_INVALID, fields[i], "the %s's id is missing or malformed", fields[i]);
    }
    return 0;
}

/* ---- records ---- */

void op_free(struct op *op) {
    if (!op)
        return;
    list_remove(&op->link);
    list_remove(&op->fresh);
    json_decref(op->args);
    host_record_free(op->before);
    free(op->id);
    free(op->answer);
    free(op->subject);
    free(op);
}

static struct op *op_new(struct host *h, const char *id, enum api_agent_op kind, json_t *args) {
    struct op *op = xcalloc(1, sizeof(*op));
    op->id = xstrdup(id);
    op->kind = kind;
    op->args = args;
    op->progress = -1;
    if (op_is_guest(kind)) {
        op->guest = host_guest_get(h, op_vm(kind, args));
        op->subject = xstrdup(op_vm(kind, args));
    } else if (kind == API_AGENT_OP_FENCE_RUN) {
        op->subject = xasprintf("fence/%s", json_str(args, "server"));
    } else if (op_is_server(kind)) {
        op->subject = xstrdup(OP_SUBJECT_CLUSTER);
    } else {
        op->subject = xasprintf("%s/%s", op_object_field(kind), json_str(args, op_object_field(kind)));
    }
    map_put(&h->ops, id, op);
    return op;
}

char *op_record_text(const struct op *op) {
    _cleanup_json_ json_t *j = json_object();
    json_set_str(j, "op", api_agent_ops[op->kind].name);
    if (op->state == OP_DONE) {
        _cleanup_json_ json_t *answer = json_loads(op->answer, 0, NULL);
        json_object_set(j, "answer", answer);
    } else {
        json_set_int(j, "order", (int64_t)op->order);
        json_object_set(j, "args", op->args);
    }
    return json_text(j);
}

int op_load(struct host *h, const char *id, const json_t *value, struct error *e) {
    int kind = api_agent_op_from_text(json_str(value, "op"));
    json_t *answer = json_object_get(value, "answer"), *args = json_object_get(value, "args");
    if (kind < 0 || !api_agent_ops[kind].once || (!json_is_object(answer) && check_args(kind, args, e) < 0))
        return error_set(e, ERR_VERSION, "the agent's store holds op %s, which this version does not understand", id);
    if (map_get(&h->ops, id))
        return error_set(e, ERR_IO, "the agent's store holds op %s twice", id);
    if (answer) {
        struct op *op = xcalloc(1, sizeof(*op));
        op->id = xstrdup(id);
        op->kind = kind;
        op->state = OP_DONE;
        op->answer = json_text(answer);
        map_put(&h->ops, id, op);
        return 0;
    }
    struct op *op = op_new(h, id, kind, json_incref(args));
    op->state = OP_BEGUN;
    op->resumed = true;
    op->order = (uint64_t)json_int(value, "order", 0);
    if (op->order > h->next_order)
        h->next_order = op->order;
    return 0;
}

/* ---- beginning ---- */

static void op_leave(struct host *h, struct op *op) {
    struct guest *g = op->guest;
    if (!g && op->state == OP_BEGUN && list_linked(&op->link) && !op_is_server(op->kind))
        h->n_running--;
    list_remove(&op->link);
    if (!g)
        return;
    if (g->active == op)
        g->active = NULL;
    if (g->kill == op)
        g->kill = NULL;
    op->guest = NULL;
    host_guest_touch(h, g);
}

/*
 * An order to switch a power is for now. One that was under way when we ended may be old by the time we are back, and
 * one that lay in our socket while we hung as well: a server that is in our ring is not lost.
 */
static bool fence_is_void(const struct host *h, const struct op *op, bool before_our_start, struct error *e) {
    bool asks_only = str_eq(json_str(op->args, "action"), "status");
    if (op->kind != API_AGENT_OP_FENCE_RUN || asks_only)
        return false;
    if (before_our_start)
        error_set(e, ERR_UNAVAILABLE,
                  "the agent was restarted while it switched the power, which may be on or off: ask for its status");
    else if (json_bool(op->args, "only_unseen", false) && !host_cluster_misses(h, json_str(op->args, "server")))
        error_set(e, ERR_CONFLICT, "the other server of its pool sees it: it is not lost");
    return e->code != ERR_OK;
}

void op_run(struct host *h, struct op *op) {
    if (op->guest) {
        host_guest_run(h, op->guest, op);
        return;
    }
    list_append(&h->running, &op->link);
    if (!op_is_server(op->kind))
        h->n_running++;
    op->call = host_call(h, CALL_OP, op->kind, json_incref(op->args), true);
    op->call->op = op;
}

void op_begin(struct host *h, struct op *op) {
    _cleanup_error_ struct error e = ERROR_INIT;
    if (op->state == OP_BEGUN) { /* before our start */
        if (fence_is_void(h, op, true, &e))
            op_finish(h, op, &e, NULL);
        else
            op_run(h, op);
        return;
    }
    if (h->broken) {
        refuse_unstored(h, op->id);
        op_leave(h, op);
        map_remove(&h->ops, op->id);
        op_free(op);
        return;
    }
    op->state = OP_BEGUN;
    op->order = ++h->next_order;
    host_dirty(h, "op", op->id);
    list_append(&h->fresh, &op->fresh);
    struct guest *g = op->guest;
    if (!g && fence_is_void(h, op, false, &e)) {
        op_finish(h, op, &e, NULL);
        return;
    }
    if (!g) {
        op_run(h, op);
        return;
    }
    op->before = host_record_copy(&g->r);
    _cleanup_free_ char *id = xstrdup(op->id);
    op_run(h, op);
    if (map_get(&h->ops, id) == op) /* it may have ended at once, and be forgotten */
        op->sequence = g->r.sequence;
}

bool op_is_running(const struct host *h, const char *subject) {
    const struct op *op;
    list_for_each(op, &h->running, link) {
        if (str_eq(op->subject, subject))
            return true;
    }
    return false;
}

/* What we do to the cluster by ourselves after a start would else come after a newer configuration, and undo it. */
static bool subject_is_busy(const struct host *h, const char *subject) {
    return op_is_running(h, subject) || (h->cluster.configuring && str_eq(subject, OP_SUBJECT_CLUSTER));
}

static void schedule(struct host *h, struct list *queue, size_t max) {
    struct op *op, *next;
    list_for_each_safe(op, next, queue, link) {
        if (h->n_running >= max)
            return;
        if (subject_is_busy(h, op->subject))
            continue;
        list_remove(&op->link);
        op_begin(h, op);
    }
}

/* In order on one object. Storage ops: at most STORAGE_OPS_MAX at once over all. */
void op_schedule(struct host *h) {
    if (h->opening || !h->started)
        return;
    schedule(h, &h->server_queue, SIZE_MAX);
    schedule(h, &h->queue, STORAGE_OPS_MAX);
}

static void op_enqueue(struct host *h, struct op *op) {
    struct guest *g = op->guest;
    if (!g) {
        list_append(op_is_server(op->kind) ? &h->server_queue : &h->queue, &op->link);
        return;
    }
    host_guest_touch(h, g);
    bool passes = op->kind == API_AGENT_OP_GUEST_KILL && g->active && g->active->kind == API_AGENT_OP_GUEST_STOP;
    if (!passes || g->kill) {
        list_append(&g->queue, &op->link);
        return;
    }
    g->kill = op;
    if (!g->resume)
        op_begin(h, op);
}

static int by_order(const void *a, const void *b) {
    const struct op *x = *(struct op *const *)a, *y = *(struct op *const *)b;
    return x->order < y->order ? -1 : x->order > y->order;
}

/* After our start: ops that had begun go on in their old order. */
void op_resume_all(struct host *h) {
    size_t pos = 0, n = 0;
    void *value;
    struct op **ops = xcalloc(map_count(&h->ops), sizeof(*ops));
    while (map_next(&h->ops, &pos, NULL, &value)) {
        struct op *op = value;
        if (op->state == OP_BEGUN)
            ops[n++] = op;
    }
    qsort(ops, n, sizeof(*ops), by_order);
    for (size_t i = 0; i < n; i++) {
        struct guest *g = ops[i]->guest;
        if (g) {
            g->resume = true;
            if (!g->active)
                g->active = ops[i];
            else
                op_enqueue(h, ops[i]);
        } else {
            op_enqueue(h, ops[i]);
        }
    }
    free(ops);
}

/* ---- ending ---- */

void op_finish(struct host *h, struct op *op, const struct error *error, json_t *result) {
    json_t *frame = json_object();
    json_set_str(frame, "id", op->id);
    json_object_set_new(frame, "ok", json_boolean(!error));
    if (error)
        json_object_set_new(frame, "error", error_print(error));
    else
        json_object_set_new(frame, "result", result ? json_incref(result) : json_object());
    json_decref(result);
    op->answer = json_text(frame);
    json_decref(frame);
    op_leave(h, op);
    op->state = OP_DONE;
    json_decref(op->args);
    op->args = NULL;
    host_dirty(h, "op", op->id);
    host_send_answer(h, op);
    if (op->forget) {
        map_remove(&h->ops, op->id);
        list_append(&h->forgotten, &op->link); /* our callers still look at it */
    }
}

/* A storage op's call has ended. */
void op_done_call(struct host *h, struct op *op, const struct error *error, const json_t *result) {
    if (!op)
        return;
    if (!error && op->kind == API_AGENT_OP_REPOSITORY_OPEN)
        host_repository_opened(h, op->args, result);
    if (!error && op->kind == API_AGENT_OP_REPOSITORY_CLOSE)
        host_repository_closed(h, op->args);
    if (!error && op_is_server(op->kind))
        host_cluster_op_done(h, op->kind, op->args, result);
    op_finish(h, op, error, json_is_object(result) ? json_deep_copy(result) : NULL);
}

/*
 * The commit that should have recorded their beginning has failed: nobody has seen a call of theirs, or an answer. The
 * last one first, as each brings back what the guest was before it.
 */
void op_refuse_fresh(struct host *h) {
    if (list_empty(&h->fresh))
        return;
    host_renew_report(h);
    while (!list_empty(&h->fresh)) {
        struct op *op = list_entry(h->fresh.prev, struct op, fresh);
        if (op->call)
            host_call_drop(h, op->call);
        host_unsend_answer(h, op);
        refuse_unstored(h, op->id);
        struct guest *g = op->before ? host_guest_get(h, op->subject) : NULL;
        if (g)
            host_guest_roll_back(h, g, op);
        op_leave(h, op);
        map_remove(&h->ops, op->id);
        op_free(op);
    }
    host_guest_apply_all_early(h);
}

/* ---- messages ---- */

static void op_cancel(struct host *h, const char *id) {
    struct op *op = map_get(&h->ops, id);
    if (!op || op->state == OP_DONE)
        return;
    struct error cancelled = {.code = ERR_CANCELLED, .message = (char *)"cancelled on request"};
    if (op->state == OP_WAITING) {
        if (h->broken)
            return;
        list_remove(&op->link);
        list_append(&h->fresh, &op->fresh);
        op->order = ++h->next_order;
        op_finish(h, op, &cancelled, NULL);
    } else if (op->kind == API_AGENT_OP_GUEST_STOP && op->guest && op->guest->active == op) {
        host_guest_stop_cancel(h, op->guest);
    } else if (api_agent_ops[op->kind].cancel && op->call) {
        uint64_t call = op->call->id;
        struct guest *g = op->guest;
        if (!host_call_drop(h, op->call))
            host_cancel_call(h, call);
        else if (g)
            host_move_cancelled(h, g, op);
        else
            op_finish(h, op, &cancelled, NULL);
    }
}

/* A server's power is switched for the job that has ordered it, and not when that has failed meanwhile. */
static void drop_order(struct host *h, struct op *op, const char *why) {
    struct error e = {.code = ERR_UNAVAILABLE, .message = (char *)why};
    if (op->kind != API_AGENT_OP_FENCE_RUN || op->state == OP_DONE)
        return;
    if (op->state == OP_BEGUN) { /* the call may still wait for the disk */
        if (op->call && host_call_drop(h, op->call))
            op_finish(h, op, &e, NULL);
        return;
    }
    if (h->broken) {
        op_leave(h, op);
        map_remove(&h->ops, op->id);
        op_free(op);
        return;
    }
    list_append(&h->fresh, &op->fresh);
    op->order = ++h->next_order;
    op_finish(h, op, &e, NULL);
}

/* The manager gives up what it has ordered when it loses the one that was to do it. */
void op_drop_orders(struct host *h) {
    static const char why[] = "the connection to the manager was lost before the power could be switched";
    struct op *op, *next;
    list_for_each_safe(op, next, &h->server_queue, link) drop_order(h, op, why);
    list_for_each_safe(op, next, &h->running, link) drop_order(h, op, why);
}

static void op_forget(struct host *h, const char *job) {
    size_t pos = 0, n = strlen(job);
    const char *id;
    void *value;
    while (n && map_next(&h->guests, &pos, NULL, &value))
        host_move_forgotten(h, value, job);
    pos = 0;
    while (n && map_next(&h->ops, &pos, &id, &value)) {
        struct op *op = value;
        if (strncmp(id, job, n) != 0 || id[n] != '/')
            continue;
        if (op->state != OP_DONE) {
            op->forget = true;
            drop_order(h, op, "its job has ended before the power could be switched");
            continue;
        }
        host_dirty(h, "op", op->id);
        map_remove(&h->ops, op->id);
        op_free(op);
    }
}

/* Ops whose ids are not kept. */
static void op_question(struct host *h, const char *id, enum api_agent_op kind, const json_t *args) {
    if (kind == API_AGENT_OP_OP_CANCEL) {
        op_cancel(h, json_str(args, "op"));
    } else if (kind == API_AGENT_OP_OP_FORGET) {
        op_forget(h, json_str(args, "job"));
    } else if (kind == API_AGENT_OP_CLUSTER_CHECK) {
        answer_result(h, id, host_cluster_state(h, true));
        return;
    } else {
        const char *vm = json_str(args, "vm");
        struct guest *g = *vm ? map_get(&h->guests, vm) : NULL;
        if (*vm && (!g || (g->r.state != API_VM_STATE_RUNNING && g->r.state != API_VM_STATE_SUSPENDED &&
                           g->r.state != API_VM_STATE_STOPPING && g->r.state != API_VM_STATE_STARTING))) {
            refuse(h, id, ERR_CONFLICT, "the virtual machine does not run on this server: start it first");
            return;
        }
        host_open_channel(h, json_deep_copy(args));
    }
    answer_now(h, id, NULL);
}

static bool id_is_good(const char *id) {
    size_t n = strlen(id);
    for (size_t i = 0; i < n; i++) {
        if (id[i] <= ' ' || id[i] > '~')
            return false;
    }
    return n && n <= OP_ID_MAX;
}

/* With the lease under which it came. */
static void stamp(struct host *h, enum api_agent_op kind, json_t *args) {
    if (kind == API_AGENT_OP_GUEST_START || kind == API_AGENT_OP_GUEST_ACTIVATE)
        host_cluster_stamp(h, args);
    if (kind == API_AGENT_OP_GUEST_RECEIVE && json_is_object(json_object_get(args, "start")))
        host_cluster_stamp(h, json_object_get(args, "start"));
}

static void op_receive(struct host *h, const char *id, const json_t *message) {
    int kind = api_agent_op_from_text(json_str(message, "op"));
    if (kind < 0) {
        refuse(h, id, ERR_UNSUPPORTED, "this agent does not know this op: upgrade tarn-agent on this server");
        return;
    }
    struct op *op = api_agent_ops[kind].once ? map_get(&h->ops, id) : NULL;
    if (op) {
        if (op->state == OP_DONE)
            host_send_answer(h, op);
        else if (op->state == OP_WAITING)
            stamp(h, op->kind, op->args); /* it is wanted still */
        return;
    }
    _cleanup_error_ struct error e = ERROR_INIT;
    json_t *args = json_object_get(message, "args");
    _cleanup_json_ json_t *kept = args ? json_incref(args) : json_object();
    stamp(h, (enum api_agent_op)kind, kept);
    if (check_args(kind, kept, &e) < 0)
        answer_now(h, id, &e);
    else if (!api_agent_ops[kind].once)
        op_question(h, id, kind, kept);
    else if (h->broken)
        refuse_unstored(h, id);
    else if (map_count(&h->ops) >= OPS_MAX)
        refuse(h, id, ERR_RATE, "this agent has too many ops waiting or remembered");
    else
        op_enqueue(h, op_new(h, id, kind, json_incref(kept)));
}

void host_message(struct host *h, const json_t *message) {
    if (!h->started || h->dropping || !json_is_object(message))
        return;
    const char *id = json_str(message, "id");
    if (!*id || !json_object_get(message, "op"))
        return;
    if (id_is_good(id))
        op_receive(h, id, message);
    else
        refuse(h, id, ERR_INVALID, "the op's id is longer than 200 bytes or has characters other than printable ASCII");
    host_settle(h);
}

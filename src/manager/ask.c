/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/ask.h"

#include "manager/agents.h"

#define ANSWER_MS 10000

struct ask {
    struct list link; /* in manager.asks, in the order in which they were asked */
    uint64_t number, exchange;
    char server[UUID_LEN + 1];
    enum api_agent_op op;
    int64_t deadline;
};

void ask_init(struct manager *m) { list_init(&m->asks); }

static void ask_free(struct ask *a) {
    list_remove(&a->link);
    free(a);
}

void ask_done(struct manager *m) {
    struct ask *a, *tmp;
    list_for_each_safe(a, tmp, &m->asks, link) ask_free(a);
}

static void ask_fail(struct manager *m, struct ask *a, enum error_code code, const char *message) {
    struct exchange *x = exchange_find(m, a->exchange);
    ask_free(a);
    if (x)
        exchange_fail(x, code, "%s", message);
}

void ask_agent(struct exchange *x, const char *server, enum api_agent_op op, json_t *args) {
    struct manager *m = x->m;
    if (!agents_connected(m, server)) {
        json_decref(args);
        const struct api_server *s = core_server(m->core, server);
        exchange_fail(x, ERR_UNAVAILABLE, "server %s is not connected: only its agent knows", s ? s->name : "");
        return;
    }
    struct ask *a = xcalloc(1, sizeof *a);
    a->number = ++m->next_ask;
    a->exchange = x->id;
    a->op = op;
    a->deadline = manager_now(m) + ANSWER_MS;
    snprintf(a->server, sizeof a->server, "%s", server);
    list_append(&m->asks, &a->link);
    _cleanup_json_ json_t *j =
        json_pack("{s:o, s:s, s:o}", "id", json_sprintf(ASK_OP "%llu", (unsigned long long)a->number), "op",
                  api_agent_ops[op].name, "args", args);
    _cleanup_free_ char *text = json_text(j);
    agents_send(m, server, text);
}

/* What an agent says goes to a client as our description has it, and nothing else of it. */
static void pass_on(struct exchange *x, enum api_agent_op op, const json_t *result) {
    const struct api_schema *schema = api_agent_ops[op].result;
    _cleanup_free_ void *object = xmalloc(schema->size);
    struct buf out = {0};
    if (api_object_parse(schema, result, API_PEER, object, NULL) < 0) {
        exchange_fail(x, ERR_INTERNAL, "the agent's answer is not understood; do its version and the manager's fit?");
        return;
    }
    api_object_write(schema, object, API_PUBLIC, &out);
    api_object_done(schema, object);
    exchange_reply(x, 200, 0, buf_take(&out));
}

void ask_answered(struct manager *m, const char *server, const char *number, const json_t *message) {
    uint64_t n = strtoull(number, NULL, 10);
    struct ask *a, *tmp;
    list_for_each_safe(a, tmp, &m->asks, link) {
        if (a->number != n || strcmp(a->server, server) != 0)
            continue;
        struct exchange *x = exchange_find(m, a->exchange);
        enum api_agent_op op = a->op;
        ask_free(a);
        if (!x)
            return;
        _cleanup_error_ struct error e = ERROR_INIT;
        if (json_bool(message, "ok", false)) {
            pass_on(x, op, json_object_get(message, "result"));
        } else {
            core_agent_error(m->core, server, json_object_get(message, "error"), &e);
            exchange_reply_error(x, &e);
        }
        return;
    }
}

void ask_agent_lost(struct manager *m, const char *server) {
    struct ask *a, *tmp;
    list_for_each_safe(a, tmp, &m->asks, link) {
        if (strcmp(a->server, server) == 0)
            ask_fail(m, a, ERR_UNAVAILABLE, "the connection to the server's agent was lost; try again");
    }
}

void ask_tick(struct manager *m) {
    struct ask *a, *tmp;
    list_for_each_safe(a, tmp, &m->asks, link) {
        if (manager_now(m) > a->deadline)
            ask_fail(m, a, ERR_TIMEOUT, "the server's agent did not answer within 10 s");
    }
}

/* ---- metrics ---- */

static void ask_metrics(struct exchange *x, const char *server, const char *vm) {
    _cleanup_error_ struct error e = ERROR_INIT;
    struct api_metrics_query q;
    if (api_metrics_query_parse(x->args, API_CREATE, &q, &e) < 0) {
        exchange_reply_error(x, &e);
        return;
    }
    json_t *args = json_pack("{s:s, s:s}", "vm", vm, "range", api_metric_range_text(q.range));
    api_metrics_query_done(&q);
    ask_agent(x, server, API_AGENT_OP_METRICS_GET, args);
}

void ask_server_metrics(struct exchange *x) {
    const struct api_server *s = core_server(x->m->core, x->route.params[0]);
    if (s)
        ask_metrics(x, s->id, "");
    else
        exchange_fail(x, ERR_NOT_FOUND, "there is no server %s", x->route.params[0]);
}

void ask_vm_metrics(struct exchange *x) {
    const struct api_vm *vm = core_vm(x->m->core, x->route.params[0]);
    if (vm)
        ask_metrics(x, vm->server, vm->id);
    else
        exchange_fail(x, ERR_NOT_FOUND, "there is no virtual machine %s", x->route.params[0]);
}

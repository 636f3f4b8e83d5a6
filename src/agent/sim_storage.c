/* SPDX-License-Identifier: Apache-2.0 */
/* The storage of a simulated server: every call succeeds after the latency, with sizes as a real one would have them.
 */
#include "agent/agent.h"
#include "agent/delay.h"

#define CAPACITY ((int64_t)10 << 40)

struct sim_storage {
    struct agent *a;
    struct delay *delay;
    int64_t used;
};

struct pending {
    struct sim_storage *s;
    uint64_t call;
    json_t *result;
};

static void on_due(void *ctx) {
    struct pending *p = ctx;
    agent_call_done(p->s->a, p->call, NULL, p->result);
    json_decref(p->result);
    free(p);
}

static void drop(void *ctx) {
    struct pending *p = ctx;
    json_decref(p->result);
    free(p);
}

static json_t *repository_result(const struct sim_storage *s, const json_t *args) {
    struct api_repository_report r = {.repository = (char *)json_str(args, "repository"),
                                      .usable = true,
                                      .reason = (char *)"",
                                      .capacity = CAPACITY,
                                      .free = CAPACITY - s->used};
    return api_repository_report_print(&r, API_PUBLIC);
}

static json_t *disk_result(struct sim_storage *s, int64_t size) {
    struct api_disk_result r = {.size = size, .allocated = 196608};
    s->used += r.allocated;
    return api_disk_result_print(&r, API_PUBLIC);
}

static json_t *upload_result(const json_t *args) {
    struct api_upload_report r = {.upload = (char *)json_str(args, "upload"), .received = 0};
    return api_upload_report_print(&r, API_PUBLIC);
}

void sim_storage_call(struct sim_storage *s, uint64_t call, int op, const json_t *args) {
    struct pending *p = xcalloc(1, sizeof(*p));
    p->s = s;
    p->call = call;
    if (op == API_AGENT_OP_REPOSITORY_OPEN)
        p->result = repository_result(s, args);
    else if (op == API_AGENT_OP_DISK_CREATE)
        p->result = disk_result(s, json_int(args, "size", 0) ? json_int(args, "size", 0) : (int64_t)1 << 30);
    else if (op == API_AGENT_OP_TEMPLATE_MAKE)
        p->result = disk_result(s, (int64_t)1 << 30);
    else if (op == API_AGENT_OP_ISO_MAKE)
        p->result = json_pack("{s:i, s:s}", "size", 1 << 30, "label", "SIMULATED");
    else if (op == API_AGENT_OP_UPLOAD_OPEN)
        p->result = upload_result(args);
    delay_add(s->delay, on_due, drop, p);
}

struct sim_storage *sim_storage_new(struct agent *a) {
    struct sim_storage *s = xcalloc(1, sizeof(*s));
    s->a = a;
    s->delay = delay_new(a->config.loop, a->config.sim_latency_ms);
    return s;
}

void sim_storage_free(struct sim_storage *s) {
    delay_free(s->delay);
    free(s);
}

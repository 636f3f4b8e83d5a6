/* SPDX-License-Identifier: Apache-2.0 */
/* What the manager is told. */
#include "guest/internal.h"

#define PROGRESS_MS 250

json_t *host_event_frame(enum api_agent_event event, json_t *args) {
    json_t *frame = json_object();
    json_set_str(frame, "event", api_agent_events[event].name);
    json_object_set_new(frame, "args", args);
    return frame;
}

/* Borrows its strings from the guest. */
static struct api_guest_report report_of(const struct guest *g) {
    const struct record *r = &g->r;
    return (struct api_guest_report){.vm = (char *)g->vm,
                                     .name = r->name,
                                     .state = r->state,
                                     .reason = r->reason,
                                     .restarts = r->restarts,
                                     .sequence = r->sequence,
                                     .guarded = r->guarded,
                                     .lost = r->lost,
                                     .should_run = r->should_run,
                                     .hypervisor = r->hypervisor,
                                     .started = r->started};
}

json_t *host_guest_report(const struct guest *g) {
    struct api_guest_report report = report_of(g);
    return api_guest_report_print(&report, API_PUBLIC);
}

void host_report_guest(struct host *h, const struct guest *g) {
    if (h->connected && !h->report_wanted)
        host_send_state(h, g, host_event_frame(API_AGENT_EVENT_GUEST_STATE, host_guest_report(g)));
}

static void add_guests(const struct host *h, struct api_agent_report *report) {
    report->guests = xcalloc(map_count(&h->guests) + 1, sizeof(*report->guests));
    size_t pos = 0;
    void *value;
    while (map_next(&h->guests, &pos, NULL, &value)) {
        const struct guest *g = value;
        if (g->r.kept)
            report->guests[report->n_guests++] = report_of(g);
    }
}

static void add_repositories(const struct host *h, struct api_agent_report *report) {
    const struct repository *r;
    size_t n = 0;
    list_for_each(r, &h->repositories, link) n++;
    report->repositories = xcalloc(n + 1, sizeof(*report->repositories));
    list_for_each(r, &h->repositories, link) report->repositories[report->n_repositories++] = r->report;
}

static void add_ops(const struct host *h, struct api_agent_report *report) {
    size_t n = map_count(&h->ops) + 1, pos = 0;
    report->done = xcalloc(n, sizeof(*report->done));
    report->active = xcalloc(n, sizeof(*report->active));
    void *value;
    while (map_next(&h->ops, &pos, NULL, &value)) {
        struct op *op = value;
        if (op->state == OP_DONE)
            report->done[report->n_done++] = op->id;
        else
            report->active[report->n_active++] = op->id;
    }
}

void host_report_all(struct host *h) {
    h->report_wanted = false;
    struct api_agent_report report = {0};
    add_guests(h, &report);
    add_repositories(h, &report);
    add_ops(h, &report);
    json_t *args = api_agent_report_print(&report, API_PUBLIC);
    json_object_set_new(args, "cluster", host_cluster_state(h, true));
    host_send_report(h, host_event_frame(API_AGENT_EVENT_REPORT, args));
    free(report.guests);
    free(report.repositories);
    free(report.done);
    free(report.active);
}

void host_report_progress(struct host *h, struct op *op, int percent, const char *message) {
    bool same = percent == op->progress && str_empty(message);
    if (same || (percent < 100 && h->mono - op->progress_at < PROGRESS_MS && op->progress >= 0))
        return;
    op->progress = percent;
    op->progress_at = h->mono;
    struct api_op_progress progress = {.op = op->id, .percent = percent, .message = (char *)str_or(message, "")};
    host_send(h, host_event_frame(API_AGENT_EVENT_OP_PROGRESS, api_op_progress_print(&progress, API_PUBLIC)), false);
}

void host_upload_received(struct host *h, const struct api_upload_report *r) {
    host_send(h, host_event_frame(API_AGENT_EVENT_UPLOAD_RECEIVED, api_upload_report_print(r, API_PUBLIC)), false);
    host_settle(h);
}

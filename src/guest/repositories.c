/* SPDX-License-Identifier: Apache-2.0 */
/* The repositories that are open: after a start they are opened again before any op or restart, and again while they
 * fail. */
#include "guest/internal.h"

#define RETRY_MS 30000

struct repository *host_repository_find(struct host *h, const char *id) {
    struct repository *r;
    list_for_each(r, &h->repositories, link) {
        if (str_eq(r->id, id))
            return r;
    }
    return NULL;
}

static struct repository *repository_new(struct host *h, const char *id, const json_t *args) {
    struct repository *r = xcalloc(1, sizeof(*r));
    memcpy(r->id, id, UUID_LEN);
    r->args = json_text(args);
    r->retry_at = NEVER;
    api_repository_report_init(&r->report);
    str_set(&r->report.repository, id);
    list_append(&h->repositories, &r->link);
    return r;
}

void host_repository_free(struct repository *r) {
    list_remove(&r->link);
    api_repository_report_done(&r->report);
    free(r->args);
    free(r);
}

int host_repository_load(struct host *h, const char *id, const json_t *value, struct error *e) {
    struct api_repository_op a;
    int r = api_repository_op_parse(value, API_PEER, &a, e);
    if (r < 0)
        return r;
    api_repository_op_done(&a);
    if (!host_repository_find(h, id))
        repository_new(h, id, value);
    return 0;
}

/* What is to be restarted by its policy may have waited for it. */
static void set_usable(struct host *h, struct repository *r, bool usable) {
    if (r->report.usable != usable)
        host_guest_touch_all(h);
    r->report.usable = usable;
}

static bool is_usable(struct host *h, const char *id) {
    const struct repository *r = host_repository_find(h, id);
    return !r || r->report.usable; /* one that is not known is for the start to complain of */
}

bool host_repository_usable_to(struct host *h, const char *start) {
    bool all = true;
    const struct repository *r;
    list_for_each(r, &h->repositories, link) all &= r->report.usable;
    if (all)
        return true;
    _cleanup_json_ json_t *j = json_loads(start, 0, NULL);
    struct api_guest_start a;
    if (api_guest_start_parse(j, API_PEER, &a, NULL) < 0)
        return true;
    bool usable = str_empty(a.kernel_template) || is_usable(h, a.kernel_repository);
    const struct api_cloud_init *c = &a.vm.cloud_init;
    bool seed =
        a.vm.has_cloud_init && (!str_empty(c->user_data) || !str_empty(c->meta_data) || !str_empty(c->network_config));
    if (a.vm.firmware == API_FIRMWARE_UEFI || seed)
        usable &= is_usable(h, a.repository);
    for (size_t i = 0; i < a.n_disks; i++) {
        if (!a.disks[i].cdrom || !str_empty(a.disks[i].iso))
            usable &= is_usable(h, a.disks[i].repository);
    }
    api_guest_start_done(&a);
    return usable;
}

static bool take_report(struct host *h, struct repository *r, const struct api_repository_report *report) {
    if (!str_eq(report->repository, r->id))
        return false;
    bool same = report->usable == r->report.usable && str_eq(report->reason, r->report.reason) &&
                report->capacity == r->report.capacity && report->free == r->report.free;
    set_usable(h, r, report->usable);
    api_repository_report_done(&r->report);
    api_repository_report_copy(&r->report, report);
    return !same;
}

static bool take_result(struct host *h, struct repository *r, const json_t *result) {
    struct api_repository_report report;
    if (api_repository_report_parse(result, API_PEER, &report, NULL) < 0)
        return false;
    bool changed = take_report(h, r, &report);
    api_repository_report_done(&report);
    return changed;
}

void host_repository_opened(struct host *h, const json_t *args, const json_t *result) {
    const char *id = json_str(args, "repository");
    struct repository *r = host_repository_find(h, id);
    _cleanup_json_ json_t *kept = json_deep_copy(args);
    json_object_set_new(kept, "existing", json_true());
    json_object_del(kept, "proof"); /* it is there for this once */
    if (!r)
        r = repository_new(h, id, kept);
    else
        str_take(&r->args, json_text(kept));
    set_usable(h, r, true);
    str_set(&r->report.reason, "");
    r->retry_at = NEVER;
    take_result(h, r, result);
    host_dirty(h, "repository", id);
}

void host_repository_closed(struct host *h, const json_t *args) {
    const char *id = json_str(args, "repository");
    struct repository *r = host_repository_find(h, id);
    if (!r)
        return;
    host_dirty(h, "repository", id);
    struct call *c;
    list_for_each(c, &h->calls, link) {
        if (c->repository == r)
            c->repository = NULL;
    }
    if (r->first_open && h->opening)
        h->opening--;
    host_repository_free(r);
    host_guest_touch_all(h);
}

void host_repository_reopen(struct host *h, struct repository *r) {
    r->retry_at = NEVER;
    if (r->opening)
        return;
    _cleanup_free_ char *subject = xasprintf("repository/%s", r->id);
    if (op_is_running(h, subject)) { /* behind its closing it would be open for ever */
        r->retry_at = h->mono + RETRY_MS;
        return;
    }
    r->opening = true;
    struct call *c = host_call(h, CALL_REOPEN, API_AGENT_OP_REPOSITORY_OPEN, json_loads(r->args, 0, NULL), false);
    c->repository = r;
}

static void repository_tell(struct host *h, const struct repository *r) {
    host_renew_report(h); /* one that waits for the disk holds what was true before, and would come after this */
    if (!h->report_wanted)
        host_send(
            h, host_event_frame(API_AGENT_EVENT_REPOSITORY_STATE, api_repository_report_print(&r->report, API_PUBLIC)),
            false);
}

void host_repository_reopened(struct host *h, struct repository *r, const struct error *error, const json_t *result) {
    r->opening = false;
    bool changed;
    if (error) {
        const char *reason = str_or(error->message, error_code_text(error->code));
        changed = r->report.usable || !str_eq(r->report.reason, reason);
        set_usable(h, r, false);
        str_set(&r->report.reason, reason);
        r->retry_at = h->mono + RETRY_MS;
    } else {
        changed = take_result(h, r, result);
    }
    if (r->first_open) {
        r->first_open = false;
        if (h->opening && --h->opening == 0) {
            h->opening_until = NEVER;
            host_guest_touch_all(h);
        }
    } else if (changed) {
        repository_tell(h, r);
    }
}

void host_repository_state(struct host *h, const struct api_repository_report *report) {
    struct repository *r = host_repository_find(h, report->repository);
    if (r && take_report(h, r, report))
        repository_tell(h, r);
    host_settle(h);
}

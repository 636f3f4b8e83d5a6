/* SPDX-License-Identifier: Apache-2.0 */
/*
 * server.fence: a server's power, through its fence agent, which another server runs. The job locks nothing: it must
 * not wait for the others that work on a server that is lost. Once the power is confirmed to be off the failover need
 * not hold (failover.c).
 */
#include "core/core_int.h"

#include <errno.h>

static const struct api_server *server_of(const struct job_ctx *x) {
    return CORE_GET(x->c, server, SERVER, x->job->object.id);
}

/* One of its pool, else any other; itself only to be asked, since it cannot tell that it is off. */
static const struct api_server *executor(struct job_ctx *x, const struct api_server *s) {
    const struct api_server *any = NULL;
    const struct table *t = &x->c->tables[API_KIND_SERVER];
    for (size_t i = 0; i < t->n; i++) {
        const struct api_server *other = t->sorted[i]->v->data;
        if (other == s || !core_agent_ready(x->c, other->id) || core_agent(x->c, other->id)->mute)
            continue;
        if (!str_empty(s->pool) && str_eq(other->pool, s->pool))
            return other;
        any = any ? any : other;
    }
    if (!any && str_eq(json_str(x->job->args, "action"), "status") && core_agent_ready(x->c, s->id))
        return s;
    return any;
}

static int fence_check(struct job_ctx *x, struct error *e) {
    const struct api_server *s = server_of(x);
    if (!s)
        return error_set(e, ERR_NOT_FOUND, "the server is gone");
    if (!s->has_fence || str_empty(s->fence.agent))
        return error_set(
            e, ERR_CONFLICT,
            "server \"%s\" has no fence agent: set one with tarn server set %s --fence-agent fence_ipmilan "
            "--fence-address ADDRESS --fence-user USER --fence-password-file FILE",
            s->name, s->name);
    if (!executor(x, s))
        return error_set(e, ERR_UNAVAILABLE, "no other server is online that could switch its power");
    return 0;
}

static int fence_run(struct job_ctx *x, struct error *e) {
    const struct api_server *s = server_of(x), *by = s ? executor(x, s) : NULL;
    if (!by)
        return error_set(e, ERR_UNAVAILABLE, "no other server is online that could switch its power");
    return job_call(x, by->id, API_AGENT_OP_FENCE_RUN,
                    json_pack("{s:s, s:o, s:s}", "server", s->id, "fence", api_fence_print(&s->fence, API_PRIVATE),
                              "action", json_str(x->job->args, "action")),
                    e);
}

static int fence_done(struct job_ctx *x, const json_t *result, struct error *e) {
    const struct api_server *s = server_of(x);
    const char *power = json_str(result, "power"), *action = json_str(x->job->args, "action");
    if (!s)
        return 0;
    struct api_server *put = CORE_COPY(server, SERVER, s);
    str_set(&put->power, str_eq(power, "on") || str_eq(power, "off") ? power : "unknown");
    _cleanup_free_ char *detail = xasprintf("its power is %s", put->power);
    job_changed(x, API_KIND_SERVER, put->id, put->name, "changed", detail);
    core_event(x->c, str_eq(action, "status") ? API_SEVERITY_INFO : API_SEVERITY_WARNING, x->job->actor, "server.power",
               API_KIND_SERVER, put->id, put->name, x->job->id, "The power of server %s is %s", put->name, put->power);
    core_put(x->c, API_KIND_SERVER, put);
    core_alarm_clear(x->c, x->job->object.id, "fence.failed");
    if (json_bool(result, "was_off", false) && !str_eq(action, "status"))
        failover_fenced(x->c, x->job->object.id);
    return 0;
}

static void fence_ended(struct job_ctx *x) {
    const struct api_server *s = server_of(x);
    if (s && x->job->state == API_JOB_STATE_FAILED)
        core_alarm_raise(x->c, API_SEVERITY_ERROR, API_KIND_SERVER, s->id, s->name, "fence.failed",
                         "The power of server %s could not be %s: %s", s->name,
                         str_eq(json_str(x->job->args, "action"), "status") ? "asked about" : "switched",
                         x->job->error);
}

static const struct job_step_def fence_steps[] = {{"fence", 1, false, fence_run, fence_done, NULL, NULL, false}};
const struct job_kind job_server_fence = {.name = "server.fence",
                                          .steps = fence_steps,
                                          .n_steps = ARRAY_LEN(fence_steps),
                                          .check = fence_check,
                                          .ended = fence_ended};

int op_server_fence(struct core *c, const struct core_request *r, struct error *e) {
    struct object *o = core_param(c, r, 0, API_KIND_SERVER, e);
    struct api_server_fence in;
    int result = o ? api_server_fence_parse(r->body, API_CREATE, &in, e) : -ENOENT;
    if (result < 0)
        return result;
    const char *action = api_fence_action_text(in.action);
    struct job_request q = {.kind = &job_server_fence,
                            .actor = r->actor,
                            .request = r->id,
                            .object_kind = API_KIND_SERVER,
                            .object_id = o->id,
                            .object_name = object_name(o),
                            .title = xasprintf(in.action == API_FENCE_ACTION_STATUS ? "Ask about the power of server %s"
                                               : in.action == API_FENCE_ACTION_OFF  ? "Switch off server %s"
                                               : in.action == API_FENCE_ACTION_REBOOT ? "Switch server %s off and on"
                                                                                      : "Switch on server %s",
                                               object_name(o)),
                            .args = json_pack("{s:s}", "action", action)};
    api_server_fence_done(&in);
    struct api_job *j = job_draft(c, &q);
    job_add_step(j, q.kind, "fence", 0);
    return job_submit(c, &q, j, e);
}

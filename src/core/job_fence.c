/* SPDX-License-Identifier: Apache-2.0 */
/*
 * server.fence: a server's power, through its fence agent, which another server runs. The job locks nothing: it must
 * not wait for the others that work on a server that is lost. Once the power is confirmed to be off the failover need
 * not hold (failover.c). Nor is it waited for: an order that is carried out when its time is over switches off a server
 * that is well. When the server that was to do it, or the manager, goes away meanwhile, the job has failed.
 */
#include "core/core_int.h"

#include "base/fence_rules.h"

#include <errno.h>

static bool is_action(const struct job_ctx *x, const char *action) {
    return str_eq(json_str(x->job->args, "action"), action);
}

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
    if (!any && is_action(x, "status") && core_agent_ready(x->c, s->id))
        return s;
    return any;
}

static int confirm_check(struct job_ctx *x, const struct api_server *s, struct error *e) {
    const struct api_pool *p = CORE_GET(x->c, pool, POOL, s->pool);
    if (!p || !p->clustered)
        return error_set(e, ERR_CONFLICT,
                         "server \"%s\" is in no clustered pool: nothing waits for its power to be off", s->name);
    if (core_agent_is_connected(x->c, s->id) && !core_agent(x->c, s->id)->mute)
        return error_set(e, ERR_CONFLICT, "server \"%s\" is connected: its power is not off", s->name);
    if (fencing_seen(x->c, s)) /* it runs its guests, whether its agent answers or not */
        return error_set(
            e, ERR_CONFLICT,
            "server \"%s\" is up, the others of its pool see it: its power is not off. Switch it off; they "
            "notice within seconds, and it can be confirmed then",
            s->name);
    return 0;
}

static int fence_check(struct job_ctx *x, struct error *e) {
    const struct api_server *s = server_of(x);
    if (!s)
        return error_set(e, ERR_NOT_FOUND, "the server is gone");
    if (is_action(x, "confirm"))
        return confirm_check(x, s, e);
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

static void power_is(struct job_ctx *x, const char *power) {
    struct api_server *put = CORE_COPY(server, SERVER, server_of(x));
    bool switched = !is_action(x, "status");
    str_set(&put->power, str_eq(power, "on") || str_eq(power, "off") ? power : "unknown");
    _cleanup_free_ char *detail = xasprintf("its power is %s", put->power);
    job_changed(x, API_KIND_SERVER, put->id, put->name, "changed", detail);
    core_event(x->c, switched ? API_SEVERITY_WARNING : API_SEVERITY_INFO, x->job->actor, "server.power",
               API_KIND_SERVER, put->id, put->name, x->job->id, "The power of server %s is %s%s", put->name, put->power,
               is_action(x, "confirm") ? ", as somebody has seen" : "");
    core_put(x->c, API_KIND_SERVER, put);
}

static int fence_run(struct job_ctx *x, struct error *e) {
    const struct api_server *s = server_of(x), *by = s ? executor(x, s) : NULL;
    if (s && is_action(x, "confirm")) {
        power_is(x, "off");
        failover_fenced(x->c, x->job->object.id);
        return STEP_DONE;
    }
    if (!by)
        return error_set(e, ERR_UNAVAILABLE, "no other server is online that could switch its power");
    json_set_int(x->job->vars, "ordered", x->c->mono_ms);
    return job_call(x, by->id, API_AGENT_OP_FENCE_RUN,
                    json_pack("{s:s, s:o, s:s, s:b}", "server", s->id, "fence", api_fence_print(&s->fence, API_PRIVATE),
                              "action", json_str(x->job->args, "action"), "only_unseen",
                              json_bool(x->job->args, "auto", false)),
                    e);
}

/* A server that is not of its pool can switch its power, but has no say about the pool's guests: those of them that are
   left look for themselves. */
static bool done_by_its_pool(const struct job_ctx *x, const struct api_server *s) {
    const struct api_server *by = CORE_GET(x->c, server, SERVER, x->job->steps[x->job->current].server);
    return by && !str_empty(s->pool) && str_eq(by->pool, s->pool);
}

/* Its power may have been off before it came: somebody has switched it on since, and it runs guests again. */
static bool has_come_meanwhile(const struct job_ctx *x, const struct agent *a) {
    return a->welcome_at >= json_int(x->job->vars, "ordered", 0);
}

static int fence_done(struct job_ctx *x, const json_t *result, struct error *e) {
    const struct api_server *s = server_of(x);
    if (!s)
        return 0;
    struct agent *a = core_agent(x->c, s->id);
    bool come = has_come_meanwhile(x, a);
    if (come && is_action(x, "off"))
        return error_set(e, ERR_CONFLICT,
                         "server \"%s\" has connected while it was switched off, and is not taken for dead: try again",
                         s->name);
    power_is(x, json_str(result, "power"));
    core_alarm_clear(x->c, x->job->object.id, "fence.failed");
    a->fence_at = a->fence_delay = 0;
    if (json_bool(result, "was_off", false) && !is_action(x, "status") && !come && done_by_its_pool(x, server_of(x)))
        failover_fenced(x->c, x->job->object.id);
    return 0;
}

/* Who was to do it is away. */
static int fence_gone(struct job_ctx *x, struct error *e) {
    const struct api_server *by = CORE_GET(x->c, server, SERVER, x->job->steps[x->job->current].server);
    return error_set(e, ERR_UNAVAILABLE,
                     "%s was lost meanwhile, and what has become of it is not known: ask for the status, and try again",
                     by ? by->name : "the server that was to do it");
}

static void fence_ended(struct job_ctx *x) {
    const struct api_server *s = server_of(x);
    bool automatic = json_bool(x->job->args, "auto", false);
    if (!s || x->job->state != API_JOB_STATE_FAILED)
        return;
    if (!s->has_fence || str_empty(s->fence.agent)) /* taken away meanwhile, and its alarms with it */
        return;
    if (automatic)
        fencing_failed(x->c, s->id);
    core_alarm_raise(x->c, API_SEVERITY_ERROR, API_KIND_SERVER, s->id, s->name, "fence.failed",
                     "The power of server %s could not be %s: %s%s", s->name,
                     is_action(x, "status") ? "asked about" : "switched", x->job->error,
                     automatic ? ". It is tried again; until its power is off its highly available virtual machines "
                                 "do not start elsewhere"
                               : "");
}

static const struct job_step_def fence_steps[] = {
    {"fence", 1, false, fence_run, fence_done, NULL, NULL, false, 0, fence_gone}};
const struct job_kind job_server_fence = {.name = "server.fence",
                                          .steps = fence_steps,
                                          .n_steps = ARRAY_LEN(fence_steps),
                                          .check = fence_check,
                                          .ended = fence_ended};

bool fence_under_way(const struct core *c, const char *server) {
    struct job_run *run;
    list_for_each(run, &c->jobs, link) {
        const struct api_job *j = CORE_GET(c, job, JOB, run->id);
        if (j && str_eq(j->kind, "server.fence") && str_eq(j->object.id, server) && j->state < API_JOB_STATE_DONE)
            return true;
    }
    return false;
}

static int submit(struct core *c, struct job_request *q, const struct api_server *s, enum api_fence_action action,
                  struct error *e) {
    static const char *const titles[] = {[API_FENCE_ACTION_STATUS] = "Ask about the power of server %s",
                                         [API_FENCE_ACTION_OFF] = "Switch off server %s",
                                         [API_FENCE_ACTION_ON] = "Switch on server %s",
                                         [API_FENCE_ACTION_REBOOT] = "Switch server %s off and on",
                                         [API_FENCE_ACTION_CONFIRM] = "Confirm that the power of server %s is off"};
    struct buf title = {0};
    const char *text = titles[action], *at = strstr(text, "%s");
    buf_add(&title, text, (size_t)(at - text));
    buf_adds(&title, s->name);
    buf_adds(&title, at + 2);
    q->kind = &job_server_fence;
    q->object_kind = API_KIND_SERVER;
    q->object_id = s->id;
    q->object_name = s->name;
    q->title = buf_take(&title);
    q->args = json_pack("{s:s, s:b}", "action", api_fence_action_text(action), "auto", !q->request);
    struct api_job *j = job_draft(c, q);
    job_add_step(j, q->kind, "fence", 0);
    return job_submit(c, q, j, e);
}

void fence_off(struct core *c, const char *server) {
    const struct api_server *s = CORE_GET(c, server, SERVER, server);
    _cleanup_error_ struct error e = ERROR_INIT;
    struct job_request q = {.actor = "tarn"};
    if (submit(c, &q, s, API_FENCE_ACTION_OFF, &e) < 0)
        fencing_failed(c, server);
}

int server_check_fence(const struct api_server *s, struct error *e) {
    const struct api_fence *f = &s->fence;
    const char *problem = str_empty(f->agent) ? NULL : fence_agent_problem(f->agent);
    if (problem)
        return error_set_field(e, ERR_INVALID, "fence.agent", "%s", problem);
    if ((problem = fence_word_problem(f->address)))
        return error_set_field(e, ERR_INVALID, "fence.address", "%s", problem);
    if ((problem = fence_word_problem(f->user)))
        return error_set_field(e, ERR_INVALID, "fence.user", "%s", problem);
    if (strpbrk(f->password, "\n\r"))
        return error_set_field(e, ERR_INVALID, "fence.password", "has a line break");
    for (size_t i = 0; i < f->n_options; i++) {
        /* What fence_dummy needs in tests; agents take it there only. */
        bool dummy = str_eq(f->agent, "fence_dummy") && strncmp(f->options[i], "status_file=", 12) == 0;
        if (!dummy && (problem = fence_option_problem(f->options[i])))
            return error_set_field(e, ERR_INVALID, "fence.options", "\"%.60s\" %s", f->options[i], problem);
    }
    return 0;
}

int op_server_fence(struct core *c, const struct core_request *r, struct error *e) {
    struct object *o = core_param(c, r, 0, API_KIND_SERVER, e);
    struct api_server_fence in;
    int result = o ? api_server_fence_parse(r->body, API_CREATE, &in, e) : -ENOENT;
    if (result < 0)
        return result;
    struct job_request q = {.actor = r->actor, .request = r->id};
    result = submit(c, &q, o->v->data, in.action, e);
    api_server_fence_done(&in);
    return result;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The job engine. A job is a row of steps; each step may make one call to an agent. The record says all that is needed
 * to go on after a crash: the step under way, in which direction, and the call that was made for it, word for word.
 *
 *     queued ──▶ running ──▶ done
 *       │           │
 *       │           ├─(a step failed, or an abort)──▶ undoing ──▶ failed | aborted
 *       └─(abort)───┴──────────────────────────────────────────▶ aborted
 *
 * A call's id is JOB/STEP/do|undo[/ATTEMPT]. It is durable before it is sent and sent again whenever its server has
 * reported; the agent does it once. Steps marked forward, and all undo steps, are tried again (with a new attempt, so a
 * new id) until they succeed: 1, 2, 4 … 60 s apart. An abort is refused once the current step is a forward one.
 */
#include "core/core_int.h"

#include <errno.h>
#include <stdio.h>

static const struct job_step_def *step_def(const struct api_job *j, size_t i) {
    const struct job_kind *k = job_kind_by_name(j->kind);
    for (size_t s = 0; k && s < k->n_steps; s++)
        if (str_eq(k->steps[s].name, j->steps[i].name))
            return &k->steps[s];
    return NULL;
}

static struct job_run *run_of(const struct core *c, const char *job) { return map_get(&c->runs, job); }

static struct job_run *run_new(struct core *c, const char *job) {
    struct job_run *run = xcalloc(1, sizeof *run);
    run->id = xstrdup(job);
    list_append(&c->jobs, &run->link);
    map_put(&c->runs, job, run);
    return run;
}

static void run_aside(struct core *c, struct job_run *run, bool aside) {
    c->n_aside += (size_t)(aside - run->aside);
    run->aside = aside;
}

static void run_rest(struct core *c, struct job_run *run) {
    c->n_woken -= run->woken;
    run->woken = false;
}

static void run_free(struct core *c, struct job_run *run) {
    run_aside(c, run, false);
    run_rest(c, run);
    map_remove(&c->runs, run->id);
    list_remove(&run->link);
    free(run->id);
    free(run);
}

void jobs_done(struct core *c) {
    struct job_run *run, *tmp;
    list_for_each_safe(run, tmp, &c->jobs, link) run_free(c, run);
    map_done(&c->runs);
}

bool jobs_active(const struct core *c, const char *job) { return run_of(c, job) != NULL; }

bool jobs_hold(const struct core *c, const char *object) {
    const char *job = locks_holder(c, object);
    const struct api_job *j = job ? CORE_GET(c, job, JOB, job) : NULL;
    return j && (j->state == API_JOB_STATE_RUNNING || j->state == API_JOB_STATE_UNDOING) && !migrate_has_moved(j);
}

/* ---- running ---- */

static struct job_ctx ctx_of(struct core *c, struct api_job *j) {
    return (struct job_ctx){.c = c, .job = j, .run = run_of(c, j->id), .undo = j->state == API_JOB_STATE_UNDOING};
}

static int64_t step_param(const struct api_job *j, size_t i) {
    return json_integer_value(json_array_get(json_object_get(j->vars, "plan"), i));
}

static void set_progress(struct api_job *j, int percent_of_step) {
    unsigned total = 0, done = 0;
    for (size_t i = 0; i < j->n_steps; i++) {
        const struct job_step_def *d = step_def(j, i);
        unsigned w = d ? d->weight : 1;
        total += w * 100;
        if (j->steps[i].state == API_STEP_STATE_DONE)
            done += w * 100;
        else if (j->steps[i].state == API_STEP_STATE_RUNNING)
            done += w * (unsigned)percent_of_step;
    }
    j->progress = total ? done * 100 / total : 0;
}

/*
 * What need not be waited for when its server was given up: its guests are dead, and the cluster of its pool goes on
 * without it, and with it when it is back (cluster.c). What it was asked to do to its storage waits, as it may be at
 * it, and so does what makes it kill nothing any more.
 */
static bool ends_with_server(const char *op) {
    return strncmp(op, "guest.", 6) == 0 || strncmp(op, "fence.", 6) == 0 || str_eq(op, "cluster.configure") ||
           str_eq(op, "cluster.arm");
}

/* The guest is there, nobody kills it, and it may go on though its server was given up: what it was to do waits. */
static bool may_live_on(const struct core *c, const char *server, const char *op, const json_t *args) {
    const struct api_vm *vm = strncmp(op, "guest.", 6) == 0 ? CORE_GET(c, vm, VM, json_str(args, "vm")) : NULL;
    return vm && str_eq(vm->server, server) && !failover_vm_dies(c, vm);
}

static bool waits_for_server(const struct core *c, const struct api_job *j) {
    const struct job_step_def *d = step_def(j, (size_t)j->current);
    return j->state == API_JOB_STATE_RUNNING && d->waits && d->waits(c, j);
}

int job_call(struct job_ctx *x, const char *server, enum api_agent_op op, json_t *args, struct error *e) {
    struct api_job *j = x->job;
    const struct api_server *s = CORE_GET(x->c, server, SERVER, server);
    struct api_job_step *step = &j->steps[j->current];
    if (!s) {
        json_decref(args);
        if (x->undo || step_def(j, (size_t)j->current)->forward)
            return STEP_DONE; /* the server is gone for good, and with it what was to be undone there */
        return error_set(e, ERR_CONFLICT, "its server is no longer in the inventory");
    }
    const char *name = api_agent_ops[op].name;
    bool past = x->undo || step_def(j, (size_t)j->current)->forward;
    bool lost = server_is_gone(x->c, s->id) && !core_agent_ready(x->c, s->id); /* while it is connected it is told */
    if (lost && !past && strncmp(name, "guest.", 6) == 0) {
        json_decref(args);
        return error_set(e, ERR_UNAVAILABLE, "server \"%s\" was lost meanwhile", s->name);
    }
    /* Its guests are dead, and what is left of others ends with its next report, or with this job if that is before. */
    if (lost && past && ends_with_server(name) && !may_live_on(x->c, s->id, name, args) && !waits_for_server(x->c, j)) {
        json_decref(args);
        const struct job_step_def *d = step_def(j, (size_t)j->current);
        job_note_server(j, "skipped", s->id);
        return !x->undo && d->gone ? d->gone(x, e) : STEP_DONE;
    }
    char attempt[24] = "";
    if (step->attempts)
        snprintf(attempt, sizeof attempt, "/%lld", (long long)step->attempts);
    json_t *call =
        json_pack("{s:o, s:s, s:o}", "id",
                  json_sprintf("%s/%lld/%s%s", j->id, (long long)j->current, x->undo ? "undo" : "do", attempt), "op",
                  name, "args", args);
    str_set(&step->server, s->id);
    job_note_server(j, "asked", s->id);
    json_object_del(j->vars, "tried");
    json_object_set_new(j->vars, "call", json_pack("{s:s, s:O}", "server", s->id, "message", call));
    x->run->percent = 0;
    if (core_agent_ready(x->c, s->id)) {
        core_send(x->c, s->id, call);
        str_set(&j->message, "");
    } else {
        json_decref(call);
        str_take(&j->message, xasprintf("waits for server %s to connect", s->name));
    }
    x->called = true;
    return STEP_WAIT;
}

static int64_t backoff_ms(int64_t attempts) {
    return attempts > 6 ? 60000 : (int64_t)1000 << (attempts ? attempts - 1 : 0);
}

static void step_retry(struct job_ctx *x, const struct error *e) {
    struct api_job_step *s = &x->job->steps[x->job->current];
    if (json_object_get(x->job->vars, "call"))
        json_object_set(x->job->vars, "tried", json_object_get(x->job->vars, "call"));
    json_object_del(x->job->vars, "call");
    s->attempts++;
    str_set(&s->error, e->message);
    str_take(&x->job->message, xasprintf("tries again: %s", e->message));
    x->run->retry_at = x->c->mono_ms + backoff_ms(s->attempts);
}

static void step_ended(struct job_ctx *x, enum api_step_state state) {
    char now[TIME_TEXT_MAX];
    struct api_job_step *s = &x->job->steps[x->job->current];
    s->state = state;
    str_set(&s->ended, core_now(x->c, now));
    json_object_del(x->job->vars, "call");
    json_object_del(x->job->vars, "tried");
}

static void begin_undo(struct job_ctx *x) {
    struct api_job *j = x->job;
    j->state = API_JOB_STATE_UNDOING;
    x->undo = true;
    for (int64_t i = 0; i <= j->current && i < (int64_t)j->n_steps; i++)
        j->steps[i].attempts = 0;
    if (j->current >= (int64_t)j->n_steps)
        j->current = (int64_t)j->n_steps - 1;
}

/* The step under way failed, its call made or not. */
static void step_failed(struct job_ctx *x, const struct error *e) {
    struct api_job *j = x->job;
    const struct job_step_def *d = step_def(j, (size_t)j->current);
    if (x->undo || (d->forward && !(d->moot && e->code == ERR_CONFLICT))) {
        step_retry(x, e);
        return;
    }
    if (!(j->abort_requested && e->code == ERR_CANCELLED)) {
        str_set(&j->error, e->message);
        str_set(&j->error_code, error_code_text(e->code));
    }
    str_set(&j->steps[j->current].error, e->message);
    bool called = json_object_get(j->vars, "call") != NULL;
    step_ended(x, API_STEP_STATE_FAILED);
    begin_undo(x);
    if (!called)
        j->current--; /* nothing left this manager */
}

static void wake_queue(struct core *c);

void job_put_end(struct job_ctx *x) { core_put(x->c, API_KIND_JOB, CORE_COPY(job, JOB, x->job)); }

static void forget_answer(struct core *c, const char *server, const char *job) {
    core_send(
        c, server,
        json_pack("{s:o, s:s, s:{s:s}}", "id", json_sprintf("forget/%s", job), "op", "op.forget", "args", "job", job));
}

static void forget_calls(struct job_ctx *x) {
    size_t i;
    json_t *asked;
    json_array_foreach(json_object_get(x->job->vars, "asked"), i, asked) {
        if (core_agent_ready(x->c, json_string_value(asked)))
            forget_answer(x->c, json_string_value(asked), x->job->id);
    }
}

static void job_end(struct job_ctx *x) {
    struct core *c = x->c;
    struct api_job *j = x->job;
    const struct job_kind *k = job_kind_by_name(j->kind);
    char now[TIME_TEXT_MAX];
    bool undone = j->state == API_JOB_STATE_UNDOING || j->state == API_JOB_STATE_QUEUED;
    j->state = !undone                                     ? API_JOB_STATE_DONE
               : str_empty(j->error) && j->abort_requested ? API_JOB_STATE_ABORTED
                                                           : API_JOB_STATE_FAILED;
    str_set(&j->ended, core_now(c, now));
    str_set(&j->message, "");
    if (j->state == API_JOB_STATE_DONE)
        j->progress = 100;
    if (undone)
        job_drop_changes(j);
    locks_remove(c, j);
    if (k && k->ended)
        k->ended(x);
    vms_let_go(x);
    recover_soon(c);
    forget_calls(x);
    static const char *const words[] = {
        [API_JOB_STATE_DONE] = "done", [API_JOB_STATE_FAILED] = "failed", [API_JOB_STATE_ABORTED] = "aborted"};
    _cleanup_free_ char *code = xasprintf("%s.%s", j->kind, words[j->state]);
    int kind = api_kind_from_text(j->object.kind);
    core_event(c, j->state == API_JOB_STATE_FAILED ? API_SEVERITY_ERROR : API_SEVERITY_INFO, j->actor, code,
               (enum api_kind)kind, j->object.id, j->object.name, j->id, "%s: %s%s%s", j->title, words[j->state],
               str_empty(j->error) ? "" : ": ", j->error);
    undo_offer(j);
    json_decref(j->args);
    json_decref(j->vars);
    j->args = j->vars = NULL;
    j->current = 0;
    job_reply_at_end(x);
    run_free(c, TAKE_PTR(x->run));
}

/* Runs steps until one waits, or the job ends. True when it has ended. */
static bool job_go(struct job_ctx *x) {
    struct api_job *j = x->job;
    char now[TIME_TEXT_MAX];
    x->run->retry_at = 0;
    for (;;) {
        _cleanup_error_ struct error e = ERROR_INIT;
        x->undo = j->state == API_JOB_STATE_UNDOING;
        if (x->undo ? j->current < 0 : j->current >= (int64_t)j->n_steps) {
            job_end(x);
            return true;
        }
        struct api_job_step *s = &j->steps[j->current];
        const struct job_step_def *d = step_def(j, (size_t)j->current);
        if (!x->undo && j->abort_requested && !d->forward) {
            begin_undo(x);
            j->current--; /* this step has not begun */
            continue;
        }
        if (x->undo && (!d->undo || s->state == API_STEP_STATE_PENDING)) {
            if (s->state == API_STEP_STATE_DONE)
                s->state = API_STEP_STATE_UNDONE;
            j->current--;
            continue;
        }
        if (str_empty(s->started) || x->undo)
            str_set(&s->started, str_or(s->started, core_now(x->c, now)));
        if (!x->undo || s->state != API_STEP_STATE_UNDOING)
            s->state = x->undo ? API_STEP_STATE_UNDOING : API_STEP_STATE_RUNNING;
        x->param = step_param(j, (size_t)j->current);
        x->called = false;
        int r = (x->undo ? d->undo : d->run)(x, &e);
        if (r == STEP_WAIT || r == STEP_LATER) {
            set_progress(j, 0);
            return false;
        }
        if (r < 0) {
            step_failed(x, &e);
            if (x->run->retry_at)
                return false;
            continue;
        }
        step_ended(x, x->undo ? API_STEP_STATE_UNDONE : API_STEP_STATE_DONE);
        j->current += x->undo ? -1 : 1;
        set_progress(j, 0);
    }
}

/* While it waited, a job before it may have deleted what it is about. */
static int check_objects(const struct job_ctx *x, struct error *e) {
    const struct api_job *j = x->job;
    for (size_t i = 0; i < j->n_locks + j->n_shared_locks; i++) {
        const struct api_object_ref *r = i < j->n_locks ? &j->locks[i] : &j->shared_locks[i - j->n_locks];
        int kind = api_kind_from_text(r->kind);
        if (kind < 0 || !core_find(x->c, (enum api_kind)kind, r->id))
            return error_set(e, ERR_NOT_FOUND, "the %s \"%s\" is gone",
                             kind < 0 ? "object" : kind_word((enum api_kind)kind), r->name);
    }
    return 0;
}

/* After every piece of it: here shows when it is to be tried again. */
static void job_put(struct job_ctx *x) {
    if (x->run && x->run->retry_at && x->run->retry_at < x->c->jobs_at)
        x->c->jobs_at = x->run->retry_at;
    core_put(x->c, API_KIND_JOB, x->job);
}

/* Begins a job whose locks are free. */
static bool job_begin(struct job_ctx *x, bool checked) {
    struct api_job *j = x->job;
    const struct job_kind *k = job_kind_by_name(j->kind);
    _cleanup_error_ struct error e = ERROR_INIT;
    char now[TIME_TEXT_MAX];
    str_set(&j->started, core_now(x->c, now));
    for (size_t i = 0; i < j->n_waiting_for; i++)
        free(j->waiting_for[i]);
    j->n_waiting_for = 0;
    str_set(&j->message, "");
    if (!checked && (check_objects(x, &e) < 0 || (k->check && k->check(x, &e) < 0))) {
        str_set(&j->error, e.message);
        str_set(&j->error_code, error_code_text(e.code));
        job_end(x);
        return true;
    }
    j->state = API_JOB_STATE_RUNNING;
    return job_go(x);
}

static void set_waiting(struct core *c, struct api_job *j) {
    for (size_t i = 0; i < j->n_waiting_for; i++)
        free(j->waiting_for[i]);
    free(j->waiting_for);
    locks_held(c, j, &j->waiting_for, &j->n_waiting_for);
    const struct api_job *first = j->n_waiting_for ? CORE_GET(c, job, JOB, j->waiting_for[0]) : NULL;
    str_take(&j->message, xasprintf("waits for: %s", first ? first->title : "another job"));
}

static void wake_queue(struct core *c) {
    while (c->n_woken) {
        struct job_run *run;
        list_for_each(run, &c->jobs, link) {
            if (!run->woken)
                continue;
            run_rest(c, run);
            const struct api_job *old = CORE_GET(c, job, JOB, run->id);
            if (!old || old->state != API_JOB_STATE_QUEUED || run->aside || !locks_held(c, old, NULL, NULL))
                continue;
            struct job_ctx x = ctx_of(c, CORE_COPY(job, JOB, old));
            bool ended = job_begin(&x, false);
            job_put(&x);
            if (ended)
                break; /* the list has changed, and more may be free */
        }
    }
}

static int job_try_check(struct core *c, const struct job_request *q, struct job_ctx *x, struct error *e) {
    int r = q->kind->check ? q->kind->check(x, e) : 0;
    if (r < 0) {
        locks_remove(c, x->job);
        run_free(c, x->run);
        api_job_done(x->job);
        free(x->job);
    }
    return r;
}

int job_submit(struct core *c, const struct job_request *q, struct api_job *j, struct error *e) {
    struct job_run *run = run_new(c, j->id);
    _cleanup_free_ char *id = xstrdup(j->id);
    run_aside(c, run, q->kind->aside);
    if (!run->aside)
        locks_add(c, j);
    struct job_ctx x = ctx_of(c, j);
    bool free_to_run = !run->aside && locks_held(c, j, NULL, NULL);
    if (free_to_run) {
        int r = job_try_check(c, q, &x, e);
        if (r < 0)
            return r;
    }
    for (size_t i = 0; i < j->n_locks; i++)
        undo_touched(c, j->locks[i].id);
    for (size_t i = 0; i < j->n_shared_locks; i++)
        undo_touched(c, j->shared_locks[i].id);
    if (q->reply_at_end)
        run->request = q->request;
    bool ended = false;
    if (q->request && !q->reply_at_end)
        core_event(c, API_SEVERITY_INFO, j->actor, j->kind, (enum api_kind)q->object_kind, j->object.id, j->object.name,
                   id, "%s asked: %s", j->actor, j->title);
    if (free_to_run)
        ended = job_begin(&x, true);
    else if (!run->aside)
        set_waiting(c, j);
    job_put(&x);
    if (q->request && !q->reply_at_end) {
        core_reply_object(c, q->request, 202, core_find(c, API_KIND_JOB, id), NULL);
    }
    if (ended)
        wake_queue(c);
    return 0;
}

/* ---- those that stand aside ---- */

void job_admit(struct core *c, const char *id, const char *key, const char *value) {
    struct job_ctx x = ctx_of(c, CORE_COPY(job, JOB, CORE_GET(c, job, JOB, id)));
    run_aside(c, x.run, false);
    locks_add_first(c, x.job);
    json_set_str(x.job->vars, key, value);
    bool ended = job_begin(&x, true);
    job_put(&x);
    if (ended)
        wake_queue(c);
}

/* No lock is given back, so nobody is woken: this may be called from the step of another job. */
void job_call_off(struct core *c, const char *id, const char *why) {
    struct job_ctx x = ctx_of(c, CORE_COPY(job, JOB, CORE_GET(c, job, JOB, id)));
    x.job->abort_requested = true;
    str_set(&x.job->aborted_by, "tarn");
    json_set_str(x.job->vars, "off", why);
    job_end(&x);
    job_put(&x);
}

/* ---- answers ---- */

void jobs_answer(struct core *c, const char *server, const char *id, const json_t *message) {
    _cleanup_free_ char *job = xstrndup(id, strcspn(id, "/"));
    struct job_run *run = run_of(c, job);
    const struct api_job *old = run ? CORE_GET(c, job, JOB, job) : NULL;
    const json_t *call = old ? json_object_get(old->vars, "call") : NULL;
    if (!run && uuid_valid(job)) /* its job has ended without it */
        forget_answer(c, server, job);
    if (str_eq(job, "stale") && failover_stale_answered(c, server, id, message)) {
        _cleanup_free_ char *stale = xstrndup(id, 6 + UUID_LEN);
        forget_answer(c, server, stale);
    }
    if (!call || !str_eq(json_str(call, "server"), server) ||
        !str_eq(json_str(json_object_get(call, "message"), "id"), id))
        return; /* an answer that was taken already, or of a job that has ended */
    _cleanup_error_ struct error e = ERROR_INIT;
    struct job_ctx x = ctx_of(c, CORE_COPY(job, JOB, old));
    struct api_job *j = x.job;
    const struct job_step_def *d = step_def(j, (size_t)j->current);
    x.param = step_param(j, (size_t)j->current);
    int r = 0;
    if (!json_is_true(json_object_get(message, "ok")))
        r = core_agent_error(c, server, json_object_get(message, "error"), &e);
    else if (x.undo ? d->undone : d->done)
        r = (x.undo ? d->undone : d->done)(&x, json_object_get(message, "result"), &e);
    if (r < 0 && !(x.undo && d->moot && e.code == ERR_CONFLICT)) {
        step_failed(&x, &e);
    } else {
        step_ended(&x, x.undo ? API_STEP_STATE_UNDONE : API_STEP_STATE_DONE);
        if (!x.undo && j->abort_requested && !d->forward && d->undo)
            begin_undo(&x); /* done, but no longer wanted */
        else
            j->current += x.undo ? -1 : 1;
    }
    bool ended = x.run->retry_at ? false : job_go(&x);
    job_put(&x);
    if (ended)
        wake_queue(c);
}

static void cancel_call(struct core *c, const struct api_job *j) {
    const json_t *call = json_object_get(j->vars, "call"),
                 *op = json_object_get(json_object_get(call, "message"), "id");
    if (core_agent_ready(c, json_str(call, "server")))
        core_send(c, json_str(call, "server"),
                  json_pack("{s:o, s:s, s:{s:O}}", "id", json_sprintf("cancel/%s", j->id), "op", "op.cancel", "args",
                            "op", op));
}

/* What is under way is cancelled, now or when its server is connected again (jobs_resend). */
static void call_off(struct core *c, struct job_run *run, struct api_job *j, const char *actor) {
    const json_t *call = json_object_get(j->vars, "call");
    const struct api_server *s = call ? CORE_GET(c, server, SERVER, json_str(call, "server")) : NULL;
    j->abort_requested = true;
    str_set(&j->aborted_by, actor);
    str_take(&j->message, s && !core_agent_ready(c, s->id) ? job_wait_text(s, true) : xstrdup("aborting"));
    run->retry_at = call ? run->retry_at : c->mono_ms; /* without one it waits for something else */
    cancel_call(c, j);
}

/* ---- a server that was given up ---- */

static int step_gone(struct job_ctx *x, const char *name, struct error *e) {
    const struct job_step_def *d = step_def(x->job, (size_t)x->job->current);
    if (d->gone)
        return d->gone(x, e);
    return x->undo || d->forward ? STEP_DONE : error_set(e, ERR_UNAVAILABLE, "server \"%s\" was lost meanwhile", name);
}

static bool job_server_gone(struct core *c, const struct api_job *old, const char *server, const char *name) {
    _cleanup_error_ struct error e = ERROR_INIT;
    struct job_ctx x = ctx_of(c, CORE_COPY(job, JOB, old));
    x.param = step_param(x.job, (size_t)x.job->current);
    x.run->retry_at = 0;
    if (step_gone(&x, name, &e) < 0) {
        step_failed(&x, &e);
    } else {
        job_note_server(x.job, "skipped", server);
        step_ended(&x, x.undo ? API_STEP_STATE_UNDONE : API_STEP_STATE_DONE);
        x.job->current += x.undo ? -1 : 1;
    }
    bool ended = x.run->retry_at ? false : job_go(&x);
    job_put(&x);
    return ended;
}

enum lost { LOST_GONE, LOST_FORGOTTEN, LOST_FENCE };

static bool is_lost(const struct core *c, const json_t *call, const char *server, enum lost how) {
    const char *op = json_str(json_object_get(call, "message"), "op"), *asked = json_str(call, "server");
    if (how == LOST_FENCE)
        return strncmp(op, "fence.", 6) == 0 && (str_eq(asked, server) || !core_agent_is_connected(c, asked));
    return str_eq(asked, server) && (how == LOST_FORGOTTEN || ends_with_server(op));
}

static bool still_waits(const struct core *c, const struct api_job *j, const json_t *call) {
    const json_t *m = json_object_get(call, "message");
    bool past = j->state == API_JOB_STATE_UNDOING || step_def(j, (size_t)j->current)->forward;
    return waits_for_server(c, j) ||
           (past && may_live_on(c, json_str(call, "server"), json_str(m, "op"), json_object_get(m, "args")));
}

static void settle(struct core *c, const char *server, const char *name, enum lost how) {
    bool ended = true, any = false;
    while (ended) {
        struct job_run *run;
        ended = false;
        list_for_each(run, &c->jobs, link) {
            const struct api_job *j = CORE_GET(c, job, JOB, run->id);
            const json_t *call = j ? job_call_of(j) : NULL;
            if (call && !json_object_get(j->vars, "call") && step_def(j, (size_t)j->current)->anywhere)
                continue; /* the next try goes to another server */
            if (!call || !is_lost(c, call, server, how) || (how == LOST_GONE && still_waits(c, j, call)))
                continue;
            ended = job_server_gone(c, j, json_str(call, "server"), name);
            any |= ended;
            if (ended)
                break; /* the list has changed */
        }
    }
    if (any)
        wake_queue(c);
}

void jobs_fence_lost(struct core *c, const char *by) { settle(c, by, "", LOST_FENCE); }

/* What another server still does for the sake of the lost one is in vain: it is called off, as by an abort. */
void jobs_server_gone(struct core *c, const char *server, const char *name) {
    struct job_run *run;
    settle(c, server, name, LOST_GONE);
    list_for_each(run, &c->jobs, link) {
        const struct api_job *old = CORE_GET(c, job, JOB, run->id);
        const struct job_kind *k = job_kind_by_name(old ? old->kind : "");
        if (!k || !k->needs || !k->needs(old, server) || old->state != API_JOB_STATE_RUNNING || old->abort_requested ||
            step_def(old, (size_t)old->current)->forward)
            continue;
        struct job_ctx x = ctx_of(c, CORE_COPY(job, JOB, old));
        str_take(&x.job->error, xasprintf("server \"%s\" was lost meanwhile", name));
        str_set(&x.job->error_code, error_code_text(ERR_UNAVAILABLE));
        call_off(c, run, x.job, "tarn");
        job_put(&x);
    }
}

void jobs_server_forgotten(struct core *c, const char *server, const char *name) {
    settle(c, server, name, LOST_FORGOTTEN);
}

void jobs_progress(struct core *c, const char *server, const char *op, int percent, const char *message) {
    _cleanup_free_ char *job = xstrndup(op, strcspn(op, "/"));
    struct job_run *run = run_of(c, job);
    const struct api_job *old = run ? CORE_GET(c, job, JOB, job) : NULL;
    const json_t *call = old ? json_object_get(old->vars, "call") : NULL;
    if (!call || !str_eq(json_str(call, "server"), server) ||
        !str_eq(json_str(json_object_get(call, "message"), "id"), op))
        return;
    if (percent < 0 || percent > 100 || (percent == run->percent && str_eq(message, old->message)))
        return;
    run->percent = percent;
    struct api_job *j = CORE_COPY(job, JOB, old);
    set_progress(j, percent);
    if (utf8_valid(message) && strlen(message) < 500)
        str_set(&j->message, message);
    core_put_volatile(c, API_KIND_JOB, j);
}

void jobs_resend(struct core *c, const char *server) {
    struct job_run *run;
    list_for_each(run, &c->jobs, link) {
        const struct api_job *j = CORE_GET(c, job, JOB, run->id);
        const json_t *call = j ? json_object_get(j->vars, "call") : NULL;
        if (!call || !str_eq(json_str(call, "server"), server))
            continue;
        core_send(c, server, json_incref(json_object_get(call, "message")));
        if (j->abort_requested && j->state == API_JOB_STATE_RUNNING)
            cancel_call(c, j);
        if (!str_empty(j->message)) {
            struct api_job *put = CORE_COPY(job, JOB, j);
            str_set(&put->message, "");
            core_put_volatile(c, API_KIND_JOB, put);
        }
    }
}

/* True if another server does it now, or nobody needs it done any more, with which the job may have ended. */
static bool job_reroute(struct core *c, const struct api_job *old, const char *server, bool *ended) {
    const json_t *call = json_object_get(old->vars, "call");
    const struct job_step_def *d = step_def(old, (size_t)old->current);
    unsigned wanted = old->state == API_JOB_STATE_UNDOING ? ANYWHERE_UNDO : ANYWHERE_DO;
    if (!call || !str_eq(json_str(call, "server"), server) || !(d->anywhere & wanted))
        return false;
    const json_t *args = json_object_get(json_object_get(call, "message"), "args");
    const struct api_repository *r = CORE_GET(c, repository, REPOSITORY, json_str(args, "repository"));
    const char *other = r ? repository_route(c, r, NULL) : server;
    if (str_eq(other, server) || !core_agent_ready(c, other))
        return false;
    struct job_ctx x = ctx_of(c, CORE_COPY(job, JOB, old));
    json_object_del(x.job->vars, "call");
    x.job->steps[x.job->current].attempts++;
    *ended |= job_go(&x);
    job_put(&x);
    return true;
}

/* What cannot go elsewhere says whom it waits for, and how that ends should the server never come back. */
static void job_tell_wait(struct core *c, const struct api_job *j, const char *server) {
    const struct api_server *s = CORE_GET(c, server, SERVER, server);
    if (!s || !str_eq(json_str(json_object_get(j->vars, "call"), "server"), server))
        return;
    struct api_job *put = CORE_COPY(job, JOB, j);
    str_take(&put->message, job_wait_text(s, j->abort_requested));
    core_put_volatile(c, API_KIND_JOB, put);
}

void jobs_reroute(struct core *c, const char *server) {
    struct job_run *run, *tmp;
    bool ended = false;
    list_for_each_safe(run, tmp, &c->jobs, link) {
        const struct api_job *j = CORE_GET(c, job, JOB, run->id);
        if (j && j->state != API_JOB_STATE_QUEUED && j->current >= 0 && !job_reroute(c, j, server, &ended))
            job_tell_wait(c, j, server);
    }
    if (ended)
        wake_queue(c);
}

/* ---- abort ---- */

int job_abort(struct core *c, const char *id, const char *actor, struct error *e) {
    const struct api_job *old = CORE_GET(c, job, JOB, id);
    struct job_run *run = run_of(c, id);
    if (!old || !run)
        return error_set(e, ERR_CONFLICT, "the job has ended already");
    if (old->state == API_JOB_STATE_UNDOING || old->abort_requested)
        return error_set(e, ERR_CONFLICT, "the job is being undone already");
    if (old->state == API_JOB_STATE_RUNNING && step_def(old, (size_t)old->current)->forward)
        return error_set(e, ERR_CONFLICT, "the job is past the point where it can be undone; it goes on to its end");
    struct job_ctx x = ctx_of(c, CORE_COPY(job, JOB, old));
    bool ended = old->state == API_JOB_STATE_QUEUED;
    call_off(c, run, x.job, actor);
    if (ended)
        job_end(&x);
    job_put(&x);
    wake_queue(c); /* if it has ended */
    return 0;
}

/* ---- time, restart ---- */

int64_t jobs_deadline(const struct core *c) { return c->jobs_at; }

void job_soon(struct core *c, const char *id) {
    struct job_run *run = run_of(c, id);
    if (run && run->retry_at)
        c->jobs_at = run->retry_at = c->mono_ms;
}

void jobs_tick(struct core *c) {
    struct job_run *run;
    bool ended = true;
    if (c->mono_ms < c->jobs_at)
        return;
    while (ended) {
        ended = false;
        list_for_each(run, &c->jobs, link) {
            if (!run->retry_at || c->mono_ms < run->retry_at)
                continue;
            struct job_ctx x = ctx_of(c, CORE_COPY(job, JOB, CORE_GET(c, job, JOB, run->id)));
            ended = job_go(&x);
            job_put(&x);
            if (ended)
                break;
        }
        if (ended)
            wake_queue(c);
    }
    c->jobs_at = INT64_MAX;
    list_for_each(run, &c->jobs, link) if (run->retry_at && run->retry_at < c->jobs_at) c->jobs_at = run->retry_at;
}

/* After loading, and after the store's recovery: what is running is read back from the records. */
void jobs_start(struct core *c) {
    jobs_done(c);
    locks_done(c);
    struct table *t = &c->tables[API_KIND_JOB];
    for (size_t i = 0; i < t->n; i++) { /* sorted by id: in order of creation */
        const struct api_job *j = t->sorted[i]->v->data;
        if (j->state >= API_JOB_STATE_DONE)
            continue;
        const struct job_kind *k = job_kind_by_name(j->kind);
        struct job_run *run = run_new(c, j->id);
        run_aside(c, run, k && k->aside && j->state == API_JOB_STATE_QUEUED);
        if (!run->aside && j->state == API_JOB_STATE_QUEUED)
            locks_add(c, j);
        else if (!run->aside) /* one that stood aside has overtaken others */
            locks_add_first(c, j);
    }
    struct job_run *run;
    bool ended = true;
    while (ended) {
        ended = false;
        list_for_each(run, &c->jobs, link) {
            const struct api_job *old = CORE_GET(c, job, JOB, run->id);
            if (old->state == API_JOB_STATE_QUEUED || json_object_get(old->vars, "call"))
                continue;
            struct job_ctx x = ctx_of(c, CORE_COPY(job, JOB, old));
            ended = job_go(&x); /* it was waiting for another try */
            job_put(&x);
            if (ended)
                break;
        }
    }
    list_for_each(run, &c->jobs, link) {
        c->n_woken += !run->woken;
        run->woken = true;
    }
    wake_queue(c);
    recover_soon(c);
}

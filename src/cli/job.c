/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Following a job. The stream tells at once what changes; asking (GET /jobs/ID) finds out what happened before the
 * stream was open, and stands in for it where there is none: often at the beginning and after failures, rarely while
 * the stream works. Ctrl-C ends the waiting only: a job belongs to the manager.
 */
#include "cli/job.h"

#include "api/said.h"
#include "base/mem.h"
#include "base/units.h"
#include "cli/progress.h"
#include "cli/show.h"
#include "cli/stream.h"
#include "cli/text.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>

#define POLL_FIRST_MS  40
#define POLL_MAX_MS    1000
#define POLL_STREAM_MS 10000
#define FIGURES_MS     5000   /* between plain lines that tell only how far it is */
#define LOST_MAX_MS    120000 /* a manager that stays away for so long is given up */

struct follow {
    struct cli *cli;
    json_t *job; /* its last known state */
    char *path;
    uv_timer_t poll;
    uv_signal_t interrupts[2];
    struct stream *stream;
    bool stream_works, ended, interrupted;
    uint64_t interval, lost_since;
    struct progress progress;
    char *said; /* the last plain line */
    uint64_t said_at;
    struct error error;
};

bool job_has_ended(const json_t *job) {
    const char *state = json_str(job, "state");
    return str_eq(state, "done") || str_eq(state, "failed") || str_eq(state, "aborted");
}

static const char *step_now(const json_t *job) {
    size_t i;
    json_t *step;
    json_array_foreach(json_object_get(job, "steps"), i, step) {
        const char *state = json_str(step, "state");
        if (str_eq(state, "running") || str_eq(state, "undoing"))
            return json_str(step, "name");
    }
    return "";
}

char *job_describe(const json_t *job) {
    const char *state = json_str(job, "state"), *step = step_now(job), *message = json_str(job, "message");
    int percent = (int)json_int(job, "progress", 0);
    struct buf b = {0};
    if (str_eq(state, "running") || str_eq(state, "undoing"))
        buf_addf(&b, "%d%%", percent);
    else
        buf_adds(&b, state);
    if (str_eq(state, "undoing"))
        buf_adds(&b, " undo");
    if (*step)
        buf_addf(&b, " %s", step);
    if (*message && !str_eq(message, step))
        buf_addf(&b, "%s%s", *step ? ": " : " ", message);
    return buf_take(&b);
}

/* Whether two lines say the same with other figures ("34.5 MiB left" and "2 KiB left"). */
static bool differ_in_figures(const char *a, const char *b) {
    static const char figures[] = "0123456789.KMGTPiB";
    for (;; a++, b++) {
        a += strspn(a, figures);
        b += strspn(b, figures);
        if (*a != *b || !*a)
            return *a == *b;
    }
}

static void show_state(struct follow *f) {
    const struct cli *cli = f->cli;
    if (cli->quiet || job_has_ended(f->job))
        return;
    _cleanup_free_ char *text = job_describe(f->job);
    if (f->progress.on) {
        const char *tail = strchr(text, ' ');
        bool percent = tail && tail[-1] == '%';
        progress_show(&f->progress, str_or(json_str(f->job, "title"), json_str(f->job, "kind")),
                      (int)json_int(f->job, "progress", 0), percent ? tail + 1 : text);
        return;
    }
    uint64_t now = uv_hrtime() / 1000000;
    if (str_eq(text, f->said) || (f->said && differ_in_figures(text, f->said) && now - f->said_at < FIGURES_MS))
        return;
    str_set(&f->said, text);
    f->said_at = now;
    _cleanup_free_ char *safe = text_safe(text);
    fprintf(stderr, "job %s %s: %s\n", json_str(f->job, "id"), json_str(f->job, "kind"), safe);
}

static void job_update(struct follow *f, json_t *job) {
    json_decref(f->job);
    f->job = job;
    show_state(f);
    if (job_has_ended(job)) {
        f->ended = true;
        uv_stop(uv_default_loop());
    }
}

static void on_message(void *ctx, const json_t *message) {
    struct follow *f = ctx;
    const char *type = json_str(message, "type");
    if (str_eq(type, "resync") || str_eq(type, "synced")) {
        f->interval = 0; /* ask now: what happened before is not told again */
        uv_timer_start(&f->poll, f->poll.timer_cb, 0, 0);
        return;
    }
    if (!str_eq(json_str(message, "id"), json_str(f->job, "id")) || !str_eq(json_str(message, "kind"), "job"))
        return;
    const json_t *object = json_object_get(message, "object");
    if (!json_is_object(object) || str_eq(type, "delete"))
        return;
    /* A progress message brings only what changed. */
    json_t *job = json_deep_copy(f->job);
    json_object_update(job, (json_t *)object);
    job_update(f, job);
}

static void on_open(void *ctx) {
    struct follow *f = ctx;
    f->stream_works = true;
    uv_timer_start(&f->poll, f->poll.timer_cb, 0, 0);
}

static void on_close(void *ctx, int code, const char *reason) {
    struct follow *f = ctx;
    stream_free(f->stream);
    f->stream = NULL;
    f->stream_works = false;
    f->interval = POLL_FIRST_MS;
    uv_timer_start(&f->poll, f->poll.timer_cb, POLL_FIRST_MS, 0);
}

/* Whether to try again although the manager cannot be reached. */
static bool lost(struct follow *f) {
    uint64_t now = uv_hrtime() / 1000000;
    if (!f->lost_since) {
        f->lost_since = now;
        progress_clear(&f->progress);
        cli_note(f->cli, "the manager does not answer (%s); trying again, the job goes on", f->error.message);
    }
    return now - f->lost_since < LOST_MAX_MS;
}

static void on_poll(uv_timer_t *timer) {
    struct follow *f = timer->data;
    json_t *job = NULL;
    int r = http_get(f->cli->http, f->path, &job, &f->error);
    if (r == 0) {
        f->lost_since = 0;
        error_done(&f->error);
        job_update(f, job);
    } else if (!http_broke(f->cli->http) || !lost(f)) {
        uv_stop(uv_default_loop());
        return;
    }
    if (f->ended)
        return;
    f->interval = f->stream_works && r == 0           ? POLL_STREAM_MS
                  : f->interval < POLL_FIRST_MS       ? POLL_FIRST_MS
                  : f->interval * 3 / 2 > POLL_MAX_MS ? POLL_MAX_MS
                                                      : f->interval * 3 / 2;
    uv_update_time(uv_default_loop());
    uv_timer_start(timer, on_poll, f->interval, 0);
}

static void on_interrupt(uv_signal_t *s, int number) {
    struct follow *f = s->data;
    f->interrupted = true;
    uv_stop(uv_default_loop());
}

static void follow_start(struct follow *f) {
    uv_loop_t *loop = uv_default_loop();
    uv_timer_init(loop, &f->poll);
    f->poll.data = f;
    uv_timer_start(&f->poll, on_poll, POLL_FIRST_MS, 0);
    static const int numbers[] = {SIGINT, SIGTERM};
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        uv_signal_init(loop, &f->interrupts[i]);
        f->interrupts[i].data = f;
        uv_signal_start(&f->interrupts[i], on_interrupt, numbers[i]);
    }
    struct stream_config config = {
        .kinds = "job", .since = -1, .on_open = on_open, .on_message = on_message, .on_close = on_close, .ctx = f};
    stream_open(f->cli, &config, &f->stream, NULL);
}

static void follow_stop(struct follow *f) {
    stream_free(f->stream);
    uv_close((uv_handle_t *)&f->poll, NULL);
    for (size_t i = 0; i < ARRAY_LEN(f->interrupts); i++)
        uv_close((uv_handle_t *)&f->interrupts[i], NULL);
    cli_ws_free();
    uv_run(uv_default_loop(), UV_RUN_NOWAIT);
    progress_clear(&f->progress);
    free(f->said);
    free(f->path);
}

static int follow_result(struct follow *f, json_t **ret, struct error *e) {
    const char *id = json_str(f->job, "id");
    if (f->ended) {
        *ret = json_incref(f->job);
        return 0;
    }
    if (f->interrupted) {
        fprintf(stderr, "tarn: the job goes on; tarn job watch %s / tarn job abort %s\n", id, id);
        return EXIT_INTERRUPTED;
    }
    return error_set(e, f->error.code, "%s; the job goes on: tarn job watch %s", f->error.message, id);
}

int job_follow(struct cli *cli, const json_t *job, json_t **ret, struct error *e) {
    struct follow f = {.cli = cli, .job = json_deep_copy(job), .interval = POLL_FIRST_MS};
    f.progress.on = cli->tty_err && !cli->quiet;
    struct buf path = {0};
    buf_adds(&path, "/jobs/");
    url_encode(&path, json_str(job, "id"));
    f.path = buf_take(&path);
    f.ended = job_has_ended(job);
    if (!f.ended) {
        follow_start(&f);
        show_state(&f);
        uv_run(uv_default_loop(), UV_RUN_DEFAULT);
    }
    if (f.poll.data)
        follow_stop(&f);
    else
        free(f.path);
    int r = follow_result(&f, ret, e);
    json_decref(f.job);
    error_done(&f.error);
    return r;
}

/* ---- results ---- */

static void warn(const json_t *job) {
    size_t i;
    json_t *text;
    json_array_foreach(json_object_get(job, "warnings"), i, text) if (json_is_string(text)) {
        const char *name = json_str(json_object_get(job, "object"), "name");
        _cleanup_free_ char *line = xasprintf("%s%s%s", name, *name ? ": " : "", json_string_value(text));
        cli_warn(line);
    }
}

int job_print_started(struct cli *cli, const json_t *job, struct error *e) {
    const char *id = json_str(job, "id");
    warn(job);
    if (cli->output == OUTPUT_NAME) {
        cli_write(id, strlen(id));
        cli_write("\n", 1);
        return 0;
    }
    if (cli->output != OUTPUT_TABLE)
        return show_object(cli, job, NULL);
    _cleanup_free_ char *title = text_safe(str_or(json_str(job, "title"), json_str(job, "kind")));
    _cleanup_free_ char *line = xasprintf("job %s: %s\n", id, title);
    cli_write(line, strlen(line));
    cli_note(cli, "follow it with: tarn job watch %s", id);
    return 0;
}

/* " in 3.2 s", or nothing where the times are unknown. */
static char *duration(const json_t *job) {
    int64_t from, to;
    if (time_parse(json_str(job, "created"), &from) < 0 || time_parse(json_str(job, "ended"), &to) < 0 || to < from)
        return xstrdup("");
    long long ms = to - from;
    return ms < 1000    ? xasprintf(" in %lld ms", ms)
           : ms < 60000 ? xasprintf(" in %.1f s", (double)ms / 1000)
                        : xasprintf(" in %lld min %lld s", ms / 60000, ms / 1000 % 60);
}

/* What is left of one that did not come to its good end. */
static const char *what_is_left(const json_t *job) {
    const json_t *steps = json_object_get(job, "steps");
    bool begun = !json_is_array(steps);
    for (size_t i = 0; i < json_array_size(steps); i++)
        begun |= !str_eq(json_str(json_array_get(steps, i), "state"), "pending");
    return begun ? said_job_stays(json_str(job, "kind")) : "nothing was done";
}

int job_print_ended(struct cli *cli, const json_t *job, struct error *e) {
    const char *id = json_str(job, "id"), *state = json_str(job, "state");
    if (cli->output == OUTPUT_JSON || cli->output == OUTPUT_YAML)
        show_value(cli, job);
    if (str_eq(state, "done"))
        warn(job);
    if (str_eq(state, "aborted"))
        return error_set(e, ERR_CANCELLED, "aborted%s%s; %s (tarn job show %s)",
                         *json_str(job, "aborted_by") ? " by " : "", json_str(job, "aborted_by"), what_is_left(job),
                         id);
    if (str_eq(state, "failed")) {
        enum error_code code = error_code_parse(json_str(job, "error_code"));
        return error_set(e, code == ERR_OK ? ERR_INTERNAL : code, "%s (%s; tarn job show %s)",
                         str_or(json_str(job, "error"), "the job failed"), what_is_left(job), id);
    }
    if (cli->output == OUTPUT_NAME) {
        const json_t *object = json_object_get(job, "object");
        _cleanup_free_ char *name = text_safe(str_or(json_str(object, "name"), id));
        cli_write(name, strlen(name));
        cli_write("\n", 1);
    } else if (cli->output == OUTPUT_TABLE) {
        _cleanup_free_ char *title = text_safe(str_or(json_str(job, "title"), json_str(job, "kind")));
        _cleanup_free_ char *took = duration(job);
        _cleanup_free_ char *line = xasprintf("%s: %s%s\n", title, state, took);
        cli_write(line, strlen(line));
    }
    return 0;
}

int job_watch_run(struct cli *cli, struct error *e) {
    struct buf path = {0};
    buf_adds(&path, "/jobs/");
    url_encode(&path, cli->args.values[0]);
    json_t *job = NULL, *ended = NULL;
    int r = http_get(cli->http, path.data, &job, e);
    buf_done(&path);
    if (r == 0)
        r = job_follow(cli, job, &ended, e);
    if (r == 0)
        r = job_print_ended(cli, ended, e);
    json_decref(job);
    json_decref(ended);
    return r;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* tarn event list [--follow] and tarn stream: what happens, line by line. */
#include "base/mem.h"
#include "base/units.h"
#include "cli/cli.h"
#include "cli/show.h"
#include "cli/stream.h"
#include "cli/text.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>

#define EVENTS_DEFAULT 100
#define EVENTS_FOLLOW  10
#define EVENTS_MISSED  1000 /* asked for after a gap */
#define RETRY_MS       1000

/* What both follow: the stream, opened again from the last revision when it breaks. */
struct tail {
    struct cli *cli;
    const char *kinds;
    int64_t revision; /* the last one seen; -1: none */
    int64_t shown;    /* the last event's revision */
    json_t *ids;      /* of the events of that revision: one commit may hold several */
    struct stream *stream;
    uv_timer_t retry;
    uv_signal_t interrupts[2];
    void (*on_message)(struct tail *t, const json_t *message);
    int64_t left; /* messages; 0: no end */
    int result;
    bool complained;
    struct error error;
};

static void tail_open(struct tail *t);

static void on_retry(uv_timer_t *timer) { tail_open(timer->data); }

static void on_interrupt(uv_signal_t *s, int number) {
    struct tail *t = s->data;
    t->result = 0;
    uv_stop(uv_default_loop());
}

static void on_open(void *ctx) {
    struct tail *t = ctx;
    if (t->complained)
        cli_note(t->cli, "connected again");
    t->complained = false;
}

static void on_message(void *ctx, const json_t *message) {
    struct tail *t = ctx;
    int64_t revision = json_int(message, "revision", -1);
    if (revision > t->revision)
        t->revision = revision;
    t->on_message(t, message);
    cli_flush();
    if (t->left && --t->left == 0)
        uv_stop(uv_default_loop());
}

/* Whether it makes sense to try again: asks over REST, which tells the reason in Tarn's own words. */
static void on_close(void *ctx, int code, const char *reason) {
    struct tail *t = ctx;
    stream_free(t->stream);
    t->stream = NULL;
    json_t *session = NULL;
    int r = http_get(t->cli->http, "/sessions/current", &session, &t->error);
    json_decref(session);
    if (r < 0 && !http_broke(t->cli->http)) {
        t->result = r;
        uv_stop(uv_default_loop());
        return;
    }
    if (cli_refused(t->cli, "/api/v1/stream", code, &t->error)) {
        t->result = -EACCES;
        uv_stop(uv_default_loop());
        return;
    }
    if (!t->complained)
        cli_note(t->cli, "the connection to the manager is lost%s%s; trying again", str_empty(reason) ? "" : ": ",
                 str_or(reason, ""));
    t->complained = true;
    uv_timer_start(&t->retry, on_retry, RETRY_MS, 0);
}

static void tail_open(struct tail *t) {
    struct stream_config config = {.kinds = t->kinds,
                                   .since = t->revision,
                                   .on_open = on_open,
                                   .on_message = on_message,
                                   .on_close = on_close,
                                   .ctx = t};
    int r = stream_open(t->cli, &config, &t->stream, &t->error);
    if (r < 0) {
        t->result = r;
        uv_stop(uv_default_loop());
    }
}

static int tail_run(struct tail *t, struct error *e) {
    uv_loop_t *loop = uv_default_loop();
    uv_timer_init(loop, &t->retry);
    t->retry.data = t;
    static const int numbers[] = {SIGINT, SIGTERM};
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        uv_signal_init(loop, &t->interrupts[i]);
        t->interrupts[i].data = t;
        uv_signal_start(&t->interrupts[i], on_interrupt, numbers[i]);
    }
    tail_open(t);
    if (t->result == 0)
        uv_run(loop, UV_RUN_DEFAULT);
    stream_free(t->stream);
    uv_close((uv_handle_t *)&t->retry, NULL);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        uv_close((uv_handle_t *)&t->interrupts[i], NULL);
    cli_ws_free();
    uv_run(loop, UV_RUN_NOWAIT);
    if (t->result < 0)
        error_move(e, &t->error);
    error_done(&t->error);
    return t->result;
}

/* ---- tarn stream ---- */

static void print_json_line(const json_t *j) {
    _cleanup_free_ char *text = json_text(j);
    struct buf out = {0};
    text_escape_json(&out, text, strlen(text));
    buf_addc(&out, '\n');
    cli_write(out.data, out.len);
    buf_done(&out);
}

static void stream_message(struct tail *t, const json_t *message) { print_json_line(message); }

int stream_run(struct cli *cli, struct error *e) {
    int64_t since, count;
    int r = args_number(&cli->args, "since", 0, INT64_MAX, -1, &since, e);
    if (r >= 0)
        r = args_number(&cli->args, "count", 1, INT64_MAX, 0, &count, e);
    if (r < 0)
        return r;
    struct tail t = {.cli = cli,
                     .kinds = args_option(&cli->args, "kinds"),
                     .revision = since,
                     .left = count,
                     .on_message = stream_message};
    return tail_run(&t, e);
}

/* ---- tarn event list ---- */

/* One event as a line, for following: a table's widths would have to be known in advance. */
static void event_line(struct tail *t, const json_t *event) {
    if (t->cli->output != OUTPUT_TABLE) {
        print_json_line(event);
        return;
    }
    static const struct column severity = {.path = "severity"};
    static const struct column time = {.path = "time", .type = API_CLI_TIME};
    _cleanup_free_ char *when = show_cell(&time, json_object_get(event, "time"), NULL);
    _cleanup_free_ char *level = text_safe(json_str(event, "severity")), *actor = text_safe(json_str(event, "actor"));
    _cleanup_free_ char *message = text_safe(json_str(event, "message"));
    const char *style = t->cli->colour ? show_style(&severity, level) : NULL;
    /* Most messages say who did it. */
    bool named = strncmp(message, actor, strlen(actor)) == 0;
    struct buf line = {0};
    buf_addf(&line, "%s  %s%s%s%-7s%s  %s%s%s\n", when, style ? "\033[" : "", style ? style : "", style ? "m" : "",
             level, style ? "\033[0m" : "", named ? "" : actor, named ? "" : ": ", message);
    cli_write(line.data, line.len);
    buf_done(&line);
}

static int events_fetch(struct cli *cli, int64_t limit, const char *fields, json_t **ret, struct error *e) {
    return engine_list(cli, "events", args_option(&cli->args, "filter"), args_option(&cli->args, "sort"), fields, limit,
                       ret, e);
}

static void event_show(struct tail *t, const json_t *event) {
    int64_t revision = json_int(event, "revision", 0);
    if (revision < t->shown || (revision == t->shown && json_object_get(t->ids, json_str(event, "id"))))
        return;
    if (revision > t->shown)
        json_object_clear(t->ids);
    json_object_set_new(t->ids, json_str(event, "id"), json_null());
    t->shown = revision;
    event_line(t, event);
}

/* Newest first as they are listed, oldest first as they are shown. */
static void events_show(struct tail *t, const json_t *list) {
    for (size_t i = json_array_size(list); i-- > 0;)
        event_show(t, json_array_get(list, i));
}

static void event_message(struct tail *t, const json_t *message) {
    const json_t *event = json_object_get(message, "object");
    if (str_eq(json_str(message, "type"), "resync")) {
        /* The manager no longer knows what happened in between: it stands in the list. */
        _cleanup_json_ json_t *list = NULL;
        if (events_fetch(t->cli, EVENTS_MISSED, NULL, &list, NULL) >= 0)
            events_show(t, list);
    } else if (str_eq(json_str(message, "type"), "put") && str_eq(json_str(message, "kind"), "event") &&
               json_is_object(event)) {
        event_show(t, event);
    }
}

static int event_follow(struct cli *cli, int64_t limit, struct error *e) {
    _cleanup_json_ json_t *list = NULL, *about = NULL;
    if (args_has(&cli->args, "filter") || args_has(&cli->args, "sort") || args_has(&cli->args, "fields"))
        return error_set(e, ERR_INVALID, "--follow shows all events: leave out --filter, --sort and --fields");
    /* The revision first: what happens between the two requests then comes twice rather than never. */
    int r = http_get(cli->http, "/about", &about, e);
    if (r >= 0)
        r = events_fetch(cli, limit, NULL, &list, e);
    if (r < 0)
        return r;
    _cleanup_json_ json_t *ids = json_object();
    struct tail t = {.cli = cli,
                     .kinds = "event",
                     .revision = json_int(about, "revision", -1),
                     .ids = ids,
                     .on_message = event_message};
    events_show(&t, list);
    cli_flush();
    return tail_run(&t, e);
}

/* What was once so is history: it is shown to who asks for it. */
int alarm_list_run(struct cli *cli, struct error *e) {
    const char *filter = args_option(&cli->args, "filter");
    bool all = args_has(&cli->args, "all") || (filter && strstr(filter, "active"));
    return engine_list_run(cli, all ? NULL : "active=true", e);
}

int event_list_run(struct cli *cli, struct error *e) {
    const struct api_cli_command *row = cli->args.command->row;
    bool follow = args_has(&cli->args, "follow");
    int64_t limit;
    int r = args_number(&cli->args, "limit", 1, INT32_MAX, follow ? EVENTS_FOLLOW : EVENTS_DEFAULT, &limit, e);
    if (r < 0)
        return r;
    if (cli->dry_run) {
        cli_print_request(cli, "GET", "/events", NULL);
        return 0;
    }
    if (follow)
        return event_follow(cli, limit, e);
    const char *names = args_option(&cli->args, "fields");
    _cleanup_columns_ struct column *columns = NULL;
    _cleanup_json_ json_t *list = NULL;
    r = columns_make(row->result, names, &columns, e);
    if (r >= 0)
        r = events_fetch(cli, limit, NULL, &list, e);
    return r < 0 ? r : show_list(cli, list, columns);
}

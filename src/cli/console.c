/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tarn vm console: the serial console over a WebSocket. On a terminal the bytes go through as they are, in raw mode,
 * until Ctrl-]; elsewhere it is a pipe for scripts. When the connection drops, the virtual machine is asked for its
 * state over REST: as long as it runs, the console connects again; otherwise it says why it ended.
 */
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/stream.h"
#include "cli/terminal.h"
#include "cli/text.h"
#include "os/file.h"
#include "os/wsclient.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define LEAVE            0x1d /* Ctrl-] */
#define RETRY_FIRST_MS   300
#define RETRY_MAX_MS     5000
#define PIECE            16384
#define AHEAD_MAX        4096
#define CLOSE_VM_STOPPED 4010
#define CLOSE_REFUSED    4013

struct console {
    struct cli *cli;
    const char *vm;
    char *path, *vm_path;
    struct ws_client *ws;
    bool tty;      /* stdin is a terminal, in raw mode */
    bool pollable; /* stdin can be waited for; a file cannot */
    bool open, input_ended, blocked, sent_text, was_open;
    uv_poll_t input;
    uv_idle_t reader; /* for what cannot be polled */
    uv_timer_t retry, deadline;
    uv_signal_t interrupts[4];
    uint64_t retry_ms;
    const char *until, *send;
    struct buf ahead; /* typed while there was no connection */
    struct buf seen;  /* the end of what was written, for --until */
    bool found, timed_out, left;
    int result;
    struct error error;
};

static void console_connect(struct console *c);

static void finish(struct console *c, int result) {
    c->result = result;
    uv_stop(uv_default_loop());
}

/* Notes stand on lines of their own, also in raw mode. */
static void note(struct console *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void note(struct console *c, const char *fmt, ...) {
    if (c->cli->quiet)
        return;
    va_list ap;
    va_start(ap, fmt);
    _cleanup_free_ char *text = xvasprintf(fmt, ap);
    va_end(ap);
    _cleanup_free_ char *safe = text_safe(text);
    fprintf(stderr, c->tty ? "\r\n[%s]\r\n" : "[%s]\n", safe);
}

/* ---- from the guest ---- */

static void until_look(struct console *c, const void *data, size_t len) {
    size_t want = strlen(c->until);
    buf_add(&c->seen, data, len);
    if (memmem(c->seen.data, c->seen.len, c->until, want)) {
        c->found = true;
        finish(c, 0);
    } else if (c->seen.len >= want) {
        buf_consume(&c->seen, c->seen.len - want + 1);
    }
}

static void on_binary(void *ctx, struct ws_client *ws, const void *data, size_t len) {
    struct console *c = ctx;
    int r = write_all(STDOUT_FILENO, data, len);
    if (r < 0) {
        finish(c, r == -EPIPE ? 0 : error_set(&c->error, ERR_IO, "cannot write the output: %s", strerror(-r)));
        return;
    }
    if (c->until && !c->found)
        until_look(c, data, len);
}

/* ---- to the guest ---- */

static void input_arm(struct console *c);

static void input_end(struct console *c) {
    c->input_ended = true;
    if (c->pollable)
        uv_poll_stop(&c->input);
    else
        uv_idle_stop(&c->reader);
}

static void input_read_piece(struct console *c) {
    char data[PIECE];
    ssize_t n = read(STDIN_FILENO, data, sizeof data);
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (n <= 0) {
        input_end(c);
        if (c->tty)
            finish(c, 0);
        return;
    }
    char *leave = c->tty ? memchr(data, LEAVE, (size_t)n) : NULL;
    size_t len = leave ? (size_t)(leave - data) : (size_t)n;
    if (len && !c->open && c->ahead.len + len <= AHEAD_MAX)
        buf_add(&c->ahead, data, len);
    if (len && c->open && !ws_send_binary(c->ws, data, len)) {
        c->blocked = true;
        input_arm(c);
    }
    if (leave) {
        c->left = true;
        finish(c, 0);
    }
}

static void on_input(uv_poll_t *p, int status, int events) {
    struct console *c = p->data;
    if (status < 0)
        input_end(c);
    else
        input_read_piece(c);
}

static void on_idle(uv_idle_t *i) { input_read_piece(i->data); }

/* Reads while the connection takes it; a person at a terminal is heard always, for Ctrl-]. */
static void input_arm(struct console *c) {
    bool wanted = !c->input_ended && (c->tty || (c->open && !c->blocked));
    if (c->pollable && wanted)
        uv_poll_start(&c->input, UV_READABLE, on_input);
    else if (c->pollable)
        uv_poll_stop(&c->input);
    else if (wanted)
        uv_idle_start(&c->reader, on_idle);
    else
        uv_idle_stop(&c->reader);
}

static void on_writable(void *ctx, struct ws_client *ws) {
    struct console *c = ctx;
    c->blocked = false;
    input_arm(c);
}

static void input_start(struct console *c) {
    uv_loop_t *loop = uv_default_loop();
    struct stat st;
    int flags = fcntl(STDIN_FILENO, F_GETFL);
    c->pollable =
        fstat(STDIN_FILENO, &st) == 0 && !S_ISREG(st.st_mode) && uv_poll_init(loop, &c->input, STDIN_FILENO) == 0;
    /* libuv makes it non-blocking, and with it a terminal's stdout, stderr and the shell that comes after us. */
    fcntl(STDIN_FILENO, F_SETFL, flags);
    if (c->pollable && uv_poll_start(&c->input, UV_READABLE, on_input) < 0) {
        uv_close((uv_handle_t *)&c->input, NULL);
        c->pollable = false;
    } else if (c->pollable) {
        uv_poll_stop(&c->input);
    }
    uv_idle_init(loop, &c->reader);
    c->input.data = c->reader.data = c;
    input_arm(c);
}

/* ---- the connection ---- */

static void on_open(void *ctx, struct ws_client *ws) {
    struct console *c = ctx;
    c->open = true;
    c->retry_ms = RETRY_FIRST_MS;
    if (c->was_open)
        note(c, "connected again");
    c->was_open = true;
    if (c->send && !c->sent_text) {
        _cleanup_free_ char *line = xasprintf("%s\n", c->send);
        ws_send_binary(ws, line, strlen(line));
        c->sent_text = true;
    }
    if (c->ahead.len)
        ws_send_binary(ws, c->ahead.data, c->ahead.len);
    buf_done(&c->ahead);
    input_arm(c);
}

/* After a connection that ended: goes on, or says why not. */
static void console_ended(struct console *c, int code, const char *reason) {
    _cleanup_json_ json_t *vm = NULL;
    int r = http_get(c->cli->http, c->vm_path, &vm, &c->error);
    if (r < 0 && !http_broke(c->cli->http)) {
        finish(c, r);
        return;
    }
    const char *state = json_str(vm, "state"), *why = json_str(vm, "state_reason");
    bool gone = str_eq(state, "stopped") || str_eq(state, "crashed") || str_eq(state, "deleting");
    if (gone && !c->was_open) {
        finish(c, error_set(&c->error, ERR_CONFLICT, "%s is %s%s%s; start it with: tarn vm start %s", c->vm, state,
                            *why ? ": " : "", why, c->vm));
        return;
    }
    if (gone) {
        note(c, "%s is %s%s%s", c->vm, state, *why ? ": " : "", why);
        finish(c, 0);
        return;
    }
    if (cli_refused(c->cli, c->path, code, &c->error)) {
        finish(c, -EACCES);
        return;
    }
    if (code == CLOSE_REFUSED && !c->was_open) {
        finish(c,
               error_set(&c->error, ERR_CONFLICT, "the console is refused: %s", str_or(reason, "no reason was given")));
        return;
    }
    /* A guest that is just stopping will be asked for again; there is nothing to say yet. */
    if (c->retry_ms == RETRY_FIRST_MS && code != CLOSE_VM_STOPPED)
        note(c, "the connection is lost%s%s; connecting again%s", str_empty(reason) ? "" : ": ", str_or(reason, ""),
             c->tty ? ", Ctrl-] leaves" : "");
    uv_timer_start(&c->retry, c->retry.timer_cb, c->retry_ms, 0);
    c->retry_ms = c->retry_ms * 2 > RETRY_MAX_MS ? RETRY_MAX_MS : c->retry_ms * 2;
}

static void on_close(void *ctx, struct ws_client *ws, int code, const char *reason) {
    struct console *c = ctx;
    _cleanup_free_ char *why = xstrdup(str_or(reason, ""));
    ws_free(c->ws);
    c->ws = NULL;
    c->open = c->blocked = false;
    input_arm(c);
    console_ended(c, code, why);
}

static void console_connect(struct console *c) {
    struct ws_client_config config = {
        .path = c->path,
        .max_message = 1 << 20,
        .on_open = on_open,
        .on_binary = on_binary,
        .on_writable = on_writable,
        .on_close = on_close,
        .ctx = c,
    };
    int r = cli_ws_connect(c->cli, &config, &c->ws);
    if (r < 0)
        finish(c, error_set(&c->error, ERR_UNAVAILABLE, "cannot open the console: %s", strerror(-r)));
}

static void on_retry(uv_timer_t *t) { console_connect(t->data); }

static void on_deadline(uv_timer_t *t) {
    struct console *c = t->data;
    c->timed_out = true;
    finish(c, 0);
}

static void on_signal(uv_signal_t *s, int number) { finish(s->data, EXIT_INTERRUPTED); }

static void handles_start(struct console *c, int64_t timeout) {
    uv_loop_t *loop = uv_default_loop();
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        uv_signal_init(loop, &c->interrupts[i]);
        c->interrupts[i].data = c;
        uv_signal_start(&c->interrupts[i], on_signal, numbers[i]);
    }
    uv_timer_init(loop, &c->retry);
    uv_timer_init(loop, &c->deadline);
    c->retry.data = c->deadline.data = c;
    c->retry.timer_cb = on_retry;
    if (timeout)
        uv_timer_start(&c->deadline, on_deadline, (uint64_t)timeout * 1000, 0);
    input_start(c);
}

static void handles_stop(struct console *c) {
    ws_free(c->ws);
    for (size_t i = 0; i < ARRAY_LEN(c->interrupts); i++)
        uv_close((uv_handle_t *)&c->interrupts[i], NULL);
    uv_close((uv_handle_t *)&c->retry, NULL);
    uv_close((uv_handle_t *)&c->deadline, NULL);
    uv_close((uv_handle_t *)&c->reader, NULL);
    if (c->pollable)
        uv_close((uv_handle_t *)&c->input, NULL);
    cli_ws_free();
    uv_run(uv_default_loop(), UV_RUN_NOWAIT);
}

static int console_loop(struct console *c, int64_t timeout) {
    c->tty = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
    if (c->tty) {
        int r = terminal_raw();
        if (r < 0)
            return error_set(&c->error, ERR_IO, "cannot use the terminal: %s", strerror(-r));
        if (!c->cli->quiet)
            fprintf(stderr, "Console of %s; Ctrl-] leaves.\r\n", c->vm);
    }
    handles_start(c, timeout);
    console_connect(c);
    if (c->result == 0)
        uv_run(uv_default_loop(), UV_RUN_DEFAULT);
    handles_stop(c);
    if (c->tty) {
        /* What the guest has left switched on is not the shell's business: colours off, cursor on. */
        write_all(STDOUT_FILENO, "\033[0m\033[?25h\r\n", 12);
        terminal_restore();
        if (c->left && !c->cli->quiet)
            fprintf(stderr, "Left the console; %s goes on.\n", c->vm);
    }
    return c->result;
}

int console_run(struct cli *cli, struct error *e) {
    struct console c = {.cli = cli,
                        .vm = cli->args.values[0],
                        .retry_ms = RETRY_FIRST_MS,
                        .until = args_option(&cli->args, "until"),
                        .send = args_option(&cli->args, "send")};
    int64_t timeout;
    int r = args_number(&cli->args, "timeout", 1, 86400 * 365, 0, &timeout, e);
    if (r < 0)
        return r;
    if (c.until && !*c.until)
        return error_set(e, ERR_INVALID, "--until needs a text");
    _cleanup_free_ char *path = engine_path(cli);
    c.path = xasprintf("/api/v1%s?type=serial", path);
    c.vm_path = url_path("/vms/{vm}", (const char *const[]){c.vm}, 1);
    if (cli->dry_run) {
        cli_print_request(cli, "GET", c.path + strlen("/api/v1"), NULL);
    } else {
        /* Asked first over REST, for an error in words; a WebSocket can only be refused. */
        _cleanup_json_ json_t *vm = NULL;
        r = http_get(cli->http, c.vm_path, &vm, e);
        if (r >= 0)
            r = console_loop(&c, timeout);
        if (r < 0 && c.error.code)
            error_move(e, &c.error);
    }
    if (r == 0 && c.until && !c.found && !cli->dry_run && !c.left)
        r = error_set(e, ERR_TIMEOUT,
                      c.timed_out ? "\"%s\" was not seen within %lld s" : "the console ended before \"%s\" was seen",
                      c.until, (long long)timeout);
    free(c.path);
    free(c.vm_path);
    buf_done(&c.seen);
    buf_done(&c.ahead);
    error_done(&c.error);
    return r;
}

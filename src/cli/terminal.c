/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/terminal.h"

#include "base/buf.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <strings.h>
#include <termios.h>
#include <unistd.h>

#define ANSWER_MAX 4096

/* What the signal handler needs; a terminal is changed by one place at a time. */
static struct termios saved;
static volatile sig_atomic_t saved_fd = -1;

static void restore_now(void) {
    if (saved_fd >= 0)
        tcsetattr(saved_fd, TCSANOW, &saved);
    saved_fd = -1;
}

void terminal_restore(void) { restore_now(); }

static void on_fatal(int number) {
    restore_now();
    signal(number, SIG_DFL);
    raise(number);
}

static int terminal_change(int fd, void (*change)(struct termios *t)) {
    static const int fatal[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGPIPE};
    static bool hooked;
    if (tcgetattr(fd, &saved) < 0)
        return -errno;
    if (!hooked) {
        hooked = true;
        atexit(restore_now);
    }
    saved_fd = fd;
    struct sigaction action = {.sa_handler = on_fatal, .sa_flags = (int)SA_RESETHAND};
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < ARRAY_LEN(fatal); i++)
        sigaction(fatal[i], &action, NULL);
    struct termios t = saved;
    change(&t);
    /* Not flushed: what was typed ahead is meant. */
    if (tcsetattr(fd, TCSADRAIN, &t) < 0) {
        saved_fd = -1;
        return -errno;
    }
    return 0;
}

static void make_raw(struct termios *t) { cfmakeraw(t); }
static void make_silent(struct termios *t) {
    t->c_lflag &= ~(tcflag_t)(ECHO | ECHOE | ECHOK);
    t->c_lflag |= ICANON | ISIG;
}

int terminal_raw(void) { return terminal_change(STDIN_FILENO, make_raw); }

static int tty_open(void) { return open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY); }

/* Somebody reads what we say: a script whose stderr goes elsewhere must not wait for an answer that nobody gives. */
bool terminal_can_ask(void) {
    int fd = isatty(STDERR_FILENO) ? tty_open() : -1;
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static int line_read(int fd, char **ret, struct error *e) {
    char line[ANSWER_MAX];
    size_t len = 0;
    for (;;) {
        ssize_t n = read(fd, line + len, 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0 && !len)
            return error_set(e, ERR_CANCELLED, "no answer");
        if (n <= 0 || line[len] == '\n')
            break;
        if (++len == sizeof line)
            return error_set(e, ERR_TOO_LARGE, "the answer is too long");
    }
    *ret = xstrndup(line, len);
    explicit_bzero(line, sizeof line);
    return 0;
}

static int ask(const char *prompt, bool secret, char **ret, struct error *e) {
    int fd = tty_open();
    if (fd < 0)
        return error_set(e, ERR_INVALID, "there is no terminal to ask on");
    if (secret)
        terminal_change(fd, make_silent);
    dprintf(fd, "%s", prompt);
    int r = line_read(fd, ret, e);
    if (secret) {
        restore_now();
        dprintf(fd, "\n");
    }
    close(fd);
    return r;
}

int terminal_ask_text(const char *question, const char *otherwise, char **ret, struct error *e) {
    _cleanup_free_ char *prompt =
        *otherwise ? xasprintf("%s [%s]: ", question, otherwise) : xasprintf("%s: ", question);
    char *answer;
    int r = ask(prompt, false, &answer, e);
    if (r < 0)
        return r;
    if (!*answer)
        str_set(&answer, otherwise);
    *ret = answer;
    return 0;
}

int terminal_ask_secret(const char *question, char **ret, struct error *e) {
    _cleanup_free_ char *prompt = xasprintf("%s: ", question);
    return ask(prompt, true, ret, e);
}

bool terminal_ask_yes(const char *question) {
    _cleanup_free_ char *prompt = xasprintf("%s [yes/no] ", question), *answer = NULL;
    return ask(prompt, false, &answer, NULL) == 0 && (!strcasecmp(answer, "yes") || !strcasecmp(answer, "y"));
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/options.h"

#include "manager/parse.h"
#include "os/log.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>

#define LISTEN_DEFAULT  ":8443"
#define RATE_DEFAULT    200
#define HISTORY_DEFAULT 90
#define BURST_DEFAULT   400

enum {
    OPT_LISTEN = 256,
    OPT_STATE,
    OPT_NAME,
    OPT_PASSWORD_FILE,
    OPT_CONSOLE,
    OPT_METRICS_PUBLIC,
    OPT_METRICS_VMS,
    OPT_HISTORY,
    OPT_RATE,
    OPT_LOG,
    OPT_CHECK
};

static const struct option longs[] = {
    {"listen", required_argument, NULL, OPT_LISTEN},
    {"state-dir", required_argument, NULL, OPT_STATE},
    {"name", required_argument, NULL, OPT_NAME},
    {"admin-password-file", required_argument, NULL, OPT_PASSWORD_FILE},
    {"console-dir", required_argument, NULL, OPT_CONSOLE},
    {"metrics-public", no_argument, NULL, OPT_METRICS_PUBLIC},
    {"metrics-vms", no_argument, NULL, OPT_METRICS_VMS},
    {"history-days", required_argument, NULL, OPT_HISTORY},
    {"rate", required_argument, NULL, OPT_RATE},
    {"log-level", required_argument, NULL, OPT_LOG},
    {"check", no_argument, NULL, OPT_CHECK},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},
    {NULL, 0, NULL, 0},
};

static void usage(void) {
    printf("Usage: tarn-manager [OPTION]...\n"
           "The manager of Tarn: keeps the inventory, serves the API, and tells the agents what to do.\n\n"
           "  --listen ADDR:PORT          address for the API, consoles and agents; may be repeated "
           "(default " LISTEN_DEFAULT ")\n"
           "  --state-dir DIR             where it keeps its store and its keys\n"
           "                              (default $XDG_STATE_HOME/tarn/manager or ~/.local/state/tarn/manager)\n"
           "  --name NAME                 another host name or address for its certificate; may be repeated\n"
           "  --admin-password-file FILE  where the first start writes the password of the user admin\n"
           "                              (default DIR/admin-password)\n"
           "  --console-dir DIR           the built web console (default " TARN_CONSOLE_DIR ",\n"
           "                              if it is there; \"\" for none)\n"
           "  --metrics-public            /metrics without sign-in\n"
           "  --metrics-vms               /metrics shows every virtual machine\n"
           "  --history-days N            events and ended jobs are kept for N days (default %d; 0: for ever)\n"
           "  --rate N                    requests a second for each client not on this machine (default %d, bursts of "
           "twice that)\n"
           "  --log-level LEVEL           error, warning, info (default) or debug\n"
           "  --check                     opens the state directory, says whether it is good, and ends\n"
           "  --help, --version\n",
           HISTORY_DEFAULT, RATE_DEFAULT);
}

static char *state_default(void) {
    const char *base = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    if (!str_empty(base))
        return xasprintf("%s/tarn/manager", base);
    return xasprintf("%s/.local/state/tarn/manager", str_or(home, ""));
}

/* Relative paths are the caller's directory's. */
static char *absolute(const char *path) {
    char *cwd = *path == '/' ? NULL : realpath(".", NULL);
    char *r = cwd ? xasprintf("%s/%s", cwd, path) : xstrdup(path);
    free(cwd);
    return r;
}

static void list_add(const char ***list, size_t *n, const char *s) {
    *list = xreallocarray(*list, *n + 1, sizeof **list);
    (*list)[(*n)++] = s;
}

__attribute__((format(printf, 1, 2))) static int mistake(const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    _cleanup_free_ char *text = xvasprintf(fmt, ap);
    va_end(ap);
    fprintf(stderr, "tarn-manager: %s; see tarn-manager --help\n", text);
    return -EINVAL;
}

static int take(struct options *o, int option, char *arg) {
    char host[64];
    int port, level;
    switch (option) {
    case OPT_LISTEN:
        if (listen_parse(arg, host, &port) < 0)
            return mistake("--listen %s is not ADDRESS:PORT, [IPV6]:PORT or :PORT", arg);
        list_add(&o->listens, &o->n_listens, arg);
        return 0;
    case OPT_STATE:
        str_take(&o->state, absolute(arg));
        return 0;
    case OPT_NAME:
        list_add(&o->names, &o->n_names, arg);
        return 0;
    case OPT_PASSWORD_FILE:
        str_set(&o->admin_password_file, arg);
        return 0;
    case OPT_CONSOLE:
        str_take(&o->console_dir, *arg ? absolute(arg) : xstrdup(""));
        o->console_must = *arg;
        return 0;
    case OPT_METRICS_PUBLIC:
        o->metrics_public = true;
        return 0;
    case OPT_METRICS_VMS:
        o->metrics_vms = true;
        return 0;
    case OPT_HISTORY:
        if (decimal_parse(arg, &o->history_days) < 0 || o->history_days > 36500)
            return mistake("--history-days %s is not a number from 0 to 36500", arg);
        return 0;
    case OPT_RATE:
        if (decimal_parse(arg, &o->rate) < 0 || o->rate < 1 || o->rate > 1000000)
            return mistake("--rate %s is not a number from 1 to 1000000", arg);
        o->burst = 2 * o->rate;
        return 0;
    case OPT_LOG:
        level = log_level_parse(arg);
        if (level < 0)
            return mistake("--log-level %s is not error, warning, info or debug", arg);
        log_set_level((enum log_level)level);
        return 0;
    case OPT_CHECK:
        o->check = true;
        return 0;
    default:
        return -EINVAL;
    }
}

static int finish(struct options *o) {
    if (!o->n_listens)
        list_add(&o->listens, &o->n_listens, LISTEN_DEFAULT);
    if (!o->state)
        o->state = state_default();
    if (!o->console_dir)
        o->console_dir = xstrdup(TARN_CONSOLE_DIR);
    if (!o->admin_password_file)
        o->admin_password_file = xasprintf("%s/admin-password", o->state);
    return 0;
}

int options_parse(int argc, char **argv, struct options *o) {
    int option, r;
    *o = (struct options){.rate = RATE_DEFAULT, .burst = BURST_DEFAULT, .history_days = HISTORY_DEFAULT};
    opterr = 0;
    while ((option = getopt_long(argc, argv, ":hV", longs, NULL)) != -1) {
        if (option == 'h' || option == 'V') {
            if (option == 'h')
                usage();
            else
                printf("tarn-manager " TARN_VERSION "\n");
            return 1;
        }
        if (option == ':')
            return mistake("%s needs a value", argv[optind - 1]);
        if (option == '?')
            return mistake("there is no option %s", argv[optind - 1]);
        if ((r = take(o, option, optarg)) < 0)
            return r;
    }
    if (optind < argc)
        return mistake("\"%s\" is not an option", argv[optind]);
    return finish(o);
}

void options_done(struct options *o) {
    free(o->listens);
    free(o->names);
    free(o->state);
    free(o->admin_password_file);
    free(o->console_dir);
    *o = (struct options){0};
}

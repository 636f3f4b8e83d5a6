/* SPDX-License-Identifier: Apache-2.0 */
/* tarn-agent: options, the loop, signals. Joining is a program of its own (join_main.c): what it needs is not kept
 * loaded. */
#include "agent/agent.h"
#include "agent/hypervisor/sim.h"
#include "agent/sim.h"

#include "os/file.h"
#include "os/log.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define REAP_MS 10000

static const char usage[] =
    "Usage: tarn-agent [run] [--state-dir DIR] [--guest-user USER] [--log-level LEVEL]\n"
    "       tarn-agent join --manager https://HOST:PORT [--token TOKEN | --token-file FILE] [--name NAME]\n"
    "                       [--state-dir DIR] [--ca-fingerprint SHA256 | --ca FILE] [--force]\n"
    "       tarn-agent --sim servers=N [--sim-latency MS] [--state-dir DIR] [--manager URL --token TOKEN]\n"
    "\n"
    "Runs virtual machines on this server for a Tarn manager. Guests go on running when it ends.\n"
    "\n"
    "  join                makes this server known to a manager, with a token of tarn server token create: in the\n"
    "                      environment variable TARN_JOIN_TOKEN, in the file of --token-file, or after --token (which\n"
    "                      other users of this machine can see)\n"
    "  --state-dir DIR     where identity, store and guests' sockets are kept; default /var/lib/tarn/agent for root,\n"
    "                      else $XDG_STATE_HOME/tarn/agent\n"
    "  --guest-user USER   run guests as this user (root only)\n"
    "  --sim servers=N     stand for N simulated servers, with no guest behind; they join with --token\n"
    "                      (made with --uses N) unless they have joined before\n"
    "  --sim-latency MS    how long each operation of a simulated server takes; default 20\n"
    "  --log-level LEVEL   error, warning, info (default) or debug\n"
    "  --version, --help\n";

struct options {
    const char *state, *guest_user, *sim, *manager, *token;
    int sim_latency;
};

static struct process {
    uv_loop_t loop;
    struct ws_context *ws;
    struct agent **agents;
    size_t n_agents;
    uv_signal_t term, interrupt;
    uv_timer_t reap;
    pid_t unreaped; /* seen dead at the last look */
} process;

/* ---- the end ---- */

static void stop(uv_signal_t *handle, int signal) {
    log_info("ending; guests go on running");
    for (size_t i = 0; i < process.n_agents; i++)
        agent_close(process.agents[i]);
    uv_close((uv_handle_t *)&process.term, NULL);
    uv_close((uv_handle_t *)&process.interrupt, NULL);
    uv_close((uv_handle_t *)&process.reap, NULL);
    ws_context_free(process.ws);
}

/* As a child subreaper we get processes that others have left behind. Our own children are waited for where they were
   started, at once: one that is still dead at the second look is nobody's. */
static void on_reap(uv_timer_t *timer) {
    siginfo_t info = {0};
    if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid == 0) {
        process.unreaped = 0;
        return;
    }
    if (info.si_pid == process.unreaped)
        waitpid(info.si_pid, NULL, WNOHANG);
    process.unreaped = info.si_pid;
}

static void notify_ready(void) {
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (!path || strlen(path) >= sizeof(address.sun_path) || (path[0] != '/' && path[0] != '@'))
        return;
    memcpy(address.sun_path, path, strlen(path));
    if (path[0] == '@')
        address.sun_path[0] = '\0';
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    static const char message[] = "READY=1";
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    if (fd < 0 || sendto(fd, message, sizeof(message) - 1, MSG_NOSIGNAL, (struct sockaddr *)&address, len) < 0)
        log_warning("systemd was not told that tarn-agent is ready: %s", strerror(errno));
}

/* ---- the beginning ---- */

static char *default_state(void) {
    if (geteuid() == 0)
        return xstrdup("/var/lib/tarn/agent");
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    if (!str_empty(state))
        return xasprintf("%s/tarn/agent", state);
    return xasprintf("%s/.local/state/tarn/agent", str_or(home, "/"));
}

/* One agent for one state directory: the descriptor holds the lock as long as we live. */
static int lock_state(const char *state, struct error *e) {
    int r = make_dirs(state, 0711);
    if (r < 0)
        return error_set(e, ERR_IO, "cannot make the state directory %s: %s", state, strerror(-r));
    _cleanup_free_ char *path = xasprintf("%s/lock", state);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return error_set(e, ERR_IO, "cannot open %s: %s", path, strerror(errno));
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        close(fd);
        return error_set(e, ERR_CONFLICT, "another tarn-agent runs with the state directory %s", state);
    }
    return 0;
}

static int add_agent(const struct agent_config *config, struct error *e) {
    process.agents = xreallocarray(process.agents, process.n_agents + 1, sizeof(*process.agents));
    return agent_new(config, &process.agents[process.n_agents++], e);
}

static int add_sims(const struct options *o, const char *state, struct error *e) {
    int servers = 0;
    int r = sim_parse(o->sim, &servers, e);
    if (r < 0)
        return r;
    hypervisor_sim_set_latency(o->sim_latency);
    for (int i = 0; i < servers && r == 0; i++) {
        _cleanup_free_ char *dir = xasprintf("%s/sim-%04d", state, i + 1);
        _cleanup_free_ char *name = xasprintf("sim-%04d", i + 1);
        r = sim_join(dir, name, o->manager, o->token, e);
        struct agent_config config = {.loop = &process.loop,
                                      .ws = process.ws,
                                      .driver = &hypervisor_sim,
                                      .state_dir = dir,
                                      .sim = true,
                                      .sim_latency_ms = o->sim_latency,
                                      .number = i};
        if (r == 0)
            r = add_agent(&config, e);
    }
    if (r == 0)
        log_info("%d simulated servers", servers);
    return r;
}

static int begin(const struct options *o, const char *state, struct error *e) {
    int r = lock_state(state, e);
    if (r < 0)
        return r;
    if (o->sim)
        return add_sims(o, state, e);
    if (o->guest_user && geteuid() != 0)
        return error_set(e, ERR_INVALID, "--guest-user needs root: without it guests run as the agent's own user");
    struct agent_config config = {.loop = &process.loop,
                                  .ws = process.ws,
                                  .driver = &hypervisor_qemu,
                                  .state_dir = state,
                                  .guest_user = o->guest_user};
    return add_agent(&config, e);
}

static int run(const struct options *o) {
    _cleanup_error_ struct error e = ERROR_INIT;
    _cleanup_free_ char *own = o->state ? realpath(o->state, NULL) : NULL;
    _cleanup_free_ char *state = own ? xstrdup(own) : o->state ? xstrdup(o->state) : default_state();
    map_seed(random_u64(), random_u64());
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    signal(SIGPIPE, SIG_IGN);
    umask(022); /* directories that guests' processes pass through; what is secret is made so */
    setenv("UV_THREADPOOL_SIZE", "2", 1); /* for the few things that block */
    mallopt(M_ARENA_MAX, 1);              /* one thread allocates */
    mallopt(M_TRIM_THRESHOLD, 256 << 10);
    uv_loop_init(&process.loop);
    int r = ws_context_new(&process.loop, &process.ws);
    if (r < 0)
        error_set(&e, ERR_INTERNAL, "cannot start libwebsockets: %s", strerror(-r));
    else
        r = begin(o, state, &e);
    if (r < 0) {
        log_error("%s", e.message);
        return error_exit_code(e.code);
    }
    uv_signal_init(&process.loop, &process.term);
    uv_signal_init(&process.loop, &process.interrupt);
    uv_timer_init(&process.loop, &process.reap);
    uv_signal_start(&process.term, stop, SIGTERM);
    uv_signal_start(&process.interrupt, stop, SIGINT);
    uv_timer_start(&process.reap, on_reap, REAP_MS, REAP_MS);
    notify_ready();
    uv_run(&process.loop, UV_RUN_DEFAULT);
    for (size_t i = 0; i < process.n_agents; i++)
        agent_free(process.agents[i]);
    free(process.agents);
    uv_loop_close(&process.loop);
    return 0;
}

int main(int argc, char **argv) {
    if (argc > 1 && str_eq(argv[1], "join"))
        return sim_exec_join(argc - 1, argv + 1);
    bool word = argc > 1 && str_eq(argv[1], "run");
    static const struct option longs[] = {
        {"state-dir", required_argument, NULL, 's'},
        {"guest-user", required_argument, NULL, 'u'},
        {"sim", required_argument, NULL, 'S'},
        {"sim-latency", required_argument, NULL, 'L'},
        {"manager", required_argument, NULL, 'm'},
        {"token", required_argument, NULL, 't'},
        {"log-level", required_argument, NULL, 'l'},
        {"version", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    struct options o = {.sim_latency = 20};
    int c, level;
    optind = word ? 2 : 1;
    while ((c = getopt_long(argc, argv, "h", longs, NULL)) >= 0) {
        switch (c) {
        case 's':
            o.state = optarg;
            break;
        case 'u':
            o.guest_user = optarg;
            break;
        case 'S':
            o.sim = optarg;
            break;
        case 'L':
            o.sim_latency = atoi(optarg);
            break;
        case 'm':
            o.manager = optarg;
            break;
        case 't':
            o.token = optarg;
            break;
        case 'l':
            level = log_level_parse(optarg);
            if (level < 0) {
                fprintf(stderr, "tarn-agent: --log-level is error, warning, info or debug\n");
                return 2;
            }
            log_set_level((enum log_level)level);
            break;
        case 'v':
            printf("tarn-agent %s\n", TARN_VERSION);
            return 0;
        case 'h':
            fputs(usage, stdout);
            return 0;
        default:
            fputs("see tarn-agent --help\n", stderr); /* getopt has said what is wrong */
            return 2;
        }
    }
    if (optind < argc || o.sim_latency < 0 || o.sim_latency > 600000) {
        fputs("tarn-agent: wrong arguments; see tarn-agent --help\n", stderr);
        return 2;
    }
    return run(&o);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the driver adds to QEMU's own start: paired runs of bare QEMU (the same arguments and descriptors, exec to the
 * monitor's reply that the vCPUs run, with blocking calls and nothing else) and of the driver's start().
 *     qemu_bench DIRECTORY-WITH-vmlinuz-AND-initrd.img [PAIRS]
 * Prints medians in milliseconds as one line of JSON for each machine type.
 */
#include "agent/hypervisor/qemu_guest.h"

#include "base/json.h"
#include "base/mem.h"
#include "os/file.h"
#include "os/log.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define VM        "0193a000-0000-7000-8000-000000000001"
#define PAIRS_MAX 101

static uv_loop_t loop;
static uint64_t done_call, done_at;
static bool probed;
static struct api_hypervisor info;
static const char *guest_dir;
static char state_dir[] = "/tmp/tarn-qemu-bench-XXXXXX";
static int state_dirfd;

static void on_done(void *ctx, uint64_t call, const struct error *error, const json_t *result) {
    done_at = uv_hrtime();
    done_call = call;
    if (error) {
        fprintf(stderr, "qemu_bench: %s\n", error->message);
        exit(1);
    }
}
static void on_guest(void *ctx, const char *vm, enum guest_event event, const char *reason) {}
static const struct hypervisor_events handlers = {on_done, on_guest};
static void on_probe(void *ctx, const struct api_hypervisor *i) {
    api_hypervisor_copy(&info, i);
    probed = true;
}

static void start_make(const char *machine, struct api_guest_start *s, struct guest_files *f) {
    _cleanup_error_ struct error e = ERROR_INIT;
    _cleanup_json_ json_t *j =
        json_pack("{s:{s:s, s:s, s:i, s:i, s:s, s:s, s:b, s:s, s:[{s:s}]}, s:s, s:[], s:b}", "vm", "id", VM, "name",
                  "bench", "cpus", 1, "memory", 268435456, "machine", machine, "display",
                  str_eq(machine, "q35") ? "vnc" : "none", "direct_boot", 1, "cmdline", "console=ttyS0 quiet", "nics",
                  "mac", "52:54:00:00:00:01", "repository", "r", "disks", "has_initrd", 1);
    if (api_guest_start_parse(j, API_PEER, s, &e) < 0) {
        fprintf(stderr, "qemu_bench: %s\n", e.message);
        exit(1);
    }
    _cleanup_free_ char *kernel = xasprintf("%s/vmlinuz", guest_dir), *initrd = xasprintf("%s/initrd.img", guest_dir);
    guest_files_init(f);
    f->kernel_fd = open(kernel, O_RDONLY | O_CLOEXEC);
    f->initrd_fd = open(initrd, O_RDONLY | O_CLOEXEC);
    if (f->kernel_fd < 0 || f->initrd_fd < 0) {
        perror(guest_dir);
        exit(1);
    }
}

static void await(uint64_t call) {
    while (done_call != call)
        uv_run(&loop, UV_RUN_ONCE);
}

static double driver_run(struct hypervisor *h, const char *machine) {
    static uint64_t call;
    struct api_guest_start s;
    struct guest_files f;
    start_make(machine, &s, &f);
    uint64_t began = uv_hrtime();
    hypervisor_qemu.start(h, ++call, &s, &f);
    await(call);
    double ms = (double)(done_at - began) / 1e6;
    hypervisor_qemu.kill(h, ++call, VM);
    await(call);
    api_guest_start_done(&s);
    return ms;
}

static void bare_exec(const struct qemu_args *a) {
    /* Out of the way first, then to their places. */
    int moved[64];
    for (size_t i = 0; i < a->n_fds; i++)
        moved[i] = fcntl(a->fds[i].from, F_DUPFD, 100);
    for (size_t i = 0; i < a->n_fds; i++)
        dup2(moved[i], a->fds[i].to);
    execvp(a->argv[0], a->argv);
    _exit(127);
}

static pid_t bare_spawn(const struct qemu_args *a) {
    pid_t pid = vfork();
    if (pid == 0)
        bare_exec(a);
    return pid;
}

static double bare_run(const char *machine) {
    static const char hello[] =
        "{\"execute\":\"qmp_capabilities\",\"id\":1}\n{\"execute\":\"query-status\",\"id\":2}\n";
    struct api_guest_start s;
    struct guest_files f;
    struct qemu_args a;
    char reply[8192];
    start_make(machine, &s, &f);
    struct qemu_sockets sockets = {qemu_socket_listen(state_dirfd, "a"), qemu_socket_listen(state_dirfd, "b"),
                                   qemu_socket_listen(state_dirfd, "c")};
    struct qemu_host host = {.binary = QEMU_BINARY, .kvm = str_eq(info.accelerator, "kvm")};
    if (qemu_args_make(&s, &f, &host, &sockets, &a, NULL) < 0)
        exit(1);
    uint64_t began = uv_hrtime();
    pid_t pid = bare_spawn(&a);
    size_t len = 0;
    int fd = qemu_socket_connect(state_dirfd, "a");
    fcntl(fd, F_SETFL, 0);
    if (write(fd, hello, sizeof hello - 1) < 0)
        exit(1);
    while (len < sizeof reply - 1 && !strstr((reply[len] = 0, reply), "\"id\": 2")) {
        ssize_t n = read(fd, reply + len, sizeof reply - 1 - len);
        if (n <= 0)
            exit(1);
        len += (size_t)n;
    }
    double ms = (double)(uv_hrtime() - began) / 1e6;
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    close(fd);
    close(sockets.qmp);
    close(sockets.qmp_spare);
    close(sockets.serial);
    guest_files_done(&f);
    qemu_args_done(&a);
    api_guest_start_done(&s);
    return ms;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}
static double median(double *v, int n) {
    qsort(v, (size_t)n, sizeof *v, compare);
    return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

int main(int argc, char **argv) {
    int pairs = argc > 2 ? atoi(argv[2]) : 15;
    if (argc < 2 || pairs < 1 || pairs > PAIRS_MAX || !mkdtemp(state_dir)) {
        fprintf(stderr, "usage: qemu_bench DIRECTORY [PAIRS]\n");
        return 2;
    }
    guest_dir = argv[1];
    uv_loop_init(&loop);
    log_set_level(LOG_LEVEL_WARNING);
    state_dirfd = open_dir(state_dir);
    struct hypervisor_config config = {
        .loop = &loop, .state_dirfd = state_dirfd, .state_path = state_dir, .events = &handlers};
    struct hypervisor *h;
    if (hypervisor_qemu.open(&config, &h, NULL) < 0)
        return 1;
    hypervisor_qemu.probe(h, on_probe, NULL);
    while (!probed)
        uv_run(&loop, UV_RUN_ONCE);
    for (int m = 0; m < 2; m++) {
        const char *machine = m ? "microvm" : "q35";
        double bare[PAIRS_MAX], ours[PAIRS_MAX], more[PAIRS_MAX];
        bare_run(machine);
        driver_run(h, machine);
        for (int i = 0; i < pairs; i++) {
            /* Whichever goes first finds the caches as the other left them: they take turns. */
            if (i % 2)
                ours[i] = driver_run(h, machine);
            bare[i] = bare_run(machine);
            if (i % 2 == 0)
                ours[i] = driver_run(h, machine);
            more[i] = ours[i] - bare[i];
        }
        printf("{\"machine\":\"%s\",\"accelerator\":\"%s\",\"pairs\":%d,\"bare_ms\":%.1f,\"driver_ms\":%.1f,\"added_"
               "ms\":%.1f}\n",
               machine, info.accelerator, pairs, median(bare, pairs), median(ours, pairs), median(more, pairs));
        fflush(stdout);
    }
    hypervisor_qemu.close(h);
    uv_run(&loop, UV_RUN_NOWAIT);
    api_hypervisor_done(&info);
    remove_tree_at(AT_FDCWD, state_dir);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver with a real QEMU and debian-tiny as the guest, from the driver's own functions: nothing of Tarn above it.
 *     qemu_test DIRECTORY-OF-debian-tiny/make
 * Skipped (77) where there is no QEMU or the guest cannot be made.
 */
#include "agent/hypervisor/qemu_guest.h"

#include "base/json.h"
#include "base/mem.h"
#include "os/file.h"
#include "os/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define VM1     "0193a000-0000-7000-8000-000000000001"
#define VM2     "0193a000-0000-7000-8000-000000000002"
#define BOOT_MS 60000

static struct {
    uv_loop_t loop;
    char dir[64];
    int dirfd;
    struct hypervisor *h;
    char *tiny;
    bool full_tried, full;
    struct api_hypervisor info;
    bool probed;
    uint64_t last_call;
    /* the last call's end */
    uint64_t ended;
    struct error error;
    json_t *result;
    /* the last event, and how many there were */
    int event;
    int events;
    char *reason;
    struct timespec event_time;
    struct buf seen; /* on the console */
    int console;
} w = {.dirfd = -1, .console = -1};

/* ---- the world ---- */

static void on_done(void *ctx, uint64_t call, const struct error *error, const json_t *result) {
    w.ended = call;
    error_done(&w.error);
    if (error)
        error_copy(&w.error, error);
    json_decref(w.result);
    w.result = json_deep_copy(result);
}
static void on_guest(void *ctx, const char *vm, enum guest_event event, const char *reason) {
    w.event = event;
    w.events++;
    str_set(&w.reason, reason);
    clock_gettime(CLOCK_MONOTONIC, &w.event_time);
}
static const struct hypervisor_events handlers = {.done = on_done, .guest = on_guest};

static void on_probe(void *ctx, const struct api_hypervisor *info) {
    api_hypervisor_done(&w.info);
    api_hypervisor_copy(&w.info, info);
    w.probed = true;
}

static int64_t now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void on_wake(uv_timer_t *t) {}
/* One turn of the loop, at most 50 ms. */
static void turn(void) {
    static uv_timer_t wake;
    static bool made;
    if (!made)
        uv_timer_init(&w.loop, &wake);
    made = true;
    uv_timer_start(&wake, on_wake, 20, 0);
    uv_run(&w.loop, UV_RUN_ONCE);
}
#define wait_for(condition, ms)                                                                                        \
    ({                                                                                                                 \
        int64_t _until = now_ms() + (ms);                                                                              \
        while (!(condition) && now_ms() < _until)                                                                      \
            turn();                                                                                                    \
        if (!(condition))                                                                                              \
            fail_msg("in %d ms not: %s; seen: %s", (int)(ms), #condition, w.seen.len ? w.seen.data : "");              \
    })

static void driver_open(void) {
    struct hypervisor_config config = {
        .loop = &w.loop, .state_dirfd = w.dirfd, .state_path = w.dir, .events = &handlers};
    config.guest_user = geteuid() == 0 ? "nobody" : NULL;
    assert_int_equal(hypervisor_qemu.open(&config, &w.h, NULL), 0);
}
static void driver_close(void) {
    hypervisor_qemu.close(w.h);
    w.h = NULL;
    for (int i = 0; i < 3; i++)
        turn();
}

static uint64_t wait_call(uint64_t call, int64_t ms) {
    wait_for(w.ended == call, ms);
    return call;
}
static void must(uint64_t call, int64_t ms) {
    wait_call(call, ms);
    if (w.error.code)
        fail_msg("%s", w.error.message);
}
#define op(function, vm)                                                                                               \
    ({                                                                                                                 \
        uint64_t _c = ++w.last_call;                                                                                   \
        hypervisor_qemu.function(w.h, _c, vm);                                                                         \
        _c;                                                                                                            \
    })

/* ---- what a guest is given ---- */

static int run(const char *const *argv) {
    pid_t pid = fork();
    if (pid == 0) {
        execvp(argv[0], (char *const *)argv);
        _exit(127);
    }
    int status;
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}
#define command(...) run((const char *const[]){__VA_ARGS__, NULL})

static char *path_of(const char *name) { return xasprintf("%s/%s", w.dir, name); }

static int open_file(const char *name, int flags) {
    _cleanup_free_ char *path = path_of(name);
    int fd = open(path, flags | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static void make_disk(const char *name, const char *base) {
    _cleanup_free_ char *path = path_of(name), *below = base ? path_of(base) : NULL;
    if (base)
        assert_int_equal(command("qemu-img", "create", "-q", "-f", "qcow2", "-b", below, "-F", "qcow2", path), 0);
    else
        assert_int_equal(command("qemu-img", "create", "-q", "-f", "qcow2", path, "64M"), 0);
    /* Whom QEMU runs as could not open them. */
    assert_int_equal(chmod(path, 0600), 0);
}

static void add_disk(json_t *start, struct guest_files *f, const char *bus, const char *top, const char *base) {
    json_t *disk =
        json_pack("{s:s, s:s, s:s}", "disk", "0193a000-0000-7000-8000-00000000d000", "repository", "r", "bus", bus);
    json_array_append_new(json_object_get(start, "disks"), disk);
    struct guest_disk_files *d = &f->disks[f->n_disks++];
    d->chain[d->n++] = (struct guest_file){.fd = open_file(top, O_RDWR), .format = GUEST_DISK_QCOW2};
    if (base)
        d->chain[d->n++] =
            (struct guest_file){.fd = open_file(base, O_RDONLY), .read_only = true, .format = GUEST_DISK_QCOW2};
}

/* A VM with direct boot. more: members of the Vm in JSON. */
static json_t *start_new(const char *vm, const char *more, struct guest_files *f, const char *kernel_dir) {
    char kernel[128], initrd[128];
    guest_files_init(f);
    snprintf(kernel, sizeof kernel, "%s/vmlinuz", kernel_dir);
    snprintf(initrd, sizeof initrd, "%s/initrd.img", kernel_dir);
    f->kernel_fd = open_file(kernel, O_RDONLY);
    f->initrd_fd = open_file(initrd, O_RDONLY);
    json_t *v = json_loads(more, 0, NULL);
    assert_non_null(v);
    json_set_str(v, "id", vm);
    json_set_str(v, "name", "a, test");
    json_object_set_new(v, "direct_boot", json_true());
    json_set_str(v, "cmdline", "console=ttyS0 quiet panic=-1 hostname=tiny");
    if (!json_object_get(v, "nics"))
        json_object_set_new(v, "nics", json_pack("[{s:s}]", "mac", "52:54:00:00:00:01"));
    return json_pack("{s:o, s:s, s:[], s:b}", "vm", v, "repository", "r", "disks", "has_initrd", 1);
}

static uint64_t guest_begin(json_t *start, struct guest_files *f) {
    struct api_guest_start s;
    _cleanup_error_ struct error e = ERROR_INIT;
    if (api_guest_start_parse(start, API_PEER, &s, &e) < 0)
        fail_msg("%s: %s", e.field, e.message);
    uint64_t call = ++w.last_call;
    hypervisor_qemu.start(w.h, call, &s, f);
    api_guest_start_done(&s);
    json_decref(start);
    assert_int_equal(f->kernel_fd, -1);
    return call;
}

/* ---- the console ---- */

static void console_close(void) {
    close_fd(&w.console);
    w.seen.len = 0;
    buf_addc(&w.seen, 0);
    w.seen.len = 0;
}
static void console_open(const char *vm) {
    console_close();
    w.console = hypervisor_qemu.console(w.h, vm, CONSOLE_SERIAL, NULL);
    assert_true(w.console >= 0);
}
static bool console_shows(const char *text) {
    char data[4096];
    for (ssize_t n; (n = read(w.console, data, sizeof data)) > 0;)
        buf_add(&w.seen, data, (size_t)n);
    return w.seen.len && strstr(w.seen.data, text);
}
static void console_type(const char *text) {
    w.seen.len = 0;
    buf_adds(&w.seen, "");
    assert_int_equal(write(w.console, text, strlen(text)), (ssize_t)strlen(text));
}
static void boot(json_t *start, struct guest_files *f, const char *vm) {
    must(guest_begin(start, f), 20000);
    assert_string_equal(json_str(w.result, "state"), "running");
    console_open(vm);
    wait_for(console_shows("root@tiny:"), BOOT_MS);
}
#define wait_event(wanted, ms)                                                                                         \
    ({                                                                                                                 \
        wait_for(w.events > 0 && w.event == (int)(wanted), ms);                                                        \
        w.events = 0;                                                                                                  \
    })
static void end_guest(const char *vm) {
    must(op(kill, vm), 3000);
    must(op(forget, vm), 1000);
}

static pid_t guest_pid(const char *vm) {
    _cleanup_free_ char *text = NULL, *name = xasprintf("%s/process.json", vm);
    size_t len;
    assert_int_equal(read_file_at(w.dirfd, name, 4096, &text, &len), 0);
    _cleanup_json_ json_t *o = json_loads(text, 0, NULL);
    return (pid_t)json_int(o, "pid", 0);
}

static const char *found_state(const char *vm) {
    must(op(find, vm), 10000);
    return json_str(w.result, "state");
}

/* ---- tests ---- */

static void test_probe(void **state) {
    hypervisor_qemu.probe(w.h, on_probe, NULL);
    wait_for(w.probed, BOOT_MS);
    print_message("QEMU %s, %s: %s\n", w.info.version, w.info.accelerator, w.info.reason);
    assert_true(w.info.usable);
    assert_true(str_eq(w.info.accelerator, "kvm") || str_eq(w.info.accelerator, "tcg"));
    assert_true(w.info.n_capabilities >= 6);
    /* Known by now. */
    _cleanup_free_ char *first = xstrdup(w.info.reason);
    int64_t began = now_ms();
    w.probed = false;
    hypervisor_qemu.probe(w.h, on_probe, NULL);
    wait_for(w.probed, BOOT_MS);
    assert_string_equal(w.info.reason, first);
    assert_true(now_ms() - began < 1500);
}

static void check_display(const char *vm) {
    char greeting[13] = "";
    int fd = hypervisor_qemu.console(w.h, vm, CONSOLE_VNC, NULL);
    assert_true(fd >= 0);
    wait_for(recv(fd, greeting, 12, MSG_PEEK) == 12, BOOT_MS);
    assert_string_equal(greeting, "RFB 003.008\n");
    close(fd);
}

static void test_life_q35(void **state) {
    struct guest_files f;
    json_t *start = start_new(VM1, "{\"cpus\": 2, \"memory\": 268435456, \"display\": \"vnc\"}", &f, "tiny");
    add_disk(start, &f, "virtio-blk", "top.qcow2", "base.qcow2");
    add_disk(start, &f, "virtio-scsi", "second.qcow2", NULL);
    boot(start, &f, VM1);
    console_type(
        "selfcheck --write; cat /sys/class/dmi/id/product_name /proc/bus/input/devices | head -1; ls -l /proc/1/exe\n");
    wait_for(console_shows("selfcheck ok"), BOOT_MS);
    assert_true(console_shows("cpus 2") && console_shows("disk vda") && console_shows("disk sda") &&
                console_shows("52:54:00:00:00:01"));
    check_display(VM1);
    /* A second viewer sees what was there, and types. */
    int other = w.console;
    w.console = -1;
    console_open(VM1);
    wait_for(console_shows("selfcheck ok"), BOOT_MS);
    console_type("echo se''cond\n");
    wait_for(console_shows("second"), BOOT_MS);
    close(other);

    struct api_vm_stats stats;
    bool seen = false; /* what it writes shows in the second sample at the earliest, and later on a busy machine */
    for (int64_t until = now_ms() + 10000; !seen && now_ms() < until;) {
        assert_int_equal(hypervisor_qemu.sample(w.h, VM1, &stats), 0);
        seen = stats.cpu > 0.1 && stats.memory > 16 * 1024 * 1024 && stats.disk_write >= 2 * 1024 * 1024;
        api_vm_stats_done(&stats);
        for (int k = 0; k < 10; k++)
            turn();
    }
    assert_true(seen);

    must(op(suspend, VM1), 5000);
    must(op(suspend, VM1), 5000);
    assert_string_equal(found_state(VM1), "suspended");
    console_type("echo la''ter\n");
    int64_t until = now_ms() + 300;
    while (now_ms() < until)
        turn();
    assert_false(console_shows("later"));
    must(op(resume, VM1), 5000);
    wait_for(console_shows("later"), BOOT_MS);
    assert_int_equal(w.events, 0);

    /* The agent is restarted. */
    driver_close();
    assert_true(read(w.console, &(char){0}, 1) <= 0);
    driver_open();
    assert_string_equal(found_state(VM1), "running");
    assert_true(strlen(json_str(w.result, "started")) > 10);
    console_open(VM1);
    console_type("echo ag''ain\n");
    wait_for(console_shows("again"), BOOT_MS);
    check_display(VM1);
    must(op(suspend, VM1), 5000);
    driver_close();
    driver_open();
    assert_string_equal(found_state(VM1), "suspended");
    must(op(resume, VM1), 5000);

    must(op(shutdown, VM1), 5000);
    wait_event(GUEST_POWEROFF, BOOT_MS);
    assert_string_equal(found_state(VM1), "stopped");
    /* The agent dies before it has recorded that: QEMU still tells. */
    driver_close();
    driver_open();
    assert_string_equal(found_state(VM1), "stopped");
    pid_t pid = guest_pid(VM1);
    must(op(kill, VM1), 3000);
    assert_int_equal(kill(pid, 0) < 0 ? errno : 0, ESRCH);
    assert_string_equal(found_state(VM1), "unknown");
    assert_int_equal(hypervisor_qemu.sample(w.h, VM1, &stats), -ENOENT);
    end_guest(VM1);
    assert_int_equal(faccessat(w.dirfd, VM1, F_OK, 0), -1);
    assert_int_equal(w.events, 0);
}

static void test_life_microvm(void **state) {
    struct guest_files f;
    const char *more = "{\"cpus\": 1, \"memory\": 134217728, \"machine\": \"microvm\", \"display\": \"none\"}";
    json_t *start = start_new(VM1, more, &f, "tiny");
    add_disk(start, &f, "virtio-blk", "top.qcow2", "base.qcow2");
    add_disk(start, &f, "virtio-scsi", "second.qcow2", NULL);
    boot(start, &f, VM1);
    console_type("selfcheck\n");
    wait_for(console_shows("selfcheck ok"), BOOT_MS);
    assert_true(console_shows("disk vda") && console_shows("disk sda") && console_shows("52:54:00:00:00:01"));
    _cleanup_error_ struct error e = ERROR_INIT;
    assert_true(hypervisor_qemu.console(w.h, VM1, CONSOLE_VNC, &e) < 0);
    assert_int_equal(e.code, ERR_UNSUPPORTED);

    console_type("reboot -f\n");
    wait_event(GUEST_RESET, BOOT_MS);
    wait_for(console_shows("BusyBox") && strstr(strstr(w.seen.data, "BusyBox"), "root@tiny:"), BOOT_MS);
    console_type("echo c > /proc/sysrq-trigger\n");
    wait_event(GUEST_PANICKED, BOOT_MS);
    driver_close();
    driver_open();
    assert_string_equal(found_state(VM1), "crashed");
    /* A start takes the place of what is kept only to tell. */
    start = start_new(VM1, more, &f, "tiny");
    add_disk(start, &f, "virtio-blk", "top.qcow2", "base.qcow2");
    boot(start, &f, VM1);
    console_type("poweroff -f\n");
    wait_event(GUEST_POWEROFF, BOOT_MS);
    start = start_new(VM1, more, &f, "tiny");
    must(guest_begin(start, &f), 20000);

    pid_t pid = guest_pid(VM1);
    int64_t killed = now_ms();
    kill(pid, SIGKILL);
    wait_event(GUEST_DIED, BOOT_MS);
    print_message("death of a child seen after %lld ms: %s\n", (long long)(now_ms() - killed), w.reason);
    assert_non_null(strstr(w.reason, "signal 9"));
    assert_string_equal(found_state(VM1), "unknown");

    start = start_new(VM1, more, &f, "tiny");
    must(guest_begin(start, &f), 20000);
    driver_close();
    driver_open();
    assert_string_equal(found_state(VM1), "running");
    w.events = 0;
    killed = now_ms();
    kill(guest_pid(VM1), SIGTERM);
    wait_event(GUEST_DIED, BOOT_MS);
    print_message("death of another's child seen after %lld ms: %s\n", (long long)(now_ms() - killed), w.reason);
    assert_non_null(strstr(w.reason, "terminat"));
    end_guest(VM1);
}

static void test_refused(void **state) {
    struct guest_files f;
    json_t *start = start_new(VM1, "{\"memory\": 134217728, \"display\": \"none\"}", &f, "tiny");
    add_disk(start, &f, "virtio-blk", "second.qcow2", NULL);
    must(guest_begin(start, &f), 20000);
    /* The same disk twice: QEMU's own lock refuses, and nothing is left. */
    start = start_new(VM2, "{\"memory\": 134217728, \"display\": \"none\"}", &f, "tiny");
    add_disk(start, &f, "virtio-blk", "second.qcow2", NULL);
    wait_call(guest_begin(start, &f), 20000);
    assert_int_equal(w.error.code, ERR_GUEST);
    print_message("%s\n", w.error.message);
    assert_non_null(strstr(w.error.message, "lock"));
    assert_string_equal(found_state(VM2), "unknown");
    must(op(forget, VM2), 1000);
    /* Not while it runs. */
    wait_call(op(forget, VM1), 1000);
    assert_int_equal(w.error.code, ERR_CONFLICT);
    /* Starting what runs is done. */
    start = start_new(VM1, "{}", &f, "tiny");
    must(guest_begin(start, &f), 1000);
    int64_t began = now_ms();
    must(op(kill, VM1), 3000);
    print_message("killed in %lld ms\n", (long long)(now_ms() - began));
    assert_true(now_ms() - began < 1000);
    must(op(kill, VM1), 3000);
    end_guest(VM1);
    wait_call(op(suspend, VM1), 1000);
    assert_int_equal(w.error.code, ERR_CONFLICT);
    wait_call(op(find, "../x"), 1000);
    assert_int_equal(w.error.code, ERR_INVALID);
    assert_int_equal(w.events, 0);
}

/* QEMU that does not answer: the guest is reported, cannot be paused, and can be killed. */
static void test_hung(void **state) {
    struct guest_files f;
    json_t *start = start_new(VM1, "{\"memory\": 134217728, \"display\": \"none\"}", &f, "tiny");
    must(guest_begin(start, &f), 20000);
    /* Somebody else on the first monitor: the spare one is taken. */
    driver_close();
    int dirfd = open_beneath(w.dirfd, VM1, O_RDONLY | O_DIRECTORY, 0);
    int other = qemu_socket_connect(dirfd, QEMU_QMP_SOCKET);
    assert_true(other >= 0);
    driver_open();
    int64_t began = now_ms();
    assert_string_equal(found_state(VM1), "running");
    print_message("found behind a busy monitor in %lld ms\n", (long long)(now_ms() - began));
    must(op(suspend, VM1), 5000);
    must(op(resume, VM1), 5000);
    close(other);
    close(dirfd);

    pid_t pid = guest_pid(VM1);
    kill(pid, SIGSTOP);
    began = now_ms();
    must(op(kill, VM1), 3000);
    print_message("a hung QEMU killed in %lld ms\n", (long long)(now_ms() - began));
    assert_true(now_ms() - began < 1000);
    end_guest(VM1);
    assert_int_equal(w.events, 0);
}

/* The file system under a disk is full: the guest pauses, says why, and goes on when there is room. */
static void test_no_space(void **state) {
    struct guest_files f;
    _cleanup_free_ char *small = path_of("small"), *ballast = path_of("small/ballast");
    _cleanup_free_ char *output = xasprintf("of=%s", ballast);
    if (mkdir(small, 0755) < 0 || mount("tmpfs", small, "tmpfs", 0, "size=4m") < 0)
        skip();
    make_disk("small/disk.qcow2", NULL);
    assert_int_equal(command("dd", "if=/dev/zero", "status=none", "bs=1M", "count=2", output), 0);
    json_t *start = start_new(VM1, "{\"memory\": 134217728, \"display\": \"none\"}", &f, "tiny");
    add_disk(start, &f, "virtio-blk", "small/disk.qcow2", NULL);
    boot(start, &f, VM1);
    console_type("dd if=/dev/urandom of=/dev/vda bs=64k count=56 conv=fsync && echo wri''tten\n");
    wait_event(GUEST_PAUSED, BOOT_MS);
    print_message("%s\n", w.reason);
    assert_non_null(strstr(w.reason, "No space left"));
    assert_string_equal(found_state(VM1), "suspended");
    unlink(ballast);
    must(op(resume, VM1), 5000);
    wait_for(console_shows("written"), BOOT_MS);
    end_guest(VM1);
    assert_int_equal(umount(small), 0);
    assert_int_equal(w.events, 0);
}

/* It stands still for longer than its find waits for it: it is taken for running, and heard when it answers again. */
static void test_heard_late(void **state) {
    struct guest_files f;
    json_t *start = start_new(VM1, "{\"memory\": 134217728, \"display\": \"none\"}", &f, "tiny");
    must(guest_begin(start, &f), 20000);
    must(op(suspend, VM1), 10000);
    driver_close();
    w.events = 0;
    pid_t pid = guest_pid(VM1);
    assert_int_equal(kill(pid, SIGSTOP), 0);
    driver_open();
    must(op(find, VM1), 20000);
    assert_string_equal(json_str(w.result, "state"), "running");
    assert_non_null(strstr(json_str(w.result, "reason"), "does not answer"));
    assert_int_equal(kill(pid, SIGCONT), 0);
    wait_for(w.events && w.event == GUEST_PAUSED, 20000);
    must(op(resume, VM1), 10000);
    end_guest(VM1);
    w.events = 0;
}

/* SATA, e1000, UEFI and a CD-ROM on SATA want the general kernel. */
static void test_full_uefi(void **state) {
    struct guest_files f;
    if (!w.full)
        skip();
    json_t *start = start_new(VM1,
                              "{\"memory\": 402653184, \"firmware\": \"uefi\", \"display\": \"none\","
                              " \"nics\": [{\"model\": \"e1000\", \"mac\": \"52:54:00:00:00:02\"}]}",
                              &f, "full");
    f.firmware_fd = open("/usr/share/OVMF/OVMF_CODE_4M.fd", O_RDONLY | O_CLOEXEC);
    if (f.firmware_fd < 0) {
        guest_files_done(&f);
        json_decref(start);
        skip();
    }
    _cleanup_free_ char *vars = path_of("vars.fd");
    assert_int_equal(command("cp", "/usr/share/OVMF/OVMF_VARS_4M.fd", vars), 0);
    f.vars_fd = open_file("vars.fd", O_RDWR);
    add_disk(start, &f, "sata", "top.qcow2", "base.qcow2");
    boot(start, &f, VM1);
    console_type("until [ -e /dev/sda ]; do sleep 0.1; done; selfcheck --write; ls /sys/firmware/efi >/dev/null && "
                 "echo efi ye''s\n");
    wait_for(console_shows("efi yes"), BOOT_MS);
    assert_true(console_shows("selfcheck ok") && console_shows("disk sda") && console_shows("52:54:00:00:00:02"));
    end_guest(VM1);
}

/* ---- */

static int group_setup(void **state) {
    snprintf(w.dir, sizeof w.dir, "/tmp/tarn-qemu-XXXXXX");
    if (!mkdtemp(w.dir) || uv_loop_init(&w.loop) < 0)
        return -1;
    log_set_level(LOG_LEVEL_WARNING);
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    w.dirfd = open_dir(w.dir);
    api_hypervisor_init(&w.info);
    _cleanup_free_ char *tiny = path_of("tiny"), *full = path_of("full");
    if (command(w.tiny, tiny) != 0)
        return -1;
    w.full = command(w.tiny, "--full", full) == 0;
    make_disk("base.qcow2", NULL);
    make_disk("top.qcow2", "base.qcow2");
    make_disk("second.qcow2", NULL);
    uv_update_time(&w.loop); /* making all that took seconds */
    driver_open();
    return 0;
}

/* What a failed test has left. */
static int clean(void **state) {
    for (int i = 0; i < 2; i++) {
        uint64_t call = op(kill, i ? VM2 : VM1);
        for (int k = 0; k < 100 && w.ended != call; k++)
            turn();
    }
    w.events = 0;
    return 0;
}

static int group_teardown(void **state) {
    console_close();
    driver_close();
    uv_run(&w.loop, UV_RUN_NOWAIT);
    api_hypervisor_done(&w.info);
    error_done(&w.error);
    json_decref(w.result);
    free(w.reason);
    buf_done(&w.seen);
    close_fd(&w.dirfd);
    return command("rm", "-rf", w.dir);
}

int main(int argc, char **argv) {
    if (argc != 2 || access("/usr/bin/" QEMU_BINARY, X_OK) < 0)
        return 77;
    w.tiny = argv[1];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_probe, clean),        cmocka_unit_test_teardown(test_life_q35, clean),
        cmocka_unit_test_teardown(test_life_microvm, clean), cmocka_unit_test_teardown(test_refused, clean),
        cmocka_unit_test_teardown(test_hung, clean),         cmocka_unit_test_teardown(test_no_space, clean),
        cmocka_unit_test_teardown(test_heard_late, clean),   cmocka_unit_test_teardown(test_full_uefi, clean),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}

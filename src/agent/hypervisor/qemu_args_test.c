/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Golden cases: for each CASE.json in the directory given, the command line must be CASE.args, byte for byte.
 *     qemu_args_test DIRECTORY [--update]
 * A case: {"start": GuestStart, "files": {"disks": [[["qcow2", false], ["raw", true]], …], "kernel", "initrd", "uefi",
 * "seed": true}, "host": {"kvm": bool, "version": 7, "tsc": kHz}}; absent members are empty. The .args file has an
 * argument a line, an option's value behind it, then the descriptors; or the error.
 */
#include "agent/hypervisor/qemu_args.h"

#include "base/buf.h"
#include "base/json.h"
#include "base/mem.h"
#include "os/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static void files_make(const json_t *j, struct guest_files *f) {
    size_t i, k;
    json_t *disk, *node;
    guest_files_init(f);
    f->kernel_fd = json_bool(j, "kernel", false) ? 100 : -1;
    f->initrd_fd = json_bool(j, "initrd", false) ? 101 : -1;
    f->firmware_fd = json_bool(j, "uefi", false) ? 102 : -1;
    f->vars_fd = json_bool(j, "uefi", false) ? 103 : -1;
    f->vars_direct = json_bool(j, "vars_direct", false);
    f->seed_fd = json_bool(j, "seed", false) ? 104 : -1;
    json_array_foreach(json_object_get(j, "disks"), i, disk) {
        json_array_foreach(disk, k, node) {
            bool raw = str_eq(json_string_value(json_array_get(node, 0)), "raw");
            f->disks[i].chain[k] = (struct guest_file){.fd = (int)(200 + 10 * i + k),
                                                       .read_only = json_is_true(json_array_get(node, 1)),
                                                       .direct = json_is_true(json_array_get(node, 2)),
                                                       .format = raw ? GUEST_DISK_RAW : GUEST_DISK_QCOW2};
            f->disks[i].n++;
        }
        f->n_disks++;
    }
}

static void args_print(const struct qemu_args *a, struct buf *out) {
    for (size_t i = 0; i < a->n; i++) {
        bool value = i > 0 && a->argv[i][0] != '-' && a->argv[i - 1][0] == '-';
        buf_addf(out, "%s%s", i == 0 ? "" : value ? " " : "\n", a->argv[i]);
    }
    buf_adds(out, "\nfds:");
    for (size_t i = 0; i < a->n_fds; i++)
        buf_addf(out, " %d=%d", a->fds[i].from, a->fds[i].to);
    buf_addc(out, '\n');
}

static int case_run(const json_t *j, struct buf *out) {
    _cleanup_error_ struct error e = ERROR_INIT;
    const json_t *h = json_object_get(j, "host");
    struct qemu_host host = {.binary = "qemu-system-x86_64",
                             .kvm = json_bool(h, "kvm", true),
                             .tsc_khz = json_int(h, "tsc", 0),
                             .incoming = json_string_value(json_object_get(h, "incoming"))};
    struct qemu_sockets sockets = {10, 11, 12};
    struct guest_files files;
    struct api_guest_start start;
    struct qemu_args args;
    files_make(json_object_get(j, "files"), &files);
    if (api_guest_start_parse(json_object_get(j, "start"), API_PEER, &start, &e) < 0) {
        fprintf(stderr, "%s: %s\n", str_or(e.field, ""), e.message);
        return -1;
    }
    if (qemu_args_make(&start, &files, &host, &sockets, &args, &e) < 0) {
        buf_addf(out, "error: %s: %s: %s\n", error_code_text(e.code), str_or(e.field, "-"), e.message);
    } else {
        args_print(&args, out);
        qemu_args_done(&args);
    }
    api_guest_start_done(&start);
    return 0;
}

static bool file_check(int dirfd, const char *name, bool update) {
    _cleanup_free_ char *text = NULL, *expected = NULL;
    _cleanup_free_ char *args_name = xasprintf("%.*s.args", (int)(strlen(name) - 5), name);
    _cleanup_json_ json_t *j = NULL;
    _cleanup_buf_ struct buf got = {0};
    size_t len;
    if (read_file_at(dirfd, name, 65536, &text, &len) < 0 || json_parse(text, len, &j, NULL) < 0 ||
        case_run(j, &got) < 0) {
        printf("FAILED %s: it is no case\n", name);
        return false;
    }
    if (update)
        write_file_at(dirfd, args_name, got.data, got.len, 0644);
    if (read_file_at(dirfd, args_name, 65536, &expected, &len) < 0 || !str_eq(expected, got.data)) {
        printf("FAILED %s: wanted\n%s\ngot\n%s\n", name, str_or(expected, "(no such file)"), got.data);
        return false;
    }
    printf("ok %s\n", name);
    return true;
}

int main(int argc, char **argv) {
    bool update = argc == 3 && str_eq(argv[2], "--update");
    if (argc < 2)
        return 2;
    int dirfd = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC), passed = 0, failed = 0;
    DIR *d = dirfd < 0 ? NULL : fdopendir(dup(dirfd));
    struct dirent *entry;
    while (d && (entry = readdir(d))) {
        size_t len = strlen(entry->d_name);
        if (len < 6 || !str_eq(entry->d_name + len - 5, ".json"))
            continue;
        if (file_check(dirfd, entry->d_name, update))
            passed++;
        else
            failed++;
    }
    if (d)
        closedir(d);
    close(dirfd);
    printf("%d passed, %d failed\n", passed, failed);
    return failed || passed < 20;
}

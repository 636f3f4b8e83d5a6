/* SPDX-License-Identifier: Apache-2.0 */
/* What a guest is given: chains, firmware and seed, with the real OVMF and tarn-seed. */
#include "agent/storage/test_agent.h"

#include <archive.h>
#include <archive_entry.h>

static struct guest_files files;
static bool opened;
static void on_ready(void *ctx, const struct error *e, struct guest_files *got) {
    opened = true;
    error_done(&f.error);
    guest_files_init(&files);
    if (e)
        error_copy(&f.error, e);
    else
        files = *got;
}

static int open_guest(const struct api_guest_start *a) {
    opened = false;
    storage_guest_open(f.s, a, on_ready, NULL);
    while (!opened)
        uv_run(&f.loop, UV_RUN_ONCE);
    return (int)f.error.code;
}

static void make_start(struct api_guest_start *a) {
    api_guest_start_init(a);
    api_vm_done(&a->vm);
    api_vm_init(&a->vm);
    a->has_vm = true;
    str_set(&a->vm.id, VM);
    str_set(&a->vm.name, "Web Server 1");
    str_set(&a->repository, REPO);
    a->n_disks = 1;
    a->disks = xcalloc(1, sizeof(*a->disks));
    api_guest_disk_init(&a->disks[0]);
    str_set(&a->disks[0].disk, DISK);
    str_set(&a->disks[0].repository, REPO);
    str_set(&a->disks[0].template, TEMPLATE);
}

static void test_guest_disks(void **state) {
    struct api_guest_start a;
    with_template();
    call_disk(DISK, 0, TEMPLATE, API_CLONE_MODE_LINKED);
    assert_ok();
    make_start(&a);
    assert_int_equal(open_guest(&a), ERR_OK);
    assert_int_equal(files.n_disks, 1);
    assert_int_equal(files.disks[0].n, 2);
    assert_int_equal(fcntl(files.disks[0].chain[0].fd, F_GETFL) & O_ACCMODE, O_RDWR);
    assert_int_equal(fcntl(files.disks[0].chain[1].fd, F_GETFL) & O_ACCMODE, O_RDONLY);
    assert_true(files.disks[0].chain[1].read_only && files.disks[0].chain[1].format == GUEST_DISK_QCOW2);
    assert_int_equal(files.seed_fd, -1);
    assert_int_equal(files.vars_fd, -1);
    assert_false(files.disks[0].chain[0].direct); /* here is no network's file system */
    guest_files_done(&files);
    /* One that another server may start when this one is lost: nothing of it stays in our page cache. */
    a.guarded = true;
    assert_int_equal(open_guest(&a), ERR_OK);
    assert_int_equal(files.disks[0].chain[0].direct, file_takes_direct(files.disks[0].chain[0].fd));
    assert_int_equal(fcntl(files.disks[0].chain[0].fd, F_GETFL) & O_DIRECT, 0); /* QEMU sets it where it wants it */
    assert_false(files.disks[0].chain[1].direct);
    guest_files_done(&files);
    a.disks[0].read_only = true;
    assert_int_equal(open_guest(&a), ERR_OK);
    assert_int_equal(fcntl(files.disks[0].chain[0].fd, F_GETFL) & O_ACCMODE, O_RDONLY);
    guest_files_done(&files);
    /* a disk that is not what the manager says it is */
    str_set(&a.disks[0].template, "");
    assert_int_equal(open_guest(&a), ERR_BAD_IMAGE);
    str_set(&a.disks[0].template, TEMPLATE2);
    assert_int_equal(open_guest(&a), ERR_BAD_IMAGE);
    str_set(&a.disks[0].template, TEMPLATE);
    assert_int_equal(run("qemu-img", "rebase", "-u", "-f", "qcow2", "-b", "../templates/" TEMPLATE "/../../../secret",
                         "-F", "raw", in_scratch("repo/disks/%s.qcow2", DISK), NULL),
                     0);
    assert_int_equal(open_guest(&a), ERR_BAD_IMAGE);
    assert_non_null(strstr(f.error.message, "somebody changed it"));
    call_disk_delete(DISK);
    assert_ok();
    assert_int_equal(open_guest(&a), ERR_NOT_FOUND);
    str_set(&a.disks[0].repository, OTHER);
    assert_int_equal(open_guest(&a), ERR_UNAVAILABLE);
    api_guest_start_done(&a);
}

static void test_guest_uefi(void **state) {
    if (!exists("/usr/share/OVMF/OVMF_CODE_4M.fd"))
        skip();
    struct api_guest_start a;
    with_template();
    call_disk(DISK, 0, TEMPLATE, API_CLONE_MODE_LINKED);
    assert_ok();
    make_start(&a);
    a.vm.firmware = API_FIRMWARE_UEFI;
    assert_int_equal(open_guest(&a), ERR_OK);
    assert_int_equal(fcntl(files.firmware_fd, F_GETFL) & O_ACCMODE, O_RDONLY);
    assert_int_equal(run("cmp", "/usr/share/OVMF/OVMF_VARS_4M.fd", in_scratch("repo/guests/%s/vars.fd", VM), NULL), 0);
    assert_int_equal(pwrite(files.vars_fd, "changed", 7, 1000), 7);
    guest_files_done(&files);
    assert_int_equal(open_guest(&a), ERR_OK); /* kept */
    char text[8] = "";
    assert_int_equal(pread(files.vars_fd, text, 7, 1000), 7);
    assert_string_equal(text, "changed");
    assert_false(files.vars_direct);
    guest_files_done(&files);
    a.guarded = true;
    assert_int_equal(open_guest(&a), ERR_OK);
    assert_int_equal(files.vars_direct, file_takes_direct(files.vars_fd));
    guest_files_done(&files);
    assert_int_equal(truncate(in_scratch("repo/guests/%s/vars.fd", VM), 1000), 0);
    assert_int_equal(open_guest(&a), ERR_UNSUPPORTED);
    struct api_guest_forget g = {.vm = (char *)VM, .repository = (char *)REPO};
    for (int i = 0; i < 2; i++) {
        storage_guest_forget(f.s, ++f.last, &g);
        assert_ok();
        assert_false(exists(in_scratch("repo/guests/%s", VM)));
    }
    g.repository = (char *)"";
    storage_guest_forget(f.s, ++f.last, &g);
    assert_ok();
    api_guest_start_done(&a);
}

/* The text of a file in the seed, from its Rock Ridge or Joliet names; NULL if it is not there. */
static char *read_seed(int fd, const char *name) {
    struct archive *r = archive_read_new();
    struct archive_entry *e;
    char *text = NULL;
    lseek(fd, 0, SEEK_SET);
    archive_read_support_format_iso9660(r);
    assert_int_equal(archive_read_open_fd(r, fd, 2048), ARCHIVE_OK);
    while (!text && archive_read_next_header(r, &e) == ARCHIVE_OK)
        if (strcmp(archive_entry_pathname(e), name) == 0) {
            size_t n = (size_t)archive_entry_size(e);
            text = xcalloc(1, n + 1);
            assert_int_equal(archive_read_data(r, text, n), n);
        }
    archive_read_free(r);
    return text;
}

static void test_guest_seed(void **state) {
    struct api_guest_start a;
    with_template();
    call_disk(DISK, 0, TEMPLATE, API_CLONE_MODE_LINKED);
    assert_ok();
    make_start(&a);
    a.vm.has_cloud_init = true;
    api_cloud_init_done(&a.vm.cloud_init);
    api_cloud_init_init(&a.vm.cloud_init);
    str_set(&a.vm.cloud_init.user_data, "#cloud-config\npassword: geheim\n# \xe4\xbd\xa0\xe5\xa5\xbd\n");
    assert_int_equal(open_guest(&a), ERR_OK);
    char label[8] = "";
    assert_int_equal(pread(files.seed_fd, label, 6, 32768 + 40), 6);
    assert_int_equal(strcasecmp(label, "cidata"), 0);
    _cleanup_free_ char *user = read_seed(files.seed_fd, "user-data"), *meta = read_seed(files.seed_fd, "meta-data");
    _cleanup_free_ char *network = read_seed(files.seed_fd, "network-config");
    assert_string_equal(user, a.vm.cloud_init.user_data);
    assert_string_equal(meta, "instance-id: " VM "\nlocal-hostname: web-server-1\n");
    assert_null(network);
    struct stat first, second;
    fstat(files.seed_fd, &first);
    guest_files_done(&files);
    assert_int_equal(open_guest(&a), ERR_OK); /* unchanged: not made again */
    fstat(files.seed_fd, &second);
    assert_true(first.st_ino == second.st_ino);
    guest_files_done(&files);
    str_set(&a.vm.cloud_init.meta_data, "instance-id: mine\n");
    str_set(&a.vm.cloud_init.network_config, "version: 2\n");
    assert_int_equal(open_guest(&a), ERR_OK);
    _cleanup_free_ char *meta2 = read_seed(files.seed_fd, "meta-data"),
                        *network2 = read_seed(files.seed_fd, "network-config");
    assert_string_equal(meta2, "instance-id: mine\n");
    assert_string_equal(network2, "version: 2\n");
    guest_files_done(&files);
    assert_no_leftovers(in_scratch("repo"));
    setenv("TARN_LIBEXEC", "/nowhere", 1);
    str_set(&a.vm.cloud_init.network_config, "version: 1\n");
    assert_int_equal(open_guest(&a), ERR_INTERNAL);
    assert_non_null(strstr(f.error.message, "TARN_LIBEXEC"));
    setenv("TARN_LIBEXEC", TARN_TEST_LIBEXEC, 1);
    api_guest_start_done(&a);
}

static void test_hostnames(void **state) {
    static const struct {
        const char *name, *host;
    } cases[] = {
        {"web", "web"},
        {"Web Server 1", "web-server-1"},
        {"a.b_c", "a-b-c"},
        {"\xe6\x9c\x8d\xe5\x8a\xa1", "vm-0123456789ab"},
        {"-", "vm-0123456789ab"},
        {"x\xe6\x9c\x8d"
         "1",
         "x-1"},
        {"", "vm-0123456789ab"},
        {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa bc",
         "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct api_vm vm = {.id = (char *)VM, .name = (char *)cases[i].name};
        char host[HOSTNAME_MAX + 1];
        seed_hostname(&vm, host);
        assert_string_equal(host, cases[i].host);
    }
}

/* On request: TARN_BENCH=1 */
static void test_bench(void **state) {
    if (!getenv("TARN_BENCH"))
        skip();
    struct api_guest_start a;
    with_template();
    call_disk(DISK, 0, TEMPLATE, API_CLONE_MODE_LINKED);
    assert_ok();
    make_start(&a);
    uint64_t began = uv_hrtime();
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(open_guest(&a), ERR_OK);
        guest_files_done(&files);
    }
    print_message("opening a linked clone's files: %.0f us\n", (double)(uv_hrtime() - began) / 1e6);
    api_guest_start_done(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {T(test_guest_disks), T(test_guest_uefi), T(test_guest_seed), T(test_bench),
                                       T(test_hostnames)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

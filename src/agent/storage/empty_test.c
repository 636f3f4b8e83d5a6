/* SPDX-License-Identifier: Apache-2.0 */
/* The empty qcow2 that we write is what qemu-img writes, over sizes and backing files, and qemu-img finds nothing
 * wrong. */
#include "agent/storage/image.h"
#include "agent/storage/task.h"
#include "agent/storage/test_util.h"

char scratch[64];

static const int64_t sizes[] = {
    512,
    1 << 20,
    (1 << 20) + 512,
    512 << 20,
    (512 << 20) + 512,
    INT64_C(10) << 30,
    (INT64_C(3) << 40) + 4096,
    INT64_C(4) << 40,
    (INT64_C(4) << 40) + 512,
    INT64_C(5) << 40,
    IMAGE_SIZE_MAX,
};

static void make(const char *path, int64_t size, const char *backing) {
    unlink(path);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(qcow2_write_empty(fd, size, backing), 0);
    struct image_fd f = {.fd = fd};
    struct image_source s;
    int64_t read_back = 0;
    assert_int_equal(image_source_from_fd(&f, &s), 0);
    assert_int_equal(image_check_own(&s, backing, &read_back, NULL), 0);
    assert_int_equal(read_back, size);
    close(fd);
}

/* QEMU 7.2 and 10 (Debian 12 and 13) write the same; a later one may name more features in the header. */
static void test_same_bytes(void **state) {
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        char text[32];
        snprintf(text, sizeof(text), "%lld", (long long)sizes[i]);
        const char *ours = in_scratch("ours"), *theirs = in_scratch("theirs");
        make(ours, sizes[i], "");
        assert_int_equal(
            run("qemu-img", "create", "-f", "qcow2", "-o", "cluster_size=64k,lazy_refcounts=off", theirs, text, NULL),
            0);
        assert_int_equal(run("cmp", ours, theirs, NULL), 0);
        assert_int_equal(run("qemu-img", "check", "-f", "qcow2", ours, NULL), 0);
    }
}

static void test_overlays(void **state) {
    static const char template[] = "0190b5d1-0000-7000-8000-000000000001";
    char backing[BACKING_NAME_MAX];
    for (int index = 0; index < 12; index += 11)
        for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
            char text[32];
            snprintf(text, sizeof(text), "%lld", (long long)sizes[i]);
            backing_name(template, index, backing);
            assert_string_equal(backing_path(backing), backing + 3);
            assert_int_equal(run("mkdir", "-p", in_scratch("disks"), in_scratch("templates/%s", template), NULL), 0);
            make(in_scratch("%s", backing + 3), sizes[i], "");
            make(in_scratch("disks/ours"), sizes[i], backing);
            assert_int_equal(run("qemu-img", "create", "-f", "qcow2", "-b", backing, "-F", "qcow2", "-o",
                                 "cluster_size=64k,lazy_refcounts=off", in_scratch("disks/theirs"), text, NULL),
                             0);
            assert_int_equal(run("cmp", in_scratch("disks/ours"), in_scratch("disks/theirs"), NULL), 0);
            assert_int_equal(run("qemu-img", "check", "-f", "qcow2", in_scratch("disks/ours"), NULL), 0);
        }
}

/* QEMU writes into it and it stays good. */
static void test_written(void **state) {
    const char *ours = in_scratch("ours");
    make(ours, INT64_C(8) << 30, "");
    assert_int_equal(run("qemu-io", "-f", "qcow2", "-c", "write -P 7 0 1M", "-c", "write -P 8 8191M 1M", "-c",
                         "read -P 8 8191M 1M", "-c", "read -P 0 100M 1M", ours, NULL),
                     0);
    assert_int_equal(run("qemu-img", "check", "-f", "qcow2", ours, NULL), 0);
}

static void test_backing_names(void **state) {
    static const char *const bad[] = {
        "",
        "../templates/",
        "/etc/passwd",
        "../templates/0190b5d1-0000-7000-8000-000000000001/disk-0.qcow2x",
        "../templates/0190b5d1-0000-7000-8000-000000000001/disk-00.qcow2",
        "../templates/0190b5d1-0000-7000-8000-000000000001/disk--1.qcow2",
        "../templates/0190b5d1-0000-7000-8000-000000000001/disk-+1.qcow2",
        "../templates/0190b5d1-0000-7000-8000-000000000001/kernel",
        "../templates/../../../../../../../../../../etc//passwd/disk-0.qcow2",
        "../templates/0190B5D1-0000-7000-8000-000000000001/disk-0.qcow2",
        "./../templates/0190b5d1-0000-7000-8000-000000000001/disk-0.qcow2",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_null(backing_path(bad[i]));
}

static int setup(void **state) { return scratch_make(), 0; }
static int teardown(void **state) { return scratch_remove(), 0; }

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_same_bytes), cmocka_unit_test(test_overlays),
                                       cmocka_unit_test(test_written), cmocka_unit_test(test_backing_names)};
    return cmocka_run_group_tests(tests, setup, teardown);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* ISO images, and disks made from images. */
#include "agent/storage/test_agent.h"

#define ISO "0190b5d1-0000-7000-8000-00000000c001"

static void call_iso(const char *upload, const char *path) {
    struct api_iso_make a = {
        .repository = (char *)REPO, .iso = (char *)ISO, .upload = (char *)upload, .path = (char *)path};
    storage_iso_make(f.s, ++f.last, &a);
}
static void call_iso_delete(void) {
    struct api_iso_op a = {.repository = (char *)REPO, .iso = (char *)ISO};
    storage_iso_delete(f.s, ++f.last, &a);
}
static void call_import(const char *disk, const char *upload, const char *path, int64_t size) {
    struct api_disk_create a;
    api_disk_create_init(&a);
    str_set(&a.repository, REPO);
    str_set(&a.disk, disk);
    str_set(&a.upload, upload);
    str_set(&a.path, path);
    a.size = size;
    storage_disk_create(f.s, ++f.last, &a);
    api_disk_create_done(&a);
}

/* 400 sectors, of which the file has `present`. */
static const char *make_iso(const char *name, int present) {
    uint8_t descriptor[2048] = {1, 'C', 'D', '0', '0', '1', 1}, end[2048] = {255, 'C', 'D', '0', '0', '1', 1};
    memcpy(descriptor + 40, "DISC                            ", 32);
    descriptor[80] = descriptor[87] = 400 & 255;
    descriptor[81] = descriptor[86] = 400 >> 8;
    descriptor[129] = descriptor[130] = 8;
    const char *path = in_scratch("%s", name);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_int_equal(ftruncate(fd, present * 2048), 0);
    assert_int_equal(pwrite(fd, descriptor, 2048, 16 * 2048), 2048);
    assert_int_equal(pwrite(fd, end, 2048, 17 * 2048), 2048);
    close(fd);
    return path;
}

static int opened;
static void on_open(void *ctx, const struct error *e, int fd) {
    opened = fd;
    f.done = f.last;
    error_done(&f.error);
    if (e)
        error_copy(&f.error, e);
}
static int open_iso(const char *id) {
    f.last++;
    storage_iso_open(f.s, REPO, id, on_open, NULL);
    wait_call();
    return opened;
}

static void test_iso_life(void **state) {
    call_repository(REPO, in_scratch("repo"), false);
    assert_ok();
    call_iso("", make_iso("disc.iso", 400));
    assert_ok();
    assert_string_equal(json_str(f.result, "label"), "DISC");
    assert_int_equal(json_int(f.result, "size", 0), 400 * 2048);
    struct stat st;
    assert_int_equal(stat(in_scratch("repo/isos/" ISO ".iso"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0444);
    assert_int_equal(unlink(in_scratch("disc.iso")), 0);
    call_iso("", in_scratch("disc.iso")); /* again, as after a crash: what is there is taken */
    assert_ok();
    assert_int_equal(json_int(f.result, "size", 0), 400 * 2048);
    int fd = open_iso(ISO);
    assert_true(fd >= 0);
    close(fd);
    call_iso_delete();
    assert_ok();
    call_iso_delete();
    assert_ok();
    assert_int_equal(open_iso(ISO), -1);
    assert_error(ERR_NOT_FOUND, "missing");
    assert_int_equal(open_iso("../../etc/passwd"), -1);
    assert_error(ERR_INVALID, "");
    assert_no_leftovers(in_scratch("repo"));
}

static void test_iso_refused(void **state) {
    call_repository(REPO, in_scratch("repo"), false);
    assert_ok();
    call_iso("", make_iso("cut.iso", 200));
    assert_error(ERR_BAD_IMAGE, "truncated");
    make_raw(in_scratch("raw"), 4 << 20, 100000);
    call_iso("", in_scratch("raw"));
    assert_error(ERR_BAD_IMAGE, "no ISO image");
    call_iso("", in_scratch("absent"));
    assert_error(ERR_NOT_FOUND, "absent");
    call_iso("", in_scratch("repo"));
    assert_error(ERR_BAD_IMAGE, "no regular file");
    call_iso("", "relative/path");
    assert_error(ERR_INVALID, "path");
    call_iso(UPLOAD, "");
    assert_error(ERR_NOT_FOUND, "no upload");
    assert_false(exists(in_scratch("repo/isos/" ISO ".iso")));
    assert_no_leftovers(in_scratch("repo"));
}

static void test_disk_from_image(void **state) {
    call_repository(REPO, in_scratch("repo"), false);
    assert_ok();
    make_raw(in_scratch("raw"), 4 << 20, 100000);
    call_import(DISK, "", in_scratch("raw"), 0);
    assert_ok();
    assert_int_equal(json_int(f.result, "size", 0), 4 << 20);
    assert_int_equal(run("qemu-img", "compare", in_scratch("raw"), in_scratch("repo/disks/" DISK ".qcow2"), NULL), 0);
    call_import(DISK, "", in_scratch("absent"), 0); /* it is there already */
    assert_ok();
    assert_int_equal(json_int(f.result, "size", 0), 4 << 20);
    call_import(DISK2, "", in_scratch("raw"), 8 << 20);
    assert_ok();
    assert_int_equal(json_int(f.result, "size", 0), 8 << 20);
    call_disk_delete(DISK2);
    assert_ok();
    call_import(DISK2, "", in_scratch("raw"), 2 << 20);
    assert_error(ERR_INVALID, "cut it off");
    assert_int_equal(run("sh", "-c", "echo 'no disk' >$0", in_scratch("text"), NULL), 0);
    call_import(DISK2, "", in_scratch("text"), 0);
    assert_error(ERR_BAD_IMAGE, "");
    assert_false(exists(in_scratch("repo/disks/" DISK2 ".qcow2")));
    assert_no_leftovers(in_scratch("repo"));
}

static void test_disk_from_upload(void **state) {
    call_repository(REPO, in_scratch("repo"), false);
    assert_ok();
    call_upload(UPLOAD, 4 << 20);
    assert_ok();
    make_raw(in_scratch("raw"), 4 << 20, 100000);
    assert_int_equal(run("cp", in_scratch("raw"), in_scratch("repo/uploads/" UPLOAD), NULL), 0);
    struct error e = ERROR_INIT;
    int64_t received;
    int fd = storage_upload_fd(f.s, REPO, UPLOAD, &received, &e);
    assert_true(fd >= 0);
    call_import(DISK, UPLOAD, "", 0);
    assert_error(ERR_CONFLICT, "still being written");
    storage_upload_done(f.s, REPO, UPLOAD, fd);
    call_import(DISK, UPLOAD, "", 0);
    assert_ok();
    assert_int_equal(run("qemu-img", "compare", in_scratch("raw"), in_scratch("repo/disks/" DISK ".qcow2"), NULL), 0);
}

/* A file of root's, which qemu-img may not read as the guest user, is copied for it. */
static void test_guest_user(void **state) {
    if (geteuid() != 0)
        return;
    call_repository(REPO, in_scratch("repo"), false);
    assert_ok();
    make_raw(in_scratch("raw"), 4 << 20, 100000);
    assert_int_equal(chmod(in_scratch("raw"), 0600), 0);
    call_import(DISK, "", in_scratch("raw"), 0);
    assert_ok();
    call_iso("", make_iso("disc.iso", 400));
    assert_ok();
    assert_no_leftovers(in_scratch("repo"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_iso_life, setup, teardown),
        cmocka_unit_test_setup_teardown(test_iso_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_disk_from_image, setup, teardown),
        cmocka_unit_test_setup_teardown(test_disk_from_upload, setup, teardown),
        cmocka_unit_test_setup_teardown(test_guest_user, setup_user, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

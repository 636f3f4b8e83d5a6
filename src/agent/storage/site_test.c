/* SPDX-License-Identifier: Apache-2.0 */
/* Repositories of which one is inside of the other, by whatever way they are reached. */
#include "agent/storage/site.h"

#include "agent/storage/task.h"
#include "agent/storage/test_agent.h"
#include "base/id.h"

#include <sched.h>

static const char mountinfo[] = "22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw\n"
                                "30 22 254:2 / /srv rw,relatime shared:2 - xfs /dev/vdb rw\n"
                                "31 22 254:2 /vm/disks /mnt/b rw,relatime shared:2 - xfs /dev/vdb rw\n"
                                "32 22 254:2 /vm/a\\040b /mnt/with\\040space rw - xfs /dev/vdb rw\n"
                                "33 22 0:40 /@home /home rw shared:4 - btrfs /dev/vdc rw,subvol=/@home\n"
                                "34 22 0:41 / /srv2 rw - nfs4 host:/export rw\n"
                                "35 bad\n";

static void found(long mount, const char *path, const char *fs, const char *there) {
    struct site p = {0};
    assert_int_equal(site_find(mountinfo, mount, path, &p), 0);
    assert_string_equal(p.fs, fs);
    assert_string_equal(p.path, there);
    site_done(&p);
}

static void test_mounts(void **state) {
    struct site p = {0};
    found(22, "/var/lib", "254:1", "/var/lib");
    found(30, "/srv/vm", "254:2", "/vm");
    found(31, "/mnt/b/x", "254:2", "/vm/disks/x");
    found(32, "/mnt/with space/x", "254:2", "/vm/a b/x");
    found(33, "/home/u", "0:40", "/@home/u");
    assert_int_equal(site_find(mountinfo, 30, "/srv2/x", &p), -ENOENT); /* moved meanwhile */
    assert_int_equal(site_find(mountinfo, 35, "/x", &p), -EBADMSG);
    assert_int_equal(site_find(mountinfo, 99, "/x", &p), -ENOENT);
    assert_int_equal(site_find("", 1, "/x", &p), -ENOENT);
    assert_null(p.fs);
}

static void test_overlaps(void **state) {
    struct site srv = {0}, bound = {0}, other = {0}, none = {0};
    assert_int_equal(site_find(mountinfo, 30, "/srv/vm", &srv), 0);
    assert_int_equal(site_find(mountinfo, 31, "/mnt/b", &bound), 0);
    assert_int_equal(site_find(mountinfo, 34, "/srv2/vm", &other), 0);
    assert_true(site_overlaps(&srv, &bound) && site_overlaps(&bound, &srv) && site_overlaps(&srv, &srv));
    assert_false(site_overlaps(&srv, &other) || site_overlaps(&none, &none) || site_overlaps(&srv, &none));
    site_done(&srv);
    site_done(&bound);
    site_done(&other);
}

static void refused(const char *path, const char *words) {
    call_repository(OTHER, path, false);
    assert_error(ERR_CONFLICT, words);
    assert_null(repository_find(f.s, OTHER));
}

/* By its path, and by one with a symbolic link in it. */
static void test_inside(void **state) {
    call_repository(REPO, in_scratch("a/repo"), false);
    assert_ok();
    refused(in_scratch("a/repo/disks/more"), "is inside of that of another storage repository");
    assert_false(exists(in_scratch("a/repo/disks/more/tarn-repository.json")));
    assert_int_equal(symlink(in_scratch("a"), in_scratch("link")), 0);
    refused(in_scratch("link/repo/guests/more"), "is inside of that of another");
    refused(in_scratch("link/repo"), "holds another repository");
    refused(in_scratch("a"), "holds that of another");
    call_repository(OTHER, in_scratch("a/repo2"), false);
    assert_ok();
}

/* On storage that servers share: only another one has the repository around it. */
static void test_inside_of_anothers(void **state) {
    static const char mark[] = "{\"id\":\"" REPO "\",\"version\":1}";
    assert_int_equal(make_dirs(in_scratch("theirs/guests"), 0700), 0);
    assert_int_equal(write_file_at(AT_FDCWD, in_scratch("theirs/tarn-repository.json"), mark, sizeof mark - 1, 0600),
                     0);
    refused(in_scratch("theirs/guests/more/still"), "is inside of that of another storage repository");
    refused(in_scratch("theirs"), "holds another repository");
    assert_false(exists(in_scratch("theirs/guests/more/still/tarn-repository.json")));
    call_repository(OTHER, in_scratch("theirs2"), false);
    assert_ok();
}

/* A part of it is mounted elsewhere. */
static void test_bound(void **state) {
    call_repository(REPO, in_scratch("repo"), false);
    assert_ok();
    assert_int_equal(mkdir(in_scratch("mounted"), 0700), 0);
    if (mount(in_scratch("repo/isos"), in_scratch("mounted"), NULL, MS_BIND, NULL) < 0)
        skip();
    refused(in_scratch("mounted"), "is inside of that of another");
    refused(in_scratch("mounted/more"), "is inside of that of another");
    assert_int_equal(umount2(in_scratch("mounted"), MNT_DETACH), 0);
}

/* One that was closed is in nobody's way, and one that has been in use stays so, as those that an earlier Tarn has
 * allowed. */
static void test_again(void **state) {
    struct api_repository_op a = {.repository = (char *)REPO, .path = (char *)""};
    call_repository(REPO, in_scratch("repo"), false);
    assert_ok();
    call_repository(REPO, in_scratch("repo"), false);
    assert_ok();
    storage_repository_close(f.s, ++f.last, &a);
    assert_ok();
    call_repository(OTHER, in_scratch("repo"), false);
    assert_ok();
    call_repository(REPO, in_scratch("new"), false);
    assert_ok();
    assert_int_equal(rename(in_scratch("new"), in_scratch("repo/guests/old")), 0);
    call_repository(REPO, in_scratch("repo/guests/old"), true);
    assert_ok();
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_mounts),
                                       cmocka_unit_test(test_overlaps),
                                       T(test_inside),
                                       T(test_inside_of_anothers),
                                       T(test_bound),
                                       T(test_again)};
    /* A mount namespace of our own, where we may have one. */
    if (unshare(CLONE_NEWNS) == 0)
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

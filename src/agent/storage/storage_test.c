/* SPDX-License-Identifier: Apache-2.0 */
/* Repositories, disks, templates and uploads against real files and qemu-img. */
#include "agent/storage/test_agent.h"

/* ---- repositories
 * ---------------------------------------------------------------------------------------------------- */

static void test_repository(void **state) {
    call_repository(REPO, in_scratch("a/b/repo"), false);
    assert_ok();
    assert_true(json_bool(f.result, "usable", false) && json_int(f.result, "capacity", 0) > 0 &&
                json_int(f.result, "free", -1) >= 0);
    assert_true(f.told && f.usable);
    assert_true(exists(in_scratch("a/b/repo/tarn-repository.json")) && exists(in_scratch("a/b/repo/templates")));
    call_repository(REPO, in_scratch("a/b/repo"), false);
    assert_ok();
    call_repository(OTHER, in_scratch("a/b/repo"), false);
    assert_error(ERR_CONFLICT, "holds another repository (" REPO ")");
    call_repository(OTHER, in_scratch("a"), false);
    assert_error(ERR_CONFLICT, "holds that of another storage repository");
    call_repository(OTHER, "relative", false);
    assert_error(ERR_INVALID, "path");
    call_repository(OTHER, "/proc/nothing/here", false);
    assert_error(ERR_IO, "making the directory");
    call_repository("../../x", in_scratch("x"), false);
    assert_error(ERR_INVALID, "UUID");
    assert_false(exists(in_scratch("x")));
    assert_int_equal(symlink(in_scratch("a"), in_scratch("link")), 0);
    call_repository(OTHER, in_scratch("link"), false);
    assert_error(ERR_INVALID, "symbolic link");
    static const char newer[] = "{\"id\": \"" REPO "\", \"version\": 2}";
    write_file(in_scratch("a/b/repo/tarn-repository.json"), newer, sizeof(newer) - 1);
    call_repository(REPO, in_scratch("a/b/repo"), true);
    assert_error(ERR_VERSION, "newer Tarn");
    write_file(in_scratch("a/b/repo/tarn-repository.json"), "nonsense", 8);
    call_repository(REPO, in_scratch("a/b/repo"), true);
    assert_error(ERR_IO, "damaged");
}

/* Half made: a crash after the temporary file of the mark. lost+found: a new file system. */
static void test_repository_half_made(void **state) {
    assert_int_equal(run("mkdir", "-p", in_scratch("repo/lost+found"), NULL), 0);
    write_file(in_scratch("repo/.tarn-repository.json.0123456789abcdef"), "{", 1);
    call_repository(REPO, in_scratch("repo"), false);
    assert_ok();
}

static void test_repository_vanishes(void **state) {
    call_repository(REPO, in_scratch("repo"), true);
    assert_error(ERR_UNAVAILABLE, "repo failed");
    assert_true(f.told && !f.usable);
    assert_int_equal(mkdir(in_scratch("repo"), 0700), 0);
    call_repository(REPO, in_scratch("repo"), true);
    assert_error(ERR_UNAVAILABLE, "is its file system mounted?");
    assert_false(exists(in_scratch("repo/tarn-repository.json")));
    call_repository(REPO, in_scratch("repo"), false);
    assert_ok();
    assert_int_equal(rename(in_scratch("repo"), in_scratch("away")), 0);
    f.told = false;
    repositories_check_all(f.s);
    while (!f.told)
        uv_run(&f.loop, UV_RUN_ONCE);
    assert_false(f.usable);
    call_disk(DISK, 1 << 20, "", API_CLONE_MODE_LINKED);
    assert_error(ERR_UNAVAILABLE, "cannot be used: opening the directory");
    assert_int_equal(rename(in_scratch("away"), in_scratch("repo")), 0);
    f.told = false;
    repositories_check_all(f.s);
    while (!f.told)
        uv_run(&f.loop, UV_RUN_ONCE);
    assert_true(f.usable);
    call_disk(DISK, 1 << 20, "", API_CLONE_MODE_LINKED);
    assert_ok();
    struct api_repository_op a = {.repository = (char *)REPO, .path = (char *)""};
    storage_repository_close(f.s, ++f.last, &a);
    assert_ok();
    storage_repository_close(f.s, ++f.last, &a);
    assert_ok();
    call_disk(DISK, 1 << 20, "", API_CLONE_MODE_LINKED);
    assert_error(ERR_UNAVAILABLE, "is not open");
    assert_true(exists(in_scratch("repo/tarn-repository.json"))); /* it holds a disk */
}

static void test_repository_closed_empty(void **state) {
    call_repository(REPO, in_scratch("repo"), false);
    assert_ok();
    struct api_repository_op a = {.repository = (char *)REPO, .path = (char *)""};
    storage_repository_close(f.s, ++f.last, &a);
    assert_ok();
    assert_false(exists(in_scratch("repo/tarn-repository.json")));
    call_repository(DISK, in_scratch("repo"), false); /* another one, in its place */
    assert_ok();
}

static void call_proof(const char *proof, bool remove) {
    struct api_repository_proof a = {.repository = (char *)REPO, .proof = (char *)proof, .remove = remove};
    storage_repository_prove(f.s, ++f.last, &a);
}

static void call_present(const char *id, const char *path, const char *proof) {
    struct api_repository_op a;
    api_repository_op_init(&a);
    str_set(&a.repository, id);
    str_set(&a.path, path);
    str_set(&a.proof, proof);
    str_set(&a.proved_by, "north");
    storage_repository_open(f.s, ++f.last, &a);
    api_repository_op_done(&a);
}

/* Another server has REPO at its path: is it the same storage here? The other server is played by this one. */
static void test_repository_presented(void **state) {
    static const char proof[] = DISK, none[] = DISK2;
    call_repository(REPO, in_scratch("repo"), false);
    assert_ok();
    call_proof("../x", false);
    assert_error(ERR_INVALID, "UUID");
    call_proof(proof, false);
    assert_ok();
    call_proof(proof, false);
    assert_ok();
    struct api_repository_op close = {.repository = (char *)REPO, .path = (char *)"", .keep = true};
    storage_repository_close(f.s, ++f.last, &close);
    assert_ok();
    assert_true(exists(in_scratch("repo/tarn-repository.json")) && exists(in_scratch("repo/disks")));
    call_present(REPO, in_scratch("repo"), proof);
    assert_ok();
    assert_int_equal(run("cp", "-a", in_scratch("repo"), in_scratch("copy"), NULL), 0);
    storage_repository_close(f.s, ++f.last, &close);
    assert_ok();
    call_present(REPO, in_scratch("copy"), none);
    assert_error(ERR_CONFLICT, "copy is not the storage that server north has there, but a copy of it");
    call_repository(OTHER, in_scratch("other"), false);
    assert_ok();
    call_present(REPO, in_scratch("other"), proof);
    assert_error(ERR_CONFLICT, "it holds another repository (" OTHER ")");
    assert_int_equal(run("mkdir", in_scratch("empty"), NULL), 0);
    call_present(REPO, in_scratch("empty"), proof);
    assert_error(ERR_CONFLICT, "it holds no repository");
    assert_false(exists(in_scratch("empty/tarn-repository.json")));
    call_disk(DISK, 1 << 20, "", API_CLONE_MODE_LINKED); /* a refused one is not known */
    assert_error(ERR_UNAVAILABLE, "is not open");
    call_present(REPO, in_scratch("repo"), proof);
    assert_ok();
    call_proof(proof, true);
    assert_ok();
    call_proof(proof, true);
    assert_ok();
    call_repository(REPO, in_scratch("repo"), true); /* as at the next start */
    assert_ok();
}

/* ---- disks
 * ----------------------------------------------------------------------------------------------------------- */

static void test_blank(void **state) {
    call_repository(REPO, in_scratch("repo"), false);
    assert_ok();
    call_disk(DISK, (10 << 20) + 1, "", API_CLONE_MODE_LINKED);
    assert_ok();
    assert_int_equal(json_int(f.result, "size", 0), (10 << 20) + 512);
    assert_int_equal(run("qemu-img", "check", in_scratch("repo/disks/%s.qcow2", DISK), NULL), 0);
    call_disk(DISK, (10 << 20) + 1, "", API_CLONE_MODE_LINKED);
    assert_ok();
    call_disk(DISK, 11 << 20, "", API_CLONE_MODE_LINKED);
    assert_error(ERR_CONFLICT, "of another size");
    static const int64_t bad[] = {0, -1, INT64_MIN, INT64_MAX, INT64_C(70368744177665)};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        call_disk(DISK2, bad[i], "", API_CLONE_MODE_LINKED);
        assert_error(ERR_INVALID, "64 TiB");
    }
    call_disk("../../../etc/passwd", 1 << 20, "", API_CLONE_MODE_LINKED);
    assert_error(ERR_INVALID, "UUID");
    for (int i = 0; i < 2; i++) {
        call_disk_delete(DISK);
        assert_ok();
        assert_false(exists(in_scratch("repo/disks/%s.qcow2", DISK)));
    }
    /* what a crash leaves is in nobody's way */
    write_file(in_scratch("repo/disks/.%s.tmp", DISK), "half", 4);
    call_disk(DISK, 1 << 20, "", API_CLONE_MODE_LINKED);
    assert_ok();
    assert_no_leftovers(in_scratch("repo"));
}

static void test_clones(void **state) {
    with_template();
    call_disk(DISK, 0, TEMPLATE, API_CLONE_MODE_LINKED);
    assert_ok();
    assert_int_equal(json_int(f.result, "size", 0), 64 << 20);
    assert_true(json_int(f.result, "allocated", -1) < 300000);
    const char *disk = in_scratch("repo/disks/%s.qcow2", DISK), *raw = in_scratch("raw");
    assert_int_equal(run("qemu-img", "compare", "-f", "raw", "-F", "qcow2", raw, disk, NULL), 0);
    call_disk(DISK2, 128 << 20, TEMPLATE, API_CLONE_MODE_FULL);
    assert_ok();
    assert_int_equal(json_int(f.result, "size", 0), 128 << 20);
    const char *full = in_scratch("repo/disks/%s.qcow2", DISK2);
    assert_int_equal(run("qemu-img", "check", full, NULL), 0);
    assert_int_equal(run("qemu-img", "compare", "-f", "raw", "-F", "qcow2", raw, full, NULL), 0);
    call_disk(DISK2, 128 << 20, TEMPLATE, API_CLONE_MODE_FULL);
    assert_ok();
    call_disk(DISK2, 128 << 20, TEMPLATE, API_CLONE_MODE_LINKED);
    assert_error(ERR_BAD_IMAGE, "backing file");
    call_disk_delete(DISK2);
    assert_ok();
    f.percent = -1;
    call_disk(DISK2, 0, TEMPLATE, API_CLONE_MODE_FULL);
    assert_ok();
    full = in_scratch("repo/disks/%s.qcow2", DISK2), raw = in_scratch("raw");
    assert_int_equal(run("qemu-img", "compare", "-f", "raw", "-F", "qcow2", raw, full, NULL), 0);
    struct stat st;
    assert_int_equal(stat(full, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    call_disk_delete(DISK2);
    call_disk(DISK2, 1 << 20, TEMPLATE, API_CLONE_MODE_LINKED);
    assert_error(ERR_INVALID, "has 64 MiB; a clone of 1 MiB");
    call_disk(DISK2, 0, TEMPLATE2, API_CLONE_MODE_LINKED);
    assert_error(ERR_NOT_FOUND, "no disk 0 of template " TEMPLATE2);
    call_disk(DISK2, 0, "../x", API_CLONE_MODE_FULL);
    assert_error(ERR_INVALID, "not valid");
    assert_no_leftovers(in_scratch("repo"));
}

/* ---- templates
 * ------------------------------------------------------------------------------------------------------- */

static void test_import_formats(void **state) {
    static const struct {
        const char *driver, *options;
        bool compress;
    } kinds[] = {{"raw", NULL, 0},
                 {"qcow2", "cluster_size=4k", 0},
                 {"qcow2", "compression_type=zstd", 1},
                 {"qcow2", "extended_l2=on,cluster_size=128k", 0},
                 {"vmdk", "subformat=monolithicSparse", 0},
                 {"vmdk", "subformat=streamOptimized", 0},
                 {"vdi", "static=off", 0},
                 {"vhdx", "subformat=dynamic", 0},
                 {"vpc", "subformat=dynamic", 0},
                 {"vpc", "subformat=fixed,force_size=on", 0}};
    const char *raw = in_scratch("raw");
    make_raw(raw, (40 << 20) + 512, 300000);
    call_repository(REPO, in_scratch("repo"), false);
    assert_ok();
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        raw = in_scratch("raw");
        const char *image = in_scratch("image");
        unlink(image);
        assert_int_equal(run("qemu-img", "convert", "-f", "raw", "-O", kinds[i].driver, "-o",
                             str_or(kinds[i].options, "size=41943552"), raw, image, kinds[i].compress ? "-c" : NULL,
                             NULL),
                         0);
        f.progress_calls = 0;
        call_make(TEMPLATE, (struct source){.path = image});
        assert_ok();
        assert_true(f.progress_calls > 0 && f.percent == 100);
        const char *made = in_scratch("repo/templates/.%s/disk-0.qcow2", TEMPLATE);
        if (run("qemu-img", "compare", "-f", "raw", "-F", "qcow2", raw, made, NULL) ||
            run("qemu-img", "check", made, NULL))
            fail_msg("what became of a %s (%s) is not what went in", kinds[i].driver, str_or(kinds[i].options, ""));
        call_template_delete(TEMPLATE);
        assert_ok();
    }
    assert_no_leftovers(in_scratch("repo"));
}

static void test_template_life(void **state) {
    with_template();
    struct stat st;
    assert_int_equal(stat(in_scratch("repo/templates/%s/disk-0.qcow2", TEMPLATE), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0444);
    /* repeats of what has been done */
    call_make(TEMPLATE, (struct source){.path = in_scratch("raw")});
    assert_ok();
    assert_int_equal(json_int(f.result, "size", 0), 64 << 20);
    assert_false(exists(in_scratch("repo/templates/.%s", TEMPLATE)));
    call_seal(TEMPLATE);
    assert_ok();
    call_seal(TEMPLATE2);
    assert_error(ERR_NOT_FOUND, "no template " TEMPLATE2);
    /* a crash between: the first file whole, the second half written, the answer lost */
    assert_int_equal(run("mkdir", "-p", in_scratch("repo/templates/.%s", TEMPLATE2), NULL), 0);
    write_file(in_scratch("repo/templates/.%s/.disk-0.qcow2.tmp", TEMPLATE2), "QFI", 3);
    write_file(in_scratch("repo/templates/.%s/.initrd.tmp", TEMPLATE2), "0707", 4);
    call_make(TEMPLATE2, (struct source){.path = in_scratch("raw")});
    assert_ok();
    call_seal(TEMPLATE2);
    assert_ok();
    assert_no_leftovers(in_scratch("repo"));
    for (int i = 0; i < 2; i++) {
        call_template_delete(TEMPLATE2);
        assert_ok();
        assert_false(exists(in_scratch("repo/templates/%s", TEMPLATE2)));
    }
}

static void test_boot_files(void **state) {
    uint8_t kernel[70000] = {0};
    kernel[0x1f1] = 1;
    memcpy(kernel + 0x1fe, "\x55\xaa", 2);
    memcpy(kernel + 0x202, "HdrS", 4);
    kernel[sizeof(kernel) - 1] = 7;
    write_file(in_scratch("kernel"), kernel, sizeof(kernel));
    write_file(in_scratch("initrd"), "070701 and so on", 16);
    call_repository(REPO, in_scratch("repo"), false);
    assert_ok();
    call_make(TEMPLATE, (struct source){.role = "kernel", .path = in_scratch("kernel")});
    assert_ok();
    assert_int_equal(json_int(f.result, "size", 0), sizeof(kernel));
    call_make(TEMPLATE, (struct source){.role = "initrd", .path = in_scratch("kernel")});
    assert_error(ERR_BAD_IMAGE, "no initramfs");
    call_make(TEMPLATE, (struct source){.role = "initrd", .path = in_scratch("initrd")});
    assert_ok();
    call_make(TEMPLATE2, (struct source){.role = "kernel", .path = in_scratch("initrd")});
    assert_error(ERR_BAD_IMAGE, "no Linux kernel");
    call_make(TEMPLATE2, (struct source){.role = "firmware", .path = in_scratch("initrd")});
    assert_error(ERR_INVALID, "role");
    call_seal(TEMPLATE);
    assert_ok();
    const char *made = in_scratch("repo/templates/%s/kernel", TEMPLATE);
    assert_int_equal(run("cmp", made, in_scratch("kernel"), NULL), 0);
    /* a golden image of a virtual machine with this kernel */
    call_make(TEMPLATE2, (struct source){.role = "kernel", .from_template = TEMPLATE});
    assert_ok();
    assert_int_equal(json_int(f.result, "size", 0), sizeof(kernel));
    call_make(TEMPLATE2, (struct source){.role = "kernel", .from_template = TEMPLATE}); /* again, its answer was lost */
    assert_ok();
    call_make(TEMPLATE2, (struct source){.from_template = TEMPLATE});
    assert_error(ERR_INVALID, "exactly one of");
    call_make(TEMPLATE2, (struct source){.role = "initrd", .from_template = TEMPLATE2});
    assert_error(ERR_NOT_FOUND, "has no initrd");
    call_make(TEMPLATE2, (struct source){.role = "initrd", .from_template = TEMPLATE});
    assert_ok();
    call_seal(TEMPLATE2);
    assert_ok();
    call_template_delete(TEMPLATE);
    assert_ok();
    made = in_scratch("repo/templates/%s/kernel", TEMPLATE2);
    assert_int_equal(run("cmp", made, in_scratch("kernel"), NULL), 0);
}

static void test_refused(void **state) {
    call_repository(REPO, in_scratch("repo"), false);
    assert_ok();
    const char *image = in_scratch("image");
    assert_int_equal(
        run("qemu-img", "create", "-u", "-f", "qcow2", "-b", "/etc/passwd", "-F", "raw", image, "1G", NULL), 0);
    call_make(TEMPLATE, (struct source){.path = image});
    assert_error(ERR_BAD_IMAGE, "/etc/passwd");
    write_file(image, "plain text\n", 11);
    call_make(TEMPLATE, (struct source){.path = image});
    assert_error(ERR_BAD_IMAGE, "is text");
    call_make(TEMPLATE, (struct source){.path = image, .format = API_IMAGE_FORMAT_RAW});
    assert_error(ERR_BAD_IMAGE, "no multiple of 512");
    call_make(TEMPLATE, (struct source){.path = in_scratch("nothing")});
    assert_error(ERR_NOT_FOUND, "nothing on this server failed");
    call_make(TEMPLATE, (struct source){.path = "/etc"});
    assert_error(ERR_BAD_IMAGE, "no regular file");
    call_make(TEMPLATE, (struct source){.path = "/dev/zero"});
    assert_error(ERR_BAD_IMAGE, "no regular file");
    call_make(TEMPLATE, (struct source){.path = "/etc/../etc/passwd"});
    assert_error(ERR_INVALID, "path");
    call_make(TEMPLATE, (struct source){.upload = UPLOAD});
    assert_error(ERR_NOT_FOUND, "no upload");
    call_make(TEMPLATE, (struct source){.upload = "../disks/x"});
    assert_error(ERR_INVALID, "UUID");
    call_make(TEMPLATE, (struct source){.role = "disk"});
    assert_error(ERR_INVALID, "exactly one of");
    call_make(TEMPLATE, (struct source){.upload = UPLOAD, .path = image});
    assert_error(ERR_INVALID, "exactly one of");
    /* headers good, a compressed cluster damaged: an error, not a crash and not zeros */
    static char lines[8 << 20];
    memset(lines, 'x', sizeof(lines));
    write_file(in_scratch("raw"), lines, sizeof(lines));
    assert_int_equal(run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-c", in_scratch("raw"), image, NULL), 0);
    for (uint64_t at = 0x50000; at < file_length(image); at += 16)
        write_at(image, at, "damaged!", 8);
    call_make(TEMPLATE, (struct source){.path = image});
    assert_error(ERR_BAD_IMAGE, "qemu-img says");
    assert_no_leftovers(in_scratch("repo"));
    assert_false(exists(in_scratch("repo/templates/.%s/disk-0.qcow2", TEMPLATE)));
}

static void test_upload(void **state) {
    call_repository(REPO, in_scratch("repo"), false);
    assert_ok();
    make_raw(in_scratch("raw"), 8 << 20, 300000);
    call_upload(UPLOAD, 8 << 20);
    assert_ok();
    assert_int_equal(json_int(f.result, "received", -1), 0);
    int64_t received = -1;
    _cleanup_error_ struct error e = ERROR_INIT;
    int fd = storage_upload_fd(f.s, REPO, UPLOAD, &received, &e);
    assert_true(fd >= 0 && received == 0);
    uint8_t *data = xmalloc(8 << 20);
    int from = open(in_scratch("raw"), O_RDONLY | O_CLOEXEC);
    assert_int_equal(read(from, data, 8 << 20), 8 << 20);
    assert_int_equal(pwrite(fd, data, 1 << 20, 0), 1 << 20);
    call_upload(UPLOAD, 8 << 20);
    assert_ok();
    assert_int_equal(json_int(f.result, "received", -1), 1 << 20);
    call_make(TEMPLATE, (struct source){.upload = UPLOAD});
    assert_error(ERR_CONFLICT, "still being written");
    storage_upload_done(f.s, REPO, UPLOAD, fd);
    call_make(TEMPLATE, (struct source){.upload = UPLOAD});
    assert_true(storage_upload_fd(f.s, REPO, UPLOAD, &received, &e) < 0 && e.code == ERR_CONFLICT);
    assert_error(ERR_BAD_IMAGE, "truncated");
    fd = storage_upload_fd(f.s, REPO, UPLOAD, &received, &e);
    assert_true(fd >= 0 && received == 1 << 20);
    assert_int_equal(pwrite(fd, data, 8 << 20, 0), 8 << 20);
    free(data);
    storage_upload_done(f.s, REPO, UPLOAD, fd);
    close(from);
    call_make(TEMPLATE, (struct source){.upload = UPLOAD});
    assert_true(storage_upload_fd(f.s, REPO, UPLOAD, &received, &e) < 0 && e.code == ERR_CONFLICT);
    assert_ok();
    struct api_upload_op a = {.repository = (char *)REPO, .upload = (char *)UPLOAD};
    for (int i = 0; i < 2; i++) {
        storage_upload_delete(f.s, ++f.last, &a);
        assert_true(storage_upload_fd(f.s, REPO, UPLOAD, &received, &e) < 0 && e.code == ERR_CONFLICT);
        assert_ok();
    }
    assert_int_equal(storage_upload_fd(f.s, REPO, UPLOAD, &received, &e), -ENOENT);
    assert_int_equal(storage_upload_fd(f.s, REPO, "../x", &received, &e), -EINVAL);
    assert_true(storage_upload_fd(f.s, OTHER, UPLOAD, &received, &e) < 0);
    call_upload(UPLOAD, INT64_C(1) << 46);
    assert_error(ERR_NO_SPACE, "the upload needs 64 TiB");
    assert_false(exists(in_scratch("repo/uploads/%s", UPLOAD)));
}

/* What was checked is what is converted: a source that changes meanwhile makes no template. */
static void test_source_changes(void **state) {
    call_repository(REPO, in_scratch("repo"), false);
    assert_ok();
    make_raw(in_scratch("raw"), 512 << 20, 20 << 20);
    f.change_at_progress = open(in_scratch("raw"), O_RDWR | O_CLOEXEC);
    call_make(TEMPLATE, (struct source){.path = in_scratch("raw")});
    assert_error(ERR_CONFLICT, "changed while it was imported");
    assert_no_leftovers(in_scratch("repo"));
    assert_false(exists(in_scratch("repo/templates/.%s/disk-0.qcow2", TEMPLATE)));
    close(f.change_at_progress);
    f.change_at_progress = 0;
    call_make(TEMPLATE, (struct source){.path = in_scratch("raw")});
    assert_ok();
}

static void test_golden(void **state) {
    with_template();
    call_disk(DISK, 80 << 20, TEMPLATE, API_CLONE_MODE_LINKED);
    assert_ok();
    const char *disk = in_scratch("repo/disks/%s.qcow2", DISK);
    assert_int_equal(run("qemu-io", "-f", "qcow2", "-c", "write -P 7 5M 1M", "-c", "write -P 9 79M 1M", disk, NULL), 0);
    /* in use: somebody holds QEMU's lock */
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(pipes[0], 0);
        close(pipes[0]);
        close(pipes[1]);
        execlp("qemu-io", "qemu-io", "-f", "qcow2", disk, NULL);
        _exit(127);
    }
    close(pipes[0]);
    nanosleep(&(struct timespec){.tv_nsec = 300000000}, NULL);
    call_make(TEMPLATE2, (struct source){.from_disk = DISK});
    assert_error(ERR_CONFLICT, "in use");
    close(pipes[1]);
    waitpid(pid, NULL, 0);
    call_make(TEMPLATE2, (struct source){.from_disk = DISK});
    assert_ok();
    call_seal(TEMPLATE2);
    assert_ok();
    disk = in_scratch("repo/disks/%s.qcow2", DISK);
    assert_int_equal(run("qemu-img", "compare", "-f", "qcow2", "-F", "qcow2", disk,
                         in_scratch("repo/templates/%s/disk-0.qcow2", TEMPLATE2), NULL),
                     0);
    call_template_delete(TEMPLATE2);
    call_make(TEMPLATE2, (struct source){.from_disk = DISK2});
    assert_error(ERR_NOT_FOUND, "no disk");
    /* an overlay that somebody pointed elsewhere */
    assert_int_equal(run("qemu-img", "rebase", "-u", "-f", "qcow2", "-b", "/etc/passwd", "-F", "raw", disk, NULL), 0);
    call_make(TEMPLATE2, (struct source){.from_disk = DISK});
    assert_error(ERR_BAD_IMAGE, "no template's");
}

static void test_cancel(void **state) {
    call_repository(REPO, in_scratch("repo"), false);
    assert_ok();
    const char *image = in_scratch("image");
    make_raw(image, 1024 << 20, 200 << 20);
    f.cancel_at_progress = f.last + 1;
    call_make(TEMPLATE, (struct source){.path = image});
    assert_error(ERR_CANCELLED, "cancelled");
    f.cancel_at_progress = 0;
    assert_no_leftovers(in_scratch("repo"));
    assert_false(exists(in_scratch("repo/templates/.%s/disk-0.qcow2", TEMPLATE)));
    /* while it waits in the queue, and one that does not exist */
    call_make(TEMPLATE, (struct source){.path = image});
    call_make(TEMPLATE, (struct source){.path = image});
    storage_cancel(f.s, f.last);
    storage_cancel(f.s, 9999);
    assert_error(ERR_CANCELLED, "cancelled"); /* before the first has ended */
    while (f.done != f.last - 1)
        uv_run(&f.loop, UV_RUN_ONCE);
    assert_int_equal(f.error.code, ERR_OK);
    call_make(TEMPLATE, (struct source){.path = image});
    assert_ok();
}

/* Freed with work under way: nothing is called any more, nothing leaks, no child stays. */
static void test_free_while_busy(void **state) {
    call_repository(REPO, in_scratch("repo"), false);
    assert_ok();
    make_raw(in_scratch("raw"), 256 << 20, 50 << 20);
    for (int i = 0; i < 6; i++) {
        _cleanup_free_ char *id = xasprintf("0190b5d1-0000-7000-8000-00000000000%d", i);
        call_make(id, (struct source){.path = in_scratch("raw")});
    }
    for (int i = 0; i < 5; i++)
        uv_run(&f.loop, UV_RUN_ONCE);
}

static size_t most_heavy;
static void count_heavy(uv_prepare_t *h) {
    if (f.s->heavy > most_heavy)
        most_heavy = f.s->heavy;
}

static void test_queue(void **state) {
    call_repository(REPO, in_scratch("repo"), false);
    assert_ok();
    make_raw(in_scratch("raw"), 16 << 20, 300000);
    uv_prepare_t watch;
    uv_prepare_init(&f.loop, &watch);
    uv_prepare_start(&watch, count_heavy);
    f.ended = 0;
    for (int i = 0; i < 8; i++) {
        _cleanup_free_ char *id = xasprintf("0190b5d1-0000-7000-8000-00000000000%d", i / 2);
        call_make(id, (struct source){.path = in_scratch("raw")}); /* each twice: the second finds the first's */
    }
    while (f.ended < 8) {
        uv_run(&f.loop, UV_RUN_ONCE);
        assert_int_equal(f.error.code, ERR_OK);
    }
    assert_int_equal(most_heavy, HEAVY_MAX);
    uv_close((uv_handle_t *)&watch, NULL);
    uv_run(&f.loop, UV_RUN_NOWAIT);
}

/* ---- killed at any moment
 * -------------------------------------------------------------------------------------------- */

static void whole_sequence(void) {
    call_repository(REPO, in_scratch("repo"), false);
    assert_ok();
    call_make(TEMPLATE, (struct source){.path = in_scratch("raw")});
    assert_ok();
    call_seal(TEMPLATE);
    assert_ok();
    call_disk(DISK, 0, TEMPLATE, API_CLONE_MODE_LINKED);
    assert_ok();
    call_disk(DISK2, 20 << 20, TEMPLATE, API_CLONE_MODE_FULL);
    assert_ok();
}

static void assert_whole(void) {
    const char *raw = in_scratch("raw");
    for (int i = 0; i < 2; i++) {
        const char *disk = in_scratch("repo/disks/%s.qcow2", i ? DISK2 : DISK);
        assert_int_equal(run("qemu-img", "compare", "-f", "raw", "-F", "qcow2", raw, disk, NULL), 0);
    }
    assert_no_leftovers(in_scratch("repo"));
}

static void undo_all(void) {
    call_template_delete(TEMPLATE);
    assert_ok();
    call_disk_delete(DISK);
    assert_ok();
    call_disk_delete(DISK2);
    assert_ok();
    _cleanup_free_ char *script = xasprintf("test $(find '%s' -type f | wc -l) = 1", in_scratch("repo"));
    assert_int_equal(run("sh", "-c", script, NULL), 0);
}

/* At 20 moments; each time the same calls again end well, as the agent makes them after its restart, or the undo does.
 */
static void test_killed(void **state) {
    make_raw(in_scratch("raw"), 16 << 20, 300000);
    for (int i = 0; i < 20; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            memset(&f, 0, sizeof(f));
            start_storage();
            whole_sequence();
            _exit(0);
        }
        nanosleep(&(struct timespec){.tv_nsec = 5000000 * i}, NULL);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        call_repository(REPO, in_scratch("repo"), false);
        assert_ok();
        if (i % 2) {
            whole_sequence();
            assert_whole();
        }
        undo_all();
    }
}

/* ---- a hostile or full repository
 * ------------------------------------------------------------------------------------- */

static void test_symlinks(void **state) {
    with_template();
    _cleanup_free_ char *secret = xstrdup(in_scratch("secret"));
    write_file(secret, "secret", 6);
    assert_int_equal(symlink("/etc", in_scratch("repo/templates/%s", TEMPLATE2)), 0);
    assert_int_equal(symlink("/etc", in_scratch("repo/templates/.%s", TEMPLATE2)), 0);
    call_disk(DISK, 0, TEMPLATE2, API_CLONE_MODE_LINKED);
    assert_error(ERR_IO, "symbolic link");
    call_make(TEMPLATE2, (struct source){.path = in_scratch("raw")});
    assert_error(ERR_IO, "symbolic link");
    call_seal(TEMPLATE2);
    assert_error(ERR_IO, "symbolic link");
    call_template_delete(TEMPLATE2); /* takes the links away and nothing behind them */
    assert_ok();
    assert_true(exists("/etc/passwd") && !exists(in_scratch("repo/templates/%s", TEMPLATE2)));
    assert_int_equal(symlink(secret, in_scratch("repo/disks/%s.qcow2", DISK)), 0);
    call_disk(DISK, 1 << 20, "", API_CLONE_MODE_LINKED);
    assert_error(ERR_IO, "symbolic link");
    call_make(TEMPLATE2, (struct source){.from_disk = DISK});
    assert_error(ERR_IO, "symbolic link");
    assert_int_equal(symlink(secret, in_scratch("repo/disks/.%s.tmp", DISK2)), 0);
    call_disk(DISK2, 1 << 20, "", API_CLONE_MODE_LINKED);
    assert_ok(); /* the link was unlinked, not followed */
    assert_int_equal(symlink(secret, in_scratch("repo/uploads/%s", UPLOAD)), 0);
    call_upload(UPLOAD, 100);
    assert_error(ERR_IO, "symbolic link");
    call_make(TEMPLATE2, (struct source){.upload = UPLOAD});
    assert_error(ERR_IO, "symbolic link");
    unlink(in_scratch("repo/uploads/%s", UPLOAD));
    assert_int_equal(mkfifo(in_scratch("repo/uploads/%s", UPLOAD), 0600), 0);
    call_make(TEMPLATE2, (struct source){.upload = UPLOAD});
    assert_error(ERR_IO, "failed");
    assert_int_equal(file_length(secret), 6);
    /* a whole folder swapped for a link */
    assert_int_equal(rename(in_scratch("repo/disks"), in_scratch("disks")), 0);
    assert_int_equal(symlink(in_scratch("disks"), in_scratch("repo/disks")), 0);
    call_disk_delete(DISK2);
    assert_error(ERR_IO, "symbolic link");
    assert_true(exists(in_scratch("disks/%s.qcow2", DISK2)));
}

static void test_no_space(void **state) {
    const char *repo = in_scratch("repo");
    assert_int_equal(mkdir(repo, 0700), 0);
    if (mount("tmpfs", repo, "tmpfs", MS_NOSUID | MS_NODEV, "size=6m") < 0)
        skip();
    call_repository(REPO, repo, false);
    assert_ok();
    make_raw(in_scratch("raw"), 64 << 20, 4 << 20);
    call_make(TEMPLATE, (struct source){.path = in_scratch("raw")});
    wait_call();
    assert_error(ERR_NO_SPACE, in_scratch("repo is full"));
    assert_no_leftovers(repo);
    write_file(in_scratch("small"), "", 0);
    make_raw(in_scratch("small"), 4 << 20, 300000);
    call_make(TEMPLATE, (struct source){.path = in_scratch("small")});
    assert_ok();
    call_seal(TEMPLATE);
    assert_ok();
    int fd = open(in_scratch("repo/fill"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    static char block[4096];
    while (write(fd, block, sizeof(block)) > 0)
        ;
    close(fd);
    call_disk(DISK, 10 << 20, "", API_CLONE_MODE_LINKED);
    assert_error(ERR_NO_SPACE, "is full");
    call_disk(DISK, 0, TEMPLATE, API_CLONE_MODE_LINKED);
    assert_error(ERR_NO_SPACE, "is full");
    call_disk(DISK, 0, TEMPLATE, API_CLONE_MODE_FULL);
    assert_error(ERR_NO_SPACE, "is full");
    assert_no_leftovers(repo);
    assert_false(exists(in_scratch("repo/disks/%s.qcow2", DISK)));
    unlink(in_scratch("repo/fill"));
    call_disk(DISK, 0, TEMPLATE, API_CLONE_MODE_LINKED);
    assert_ok();
}

/* As root with a user for guests: qemu-img runs as that user, also on a file that only root may read. */
static void test_guest_user(void **state) {
    if (geteuid() != 0)
        skip();
    with_template();
    struct stat st;
    assert_int_equal(stat(in_scratch("repo/templates/%s/disk-0.qcow2", TEMPLATE), &st), 0);
    assert_int_equal(st.st_uid, 0);
    assert_int_equal(st.st_mode & 07777, 0444);
    call_disk(DISK, 0, TEMPLATE, API_CLONE_MODE_LINKED);
    assert_ok();
    assert_int_equal(stat(in_scratch("repo/disks/%s.qcow2", DISK), &st), 0);
    assert_true(st.st_uid != 0 && (st.st_mode & 07777) == 0600);
    assert_int_equal(chmod(in_scratch("raw"), 0600), 0);
    call_make(TEMPLATE2, (struct source){.path = in_scratch("raw")});
    assert_ok();
    const char *made = in_scratch("repo/templates/.%s/disk-0.qcow2", TEMPLATE2);
    assert_int_equal(run("qemu-img", "compare", "-f", "raw", "-F", "qcow2", in_scratch("raw"), made, NULL), 0);
    call_template_delete(TEMPLATE2);
    call_make(TEMPLATE2, (struct source){.from_disk = DISK});
    assert_ok();
    call_upload(UPLOAD, 64 << 20);
    assert_ok();
    assert_int_equal(run("cp", in_scratch("raw"), in_scratch("repo/uploads/%s", UPLOAD), NULL), 0);
    call_template_delete(TEMPLATE2);
    call_make(TEMPLATE2, (struct source){.upload = UPLOAD});
    assert_ok();
    assert_no_leftovers(in_scratch("repo"));
}

/* ---- figures, on request: TARN_BENCH=1
 * -------------------------------------------------------------------------------- */

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void test_bench(void **state) {
    if (!getenv("TARN_BENCH"))
        skip();
    call_repository(REPO, in_scratch("repo"), false);
    assert_ok();
    make_raw(in_scratch("raw"), INT64_C(10) << 30, (size_t)2720 << 20);
    double t = now();
    call_make(TEMPLATE, (struct source){.path = in_scratch("raw"), .format = API_IMAGE_FORMAT_RAW});
    assert_ok();
    double import = now() - t;
    call_seal(TEMPLATE);
    assert_ok();
    int64_t data = json_int(f.result, "allocated", 0);
    print_message("import of 10 GiB with 8 GiB of data: %.0f ms, %.0f MB/s\n", import,
                  3 * 2720 * 1.048576 / import * 1e3 + 0 * (double)data);
    double blank = 1e9, linked = 1e9;
    for (int i = 0; i < 20; i++) {
        t = now();
        call_disk(DISK, INT64_C(10) << 30, "", API_CLONE_MODE_LINKED);
        assert_ok();
        blank = now() - t < blank ? now() - t : blank;
        call_disk_delete(DISK);
        assert_ok();
        t = now();
        call_disk(DISK, 0, TEMPLATE, API_CLONE_MODE_LINKED);
        assert_ok();
        linked = now() - t < linked ? now() - t : linked;
        call_disk_delete(DISK);
        assert_ok();
    }
    print_message("blank disk of 10 GiB: %.2f ms; linked clone of the template: %.2f ms (best of 20)\n", blank, linked);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_repository),
        T(test_repository_half_made),
        T(test_repository_vanishes),
        T(test_repository_closed_empty),
        T(test_repository_presented),
        T(test_blank),
        T(test_clones),
        T(test_import_formats),
        T(test_template_life),
        T(test_boot_files),
        T(test_refused),
        T(test_upload),
        T(test_source_changes),
        T(test_golden),
        T(test_cancel),
        T(test_free_while_busy),
        T(test_queue),
        T(test_killed),
        T(test_symlinks),
        T(test_no_space),
        T(test_bench),
        cmocka_unit_test_setup_teardown(test_guest_user, setup_user, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

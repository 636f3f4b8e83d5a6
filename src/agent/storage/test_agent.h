/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's side of storage, for its tests: calls by name, and waiting for their end. */
#pragma once

#include "agent/storage/seed.h"
#include "agent/storage/test_util.h"

#include "base/json.h"

#include <sys/mount.h>
#include <time.h>

char scratch[64];

#define REPO      "0190b5d1-0000-7000-8000-00000000aaaa"
#define OTHER     "0190b5d1-0000-7000-8000-00000000bbbb"
#define TEMPLATE  "0190b5d1-0000-7000-8000-000000000001"
#define TEMPLATE2 "0190b5d1-0000-7000-8000-000000000002"
#define DISK      "0190b5d1-0000-7000-8000-00000000d001"
#define DISK2     "0190b5d1-0000-7000-8000-00000000d002"
#define UPLOAD    "0190b5d1-0000-7000-8000-00000000f001"
#define VM        "0190b5d1-0000-7000-8000-0123456789ab"

/* ---- the agent's side
 * ------------------------------------------------------------------------------------------------ */

static struct {
    uv_loop_t loop;
    struct storage *s;
    uint64_t last; /* call */
    uint64_t done;
    struct error error;
    json_t *result;
    int percent, progress_calls;
    uint64_t cancel_at_progress; /* cancel this call as soon as it makes progress */
    int change_at_progress; /* a descriptor of a file that is changed at the same moment; 0: none */
    unsigned ended;
    bool usable, told;
    char reason[512];
} f;

__attribute__((unused)) static void on_done(void *ctx, uint64_t call, const struct error *error, const json_t *result) {
    f.done = call;
    f.ended++;
    error_done(&f.error);
    if (error)
        error_copy(&f.error, error);
    json_decref(f.result);
    f.result = result ? json_deep_copy(result) : NULL;
}

__attribute__((unused)) static void on_progress(void *ctx, uint64_t call, int percent, const char *message) {
    f.percent = percent;
    f.progress_calls++;
    if (f.cancel_at_progress == call && strcmp(message, "converting") == 0)
        storage_cancel(f.s, call);
    if (f.change_at_progress && strcmp(message, "converting") == 0)
        assert_int_equal(pwrite(f.change_at_progress, "x", 1, 0), 1);
}

__attribute__((unused)) static void on_repository(void *ctx, const struct api_repository_report *r) {
    f.told = true;
    f.usable = r->usable;
    snprintf(f.reason, sizeof(f.reason), "%s", r->reason);
}

/* Runs the loop until the last call is done; the error's code. */
__attribute__((unused)) static int wait_call(void) {
    while (f.done != f.last)
        uv_run(&f.loop, UV_RUN_ONCE);
    return (int)f.error.code;
}

__attribute__((unused)) static void assert_error(enum error_code code, const char *because) {
    wait_call();
    if (f.error.code != code || !strstr(str_or(f.error.message, ""), because))
        fail_msg("%s \"%s\" where %s \"%s\" was expected", error_code_text(f.error.code), str_or(f.error.message, ""),
                 error_code_text(code), because);
}
__attribute__((unused)) static void assert_ok(void) {
    if (wait_call() != ERR_OK)
        fail_msg("%s: %s", error_code_text(f.error.code), f.error.message);
}

static const char *guest_user;

__attribute__((unused)) static void start_storage(void) {
    assert_int_equal(uv_loop_init(&f.loop), 0);
    struct storage_config c = {.loop = &f.loop,
                               .guest_user = guest_user,
                               .done = on_done,
                               .progress = on_progress,
                               .repository = on_repository};
    f.s = storage_new(&c);
}
__attribute__((unused)) static void stop_storage(void) {
    storage_free(f.s);
    uv_run(&f.loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&f.loop), 0);
    error_done(&f.error);
    json_decref(f.result);
    memset(&f, 0, sizeof(f));
}

__attribute__((unused)) static void call_repository(const char *id, const char *path, bool existing) {
    struct api_repository_op a;
    api_repository_op_init(&a);
    str_set(&a.repository, id);
    str_set(&a.path, path);
    a.existing = existing;
    storage_repository_open(f.s, ++f.last, &a);
    api_repository_op_done(&a);
}
__attribute__((unused)) static void call_disk(const char *id, int64_t size, const char *template,
                                              enum api_clone_mode clone) {
    struct api_disk_create a;
    api_disk_create_init(&a);
    str_set(&a.repository, REPO);
    str_set(&a.disk, id);
    str_set(&a.template, template);
    a.size = size;
    a.clone = clone;
    storage_disk_create(f.s, ++f.last, &a);
    api_disk_create_done(&a);
}
__attribute__((unused)) static void call_disk_delete(const char *id) {
    struct api_disk_op a = {.repository = (char *)REPO, .disk = (char *)id};
    storage_disk_delete(f.s, ++f.last, &a);
}
struct source {
    const char *role, *upload, *path, *from_disk, *from_template;
    enum api_image_format format;
};
__attribute__((unused)) static void call_make(const char *template, struct source from) {
    struct api_template_make a;
    api_template_make_init(&a);
    str_set(&a.repository, REPO);
    str_set(&a.template, template);
    api_template_file_done(&a.file);
    api_template_file_init(&a.file);
    a.has_file = true;
    str_set(&a.file.role, str_or(from.role, "disk"));
    str_set(&a.file.upload, str_or(from.upload, ""));
    str_set(&a.file.path, str_or(from.path, ""));
    str_set(&a.file.from_disk, str_or(from.from_disk, ""));
    str_set(&a.file.from_template, str_or(from.from_template, ""));
    a.file.format = from.format;
    storage_template_make(f.s, ++f.last, &a);
    api_template_make_done(&a);
}
__attribute__((unused)) static void call_seal(const char *id) {
    struct api_template_op a = {.repository = (char *)REPO, .template = (char *)id};
    storage_template_seal(f.s, ++f.last, &a);
}
__attribute__((unused)) static void call_template_delete(const char *id) {
    struct api_template_op a = {.repository = (char *)REPO, .template = (char *)id};
    storage_template_delete(f.s, ++f.last, &a);
}
__attribute__((unused)) static void call_upload(const char *id, int64_t size) {
    struct api_upload_open a = {.repository = (char *)REPO, .upload = (char *)id, .size = size};
    storage_upload_open(f.s, ++f.last, &a);
}

__attribute__((unused)) static bool exists(const char *path) {
    struct stat st;
    return lstat(path, &st) == 0;
}
__attribute__((unused)) static void assert_no_leftovers(const char *folder) {
    _cleanup_free_ char *script = xasprintf("! find '%s' -name '*.tmp' | grep -q .", folder);
    assert_int_equal(run("sh", "-c", script, NULL), 0);
}

/* A repository with one sealed template of 64 MiB whose contents are in scratch/raw. */
__attribute__((unused)) static void with_template(void) {
    make_raw(in_scratch("raw"), 64 << 20, 300000);
    call_repository(REPO, in_scratch("repo"), false);
    assert_ok();
    call_make(TEMPLATE, (struct source){.path = in_scratch("raw")});
    assert_ok();
    call_seal(TEMPLATE);
    assert_ok();
}

__attribute__((unused)) static int setup(void **state) {
    scratch_make();
    setenv("TARN_LIBEXEC", TARN_TEST_LIBEXEC, 1);
    guest_user = NULL;
    start_storage();
    return 0;
}
__attribute__((unused)) static int setup_user(void **state) {
    scratch_make();
    guest_user = "nobody";
    start_storage();
    return 0;
}
__attribute__((unused)) static int teardown(void **state) {
    stop_storage();
    umount(in_scratch("repo")); /* if a test has mounted it */
    scratch_remove();
    return 0;
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

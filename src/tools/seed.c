/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tarn-seed: makes cloud-init's NoCloud seed, an ISO 9660 file system labelled "cidata".
 *
 *     stdin   {"user_data": "…", "meta_data": "…", "network_config": "…"}
 *     fd 3    the ISO; truncated first
 *
 * It opens nothing, so it needs no right but to its descriptors; a program of its own so that libarchive is not in the
 * agent and what users write never meets it there. The same input gives the same bytes: libarchive stamps the time of
 * day into what it makes, so time() is a constant here.
 */
#include "base/buf.h"
#include "base/json.h"
#include "base/mem.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define OUT_FD    3
#define INPUT_MAX (4u << 20)
#define MADE      1577836800 /* 2020-01-01: of every file and of the volume */

/* Before libc's in the order of look-up, for libarchive as well. */
time_t time(time_t *t) {
    if (t)
        *t = MADE;
    return MADE;
}

static int fail(const char *what, const char *why) {
    fprintf(stderr, "tarn-seed: %s: %s\n", what, why ? why : "unknown error");
    return -1;
}

static int read_input(struct buf *b) {
    char piece[65536];
    for (;;) {
        ssize_t n = read(STDIN_FILENO, piece, sizeof(piece));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail("reading", strerror(errno));
        if (n == 0)
            return 0;
        if (b->len + (size_t)n > INPUT_MAX)
            return fail("reading", "the input is larger than 4 MiB");
        buf_add(b, piece, (size_t)n);
    }
}

static int add_file(struct archive *a, const char *name, const char *text) {
    struct archive_entry *e = archive_entry_new();
    archive_entry_set_pathname(e, name);
    archive_entry_set_size(e, (la_int64_t)strlen(text));
    archive_entry_set_filetype(e, AE_IFREG);
    archive_entry_set_perm(e, 0444);
    archive_entry_set_mtime(e, MADE, 0);
    archive_entry_set_atime(e, MADE, 0);
    archive_entry_set_ctime(e, MADE, 0);
    archive_entry_set_birthtime(e, MADE, 0);
    int r = archive_write_header(a, e);
    archive_entry_free(e);
    if (r < ARCHIVE_WARN || archive_write_data(a, text, strlen(text)) != (la_ssize_t)strlen(text))
        return fail(name, archive_error_string(a));
    return 0;
}

static int write_seed(struct archive *a, const json_t *j) {
    const char *network = json_str(j, "network_config");
    if (archive_write_set_format_iso9660(a) != ARCHIVE_OK ||
        archive_write_set_options(a, "volume-id=cidata,joliet,rockridge=useful") != ARCHIVE_OK ||
        archive_write_open_fd(a, OUT_FD) != ARCHIVE_OK)
        return fail("starting", archive_error_string(a));
    if (add_file(a, "meta-data", json_str(j, "meta_data")) < 0 ||
        add_file(a, "user-data", json_str(j, "user_data")) < 0 ||
        (*network && add_file(a, "network-config", network) < 0))
        return -1;
    return archive_write_close(a) == ARCHIVE_OK ? 0 : fail("writing", archive_error_string(a));
}

int main(void) {
    _cleanup_buf_ struct buf input = {0};
    _cleanup_json_ json_t *j = NULL;
    _cleanup_error_ struct error e = ERROR_INIT;
    if (read_input(&input) < 0)
        return 1;
    if (json_parse(str_or(input.data, ""), input.len, &j, &e) < 0)
        return fail("the input is no JSON", e.message), 2;
    if (ftruncate(OUT_FD, 0) < 0)
        return fail("writing", strerror(errno)), 1;
    struct archive *a = archive_write_new();
    int r = write_seed(a, j);
    archive_write_free(a);
    return r < 0 ? 1 : 0;
}

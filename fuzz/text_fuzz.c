/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as each of the small texts that a client can send: JSON, names, paths, sizes, times, addresses. */
#include "fuzz.h"

#include "base/id.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/units.h"

static void as_json(const char *text, size_t size) {
    _cleanup_json_ json_t *j = NULL, *again = NULL;
    _cleanup_error_ struct error e = ERROR_INIT, back = ERROR_INIT;
    if (json_parse(text, size, &j, &e) < 0) {
        /* What is wrong reaches the client as JSON, whatever it quotes. */
        json_t *printed = error_print(&e);
        error_parse(&back, printed);
        if (!e.message || back.code != e.code || !utf8_valid(back.message) || !*back.message)
            abort();
        json_decref(printed);
        return;
    }
    _cleanup_free_ char *out = json_text(j);
    if (json_parse(out, strlen(out), &again, NULL) < 0)
        abort();
    _cleanup_json_ json_t *same = json_merge_patch(j, json_is_object(j) ? NULL : j);
    (void)same;
}

static void as_size(const char *text) {
    int64_t n, back;
    char buf[SIZE_TEXT_MAX];
    if (size_parse(text, &n) < 0)
        return;
    if (n < 0 || (size_parse(size_format(n, buf), &back) < 0 && n < INT64_MAX - INT64_MAX / 100))
        abort();
}

static void as_time(const char *text) {
    int64_t ms, back;
    char buf[TIME_TEXT_MAX];
    if (time_parse(text, &ms) == 0 && (ms < 0 || time_parse(time_format(ms, buf), &back) < 0 || back != ms))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    _cleanup_free_ char *text = xstrndup((const char *)data, size);
    as_json((const char *)data, size);
    as_size(text);
    as_time(text);
    if (!label_problem(text) && (!utf8_valid(text) || strpbrk(text, "\n\t\x1b")))
        abort();
    if (!name_problem(text) && (!utf8_valid(text) || strpbrk(text, "/\\<>&\"'\n") || uuid_valid(text)))
        abort();
    if (!path_problem(text) && (*text != '/' || strstr(text, "/../")))
        abort();
    if (!mac_problem(text) && strlen(text) != 17)
        abort();
    error_code_parse(text);
    return 0;
}

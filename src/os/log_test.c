/* SPDX-License-Identifier: Apache-2.0 */
#include "os/log.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* What a call writes to stderr. */
static int pipe_fds[2], saved;
static char line[8192];

static int capture(void **state) {
    fflush(stderr);
    saved = dup(STDERR_FILENO);
    return pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK) || dup2(pipe_fds[1], STDERR_FILENO) < 0;
}

static int release(void **state) {
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    return 0;
}

static const char *written(void) {
    ssize_t n = read(pipe_fds[0], line, sizeof line - 1);
    line[n > 0 ? n : 0] = 0;
    return line;
}

static void test_levels(void **state) {
    log_set_level(LOG_LEVEL_WARNING);
    log_info("not this");
    log_error("number %d", 7);
    const char *text = written();
    assert_null(strstr(text, "not this"));
    assert_non_null(strstr(text, "Z error   number 7\n"));
    log_set_level(LOG_LEVEL_DEBUG);
    log_debug("this");
    assert_non_null(strstr(written(), "debug   this"));
    assert_int_equal(log_level_parse("warning"), LOG_LEVEL_WARNING);
    assert_int_equal(log_level_parse("loud"), -EINVAL);
    assert_int_equal(log_level_parse(NULL), -EINVAL);
}

/* What a client sends cannot forge a line or move the cursor, nor fill the journal. */
static void test_hostile_text(void **state) {
    log_error("name %s", "a\n<0>forged\x1b[2J\r\t");
    assert_non_null(strstr(written(), "name a <0>forged [2J  \n"));
    char *huge = xmalloc(100001);
    memset(huge, 'h', 100000);
    huge[100000] = 0;
    log_error("%s", huge);
    free(huge);
    const char *text = written();
    assert_true(strlen(text) < 5000);
    assert_int_equal(text[strlen(text) - 1], '\n');
}

static void test_journal(void **state) {
    struct stat st;
    char stream[64];
    assert_int_equal(fstat(STDERR_FILENO, &st), 0);
    snprintf(stream, sizeof stream, "%llu:%llu", (unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
    setenv("JOURNAL_STREAM", stream, 1);
    log_warning("hello");
    assert_string_equal(written(), "<4>hello\n");
    setenv("JOURNAL_STREAM", "1:1", 1); /* stderr was redirected since */
    log_warning("hello");
    assert_int_not_equal(written()[0], '<');
    unsetenv("JOURNAL_STREAM");
}

static void test_errno_is_kept(void **state) {
    errno = ENOENT;
    log_error("%m");
    assert_int_equal(errno, ENOENT);
    assert_non_null(strstr(written(), "No such file"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_levels, capture, release),
        cmocka_unit_test_setup_teardown(test_hostile_text, capture, release),
        cmocka_unit_test_setup_teardown(test_journal, capture, release),
        cmocka_unit_test_setup_teardown(test_errno_is_kept, capture, release),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

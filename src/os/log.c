/* SPDX-License-Identifier: Apache-2.0 */
#include "os/log.h"

#include "base/buf.h"
#include "base/mem.h"
#include "base/units.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 4096

static const struct {
    const char *text;
    int priority; /* sd-daemon(3) */
} levels[] = {
    [LOG_LEVEL_ERROR] = {"error", 3},
    [LOG_LEVEL_WARNING] = {"warning", 4},
    [LOG_LEVEL_INFO] = {"info", 6},
    [LOG_LEVEL_DEBUG] = {"debug", 7},
};

static atomic_int current = LOG_LEVEL_INFO;

void log_set_level(enum log_level level) { atomic_store(&current, (int)level); }

int log_level_parse(const char *s) {
    for (size_t i = 0; i < ARRAY_LEN(levels); i++)
        if (str_eq(s, levels[i].text))
            return (int)i;
    return -EINVAL;
}

/* systemd says in JOURNAL_STREAM which device and inode the journal's socket has; stderr may have been redirected
 * since. */
static bool is_journal(void) {
    const char *stream = getenv("JOURNAL_STREAM");
    struct stat st;
    unsigned long long dev, ino;
    return stream && sscanf(stream, "%llu:%llu", &dev, &ino) == 2 && fstat(STDERR_FILENO, &st) == 0 &&
           st.st_dev == dev && st.st_ino == ino;
}

void log_write(enum log_level level, const char *fmt, ...) {
    if ((int)level > atomic_load(&current))
        return;
    int saved = errno;
    _cleanup_buf_ struct buf line = {0};
    if (is_journal()) {
        buf_addf(&line, "<%d>", levels[level].priority);
    } else {
        struct timespec now;
        char text[TIME_TEXT_MAX];
        clock_gettime(CLOCK_REALTIME, &now);
        buf_addf(&line, "%s %-7s ", time_format(now.tv_sec * 1000 + now.tv_nsec / 1000000, text), levels[level].text);
    }
    size_t start = line.len;
    va_list ap;
    va_start(ap, fmt);
    errno = saved; /* for %m */
    buf_vaddf(&line, fmt, ap);
    va_end(ap);
    if (line.len > LINE_MAX_BYTES) {
        line.len = LINE_MAX_BYTES;
        buf_adds(&line, " …");
    }
    /* What came from outside must not begin a line of its own, nor move the terminal's cursor. */
    for (size_t i = start; i < line.len; i++)
        if ((unsigned char)line.data[i] < 0x20 || line.data[i] == 0x7f)
            line.data[i] = ' ';
    buf_addc(&line, '\n');
    /* One write, so that lines of threads and processes do not mix. Nobody can be told when it fails. */
    ssize_t n = write(STDERR_FILENO, line.data, line.len);
    (void)n;
    errno = saved;
}

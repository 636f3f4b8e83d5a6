/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/progress.h"

#include "base/buf.h"
#include "base/mem.h"
#include "cli/text.h"

#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define BAR 24

static size_t terminal_width(void) {
    struct winsize w;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 20 ? w.ws_col : 80;
}

void progress_show(struct progress *p, const char *head, int percent, const char *tail) {
    if (!p->on)
        return;
    _cleanup_free_ char *safe_head = text_safe(head), *safe_tail = text_safe(tail);
    struct buf line = {0}, fitted = {0};
    int full = percent < 0 ? 0 : percent > 100 ? BAR : percent * BAR / 100;
    buf_addf(&line, "%s [", safe_head);
    for (int i = 0; i < BAR; i++)
        buf_addc(&line, i < full ? '#' : '-');
    buf_addf(&line, "] %3d%%  %s", percent, safe_tail);
    text_fit(&fitted, line.data, terminal_width() - 1);
    buf_done(&line);
    if (str_eq(p->line, fitted.data)) {
        buf_done(&fitted);
        return;
    }
    fprintf(stderr, "\r\033[K%s", fitted.data);
    str_take(&p->line, buf_take(&fitted));
}

void progress_clear(struct progress *p) {
    if (p->line)
        fputs("\r\033[K", stderr);
    str_take(&p->line, NULL);
}

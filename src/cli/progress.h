/* SPDX-License-Identifier: Apache-2.0 */
/* One line of progress on a terminal's stderr, redrawn in place. */
#pragma once

#include <stdbool.h>

struct progress {
    bool on;    /* stderr is a terminal and nobody asked for quiet */
    char *line; /* what stands there now; owned */
};

/* "HEAD [######------] 40%  TAIL"; texts need not be harmless. */
void progress_show(struct progress *p, const char *head, int percent, const char *tail);
/* Before anything else is written. */
void progress_clear(struct progress *p);

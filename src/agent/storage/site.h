/* SPDX-License-Identifier: Apache-2.0 */
/* Where a directory is, whatever way leads to it (site.c). */
#pragma once

#include <stdbool.h>

struct site {
    char *fs;   /* major:minor of its device; NULL: not known */
    char *path; /* from the root of that file system */
};
/* *ret is the caller's: site_done(). */
int site_of(int fd, struct site *ret);
void site_done(struct site *p);
/* The same, or one inside of the other. */
bool site_overlaps(const struct site *a, const struct site *b);
/* What site_of() finds in a /proc/self/mountinfo, for a path on that mount. */
int site_find(const char *mountinfo, long mount, const char *path, struct site *ret);

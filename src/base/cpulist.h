/* SPDX-License-Identifier: Apache-2.0 */
/* Sets of CPUs as the kernel writes them: "0-3,8". */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CPULIST_MAX 4096 /* CPUs */

struct cpulist {
    uint64_t bits[CPULIST_MAX / 64];
};

/* The whole text, blanks around it aside; "" is the empty set. -EINVAL where it is none, -ERANGE past CPULIST_MAX. */
int cpulist_parse(const char *text, struct cpulist *ret);
size_t cpulist_count(const struct cpulist *c);
bool cpulist_has(const struct cpulist *c, unsigned cpu);
/* Whether all of `part` is in `whole`. */
bool cpulist_within(const struct cpulist *part, const struct cpulist *whole);
void cpulist_and(struct cpulist *c, const struct cpulist *other);
char *cpulist_text(const struct cpulist *c); /* the caller's */

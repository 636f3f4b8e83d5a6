/* SPDX-License-Identifier: Apache-2.0 */
#include "base/cpulist.h"

#include "base/buf.h"

#include <errno.h>

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static const char *skip_blanks(const char *s) {
    while (*s == ' ' || *s == '\t' || *s == '\n')
        s++;
    return s;
}

static int number(const char **s, unsigned *ret) {
    if (!is_digit(**s))
        return -EINVAL;
    unsigned n = 0;
    for (; is_digit(**s); (*s)++) {
        n = n * 10 + (unsigned)(**s - '0');
        if (n >= CPULIST_MAX)
            return -ERANGE;
    }
    *ret = n;
    return 0;
}

int cpulist_parse(const char *text, struct cpulist *ret) {
    struct cpulist c = {0};
    const char *s = skip_blanks(text);
    while (*s) {
        unsigned from, to;
        int r = number(&s, &from);
        to = from;
        if (r == 0 && *s == '-') {
            s++;
            r = number(&s, &to);
        }
        if (r < 0)
            return r;
        if (to < from)
            return -EINVAL;
        for (unsigned i = from; i <= to; i++)
            c.bits[i / 64] |= UINT64_C(1) << i % 64;
        const char *rest = skip_blanks(s);
        if (!*rest)
            break;
        if (*s != ',' || !is_digit(s[1]))
            return -EINVAL;
        s++;
    }
    *ret = c;
    return 0;
}

size_t cpulist_count(const struct cpulist *c) {
    size_t n = 0;
    for (size_t i = 0; i < CPULIST_MAX / 64; i++)
        n += (size_t)__builtin_popcountll(c->bits[i]);
    return n;
}

bool cpulist_has(const struct cpulist *c, unsigned cpu) {
    return cpu < CPULIST_MAX && (c->bits[cpu / 64] >> cpu % 64 & 1);
}

bool cpulist_within(const struct cpulist *part, const struct cpulist *whole) {
    for (size_t i = 0; i < CPULIST_MAX / 64; i++)
        if (part->bits[i] & ~whole->bits[i])
            return false;
    return true;
}

void cpulist_and(struct cpulist *c, const struct cpulist *other) {
    for (size_t i = 0; i < CPULIST_MAX / 64; i++)
        c->bits[i] &= other->bits[i];
}

char *cpulist_text(const struct cpulist *c) {
    struct buf b = {0};
    for (unsigned i = 0; i < CPULIST_MAX; i++) {
        if (!cpulist_has(c, i))
            continue;
        unsigned from = i;
        while (cpulist_has(c, i + 1))
            i++;
        buf_addf(&b, i > from ? "%s%u-%u" : "%s%u", b.len ? "," : "", from, i);
    }
    return buf_take(&b);
}

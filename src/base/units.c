/* SPDX-License-Identifier: Apache-2.0 */
#include "base/units.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char units[] = "KMGTP";

int size_parse(const char *s, int64_t *ret_bytes) {
    if (!isdigit((unsigned char)*s))
        return -EINVAL;
    char *end;
    errno = 0;
    long long whole = strtoll(s, &end, 10);
    if (errno)
        return -ERANGE;
    double fraction = 0;
    if (*end == '.') {
        if (!isdigit((unsigned char)end[1]))
            return -EINVAL;
        double scale = 0.1;
        for (end++; isdigit((unsigned char)*end); end++, scale /= 10)
            fraction += (*end - '0') * scale;
    }
    while (*end == ' ')
        end++;
    int64_t unit = 1;
    const char *u = *end ? strchr(units, toupper((unsigned char)*end)) : NULL;
    if (u) {
        unit = (int64_t)1 << (10 * (u - units + 1));
        end++;
        if (strcasecmp(end, "iB") && strcasecmp(end, "B") && *end)
            return -EINVAL;
    } else if (strcasecmp(end, "B") && *end) {
        return -EINVAL;
    } else if (fraction > 0) {
        return -EINVAL;
    }
    int64_t bytes;
    if (__builtin_mul_overflow((int64_t)whole, unit, &bytes) ||
        __builtin_add_overflow(bytes, (int64_t)(fraction * (double)unit), &bytes))
        return -ERANGE;
    *ret_bytes = bytes;
    return 0;
}

const char *size_format(int64_t bytes, char buf[static SIZE_TEXT_MAX]) {
    int i = -1;
    double v = (double)bytes;
    while (fabs(v) >= 1024 && i < 4) {
        v /= 1024;
        i++;
    }
    if (i < 0)
        snprintf(buf, SIZE_TEXT_MAX, "%lld B", (long long)bytes);
    else if (v == floor(v))
        snprintf(buf, SIZE_TEXT_MAX, "%.0f %ciB", v, units[i]);
    else
        snprintf(buf, SIZE_TEXT_MAX, "%.1f %ciB", v, units[i]);
    return buf;
}

/* Days since 1970-01-01 of a civil date and back (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms"). */
static int64_t days_from_civil(int64_t y, int m, int d) {
    y -= m <= 2;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t yoe = y - era * 400, doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

static const struct {
    int64_t seconds;
    const char *letter, *text;
} spans[] = {{86400, "d", "d"}, {3600, "h", "h"}, {60, "m", "min"}, {1, "s", "s"}};

int seconds_parse(const char *s, int64_t *ret_seconds) {
    if (!isdigit((unsigned char)*s))
        return -EINVAL;
    char *end;
    int64_t span = 0, seconds;
    errno = 0;
    long long whole = strtoll(s, &end, 10);
    if (errno)
        return -ERANGE;
    while (*end == ' ')
        end++;
    for (size_t i = 0; i < sizeof spans / sizeof *spans; i++)
        if (!strcmp(end, spans[i].letter) || !strcmp(end, spans[i].text) || (!*end && spans[i].seconds == 1))
            span = spans[i].seconds;
    if (!span)
        return -EINVAL;
    if (__builtin_mul_overflow((int64_t)whole, span, &seconds))
        return -ERANGE;
    *ret_seconds = seconds;
    return 0;
}

const char *seconds_format(int64_t seconds, char buf[static SECONDS_TEXT_MAX]) {
    size_t i = 0, last = sizeof spans / sizeof *spans - 1;
    while (i < last && (!seconds || seconds % spans[i].seconds))
        i++;
    snprintf(buf, SECONDS_TEXT_MAX, "%lld %s", (long long)(seconds / spans[i].seconds), spans[i].text);
    return buf;
}

const char *time_format(int64_t ms, char buf[static TIME_TEXT_MAX]) {
    if (ms < 0 || ms > 253402300799999LL)
        ms = 0;
    int64_t z = ms / 86400000 + 719468, era = z / 146097, doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
    int d = (int)(doy - (153 * mp + 2) / 5 + 1), m = (int)(mp < 10 ? mp + 3 : mp - 9);
    int y = (int)(yoe + era * 400 + (m <= 2)), t = (int)(ms % 86400000);
    snprintf(buf, TIME_TEXT_MAX, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ", (unsigned)y % 10000, (unsigned)m % 100,
             (unsigned)d % 100, (unsigned)t / 3600000 % 24, (unsigned)t / 60000 % 60, (unsigned)t / 1000 % 60,
             (unsigned)t % 1000);
    return buf;
}

/* n digits; what they say, or -1. */
static int digits(const char *s, int n) {
    int v = 0;
    for (int i = 0; i < n; i++) {
        if (!isdigit((unsigned char)s[i]))
            return -1;
        v = v * 10 + s[i] - '0';
    }
    return v;
}

static int days_in_month(int y, int m) {
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return days[m - 1] + (m == 2 && y % 4 == 0 && (y % 100 != 0 || y % 400 == 0));
}

int time_parse(const char *s, int64_t *ret_ms) {
    if (strnlen(s, 19) < 19 || s[4] != '-' || s[7] != '-' || s[10] != 'T' || s[13] != ':' || s[16] != ':')
        return -EINVAL;
    int y = digits(s, 4), mo = digits(s + 5, 2), d = digits(s + 8, 2);
    int h = digits(s + 11, 2), mi = digits(s + 14, 2), sec = digits(s + 17, 2);
    if (y < 1970 || mo < 1 || mo > 12 || d < 1 || d > days_in_month(y, mo))
        return -EINVAL;
    if (h < 0 || h > 23 || mi < 0 || mi > 59 || sec < 0 || sec > 60)
        return -EINVAL;
    int64_t ms = 0;
    s += 19;
    if (*s == '.') {
        int64_t scale = 100;
        if (digits(++s, 1) < 0)
            return -EINVAL;
        for (; isdigit((unsigned char)*s); s++, scale /= 10)
            ms += (*s - '0') * scale;
    }
    if (strcmp(s, "Z"))
        return -EINVAL;
    *ret_ms = ((days_from_civil(y, mo, d) * 24 + h) * 60 + mi) * 60000 + sec * 1000 + ms;
    return 0;
}

const char *skew_format(int64_t ms, char buf[static SKEW_TEXT_MAX]) {
    static const struct {
        int64_t ms;
        const char *word;
    } words[] = {{86400000, "days"}, {3600000, "hours"}, {60000, "min"}, {1000, "s"}};
    uint64_t distance = ms < 0 ? 0 - (uint64_t)ms : (uint64_t)ms;
    size_t i = 0;
    while (i + 1 < sizeof words / sizeof *words && distance < 2 * (uint64_t)words[i].ms)
        i++;
    snprintf(buf, SKEW_TEXT_MAX, "%llu %s %s",
             (unsigned long long)((distance + (uint64_t)words[i].ms / 2) / (uint64_t)words[i].ms), words[i].word,
             ms < 0 ? "behind" : "ahead of");
    return buf;
}

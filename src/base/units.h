/* SPDX-License-Identifier: Apache-2.0 */
/* Sizes in binary units and times in RFC 3339, as text. Pure. */
#pragma once

#include <stdint.h>

/* "256MiB", "10G", "1.5GiB", "1048576": bytes. K, M, G, T, P with or without iB or B are binary. -EINVAL, -ERANGE. */
int size_parse(const char *s, int64_t *ret_bytes);
#define SIZE_TEXT_MAX 24
/* "256 MiB", "1.5 GiB" */
const char *size_format(int64_t bytes, char buf[static SIZE_TEXT_MAX]);

/* "90", "90s", "10m", "2h", "7d": seconds, a whole number of them. -EINVAL, -ERANGE. */
int seconds_parse(const char *s, int64_t *ret_seconds);
#define SECONDS_TEXT_MAX 24
/* "90 s", "10 min", "2 h", "7 d": in the greatest unit of which it is a whole number */
const char *seconds_format(int64_t seconds, char buf[static SECONDS_TEXT_MAX]);

#define TIME_TEXT_MAX 32
/* "2026-11-21T02:30:00.123Z" from ms since 1970 (RFC 3339, UTC). */
const char *time_format(int64_t ms, char buf[static TIME_TEXT_MAX]);
int time_parse(const char *s, int64_t *ret_ms);

/* Clocks further apart than the first are worth a warning; a server whose clock is off by the second may not join. */
#define CLOCK_WARN_MS   60000
#define CLOCK_REFUSE_MS 300000
#define SKEW_TEXT_MAX   48
/* "61 min behind", "2 days ahead of": how a clock that shows ms more than another stands to it. */
const char *skew_format(int64_t ms, char buf[static SKEW_TEXT_MAX]);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the server and its guests used in the last hour and the last day, for charts: for each of them two rings of
 * averages, over 10 s and over 120 s. The manager keeps none of it and asks when somebody looks.
 *
 * A value takes two bytes (three and a half digits, which is more than a chart shows), and one that is never known
 * takes nothing: about 9 KB for a guest, so that an agent of a hundred guests stays small. What the agent knew when it
 * ended is in a file and read again when it starts; what it knew when it was killed is as old as the last saving.
 */
#pragma once

#include "api/api.h"
#include "base/buf.h"

#include <stddef.h>
#include <stdint.h>

enum history_metric {
    HISTORY_CPU,
    HISTORY_MEMORY,
    HISTORY_DISK_READ,
    HISTORY_DISK_WRITE,
    HISTORY_NET_RECEIVE,
    HISTORY_NET_SEND,
    HISTORY_METRICS,
};

struct history;
struct history *history_new(void);
void history_free(struct history *h);

/* One sample of a guest, or of the server ("" for its id); a value that is not known is NAN. now_s: seconds since 1970;
   where the clock goes back, what was known of later times is forgotten. */
void history_add(struct history *h, const char *id, int64_t now_s, const double values[static HISTORY_METRICS]);
/* The MetricHistory of one of them as JSON, empty lists if nothing is known. */
void history_print(const struct history *h, const char *id, enum api_metric_range range, int64_t now_s,
                   struct buf *out);
/* Drops those of which nothing has been heard for a day. */
void history_trim(struct history *h, int64_t now_s);

void history_save(const struct history *h, struct buf *out);
/* Takes as much as is whole of what was saved; what is damaged is left out. */
void history_load(struct history *h, const void *data, size_t len);

/* For tests: a value as it is kept. */
uint16_t history_pack(double v);
double history_unpack(uint16_t packed);

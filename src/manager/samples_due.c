/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/samples_due.h"

#define SENT_MS    2000 /* how often an agent sends one */
#define PER_SECOND 100
#define STRIDE     7919 /* a prime: servers that came one after the other are apart, and all of them spread evenly */

int64_t samples_interval(size_t n_servers) {
    int64_t interval = (int64_t)n_servers * 1000 / PER_SECOND;
    return interval > SENT_MS ? interval : 0;
}

bool sample_is_due(int64_t *due, int64_t now, size_t n_servers, uint64_t *n) {
    int64_t interval = samples_interval(n_servers);
    if (!interval) {
        *due = now;
        return true;
    }
    if (!*due) {
        *due = now + (int64_t)((*n)++ * STRIDE % (uint64_t)interval);
        return true;
    }
    if (now < *due && *due - now <= interval)
        return false;
    *due += interval; /* and not now's: else it would be later each time, by what it came late */
    if (*due <= now || *due - now > interval)
        *due = now + interval;
    return true;
}

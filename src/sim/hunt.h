/* SPDX-License-Identifier: Apache-2.0 */
/* Many schedules: what was counted, and pools from which many schedules begin. */
#pragma once

#include "sim/sim.h"

struct totals {
    uint64_t schedules, made, pools, two, large, partitioned, events, faults[FAULT_COUNT], failed;
    int64_t simulated; /* us */
};
struct hunt {
    uint64_t first, count; /* seeds from here on; so many schedules, 0: no limit */
    unsigned branches;
    double start, until;   /* seconds(); until 0: no limit */
    double report;         /* every so many seconds; 0: never */
    double patience;       /* for shrinking */
    bool keep_going, each; /* a line for each schedule */
    struct totals *totals;
};

double hunt_seconds(void);
void schedule_print(const struct sim *s); /* how it ended */
void totals_add(struct totals *t, const struct sim *s);
void totals_print(const struct totals *t, double took);
/* After so many seconds and schedules one has failed. */
void hunt_failed(const struct sim_config *c, const char *invariant, const struct totals *t, double after,
                 double patience);
/* Clustered pools only: each is made once, and that many schedules begin from it. */
void hunt_pools(const struct hunt *h);

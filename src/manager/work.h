/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What would keep everybody waiting if it were done at once, done a piece at a time between the requests: long reads of
 * the core, lists that go on in the store, samples, metrics. All of it together gets a fraction of a millisecond in
 * each turn of the loop; who has had a piece goes behind the others.
 */
#pragma once

#include "manager/manager.h"

struct work {
    struct list link;
    const char *what; /* for the metrics; static */
    /* A piece that takes a small part of a millisecond. False: there is no more, and it may have freed itself. */
    bool (*go)(struct manager *m, struct work *w);
};

void work_init(struct manager *m);
/* From the next turn on, until it says that there is no more. It may be under way already. */
void work_add(struct manager *m, struct work *w);
/* Before it is freed. */
void work_remove(struct work *w);

/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs and events that are no longer in the core's memory: read from the store. */
#pragma once

#include "manager/manager.h"

void history_init(struct manager *m);
void history_done(struct manager *m);

/* Carries out a HISTORY effect: its request is answered, now or when enough has been read. */
void history_answer(struct manager *m, struct core_effect *e);

/* Each second: removes a few of what is older than options.history_days. */
void history_tick(struct manager *m);

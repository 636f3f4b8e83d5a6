/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs and events that are no longer in the core's memory: read from the store. */
#pragma once

#include "manager/manager.h"

/* Carries out a HISTORY effect: answers its request. */
void history_answer(struct manager *m, const struct core_effect *e);

/* Each second: removes a few of what is older than options.history_days. */
void history_tick(struct manager *m);

/* SPDX-License-Identifier: Apache-2.0 */
/* Whose sample is taken, in a fleet that sends more than anybody looks at. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* From one that is taken of a server to the next, in ms; 0: each one is. */
int64_t samples_interval(size_t n_servers);
/*
 * Whether this one is taken, and when the next is due; both times in ms. *due: 0 for a server's first, which is taken
 * always; *n counts these. It may be due earlier than was said when the fleet has become smaller.
 */
bool sample_is_due(int64_t *due, int64_t now, size_t n_servers, uint64_t *n);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that is given back. A storm of changes (a thousand servers that join, thirty thousand virtual machines that
 * are started) leaves twice as much heap as the inventory needs, in holes that glibc's allocator keeps. jemalloc keeps
 * sizes apart and gives back what is free as it goes; where it is not there the heap is trimmed when it is quiet.
 */
#pragma once

#include <stdint.h>

void memory_init(void); /* before anything is allocated in earnest */
/* Each second; now: ms; changes: how many commits there have been. */
void memory_tick(int64_t now, uint64_t changes);
int64_t memory_resident(void); /* bytes */

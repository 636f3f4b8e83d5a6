/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory of one schedule. Everything that is allocated between arena_enter() and arena_leave() lies in one place,
 * so that a world can be put back to where it was by copying: a pool is made once, and many schedules begin from it.
 *
 * It takes malloc() and its relatives over for the whole program, which has one thread. Nothing is given back to the
 * system; what is freed is kept by its size. Where a sanitizer watches the memory there is no arena, and worlds are
 * made anew: arena_works() tells.
 */
#pragma once

#include <stdbool.h>

bool arena_works(void);
void arena_enter(void);
void arena_leave(void);
void arena_mark(void); /* the state that arena_back() brings back */
void arena_back(void);

/* SPDX-License-Identifier: Apache-2.0 */
/* Things that the simulated drivers do after a fixed latency: a queue on one timer. */
#pragma once

#include <uv.h>

struct delay;
struct delay *delay_new(uv_loop_t *loop, int latency_ms);
/* due(ctx) after the latency; drop(ctx) instead if the queue is freed before. */
void delay_add(struct delay *d, void (*due)(void *ctx), void (*drop)(void *ctx), void *ctx);
void delay_free(struct delay *d);

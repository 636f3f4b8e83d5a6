/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/delay.h"

#include "base/list.h"
#include "base/mem.h"

#include <stdbool.h>

struct item {
    struct list link;
    uint64_t at;
    void (*due)(void *ctx);
    void (*drop)(void *ctx);
    void *ctx;
};

struct delay {
    uv_timer_t timer;
    uint64_t latency;
    struct list items; /* in the order in which they are due, since the latency is one */
    bool running;
};

static void arm(struct delay *d);

static void on_timer(uv_timer_t *timer) {
    struct delay *d = timer->data;
    uint64_t now = uv_now(timer->loop);
    struct item *i;
    d->running = true;
    /* What is added meanwhile is for the next turn of the loop, so that nothing else starves. */
    struct list due;
    list_init(&due);
    while ((i = list_first(&d->items, struct item, link)) && i->at <= now) {
        list_remove(&i->link);
        list_append(&due, &i->link);
    }
    while ((i = list_first(&due, struct item, link))) {
        list_remove(&i->link);
        i->due(i->ctx);
        free(i);
    }
    d->running = false;
    arm(d);
}

static void arm(struct delay *d) {
    const struct item *i = list_first(&d->items, struct item, link);
    if (!i || d->running)
        return;
    uint64_t now = uv_now(d->timer.loop);
    uv_timer_start(&d->timer, on_timer, i->at > now ? i->at - now : 0, 0);
}

struct delay *delay_new(uv_loop_t *loop, int latency_ms) {
    struct delay *d = xcalloc(1, sizeof(*d));
    uv_timer_init(loop, &d->timer);
    d->timer.data = d;
    d->latency = (uint64_t)latency_ms;
    list_init(&d->items);
    return d;
}

void delay_add(struct delay *d, void (*due)(void *ctx), void (*drop)(void *ctx), void *ctx) {
    struct item *i = xcalloc(1, sizeof(*i));
    *i = (struct item){.at = uv_now(d->timer.loop) + d->latency, .due = due, .drop = drop, .ctx = ctx};
    list_append(&d->items, &i->link);
    arm(d);
}

static void on_closed(uv_handle_t *handle) { free(handle->data); }

void delay_free(struct delay *d) {
    struct item *i, *next;
    list_for_each_safe(i, next, &d->items, link) {
        list_remove(&i->link);
        i->drop(i->ctx);
        free(i);
    }
    uv_close((uv_handle_t *)&d->timer, on_closed);
}

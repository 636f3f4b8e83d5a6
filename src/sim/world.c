/* SPDX-License-Identifier: Apache-2.0 */
/* Clock, events, randomness and trace. */
#include "sim/sim.h"

#include <stdio.h>
#include <stdlib.h>

const char *const sim_fault_texts[FAULT_COUNT] = {
#define X(name, text) [FAULT_##name] = text,
    SIM_FAULTS(X)
#undef X
};

uint64_t sim_random(struct sim *s, uint64_t below) { return below ? idgen_next(&s->rng) % below : 0; }

int64_t sim_between(struct sim *s, int64_t low, int64_t high) {
    return low + (int64_t)sim_random(s, (uint64_t)(high - low + 1));
}

bool sim_fault(struct sim *s, enum sim_fault fault) {
    unsigned rate = s->config.fault[fault];
    if (!rate || !s->faults_on)
        return false;
    if (sim_random(s, 1000000) >= rate)
        return false;
    size_t n = s->fault_n++;
    if (n < s->config.n_drop_fault && s->config.drop_fault[n])
        return false;
    s->faults[fault]++;
    sim_trace(s, "FAULT %s", sim_fault_texts[fault]);
    return true;
}

static bool before(const struct sim_event *a, const struct sim_event *b) {
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void swap_events(struct sim_event *a, struct sim_event *b) {
    struct sim_event t = *a;
    *a = *b;
    *b = t;
}

struct sim_event *sim_at(struct sim *s, int64_t at, void (*run)(struct sim *, struct sim_event *)) {
    if (s->n == s->cap) {
        s->cap = s->cap ? s->cap * 2 : 256;
        s->heap = xreallocarray(s->heap, s->cap, sizeof *s->heap);
    }
    /* Put at the end and sifted up by sim_push(): the caller fills it in first, so it is kept aside. */
    struct sim_event *e = &s->heap[s->n++];
    *e = (struct sim_event){.at = at < s->now ? s->now : at, .order = ++s->order, .run = run, .server = -1};
    size_t i = s->n - 1;
    while (i && before(&s->heap[i], &s->heap[(i - 1) / 2])) {
        swap_events(&s->heap[i], &s->heap[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    return &s->heap[i];
}

void sim_is_work(struct sim *s, struct sim_event *e) {
    e->work = true;
    s->work++;
}

static struct sim_event pop(struct sim *s) {
    struct sim_event first = s->heap[0];
    s->work -= first.work;
    s->heap[0] = s->heap[--s->n];
    for (size_t i = 0;;) {
        size_t least = i, l = 2 * i + 1;
        for (size_t k = l; k < l + 2 && k < s->n; k++)
            if (before(&s->heap[k], &s->heap[least]))
                least = k;
        if (least == i)
            break;
        swap_events(&s->heap[i], &s->heap[least]);
        i = least;
    }
    return first;
}

bool sim_step(struct sim *s) {
    if (!s->n)
        return false;
    struct sim_event e = pop(s);
    s->now = e.at;
    s->events++;
    e.run(s, &e);
    return true;
}

bool sim_deferred(struct sim *s, struct process *p, struct sim_event *e) {
    if (s->now >= p->paused_until)
        return false;
    struct sim_event *again = sim_at(s, p->paused_until, e->run);
    again->server = e->server;
    if (e->work)
        sim_is_work(s, again);
    again->epoch = e->epoch;
    again->a = e->a;
    again->p = e->p;
    again->drop = e->drop;
    return true;
}

int64_t sim_mono_ms(const struct sim *s, const struct process *p) {
    return 1000 + s->now / US_PER_MS + s->now / US_PER_MS * p->drift_ppm / 1000000;
}

int64_t sim_wall_ms(const struct sim *s, const struct process *p) {
    return 1700000000000 + sim_mono_ms(s, p) + p->wall_offset_ms;
}

const char *sim_trace_only;

/* Lines about everything are shown beside those about one object. */
static bool traced(const char *text) {
    static const char *const always[] = {"FAULT", "BROKEN", "crashes", "starts", "connect", "the faults stop"};
    if (!sim_trace_only || strstr(text, sim_trace_only))
        return true;
    for (size_t i = 0; i < ARRAY_LEN(always); i++)
        if (strncmp(text, "client:", 7) && !strstr(text, "{\"") && strstr(text, always[i]))
            return true;
    return false;
}

void sim_trace(struct sim *s, const char *fmt, ...) {
    if (!s->trace_all && !s->trace_keep)
        return;
    va_list ap;
    va_start(ap, fmt);
    char *text = xvasprintf(fmt, ap);
    va_end(ap);
    if (s->trace_all && traced(text))
        printf("%12.6f %s\n", (double)s->now / 1e6, text);
    if (s->trace_keep)
        str_take(&s->trace[s->trace_n++ % TRACE_LINES], xasprintf("%12.6f %.400s", (double)s->now / 1e6, text));
    free(text);
}

void sim_broken(struct sim *s, const char *invariant, const char *fmt, ...) {
    if (s->broken)
        return;
    va_list ap;
    va_start(ap, fmt);
    s->broken = invariant;
    s->broken_detail = xvasprintf(fmt, ap);
    va_end(ap);
    sim_trace(s, "BROKEN %s: %s", invariant, s->broken_detail);
}

static const char *quoted(const char *at, char *buf, size_t size) {
    if (!at)
        return NULL;
    size_t len = strcspn(at, "\"");
    if (len >= size)
        len = size - 1;
    memcpy(buf, at, len);
    buf[len] = 0;
    return buf;
}

static const char *last_after(const char *text, const char *mark) {
    const char *found = NULL;
    size_t len = strlen(mark);
    for (const char *at = text; (at = strstr(at, mark)); found = at)
        at += len;
    return found;
}

const char *sim_text_after(const char *text, const char *mark, char *buf, size_t size) {
    const char *at = strstr(text, mark);
    return quoted(at ? at + strlen(mark) : NULL, buf, size);
}

const char *sim_text_after_last(const char *text, const char *mark, char *buf, size_t size) {
    return quoted(last_after(text, mark), buf, size);
}

int64_t sim_number_after(const char *text, const char *mark, int64_t otherwise) {
    const char *at = last_after(text, mark);
    return at ? strtoll(at, NULL, 10) : otherwise;
}

bool sim_job_state_is_end(const char *state) {
    return str_eq(state, "done") || str_eq(state, "failed") || str_eq(state, "aborted");
}

bool sim_job_has_ended(const char *record) {
    char state[16];
    return sim_job_state_is_end(sim_text_after(record, "\"state\":\"", state, sizeof state));
}

void sim_world_done(struct sim *s) {
    for (size_t i = 0; i < s->n; i++)
        if (s->heap[i].drop)
            s->heap[i].drop(&s->heap[i]);
    free(s->heap);
    for (size_t i = 0; i < TRACE_LINES; i++)
        free(s->trace[i]);
    free(s->broken_detail);
}

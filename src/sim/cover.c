/* SPDX-License-Identifier: Apache-2.0 */
/* What was reached: operations, steps of jobs forwards and backwards, states and transitions of virtual machines. */
#include "core/core_int.h"
#include "sim/sim.h"

#include <stdio.h>

struct cover {
    struct map counts; /* "what": uint64_t * */
    struct map states; /* vm id: its last state */
};

struct cover *cover_new(void) {
    return xcalloc(1, sizeof(struct cover));
}

void cover_hit(struct cover *c, const char *kind, const char *what) {
    char key[160];
    if (!c)
        return;
    snprintf(key, sizeof key, "%s %s", kind, what);
    uint64_t *n = map_get(&c->counts, key);
    if (!n) {
        n = xcalloc(1, sizeof *n);
        map_put(&c->counts, key, n);
    }
    (*n)++;
}

/* The record as text: its state is the first of that name in it, its steps' follow each step's name. */
static void cover_job(struct cover *c, const char *job) {
    char kind[40] = "", state[20] = "", step[40], what[128];
    sim_text_after(job, "\"kind\":\"", kind, sizeof kind);
    sim_text_after(job, "\"state\":\"", state, sizeof state);
    snprintf(what, sizeof what, "%s %s", kind, state);
    cover_hit(c, "job", what);
    const char *at = strstr(job, "\"steps\":["), *end = at ? strstr(at, "\"changes\":[") : NULL;
    static const char mark[] = "{\"name\":\"";
    while (end && (at = strstr(at, mark)) && at < end) {
        at += strlen(mark);
        snprintf(step, sizeof step, "%.*s", (int)strcspn(at, "\""), at);
        if (!sim_text_after(at, "\"state\":\"", state, sizeof state) || str_eq(state, "pending"))
            continue;
        snprintf(what, sizeof what, "%s/%s %s", kind, step, state);
        cover_hit(c, "step", what);
    }
}

void cover_publish(struct sim *s, const struct core_effect *e, const char *object) {
    char state[40] = "", what[128];
    if (!s->cover)
        return;
    if (object && str_eq(e->object_kind, "job"))
        cover_job(s->cover, object);
    if (!object || !str_eq(e->object_kind, "vm") || !sim_text_after(object, "\"state\":\"", state, sizeof state))
        return;
    char *old = map_get(&s->cover->states, e->object_id);
    if (str_eq(old, state))
        return;
    snprintf(what, sizeof what, "%s -> %s", old ? old : "(new)", state);
    cover_hit(s->cover, "vm", what);
    free(map_put(&s->cover->states, e->object_id, xstrdup(state)));
}

void cover_record(struct sim *s, int server, const char *key, const char *value) {
    bool guest = strncmp(key, "guest/", 6) == 0, op = strncmp(key, "op/", 3) == 0;
    char state[40] = "", id[260], what[128];
    if (!s->cover || (!guest && !op))
        return;
    if (!value)
        snprintf(state, sizeof state, "(gone)");
    else if (op)
        snprintf(state, sizeof state, "%s", strstr(value, "\"answer\":") ? "done" : "begun");
    else
        sim_text_after_last(value, "\"state\":\"", state, sizeof state); /* the start in it has a state too, before */
    snprintf(id, sizeof id, "%d/%.240s", server, key);
    char *old = map_get(&s->cover->states, id);
    if (str_eq(old, state))
        return;
    snprintf(what, sizeof what, "%s -> %s", old ? old : "(new)", state);
    cover_hit(s->cover, guest ? "guest" : "op", what);
    if (value)
        free(map_put(&s->cover->states, id, xstrdup(state)));
    else
        free(map_remove(&s->cover->states, id));
}

static uint64_t count_of(const struct cover *c, const char *kind, const char *what) {
    char key[160];
    snprintf(key, sizeof key, "%s %s", kind, what);
    const uint64_t *n = map_get(&c->counts, key);
    return n ? *n : 0;
}

/* The state tables: an agent's in src/guest/host.h, the manager's where jobs and reports set it. */
static const char *const transitions[] = {
    "guest (new) -> starting",
    "guest stopped -> starting",
    "guest crashed -> starting",
    "guest starting -> running",
    "guest starting -> stopped",
    "guest starting -> crashed",
    "guest starting -> stopping",
    "guest running -> stopped",
    "guest running -> crashed",
    "guest running -> suspended",
    "guest running -> stopping",
    "guest suspended -> running",
    "guest suspended -> stopping",
    "guest suspended -> crashed",
    "guest stopping -> stopped",
    "guest stopping -> crashed",
    "guest stopping -> running",
    "guest crashed -> stopped",
    "guest stopped -> (gone)",
    "guest (new) -> migrating",
    "guest running -> migrating",
    "guest suspended -> migrating",
    "guest migrating -> running",
    "guest migrating -> suspended",
    "guest migrating -> crashed",
    "guest migrating -> (gone)",
    "op (new) -> begun",
    "op (new) -> done",
    "op begun -> done",
    "op done -> (gone)",
    "vm (new) -> creating",
    "vm creating -> stopped",
    "vm stopped -> starting",
    "vm crashed -> starting",
    "vm starting -> running",
    "vm starting -> stopped",
    "vm running -> stopping",
    "vm stopping -> stopped",
    "vm stopping -> running",
    "vm stopping -> crashed",
    "vm running -> suspended",
    "vm running -> migrating",
    "vm suspended -> migrating",
    "vm migrating -> running",
    "vm migrating -> suspended",
    "vm migrating -> crashed",
    "vm suspended -> running",
    "vm suspended -> stopping",
    "vm running -> crashed",
    "vm running -> stopped",
    "vm running -> unknown",
    "vm suspended -> unknown",
    "vm unknown -> running",
    "vm unknown -> stopped",
    "vm unknown -> suspended",
    "vm unknown -> crashed",
    "vm stopped -> deleting",
    "vm crashed -> deleting",
    "vm crashed -> stopping",
};

static size_t missing_transitions(const struct cover *c, bool print) {
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(transitions); i++) {
        if (map_get(&c->counts, transitions[i]))
            continue;
        n++;
        if (print)
            printf("  never taken: transition %s\n", transitions[i]);
    }
    return n;
}

static size_t missing(const struct cover *c, bool print) {
    size_t n = missing_transitions(c, print);
    char what[128];
    for (int i = 0; i < API_OP_COUNT; i++) {
        snprintf(what, sizeof what, "%s 2xx", api_ops[i].name);
        if (!api_ops[i].shell && !count_of(c, "operation", what)) {
            n++;
            if (print)
                printf("  never succeeded: operation %s\n", api_ops[i].name);
        }
    }
    for (int i = 0; i < API_OP_COUNT; i++) {
        const struct job_kind *k = api_ops[i].job_kind ? job_kind_by_name(api_ops[i].job_kind) : NULL;
        for (size_t step = 0; k && step < k->n_steps; step++) {
            snprintf(what, sizeof what, "%s/%s done", k->name, k->steps[step].name);
            if (!count_of(c, "step", what)) {
                n++;
                if (print)
                    printf("  never done: step %s\n", what);
            }
            snprintf(what, sizeof what, "%s/%s undone", k->name, k->steps[step].name);
            if (k->steps[step].undo && !count_of(c, "step", what)) {
                n++;
                if (print)
                    printf("  never undone: step %s\n", what);
            }
        }
    }
    return n;
}

size_t cover_missing(const struct cover *c) { return missing(c, false); }

static int compare(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

void cover_print(const struct cover *c) {
    char **lines = xcalloc(map_count(&c->counts) + 1, sizeof *lines);
    size_t n = 0, pos = 0;
    const char *key;
    void *value;
    while (map_next(&c->counts, &pos, &key, &value))
        lines[n++] = xasprintf("  %-60s %10llu", key, (unsigned long long)*(uint64_t *)value);
    qsort(lines, n, sizeof *lines, compare);
    printf("reached:\n");
    for (size_t i = 0; i < n; i++) {
        puts(lines[i]);
        free(lines[i]);
    }
    free(lines);
    printf("not reached:\n");
    if (!missing(c, true))
        printf("  nothing\n");
}

void cover_free(struct cover *c) {
    size_t pos = 0;
    void *value;
    while (map_next(&c->counts, &pos, NULL, &value))
        free(value);
    pos = 0;
    while (map_next(&c->states, &pos, NULL, &value))
        free(value);
    map_done(&c->counts);
    map_done(&c->states);
    free(c);
}

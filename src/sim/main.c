/* SPDX-License-Identifier: Apache-2.0 */
/* tarn-sim: many schedules, each from its seed; a failing one is shrunk and shown. */
#include "sim/hunt.h"

#include <getopt.h>
#include <stdio.h>
#include <time.h>

double hunt_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static const char usage[] =
    "usage: tarn-sim [--seconds N | --count N] [--first SEED] [--pools] [--cover] [--keep-going] [--shrink SECONDS]\n"
    "                [--report SECONDS]         only clustered pools; a summary every so often\n"
    "                [--branches N [--each]]    only clustered pools; from each N schedules begin; a line for each\n"
    "       tarn-sim --seed N[/BRANCH] [--trace [--only TEXT]]   replay one schedule; show the lines with TEXT (an "
    "object's id, "
    "say)\n"
    "                                                  and those about faults, crashes and connections\n"
    "       tarn-sim --seeds FILE   replay every seed named in FILE (first word of each line; # comments)\n";

void totals_add(struct totals *t, const struct sim *s) {
    t->schedules++;
    t->pools += s->config.pool;
    t->two += s->config.two;
    t->large += s->config.pool && s->config.servers > 7;
    t->partitioned += s->partitions > 0;
    t->events += s->events;
    t->simulated += s->now;
    for (int i = 0; i < FAULT_COUNT; i++)
        t->faults[i] += s->faults[i];
}

static bool run_one(const struct sim_config *c, struct cover *cover, struct totals *t, const char **ret_invariant) {
    struct sim s;
    bool ok = schedule_run(&s, c, cover, false, false);
    totals_add(t, &s);
    t->made++;
    if (ret_invariant)
        *ret_invariant = s.broken;
    schedule_done(&s);
    return ok;
}

/* ---- shrinking: leave out kinds of faults, then single faults and requests, while the same invariant breaks ---- */

static bool still_fails(const struct sim_config *c, const char *invariant) {
    struct cover *cover = cover_new();
    struct totals t = {0};
    const char *now = NULL;
    bool ok = run_one(c, cover, &t, &now);
    cover_free(cover);
    return !ok && str_eq(now, invariant);
}

static void shrink(struct sim_config *c, const char *invariant, double deadline) {
    for (int i = 0; i < FAULT_COUNT; i++) {
        unsigned rate = c->fault[i];
        if (!rate || hunt_seconds() > deadline)
            continue;
        c->fault[i] = 0;
        if (!still_fails(c, invariant))
            c->fault[i] = rate;
    }
    static bool drop_fault[512], drop_request[512];
    memset(drop_fault, 0, sizeof drop_fault);
    memset(drop_request, 0, sizeof drop_request);
    c->drop_fault = drop_fault;
    c->drop_request = drop_request;
    c->n_drop_fault = c->n_drop_request = ARRAY_LEN(drop_fault);
    /* Halves first, then smaller runs. */
    for (size_t run = 64; run >= 1; run /= 4) {
        for (size_t i = 0; i < 256 && hunt_seconds() < deadline; i += run) {
            bool *lists[] = {drop_request, drop_fault};
            for (size_t k = 0; k < ARRAY_LEN(lists); k++) {
                bool saved[64];
                memcpy(saved, lists[k] + i, run);
                memset(lists[k] + i, true, run);
                if (!still_fails(c, invariant))
                    memcpy(lists[k] + i, saved, run);
            }
        }
    }
}

/* SEED or SEED/BRANCH */
static const char *name_of(const struct sim_config *c) {
    static char name[48];
    int n = snprintf(name, sizeof name, "%llu", (unsigned long long)c->seed);
    if (c->branch)
        snprintf(name + n, sizeof name - (size_t)n, "/%u", c->branch);
    return name;
}

/* The schedule that is named at the beginning of text; false if there is none. */
static bool draw_named(struct sim_config *c, const char *text) {
    char *end;
    uint64_t seed = strtoull(text, &end, 10);
    schedule_draw(c, seed, *end == '/' ? (unsigned)strtoul(end + 1, NULL, 10) : 0);
    return end != text;
}

void schedule_print(const struct sim *s) {
    if (s->broken)
        printf("seed %s: BROKEN: %s: %s\n", name_of(&s->config), s->broken, s->broken_detail);
    else
        printf("seed %s: holds (%llu events, %zu faults, %zu requests)\n", name_of(&s->config),
               (unsigned long long)s->events, s->fault_n, s->request_n);
}

static void show(const struct sim_config *c, bool whole) {
    struct sim s;
    struct cover *cover = cover_new();
    schedule_run(&s, c, cover, whole, !whole);
    schedule_print(&s);
    for (size_t i = 0; s.broken && !whole && i < TRACE_LINES; i++) {
        const char *line = s.trace[(s.trace_n + i) % TRACE_LINES];
        if (line)
            printf("  %s\n", line);
    }
    schedule_done(&s);
    cover_free(cover);
}

static size_t faults_left(const struct sim_config *c) {
    size_t n = 0;
    for (int i = 0; i < FAULT_COUNT; i++)
        n += c->fault[i] != 0;
    return n;
}

static size_t requests_left(const struct sim_config *c) {
    size_t n = (size_t)c->requests;
    for (size_t i = 0; i < c->n_drop_request && i < (size_t)c->requests; i++)
        n -= c->drop_request[i];
    return n;
}

void hunt_failed(const struct sim_config *c, const char *invariant, const struct totals *t, double after,
                 double patience) {
    struct sim_config small = *c;
    printf("seed %s breaks after %.1f s, %llu schedules: %s\n", name_of(c), after, (unsigned long long)t->schedules,
           invariant);
    fflush(stdout);
    if (patience <= 0)
        return;
    shrink(&small, invariant, hunt_seconds() + patience);
    printf("shrunk from %zu kinds of faults and %d requests to %zu and at most %zu; the last events:\n", faults_left(c),
           c->requests, faults_left(&small), requests_left(&small));
    show(&small, false);
    printf("replay it with: tarn-sim --seed %s --trace\n", name_of(c));
    fflush(stdout);
}

static int replay_file(const char *path, struct totals *t) {
    FILE *f = fopen(path, "re");
    char line[512];
    struct cover *cover = cover_new();
    if (!f) {
        fprintf(stderr, "tarn-sim: %s cannot be read\n", path);
        return 2;
    }
    while (fgets(line, sizeof line, f)) {
        struct sim_config c;
        const char *invariant = NULL;
        if (!draw_named(&c, line))
            continue;
        if (!run_one(&c, cover, t, &invariant)) {
            t->failed++;
            printf("seed %s breaks again: %s\n", name_of(&c), invariant);
        }
    }
    fclose(f);
    cover_free(cover);
    return 0;
}

void totals_print(const struct totals *t, double took) {
    printf("%llu schedules, %llu events in %.1f s (%.0f schedules/s), %.0f h of simulated time, %llu failed\n",
           (unsigned long long)t->schedules, (unsigned long long)t->events, took,
           (double)t->schedules / (took > 0 ? took : 1), (double)t->simulated / 3.6e9, (unsigned long long)t->failed);
    printf("of clustered pools: %llu, of these of two servers: %llu, with 8 to %d servers: %llu, with the heartbeat "
           "network partitioned: %llu; worlds made: %llu\n",
           (unsigned long long)t->pools, (unsigned long long)t->two, SIM_SERVERS_MAX, (unsigned long long)t->large,
           (unsigned long long)t->partitioned, (unsigned long long)t->made);
    printf("faults:");
    for (int i = 0; i < FAULT_COUNT; i++)
        printf("%s %s %llu", i ? "," : "", sim_fault_texts[i], (unsigned long long)t->faults[i]);
    printf("\n");
    fflush(stdout);
}

int main(int argc, char **argv) {
    enum { SECONDS = 1, COUNT, FIRST, SEED, TRACE, SEEDS, COVER, KEEP, ONLY, SHRINK, POOLS, REPORT, BRANCHES, EACH };
    static const struct option options[] = {
        {"seconds", 1, NULL, SECONDS},   {"count", 1, NULL, COUNT},     {"first", 1, NULL, FIRST},
        {"seed", 1, NULL, SEED},         {"trace", 0, NULL, TRACE},     {"seeds", 1, NULL, SEEDS},
        {"cover", 0, NULL, COVER},       {"keep-going", 0, NULL, KEEP}, {"only", 1, NULL, ONLY},
        {"shrink", 1, NULL, SHRINK},     {"pools", 0, NULL, POOLS},     {"report", 1, NULL, REPORT},
        {"branches", 1, NULL, BRANCHES}, {"each", 0, NULL, EACH},       {0}};
    double limit = 0, start = hunt_seconds(), patience = 20, each = 0, told = start;
    uint64_t n = 0, first = (uint64_t)time(NULL) * 1000003;
    unsigned branches = 0;
    const char *one = NULL;
    bool trace = false, list = false, show_cover = false, keep = false, pools = false;
    struct totals t = {0};
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (o) {
        case SECONDS:
            limit = strtod(optarg, NULL);
            break;
        case COUNT:
            n = strtoull(optarg, NULL, 10);
            break;
        case FIRST:
            first = strtoull(optarg, NULL, 10);
            break;
        case SEED:
            one = optarg;
            break;
        case TRACE:
            trace = true;
            break;
        case COVER:
            show_cover = true;
            break;
        case KEEP:
            keep = true;
            break;
        case ONLY:
            sim_trace_only = optarg;
            break;
        case SHRINK:
            patience = strtod(optarg, NULL);
            break;
        case POOLS:
            pools = true;
            break;
        case REPORT:
            each = strtod(optarg, NULL);
            break;
        case EACH:
            list = true;
            break;
        case BRANCHES:
            branches = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case SEEDS:
            if (replay_file(optarg, &t))
                return 2;
            totals_print(&t, hunt_seconds() - start);
            return t.failed ? 1 : 0;
        default:
            fputs(usage, stderr);
            return 2;
        }
    }
    if (one) {
        struct sim_config c;
        draw_named(&c, one);
        show(&c, trace);
        return 0;
    }
    if (!n && limit <= 0) {
        fputs(usage, stderr);
        return 2;
    }
    if (branches) {
        hunt_pools(&(struct hunt){.first = first,
                                  .count = n,
                                  .branches = branches,
                                  .start = start,
                                  .until = limit > 0 ? start + limit : 0,
                                  .report = each,
                                  .patience = patience,
                                  .keep_going = keep,
                                  .each = list,
                                  .totals = &t});
        totals_print(&t, hunt_seconds() - start);
        return t.failed ? 1 : 0;
    }
    struct cover *cover = cover_new();
    for (uint64_t i = 0; (n ? t.schedules < n : true) && (limit <= 0 || hunt_seconds() - start < limit); i++) {
        struct sim_config c;
        const char *invariant = NULL;
        schedule_draw(&c, first + i, 0);
        if (pools && !c.pool)
            continue;
        if (each > 0 && hunt_seconds() - told > each) {
            told = hunt_seconds();
            printf("before seed %llu: ", (unsigned long long)c.seed);
            totals_print(&t, told - start);
        }
        if (run_one(&c, cover, &t, &invariant))
            continue;
        t.failed++;
        hunt_failed(&c, invariant, &t, hunt_seconds() - start, patience);
        if (!keep)
            break;
    }
    totals_print(&t, hunt_seconds() - start);
    if (show_cover)
        cover_print(cover);
    else
        printf("coverage: %zu operations, steps or transitions were not reached\n", cover_missing(cover));
    cover_free(cover);
    return t.failed ? 1 : 0;
}

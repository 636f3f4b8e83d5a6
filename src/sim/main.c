/* SPDX-License-Identifier: Apache-2.0 */
/* tarn-sim: many schedules, each from its seed; a failing one is shrunk and shown. */
#include "sim/sim.h"

#include <getopt.h>
#include <stdio.h>
#include <time.h>

struct totals {
    uint64_t schedules, pools, large, partitioned, events, faults[FAULT_COUNT], failed;
};

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static const char usage[] =
    "usage: tarn-sim [--seconds N | --count N] [--first SEED] [--pools] [--cover] [--keep-going] [--shrink SECONDS]\n"
    "                [--report SECONDS]         only clustered pools; a summary every so often\n"
    "       tarn-sim --seed N [--trace [--only TEXT]]   replay one schedule; show the lines with TEXT (an object's id, "
    "say)\n"
    "                                                  and those about faults, crashes and connections\n"
    "       tarn-sim --seeds FILE   replay every seed named in FILE (first word of each line; # comments)\n";

static bool run_one(const struct sim_config *c, struct cover *cover, struct totals *t, const char **ret_invariant) {
    struct sim s;
    bool ok = schedule_run(&s, c, cover, false, false);
    t->schedules++;
    t->pools += c->pool;
    t->large += c->pool && c->servers > 7;
    t->partitioned += s.partitions > 0;
    t->events += s.events;
    for (int i = 0; i < FAULT_COUNT; i++)
        t->faults[i] += s.faults[i];
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
        if (!rate || seconds() > deadline)
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
        for (size_t i = 0; i < 256 && seconds() < deadline; i += run) {
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

static void show(const struct sim_config *c, bool whole) {
    struct sim s;
    struct cover *cover = cover_new();
    schedule_run(&s, c, cover, whole, !whole);
    if (s.broken) {
        printf("seed %llu: BROKEN: %s: %s\n", (unsigned long long)c->seed, s.broken, s.broken_detail);
        for (size_t i = 0; !whole && i < TRACE_LINES; i++) {
            const char *line = s.trace[(s.trace_n + i) % TRACE_LINES];
            if (line)
                printf("  %s\n", line);
        }
    } else {
        printf("seed %llu: holds (%llu events, %zu faults, %zu requests)\n", (unsigned long long)c->seed,
               (unsigned long long)s.events, s.fault_n, s.request_n);
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

static void failed(const struct sim_config *c, const char *invariant, double after, double patience) {
    struct sim_config small = *c;
    printf("seed %llu breaks after %.1f s: %s\n", (unsigned long long)c->seed, after, invariant);
    fflush(stdout);
    if (patience <= 0)
        return;
    shrink(&small, invariant, seconds() + patience);
    printf("shrunk from %zu kinds of faults and %d requests to %zu and at most %zu; the last events:\n", faults_left(c),
           c->requests, faults_left(&small), requests_left(&small));
    show(&small, false);
    printf("replay it with: tarn-sim --seed %llu --trace\n", (unsigned long long)c->seed);
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
        char *end;
        unsigned long long seed = strtoull(line, &end, 10);
        struct sim_config c;
        const char *invariant = NULL;
        if (end == line)
            continue;
        schedule_draw(&c, seed);
        if (!run_one(&c, cover, t, &invariant)) {
            t->failed++;
            printf("seed %llu breaks again: %s\n", seed, invariant);
        }
    }
    fclose(f);
    cover_free(cover);
    return 0;
}

static void summary(const struct totals *t, double took) {
    printf("%llu schedules, %llu events in %.1f s (%.0f events/s), %llu failed\n", (unsigned long long)t->schedules,
           (unsigned long long)t->events, took, (double)t->events / (took > 0 ? took : 1),
           (unsigned long long)t->failed);
    printf(
        "of clustered pools: %llu, of these with 8 to %d servers: %llu, with the heartbeat network partitioned: %llu\n",
        (unsigned long long)t->pools, SIM_SERVERS_MAX, (unsigned long long)t->large,
        (unsigned long long)t->partitioned);
    printf("faults:");
    for (int i = 0; i < FAULT_COUNT; i++)
        printf("%s %s %llu", i ? "," : "", sim_fault_texts[i], (unsigned long long)t->faults[i]);
    printf("\n");
    fflush(stdout);
}

int main(int argc, char **argv) {
    enum { SECONDS = 1, COUNT, FIRST, SEED, TRACE, SEEDS, COVER, KEEP, ONLY, SHRINK, POOLS, REPORT };
    static const struct option options[] = {{"seconds", 1, NULL, SECONDS},
                                            {"count", 1, NULL, COUNT},
                                            {"first", 1, NULL, FIRST},
                                            {"seed", 1, NULL, SEED},
                                            {"trace", 0, NULL, TRACE},
                                            {"seeds", 1, NULL, SEEDS},
                                            {"cover", 0, NULL, COVER},
                                            {"keep-going", 0, NULL, KEEP},
                                            {"only", 1, NULL, ONLY},
                                            {"shrink", 1, NULL, SHRINK},
                                            {"pools", 0, NULL, POOLS},
                                            {"report", 1, NULL, REPORT},
                                            {0}};
    double limit = 0, start = seconds(), patience = 20, each = 0, told = start;
    uint64_t n = 0, first = (uint64_t)time(NULL) * 1000003, seed = 0;
    bool trace = false, one = false, show_cover = false, keep = false, pools = false;
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
            seed = strtoull(optarg, NULL, 10);
            one = true;
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
        case SEEDS:
            if (replay_file(optarg, &t))
                return 2;
            summary(&t, seconds() - start);
            return t.failed ? 1 : 0;
        default:
            fputs(usage, stderr);
            return 2;
        }
    }
    if (one) {
        struct sim_config c;
        schedule_draw(&c, seed);
        show(&c, trace);
        return 0;
    }
    if (!n && limit <= 0) {
        fputs(usage, stderr);
        return 2;
    }
    struct cover *cover = cover_new();
    for (uint64_t i = 0; (n ? t.schedules < n : true) && (limit <= 0 || seconds() - start < limit); i++) {
        struct sim_config c;
        const char *invariant = NULL;
        schedule_draw(&c, first + i);
        if (pools && !c.pool)
            continue;
        if (each > 0 && seconds() - told > each) {
            told = seconds();
            printf("before seed %llu: ", (unsigned long long)c.seed);
            summary(&t, told - start);
        }
        if (run_one(&c, cover, &t, &invariant))
            continue;
        t.failed++;
        failed(&c, invariant, seconds() - start, patience);
        if (!keep)
            break;
    }
    summary(&t, seconds() - start);
    if (show_cover)
        cover_print(cover);
    else
        printf("coverage: %zu operations, steps or transitions were not reached\n", cover_missing(cover));
    cover_free(cover);
    return t.failed ? 1 : 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many schedules that begin with the same pool. To make one in peace is a third of a schedule's work and finds nothing:
 * it is made once, and put back to where it was for each schedule. What happens then, which faults and how often, is
 * drawn from the seed and the number of the branch, so that SEED/BRANCH alone says what a schedule is: replayed, the
 * pool is made for it alone.
 *
 * Each pool has a process of its own: one that dies is a find as well, and the hunt goes on behind it.
 */
#include "sim/hunt.h"
#include "sim/arena.h"

#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define HANGS_AFTER 300 /* s, of one schedule */

/* What the processes share. */
struct shared {
    struct totals t;
    unsigned branch; /* that runs */
    double told;
    bool stop;
};

static bool enough(const struct hunt *h, const struct shared *x) {
    return x->stop || (h->count && x->t.schedules >= h->count) || (h->until > 0 && hunt_seconds() >= h->until);
}

static void report(const struct hunt *h, struct shared *x, uint64_t seed) {
    if (h->report <= 0 || hunt_seconds() - x->told < h->report)
        return;
    x->told = hunt_seconds();
    printf("before seed %llu: ", (unsigned long long)seed);
    totals_print(&x->t, x->told - h->start);
}

static void one(const struct hunt *h, struct shared *x, struct sim *s, const struct sim_config *c, bool back) {
    const char *invariant;
    arena_enter();
    if (back)
        arena_back();
    else
        schedule_make(s, c, NULL, false, false);
    schedule_go(s, c);
    arena_leave();
    invariant = s->broken;
    totals_add(&x->t, s);
    if (h->each)
        schedule_print(s);
    if (!back) {
        schedule_done(s);
        x->t.made++;
    }
    if (!invariant)
        return;
    x->t.failed++;
    x->stop = !h->keep_going;
    hunt_failed(c, invariant, &x->t, hunt_seconds() - h->start, h->patience);
}

/* In a process of its own, from that branch on. */
static void run_branches(const struct hunt *h, struct shared *x, uint64_t seed) {
    struct sim_config c;
    struct sim *s = NULL;
    bool once = arena_works();
    schedule_draw(&c, seed, x->branch);
    arena_enter();
    s = xcalloc(1, sizeof *s);
    if (once) {
        schedule_make(s, &c, NULL, false, false);
        arena_mark();
        x->t.made++;
    }
    arena_leave();
    for (; x->branch <= h->branches && !enough(h, x); x->branch++) {
        alarm(HANGS_AFTER);
        schedule_draw(&c, seed, x->branch);
        one(h, x, s, &c, once);
        report(h, x, seed);
    }
    alarm(0);
    fflush(stdout);
    if (!once)
        free(s);
}

static void died(const struct hunt *h, struct shared *x, uint64_t seed, int status) {
    char how[64];
    struct sim_config c;
    snprintf(how, sizeof how, WIFSIGNALED(status) ? "it dies of signal %d" : "it ends with status %d",
             WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    x->t.schedules++;
    x->t.failed++;
    x->stop = !h->keep_going;
    schedule_draw(&c, seed, x->branch);
    hunt_failed(&c, how, &x->t, hunt_seconds() - h->start, 0);
    x->branch++;
}

static void one_pool(const struct hunt *h, struct shared *x, uint64_t seed) {
    x->branch = 1;
    while (x->branch <= h->branches && !enough(h, x)) {
        int status;
        fflush(stdout);
        pid_t pid = fork();
        if (pid < 0)
            abort();
        if (pid == 0) {
            run_branches(h, x, seed);
            _exit(0);
        }
        if (waitpid(pid, &status, 0) != pid)
            abort();
        if (status)
            died(h, x, seed, status);
    }
}

void hunt_pools(const struct hunt *h) {
    struct shared *x = mmap(NULL, sizeof *x, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (x == MAP_FAILED)
        abort();
    x->told = h->start;
    for (uint64_t seed = h->first; !enough(h, x); seed++) {
        struct sim_config c;
        schedule_draw(&c, seed, 0);
        if (c.pool)
            one_pool(h, x, seed);
    }
    *h->totals = x->t;
    munmap(x, sizeof *x);
}

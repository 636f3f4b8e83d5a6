/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which job may change which object. Each object has a queue of the jobs that want it, in the order in which they were
 * asked for; a job may run when, in the queue of each of its objects, nothing before it excludes it: exclusive locks
 * wait for all before them, shared ones for exclusive ones. When a job leaves a queue, those that may be free by that
 * are marked, so that nobody looks at the thousands of others.
 */
#include "core/core_int.h"

struct lock_entry {
    char *job;
    bool shared;
};
struct lock {
    struct lock_entry *entries;
    size_t n, cap;
};

static void entry_add(struct core *c, const char *object, const char *job, bool shared, bool first) {
    struct lock *l = map_get(&c->locks, object);
    if (!l) {
        l = xcalloc(1, sizeof *l);
        map_put(&c->locks, object, l);
    }
    if (l->n == l->cap) {
        l->cap = l->cap ? l->cap * 2 : 2;
        l->entries = xreallocarray(l->entries, l->cap, sizeof *l->entries);
    }
    size_t at = first ? 0 : l->n;
    memmove(l->entries + at + 1, l->entries + at, (l->n - at) * sizeof *l->entries);
    l->entries[at] = (struct lock_entry){xstrdup(job), shared};
    l->n++;
}

static void wake(struct core *c, const struct lock_entry *e) {
    struct job_run *run = map_get(&c->runs, e->job);
    if (!run || run->woken)
        return;
    run->woken = true;
    c->n_woken++;
}

/* What has left the queue was before the i-th. */
static void wake_behind(struct core *c, const struct lock *l, size_t i, bool shared) {
    if (!shared) /* it has kept those that share from joining others, as far as the next one that keeps them */
        for (; i < l->n && l->entries[i].shared; i++)
            wake(c, &l->entries[i]);
    if (l->n && !l->entries[0].shared)
        wake(c, &l->entries[0]);
}

static void entry_remove(struct core *c, const char *object, const char *job) {
    struct lock *l = map_get(&c->locks, object);
    if (!l)
        return;
    for (size_t i = 0; i < l->n; i++) {
        if (!str_eq(l->entries[i].job, job))
            continue;
        bool shared = l->entries[i].shared;
        free(l->entries[i].job);
        memmove(l->entries + i, l->entries + i + 1, (l->n - i - 1) * sizeof *l->entries);
        l->n--;
        wake_behind(c, l, i, shared);
        break;
    }
    if (!l->n) {
        map_remove(&c->locks, object);
        free(l->entries);
        free(l);
    }
}

static void add(struct core *c, const struct api_job *j, bool first) {
    for (size_t i = 0; i < j->n_locks; i++)
        entry_add(c, j->locks[i].id, j->id, false, first);
    for (size_t i = 0; i < j->n_shared_locks; i++)
        entry_add(c, j->shared_locks[i].id, j->id, true, first);
}

void locks_add(struct core *c, const struct api_job *j) { add(c, j, false); }
void locks_add_first(struct core *c, const struct api_job *j) { add(c, j, true); }

void locks_remove(struct core *c, const struct api_job *j) {
    for (size_t i = 0; i < j->n_locks; i++)
        entry_remove(c, j->locks[i].id, j->id);
    for (size_t i = 0; i < j->n_shared_locks; i++)
        entry_remove(c, j->shared_locks[i].id, j->id);
}

static void waits_for(const struct core *c, const char *object, const char *job, bool shared, char ***waiting,
                      size_t *n) {
    const struct lock *l = map_get(&c->locks, object);
    for (size_t i = 0; l && i < l->n && !str_eq(l->entries[i].job, job); i++) {
        if (shared && l->entries[i].shared)
            continue;
        bool known = false;
        for (size_t k = 0; k < *n && !known; k++)
            known = str_eq((*waiting)[k], l->entries[i].job);
        if (!known) {
            *waiting = xreallocarray(*waiting, *n + 1, sizeof **waiting);
            (*waiting)[(*n)++] = xstrdup(l->entries[i].job);
        }
    }
}

bool locks_held(const struct core *c, const struct api_job *j, char ***ret_waiting, size_t *ret_n) {
    char **waiting = NULL;
    size_t n = 0;
    for (size_t i = 0; i < j->n_locks; i++)
        waits_for(c, j->locks[i].id, j->id, false, &waiting, &n);
    for (size_t i = 0; i < j->n_shared_locks; i++)
        waits_for(c, j->shared_locks[i].id, j->id, true, &waiting, &n);
    bool held = n == 0;
    if (ret_waiting) {
        *ret_waiting = waiting;
        *ret_n = n;
    } else {
        for (size_t i = 0; i < n; i++)
            free(waiting[i]);
        free(waiting);
    }
    return held;
}

/* The job that holds an object exclusively now, or NULL. */
const char *locks_holder(const struct core *c, const char *object) {
    const struct lock *l = map_get(&c->locks, object);
    return l && l->n && !l->entries[0].shared ? l->entries[0].job : NULL;
}

void locks_done(struct core *c) {
    size_t pos = 0;
    void *value;
    while (map_next(&c->locks, &pos, NULL, &value)) {
        struct lock *l = value;
        for (size_t i = 0; i < l->n; i++)
            free(l->entries[i].job);
        free(l->entries);
        free(l);
    }
    map_done(&c->locks);
}

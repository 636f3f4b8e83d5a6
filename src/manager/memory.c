/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/memory.h"

#include "os/log.h"

#include <malloc.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>
#include <uv.h>

int64_t memory_resident(void) {
    long pages = 0, skip = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (!f)
        return 0;
    if (fscanf(f, "%ld %ld", &skip, &pages) != 2)
        pages = 0;
    fclose(f);
    return (int64_t)pages * sysconf(_SC_PAGESIZE);
}

#ifdef TARN_JEMALLOC

/*
 * One arena: nearly all is the loop's. What is free for a second goes back to the kernel, by a thread of jemalloc's
 * own: without one it looks only when much is allocated, which after a storm of changes nobody does.
 */
extern const char *malloc_conf;
const char *malloc_conf =
    "narenas:1,background_thread:true,max_background_threads:1,dirty_decay_ms:1000,muzzy_decay_ms:0";

void memory_init(void) {}
void memory_tick(int64_t now, uint64_t changes) {}

#else

#define LOOK_MS 10000
#define QUIET   500  /* commits in that time */
#define MANY    5000 /* commits */

static int64_t look_at;
static uint64_t seen, trimmed; /* commits at the last look, and when memory was last given back */

void memory_init(void) {
    mallopt(M_ARENA_MAX, 2); /* the loop's, and one for the threads that write and hash */
    mallopt(M_MMAP_THRESHOLD, 256 << 10);
    mallopt(M_TRIM_THRESHOLD, 1 << 20);
}

/*
 * Walking a large heap takes a few hundredths of a second, during which nobody is answered: only when much has been
 * changed since the last time, and it has become quiet again.
 */
void memory_tick(int64_t now, uint64_t changes) {
    if (now < look_at)
        return;
    look_at = now + LOOK_MS;
    bool quiet = changes - seen < QUIET;
    seen = changes;
    if (!quiet || changes - trimmed < MANY)
        return;
    trimmed = changes;
    uint64_t begun = uv_hrtime();
    int64_t resident = memory_resident();
    malloc_trim(0);
    log_debug("gave back %lld MiB of memory in %lld ms, %lld MiB remain",
              (long long)(resident - memory_resident()) >> 20, (long long)(uv_hrtime() - begun) / 1000000,
              (long long)memory_resident() >> 20);
}

#endif

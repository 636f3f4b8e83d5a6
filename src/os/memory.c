/* SPDX-License-Identifier: Apache-2.0 */
#include "os/memory.h"

#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

/*
 * Only mappings of files that are executable and not writable: their pages were never written, so nothing is lost. (Read-only
 * data is left alone: after relocation some of it is ours.)
 */
void memory_trim(void) {
    malloc_trim(0);
    FILE *f = fopen("/proc/self/maps", "re");
    if (!f)
        return;
    char line[512];
    unsigned long start, end, inode;
    char access[8];
    while (fgets(line, sizeof line, f))
        if (sscanf(line, "%lx-%lx %7s %*s %*s %lu", &start, &end, access, &inode) == 4 && inode &&
            strcmp(access, "r-xp") == 0)
            madvise((void *)start, end - start, MADV_DONTNEED); /* NOLINT(performance-no-int-to-ptr) */
    fclose(f);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gives back what only the start needed: most of the agent's resident memory is code of libcrypto and others that read
 * configuration, negotiated TLS or opened the store, once. Code and constants are mapped from files and never written,
 * so their pages can be dropped; what is needed again is mapped again from the page cache.
 */
#include "agent/agent.h"

#include <link.h>
#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

static int drop(struct dl_phdr_info *info, size_t size, void *ctx) {
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    for (size_t i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        if (p->p_type != PT_LOAD || (p->p_flags & PF_W))
            continue;
        uintptr_t begin = (info->dlpi_addr + p->p_vaddr) & ~(page - 1);
        uintptr_t end = (info->dlpi_addr + p->p_vaddr + p->p_memsz) & ~(page - 1); /* a partial page may be shared */
        if (end > begin)
            madvise((void *)begin, end - begin, MADV_DONTNEED);
    }
    return 0;
}

void trim_memory(void) {
    malloc_trim(0);
    dl_iterate_phdr(drop, NULL);
}

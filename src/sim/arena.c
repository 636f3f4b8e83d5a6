/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/arena.h"

#ifdef __has_feature
#if __has_feature(address_sanitizer) || __has_feature(memory_sanitizer)
#define SANITIZED
#endif
#endif
#if defined __SANITIZE_ADDRESS__ || defined SANITIZED

bool arena_works(void) { return false; }
void arena_enter(void) {}
void arena_leave(void) {}
void arena_mark(void) {}
void arena_back(void) {}

#else

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define UNIT       16
#define SMALL      64 /* up to so many units each size has a list of its own; above, four for each doubling */
#define CLASSES    192
#define NEVER      255           /* of what is not kept when it is freed */
#define HEAP_BYTES (16ULL << 30) /* of addresses; pages come when they are touched */

/* Before each piece: its class, and how many bytes it has. */
struct head {
    uint64_t class : 8, size : 56;
};
struct heap {
    char *base, *top;
    void *kept[CLASSES];
};

static struct heap outside, inside, marked, *current = &outside;
static char *copy;
static size_t copy_room;

static char *pages(size_t size) {
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        abort();
    return p;
}

static void heap_init(struct heap *h) {
    h->base = pages(HEAP_BYTES);
    h->top = h->base + UNIT - sizeof(struct head); /* what comes after a head is aligned */
}

static struct heap *heap_of(const void *p) {
    return inside.base && (const char *)p >= inside.base && (const char *)p < inside.base + HEAP_BYTES ? &inside
                                                                                                       : &outside;
}

static struct head *head_of(void *p) { return (struct head *)p - 1; }

static unsigned class_of(size_t *units) {
    if (*units <= SMALL)
        return (unsigned)*units;
    unsigned high = 63 - (unsigned)__builtin_clzl(*units - 1), shift = high - 2;
    size_t quarters = ((*units - 1) >> shift) + 1; /* 5 to 8 */
    *units = quarters << shift;
    return SMALL + (high - 6) * 4 + (unsigned)quarters - 4;
}

void *malloc(size_t size) {
    if (size > HEAP_BYTES / 4)
        return NULL;
    size_t units = (size + sizeof(struct head) + UNIT - 1) / UNIT;
    unsigned class = class_of(&units);
    void *p = current->kept[class];
    if (p) {
        current->kept[class] = *(void **)p;
        return p;
    }
    if (!current->base)
        heap_init(current);
    if (units * UNIT > (size_t)(current->base + HEAP_BYTES - current->top))
        return NULL;
    struct head *h = (struct head *)current->top;
    current->top += units * UNIT;
    *h = (struct head){.class = class, .size = units * UNIT - sizeof *h};
    return h + 1;
}

void free(void *p) {
    if (!p || head_of(p)->class == NEVER)
        return;
    struct heap *h = heap_of(p);
    *(void **)p = h->kept[head_of(p)->class];
    h->kept[head_of(p)->class] = p;
}

void *calloc(size_t n, size_t size) {
    size_t all;
    if (__builtin_mul_overflow(n, size, &all))
        return NULL;
    void *p = malloc(all);
    return p ? memset(p, 0, all) : NULL;
}

void *realloc(void *p, size_t size) {
    if (!p)
        return malloc(size);
    if (size && size <= head_of(p)->size)
        return p;
    void *q = malloc(size);
    if (!q)
        return NULL;
    size_t old = head_of(p)->size;
    memcpy(q, p, old < size ? old : size);
    free(p);
    return q;
}

void *memalign(size_t align, size_t size);
void *memalign(size_t align, size_t size) {
    if (align <= UNIT)
        return malloc(size);
    char *p = malloc(size + align + UNIT);
    if (!p)
        return NULL;
    char *q = (char *)(((uintptr_t)p + UNIT + align - 1) & ~(uintptr_t)(align - 1));
    *head_of(q) = (struct head){.class = NEVER, .size = size};
    return q;
}

void *aligned_alloc(size_t align, size_t size) { return memalign(align, size); }

int posix_memalign(void **ret, size_t align, size_t size) {
    void *p = memalign(align, size);
    if (!p)
        return ENOMEM;
    *ret = p;
    return 0;
}

size_t malloc_usable_size(void *p);
size_t malloc_usable_size(void *p) { return p ? head_of(p)->size : 0; }

bool arena_works(void) { return true; }

void arena_enter(void) { current = &inside; }
void arena_leave(void) { current = &outside; }

void arena_mark(void) {
    size_t used = (size_t)(inside.top - inside.base);
    if (used > copy_room) {
        if (copy)
            munmap(copy, copy_room);
        copy_room = used;
        copy = pages(copy_room);
    }
    memcpy(copy, inside.base, used);
    marked = inside;
}

void arena_back(void) {
    inside = marked;
    memcpy(inside.base, copy, (size_t)(inside.top - inside.base));
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/map.h"

#include "base/mem.h"

static uint64_t key0 = 0x7461726e2d6d6170ULL, key1 = 0x6b65792d73656564ULL;

void map_seed(uint64_t k0, uint64_t k1) {
    key0 = k0;
    key1 = k1;
}

#define ROTL(x, b) (((x) << (b)) | ((x) >> (64 - (b))))
#define SIPROUND                                              \
    do {                                                      \
        v0 += v1; v1 = ROTL(v1, 13); v1 ^= v0; v0 = ROTL(v0, 32); \
        v2 += v3; v3 = ROTL(v3, 16); v3 ^= v2;                \
        v0 += v3; v3 = ROTL(v3, 21); v3 ^= v0;                \
        v2 += v1; v1 = ROTL(v1, 17); v1 ^= v2; v2 = ROTL(v2, 32); \
    } while (0)

/* SipHash-1-3 (Aumasson, Bernstein: "SipHash: a fast short-input PRF"). */
static uint64_t siphash(const char *s, size_t len) {
    uint64_t v0 = key0 ^ 0x736f6d6570736575ULL, v1 = key1 ^ 0x646f72616e646f6dULL;
    uint64_t v2 = key0 ^ 0x6c7967656e657261ULL, v3 = key1 ^ 0x7465646279746573ULL;
    uint64_t m, b = (uint64_t)len << 56;
    size_t i;
    for (i = 0; i + 8 <= len; i += 8) {
        memcpy(&m, s + i, 8);
        v3 ^= m;
        SIPROUND;
        v0 ^= m;
    }
    for (size_t k = 0; i + k < len; k++)
        b |= (uint64_t)(unsigned char)s[i + k] << (8 * k);
    v3 ^= b;
    SIPROUND;
    v0 ^= b;
    v2 ^= 0xff;
    SIPROUND;
    SIPROUND;
    SIPROUND;
    return v0 ^ v1 ^ v2 ^ v3;
}

/* In the place of a key that was borrowed and may be gone by now. */
static const char removed[] = "";

static void key_free(const struct map *m, char *key) {
    if (!m->borrows)
        free(key);
}

void map_done(struct map *m) {
    for (size_t i = 0; i < m->cap; i++)
        key_free(m, m->slots[i].key);
    free(m->slots);
    *m = (struct map){0};
}

static struct map_slot *find(const struct map *m, const char *key, uint64_t hash) {
    size_t i = hash & (m->cap - 1);
    while (m->slots[i].key) {
        if (m->slots[i].hash == hash && strcmp(m->slots[i].key, key) == 0)
            return &m->slots[i];
        i = (i + 1) & (m->cap - 1);
    }
    return &m->slots[i];
}

void *map_get(const struct map *m, const char *key) {
    if (!m->cap || !key)
        return NULL;
    return find(m, key, siphash(key, strlen(key)))->value;
}

static void grow(struct map *m) {
    struct map old = *m;
    size_t cap = 16;
    while (cap < (old.count + 1) * 2)
        cap *= 2;
    *m = (struct map){.slots = xcalloc(cap, sizeof(struct map_slot)), .cap = cap, .borrows = old.borrows};
    for (size_t i = 0; i < old.cap; i++) {
        struct map_slot *s = &old.slots[i];
        if (s->key && s->value) {
            *find(m, s->key, s->hash) = *s;
            m->used++;
            m->count++;
        } else {
            key_free(m, s->key);
        }
    }
    free(old.slots);
}

void *map_put(struct map *m, const char *key, void *value) {
    if (!value)
        abort();
    if ((m->used + 1) * 4 > m->cap * 3)
        grow(m);
    uint64_t hash = siphash(key, strlen(key));
    struct map_slot *s = find(m, key, hash);
    void *old = s->value;
    if (!s->key) {
        s->key = m->borrows ? (char *)key : xstrdup(key);
        s->hash = hash;
        m->used++;
    } else if (m->borrows) {
        s->key = (char *)key; /* the new value's */
    }
    if (!old)
        m->count++;
    s->value = value;
    return old;
}

void *map_remove(struct map *m, const char *key) {
    if (!m->cap || !key)
        return NULL;
    struct map_slot *s = find(m, key, siphash(key, strlen(key)));
    void *old = s->value;
    if (old) {
        s->value = NULL;
        if (m->borrows)
            s->key = (char *)removed;
        m->count--;
    }
    return old;
}

bool map_next(const struct map *m, size_t *pos, const char **ret_key, void **ret_value) {
    while (*pos < m->cap) {
        struct map_slot *s = &m->slots[(*pos)++];
        if (s->key && s->value) {
            if (ret_key)
                *ret_key = s->key;
            if (ret_value)
                *ret_value = s->value;
            return true;
        }
    }
    return false;
}

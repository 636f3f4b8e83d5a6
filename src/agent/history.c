/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/history.h"

#include "base/id.h"
#include "base/map.h"
#include "base/mem.h"

#include <math.h>
#include <stdio.h>

#define UNKNOWN      UINT16_MAX
#define EXPONENT_MIN (-16)
#define SERIES_MAX   100000
#define DAY_S        86400

static const struct { int step, points; } scales[] = {{10, 360}, {120, 720}};
#define SCALES ARRAY_LEN(scales)

/* The newest point is that of slot `last`; the others stand before it without a gap. */
struct ring {
    int64_t last;
    int n, cap, at;                     /* at: of the newest point, once the ring is full */
    uint16_t *columns[HISTORY_METRICS]; /* NULL: never known */
    int64_t slot;                       /* being added up */
    double sum[HISTORY_METRICS];
    int count[HISTORY_METRICS];
};

struct series {
    struct ring rings[SCALES];
};

struct history {
    struct map series; /* by id */
};

/* ---- values ---- */

uint16_t history_pack(double v) {
    int e;
    if (isnan(v))
        return UNKNOWN;
    double m = v > 0 ? frexp(v, &e) : 0; /* 0.5 to 1 */
    if (m <= 0 || e < EXPONENT_MIN)
        return 0;
    if (e > EXPONENT_MIN + 63)
        return UNKNOWN - 1;
    int packed = (e - EXPONENT_MIN) << 10 | (int)((m - 0.5) * 2048);
    return packed == 0 ? 1 : packed == UNKNOWN ? UNKNOWN - 1 : (uint16_t)packed;
}

double history_unpack(uint16_t packed) {
    if (packed == UNKNOWN)
        return NAN;
    return packed == 0 ? 0 : ldexp(0.5 + (packed & 1023) / 2048.0, (packed >> 10) + EXPONENT_MIN);
}

/* ---- rings ---- */

static void ring_clear(struct ring *r) {
    for (int k = 0; k < HISTORY_METRICS; k++)
        free(r->columns[k]);
    *r = (struct ring){0};
}

/* The place of the i-th point, the oldest being 0. */
static int ring_place(const struct ring *r, int i) { return r->n < r->cap ? i : (r->at + 1 + i) % r->cap; }

static void ring_grow(struct ring *r, int max) {
    int cap = r->cap ? r->cap * 2 : 16;
    if (cap > max)
        cap = max;
    for (int k = 0; k < HISTORY_METRICS; k++) {
        if (!r->columns[k])
            continue;
        r->columns[k] = xreallocarray(r->columns[k], (size_t)cap, sizeof(uint16_t));
    }
    r->cap = cap;
}

static void column_need(struct ring *r, int k) {
    if (r->columns[k])
        return;
    r->columns[k] = xmalloc((size_t)r->cap * sizeof(uint16_t));
    memset(r->columns[k], 0xff, (size_t)r->cap * sizeof(uint16_t));
}

static void ring_push(struct ring *r, int max, const uint16_t values[static HISTORY_METRICS]) {
    if (r->n == r->cap && r->cap < max)
        ring_grow(r, max);
    int place = r->n < r->cap ? r->n++ : (r->at + 1) % r->cap;
    r->at = place;
    for (int k = 0; k < HISTORY_METRICS; k++) {
        if (values[k] != UNKNOWN)
            column_need(r, k);
        if (r->columns[k])
            r->columns[k][place] = values[k];
    }
}

/* A point for a slot, after unknown ones for those since the last. */
static void ring_put(struct ring *r, int max, int64_t slot, const uint16_t values[static HISTORY_METRICS]) {
    uint16_t none[HISTORY_METRICS];
    memset(none, 0xff, sizeof none);
    if (r->n && (slot <= r->last || slot - r->last > max))
        ring_clear(r);
    for (int64_t s = r->last + 1; r->n && s < slot; s++)
        ring_push(r, max, none);
    ring_push(r, max, values);
    r->last = slot;
}

static void ring_flush(struct ring *r, int max) {
    uint16_t values[HISTORY_METRICS];
    bool any = false;
    for (int k = 0; k < HISTORY_METRICS; k++) {
        values[k] = history_pack(r->count[k] ? r->sum[k] / r->count[k] : NAN);
        any |= r->count[k] > 0;
        r->sum[k] = 0;
        r->count[k] = 0;
    }
    if (any)
        ring_put(r, max, r->slot, values);
}

static void ring_add(struct ring *r, size_t scale, int64_t now_s, const double values[static HISTORY_METRICS]) {
    int64_t slot = now_s / scales[scale].step;
    if (slot != r->slot)
        ring_flush(r, scales[scale].points);
    r->slot = slot;
    for (int k = 0; k < HISTORY_METRICS; k++) {
        if (isnan(values[k]))
            continue;
        r->sum[k] += values[k];
        r->count[k]++;
    }
}

/* ---- series ---- */

static void series_free(struct series *s) {
    for (size_t i = 0; s && i < SCALES; i++)
        ring_clear(&s->rings[i]);
    free(s);
}

struct history *history_new(void) {
    return xcalloc(1, sizeof(struct history));
}

void history_free(struct history *h) {
    size_t pos = 0;
    void *value;
    while (h && map_next(&h->series, &pos, NULL, &value))
        series_free(value);
    if (h)
        map_done(&h->series);
    free(h);
}

static struct series *series_of(struct history *h, const char *id) {
    struct series *s = map_get(&h->series, id);
    if (!s && map_count(&h->series) < SERIES_MAX) {
        s = xcalloc(1, sizeof *s);
        map_put(&h->series, id, s);
    }
    return s;
}

void history_add(struct history *h, const char *id, int64_t now_s, const double values[static HISTORY_METRICS]) {
    struct series *s = now_s > 0 ? series_of(h, id) : NULL;
    for (size_t i = 0; s && i < SCALES; i++)
        ring_add(&s->rings[i], i, now_s, values);
}

void history_trim(struct history *h, int64_t now_s) {
    size_t pos = 0;
    const char *id;
    void *value;
    while (map_next(&h->series, &pos, &id, &value)) {
        int64_t heard = 0;
        for (size_t i = 0; i < SCALES; i++) {
            const struct ring *r = &((struct series *)value)->rings[i];
            int64_t at = (r->slot > r->last ? r->slot : r->last) * scales[i].step;
            heard = at > heard ? at : heard;
        }
        if (now_s - heard > DAY_S || heard - now_s > DAY_S) {
            map_remove(&h->series, id);
            series_free(value);
        }
    }
}

/* ---- printing ---- */

static const struct {
    const char *name;
    bool whole;
} metrics[HISTORY_METRICS] = {
    [HISTORY_CPU] = {"cpu", false},
    [HISTORY_MEMORY] = {"memory", true},
    [HISTORY_DISK_READ] = {"disk_read", false},
    [HISTORY_DISK_WRITE] = {"disk_write", false},
    [HISTORY_NET_RECEIVE] = {"net_receive", false},
    [HISTORY_NET_SEND] = {"net_send", false},
};

/* A point of which nothing at all is known, or that is older than the range, is not shown. */
static bool shown(const struct ring *r, int i, int64_t oldest) {
    if (r->last - (r->n - 1 - i) < oldest)
        return false;
    for (int k = 0; k < HISTORY_METRICS; k++)
        if (r->columns[k] && r->columns[k][ring_place(r, i)] != UNKNOWN)
            return true;
    return false;
}

static void print_column(const struct ring *r, int k, int64_t oldest, struct buf *out) {
    bool first = true;
    buf_addf(out, ",\"%s\":[", metrics[k].name);
    for (int i = 0; r->columns[k] && i < r->n; i++) {
        if (!shown(r, i, oldest))
            continue;
        double v = history_unpack(r->columns[k][ring_place(r, i)]);
        if (isnan(v))
            v = 0; /* others of this moment are known: it had just begun */
        buf_adds(out, first ? "" : ",");
        if (metrics[k].whole)
            buf_addf(out, "%lld", (long long)v);
        else
            buf_addf(out, "%.4g", v);
        first = false;
    }
    buf_addc(out, ']');
}

void history_print(const struct history *h, const char *id, enum api_metric_range range, int64_t now_s,
                   struct buf *out) {
    size_t scale = range == API_METRIC_RANGE_24H ? 1 : 0;
    static const struct series nothing;
    const struct series *s = map_get(&h->series, id);
    const struct ring *r = &(s ? s : &nothing)->rings[scale];
    int64_t oldest = now_s / scales[scale].step - scales[scale].points;
    bool first = true;
    buf_addf(out, "{\"step\":%d,\"times\":[", scales[scale].step);
    for (int i = 0; i < r->n; i++) {
        if (!shown(r, i, oldest))
            continue;
        buf_addf(out, "%s%lld", first ? "" : ",", (long long)(r->last - (r->n - 1 - i)) * scales[scale].step);
        first = false;
    }
    buf_addc(out, ']');
    for (int k = 0; k < HISTORY_METRICS; k++)
        print_column(r, k, oldest, out);
    buf_addc(out, '}');
}

/* ---- the file: of this machine for this machine ---- */

static const char magic[8] = "TARNMH1";

struct stored_ring {
    int64_t last;
    uint16_t n, columns; /* columns: a bit for each that follows */
    uint32_t zero;
};

static void save_ring(const struct ring *r, struct buf *out) {
    struct stored_ring head = {.last = r->last, .n = (uint16_t)r->n};
    for (int k = 0; k < HISTORY_METRICS; k++)
        head.columns |= (uint16_t)((r->columns[k] != NULL) << k);
    buf_add(out, (const char *)&head, sizeof head);
    for (int k = 0; k < HISTORY_METRICS; k++)
        for (int i = 0; r->columns[k] && i < r->n; i++)
            buf_add(out, (const char *)&r->columns[k][ring_place(r, i)], sizeof(uint16_t));
}

void history_save(const struct history *h, struct buf *out) {
    size_t pos = 0;
    const char *id;
    void *value;
    buf_add(out, magic, sizeof magic);
    while (map_next(&h->series, &pos, &id, &value)) {
        char name[UUID_LEN + 4] = "";
        snprintf(name, sizeof name, "%s", id);
        buf_add(out, name, sizeof name);
        for (size_t i = 0; i < SCALES; i++)
            save_ring(&((struct series *)value)->rings[i], out);
    }
}

struct reading {
    const char *at, *end;
};

static bool take(struct reading *r, void *ret, size_t len) {
    if ((size_t)(r->end - r->at) < len)
        return false;
    memcpy(ret, r->at, len);
    r->at += len;
    return true;
}

static bool load_ring(struct reading *in, struct ring *r, int max) {
    struct stored_ring head;
    if (!take(in, &head, sizeof head) || head.n > max || head.columns >> HISTORY_METRICS || head.last < 0)
        return false;
    while (r->cap < head.n)
        ring_grow(r, max);
    r->last = r->slot = head.last;
    r->n = head.n;
    r->at = head.n - 1;
    for (int k = 0; head.n && k < HISTORY_METRICS; k++) {
        if (!(head.columns & 1u << k))
            continue;
        column_need(r, k);
        if (!take(in, r->columns[k], head.n * sizeof(uint16_t)))
            return false;
    }
    return true;
}

void history_load(struct history *h, const void *data, size_t len) {
    struct reading in = {data, (const char *)data + len};
    char begin[sizeof magic], id[UUID_LEN + 4];
    if (!take(&in, begin, sizeof begin) || memcmp(begin, magic, sizeof magic) != 0)
        return;
    while (take(&in, id, sizeof id)) {
        id[sizeof id - 1] = 0;
        struct series *s = (*id && !uuid_valid(id)) || map_get(&h->series, id) ? NULL : series_of(h, id);
        bool good = s != NULL;
        for (size_t i = 0; good && i < SCALES; i++)
            good = load_ring(&in, &s->rings[i], scales[i].points);
        if (good)
            continue;
        if (s) {
            map_remove(&h->series, id);
            series_free(s);
        }
        return;
    }
}

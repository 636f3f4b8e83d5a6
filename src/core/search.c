/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Search over every kind. What can be found of an object stands in lower case in one long text for its kind, so that a
 * search is a few passes over memory in order instead of a walk over a hundred thousand objects:
 *
 *     \4 ID \1 NAME \2 TAG \2 ADDRESS … \3 DESCRIPTION   and the next object's
 *
 * An object that changes what can be found of it gets a new piece at the end; its old one is dead until half of the
 * text is, which is then written anew. Case is folded for ASCII only.
 *
 * For each few pieces it is noted which three characters stand next to one another in them, one bit for those of one
 * hash: most pieces cannot have what is looked for, and are passed over. Ids, in which everything occurs, are noted
 * by how they begin, as they are found by that alone.
 *
 * A search that finds much goes on in another go (parked.c). It is told when a piece that it has looked at dies, so
 * that what it has found is always so now; what takes that piece's place is at the end, where it will come.
 */
#include "core/core_int.h"

#include <ctype.h>
#include <errno.h>
#include <strings.h>

enum { CLASS_NAME = 1, CLASS_OTHER, CLASS_DESCRIPTION, CLASS_ID, CLASS_END };

#define ID_PREFIX_MIN   4
#define DESCRIPTION_MAX 512 /* bytes of it that are searched */
#define DETAIL_MAX      120
#define COMPACT_MIN     65536
#define BLOCK           16
#define BLOCK_BITS      1024
#define ID_BITS         256
#define BLOCK_BYTES     64   /* that a block which is passed over counts for */
#define NEEDLE_MARKS    16   /* of what is looked for that are compared */
#define OBJECT_BYTES    512  /* of the text are looked at in the time of an object */
#define HIT_BYTES       4096 /* or in that of something found */
#define SPARE           8    /* hits in the place of those that vanish before the answer */

/* Fields by their paths, for every kind that has them. */
static const struct {
    const char *path;
    char class;
} searched[] = {
    {"name", CLASS_NAME},
    {"title", CLASS_NAME},
    {"full_name", CLASS_OTHER},
    {"tags", CLASS_OTHER},
    {"nics.mac", CLASS_OTHER},
    {"nics.address", CLASS_OTHER},
    {"addresses.address", CLASS_OTHER},
    {"path", CLASS_OTHER},
    {"description", CLASS_DESCRIPTION},
};
/* What tells where an object is, the first that is not empty. */
static const char *const whereabouts[] = {"vm", "server", "repository", "pool", "role", "actor"};

struct entry {
    struct object *o; /* NULL: dead */
    uint32_t at, len;
};

struct block {
    uint64_t bits[BLOCK_BITS / 64], ids[ID_BITS / 64];
};

struct search_index {
    bool used;
    size_t n_names;                         /* fields of CLASS_NAME */
    struct path paths[ARRAY_LEN(searched)]; /* n 0: the kind has no such field */
    struct path where[ARRAY_LEN(whereabouts)];
    struct path state;
    struct buf text;
    struct entry *entries;
    struct block *blocks; /* of BLOCK entries each */
    size_t n, cap, dead;  /* dead: bytes */
};

struct search {
    struct search_index kinds[API_KIND_COUNT];
    struct list runs; /* those that are under way */
};

struct hit {
    const struct object *o;
    int rank;
};

struct hits {
    struct hit *list; /* sorted, the best first */
    size_t n, cap, total;
};

/* A search. */
struct search_run {
    struct list link; /* search.runs, between two goes */
    char *needle;
    size_t len;
    uint16_t marks[NEEDLE_MARKS], id_mark; /* bits of a block that has it; of one where an id begins so */
    size_t n_marks;
    bool may_be_id;
    unsigned may;              /* kinds that are searched */
    size_t at[API_KIND_COUNT]; /* entries before it have been looked at */
    struct hits hits[API_KIND_COUNT];
};

static void run_entry_dies(struct search_run *run, const struct search_index *x, const struct object *o, size_t at);

static bool path_of(enum api_kind kind, const char *text, struct path *p) {
    if (path_parse(api_kinds[kind].schema, text, strlen(text), p, NULL) == 0)
        return true;
    *p = (struct path){0};
    return false;
}

struct search *search_new(void) {
    struct search *s = xcalloc(1, sizeof *s);
    list_init(&s->runs);
    for (int kind = 0; kind < API_KIND_COUNT; kind++) {
        struct search_index *x = &s->kinds[kind];
        /* Tokens are one's own, and events would drown what they are about. */
        if (kind == API_KIND_TOKEN || kind == API_KIND_EVENT)
            continue;
        for (size_t i = 0; i < ARRAY_LEN(searched); i++)
            x->n_names +=
                path_of((enum api_kind)kind, searched[i].path, &x->paths[i]) && searched[i].class == CLASS_NAME;
        x->used = x->n_names > 0;
        for (size_t i = 0; i < ARRAY_LEN(whereabouts); i++)
            path_of((enum api_kind)kind, whereabouts[i], &x->where[i]);
        path_of((enum api_kind)kind, "state", &x->state);
    }
    return s;
}

void search_free(struct search *s) {
    for (int kind = 0; s && kind < API_KIND_COUNT; kind++) {
        buf_done(&s->kinds[kind].text);
        free(s->kinds[kind].entries);
        free(s->kinds[kind].blocks);
    }
    free(s);
}

/* ---- the text ---- */

struct writing {
    struct buf *out;
    char class;
};

static bool write_scalar(void *ctx, const struct scalar *v) {
    const struct writing *w = ctx;
    size_t len = strlen(v->text);
    if (w->class == CLASS_DESCRIPTION && len > DESCRIPTION_MAX)
        len = DESCRIPTION_MAX;
    if (!len)
        return false;
    buf_addc(w->out, w->class);
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)v->text[i];
        buf_addc(w->out, c < CLASS_END ? ' ' : (char)tolower(c));
    }
    return false;
}

static void write_object(const struct search_index *x, const struct object *o, struct buf *out) {
    buf_addc(out, CLASS_ID);
    buf_adds(out, o->id);
    for (size_t i = 0; i < ARRAY_LEN(searched); i++) {
        struct writing w = {out, searched[i].class};
        if (x->paths[i].n)
            path_visit(&x->paths[i], 0, o->v->data, write_scalar, &w);
    }
}

/* ---- which blocks may have it ---- */

static uint16_t mark_of(const char *s) {
    const unsigned char *c = (const unsigned char *)s;
    uint32_t h = ((uint32_t)c[0] << 16 | (uint32_t)c[1] << 8 | c[2]) * UINT32_C(2654435761);
    return (uint16_t)(h >> 16) % BLOCK_BITS;
}

static uint16_t id_mark_of(const char *id) { return (uint16_t)(mark_of(id) * 31u + mark_of(id + 1)) % ID_BITS; }

static void set_bit(uint64_t *bits, uint16_t bit) { bits[bit / 64] |= UINT64_C(1) << bit % 64; }
static bool has_bit(const uint64_t *bits, uint16_t bit) { return bits[bit / 64] & UINT64_C(1) << bit % 64; }

static void mark_entry(struct search_index *x, size_t at) {
    const struct entry *e = &x->entries[at];
    struct block *b = &x->blocks[at / BLOCK];
    const char *text = x->text.data + e->at, *end = text + e->len;
    set_bit(b->ids, id_mark_of(text + 1));
    for (const char *s = text + 1 + UUID_LEN; s + 3 <= end; s++)
        set_bit(b->bits, mark_of(s));
}

static bool block_may_have(const struct block *b, const struct search_run *run) {
    if (!run->n_marks || (run->may_be_id && has_bit(b->ids, run->id_mark)))
        return true;
    for (size_t i = 0; i < run->n_marks; i++)
        if (!has_bit(b->bits, run->marks[i]))
            return false;
    return true;
}

static void run_mark(struct search_run *run) {
    for (size_t i = 0; i + 3 <= run->len && i < NEEDLE_MARKS; i++)
        run->marks[run->n_marks++] = mark_of(run->needle + i);
    run->may_be_id = run->len >= ID_PREFIX_MIN && strspn(run->needle, "0123456789abcdef-") == run->len;
    if (run->may_be_id)
        run->id_mark = id_mark_of(run->needle);
}

/* ---- keeping it ---- */

static void entry_kill(struct search *s, struct search_index *x, struct object *o) {
    struct entry *old = &x->entries[o->search - 1];
    struct search_run *run;
    list_for_each(run, &s->runs, link) run_entry_dies(run, x, o, o->search - 1);
    old->o = NULL;
    x->dead += old->len;
    o->search = 0;
}

static void compact(struct search *s, enum api_kind kind) {
    struct search_index *x = &s->kinds[kind];
    struct buf text = {0};
    size_t n = 0;
    buf_reserve(&text, x->text.len - x->dead);
    struct search_run *run;
    list_for_each(run, &s->runs, link) {
        size_t live = 0;
        for (size_t i = 0; i < run->at[kind]; i++)
            live += x->entries[i].o != NULL;
        run->at[kind] = live;
    }
    for (size_t i = 0; i < x->n; i++) {
        struct entry e = x->entries[i];
        if (!e.o)
            continue;
        uint32_t at = (uint32_t)text.len;
        buf_add(&text, x->text.data + e.at, e.len);
        x->entries[n++] = (struct entry){e.o, at, e.len};
        e.o->search = (uint32_t)n;
    }
    buf_done(&x->text);
    x->text = text;
    x->n = n;
    x->dead = 0;
    memset(x->blocks, 0, (x->cap / BLOCK) * sizeof *x->blocks);
    for (size_t i = 0; i < n; i++)
        mark_entry(x, i);
}

void search_update(struct search *s, struct object *o) {
    struct search_index *x = &s->kinds[o->kind];
    if (!x->used)
        return;
    size_t at = x->text.len;
    if (o->v)
        write_object(x, o, &x->text);
    size_t len = x->text.len - at;
    const struct entry *old = o->search ? &x->entries[o->search - 1] : NULL;
    if (old && old->len == len && memcmp(x->text.data + old->at, x->text.data + at, len) == 0) {
        x->text.len = at; /* what can be found of it is the same */
        return;
    }
    if (old)
        entry_kill(s, x, o);
    if (o->v && at + len < UINT32_MAX) {
        if (x->n == x->cap) {
            x->cap = x->cap ? x->cap * 2 : 64;
            x->entries = xreallocarray(x->entries, x->cap, sizeof *x->entries);
            x->blocks = xreallocarray(x->blocks, x->cap / BLOCK, sizeof *x->blocks);
            memset(x->blocks + x->n / BLOCK, 0, (x->cap - x->n) / BLOCK * sizeof *x->blocks);
        }
        x->entries[x->n++] = (struct entry){o, (uint32_t)at, (uint32_t)len};
        o->search = (uint32_t)x->n;
        mark_entry(x, x->n - 1);
    }
    if (x->dead > COMPACT_MIN && x->dead > x->text.len / 2)
        compact(s, o->kind);
}

/* ---- searching ---- */

/* Its name in the text, ended by a class; of what has none its id. */
static const char *name_in(const struct search_index *x, const struct object *o) {
    const struct entry *e = &x->entries[o->search - 1];
    const char *begin = x->text.data + e->at, *name = memchr(begin, CLASS_NAME, e->len);
    return name ? name + 1 : begin + 1;
}

/* How good a match at this place, which is not in the id, is; the less the better. */
static int rank_at(const char *end, const char *at, size_t len) {
    const char *field = at;
    while ((unsigned char)*field >= CLASS_END)
        field--;
    int class = *field++;
    bool whole = at == field && (at + len == end || (unsigned char)at[len] < CLASS_END);
    int how = whole ? 0 : at == field ? 1 : !isalnum((unsigned char)at[-1]) ? 2 : 3;
    return class == CLASS_NAME ? how : class == CLASS_OTHER ? 5 + how : 9 + how;
}

static int compare_names(const char *a, const char *b) {
    while (*a == *b && (unsigned char)*a >= CLASS_END)
        a++, b++;
    unsigned char x = (unsigned char)*a, y = (unsigned char)*b;
    return x < CLASS_END && y < CLASS_END ? 0 : x < y ? -1 : x > y; /* what ends a name is below all that is in one */
}

static int compare_hits(const struct search_index *x, const struct hit *a, const struct hit *b) {
    if (a->rank != b->rank)
        return a->rank - b->rank;
    if (a->o->kind == API_KIND_JOB)
        return strcmp(b->o->id, a->o->id); /* the newest first */
    int r = compare_names(name_in(x, a->o), name_in(x, b->o));
    return r ? r : strcmp(a->o->id, b->o->id);
}

static void hits_add(const struct search_index *x, struct hits *h, const struct hit *hit) {
    h->total++;
    if (h->n == h->cap && compare_hits(x, hit, &h->list[h->n - 1]) >= 0)
        return;
    size_t lo = 0, hi = h->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (compare_hits(x, &h->list[mid], hit) <= 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (h->n < h->cap)
        h->n++;
    memmove(h->list + lo + 1, h->list + lo, (h->n - lo - 1) * sizeof *h->list);
    h->list[lo] = *hit;
}

/* The entry of a block that holds an offset, at or after the one given. */
static size_t entry_at(const struct search_index *x, size_t from, size_t end, size_t offset) {
    while (from + 1 < end && x->entries[from + 1].at <= offset)
        from++;
    return from;
}

/* The best match in one object's piece of the text, of which at is the first; -1 for none. */
static int rank_entry(const struct search_index *x, const char *begin, const char *end, const char *at,
                      const char *needle, size_t len) {
    int best = -1, enough = x->n_names > 1 ? 0 : 1; /* a name that begins so, and is longer, is not the whole too */
    if (at <= begin + UUID_LEN) {
        if (at == begin + 1 && len >= ID_PREFIX_MIN)
            best = len == UUID_LEN ? 0 : 4;
        const char *rest = begin + 1 + UUID_LEN;
        at = rest < end ? memmem(rest, (size_t)(end - rest), needle, len) : NULL;
    }
    while (at && (best < 0 || best > enough)) {
        int rank = rank_at(end, at, len);
        if (best < 0 || rank < best)
            best = rank;
        else if (rank >= 5)
            break; /* what follows is no better than what was found */
        at = at + 1 < end ? memmem(at + 1, (size_t)(end - at - 1), needle, len) : NULL;
    }
    return best;
}

/* Entries of one block. What it counts for. */
static size_t search_block(struct search_run *run, const struct search_index *x, enum api_kind kind, size_t i,
                           size_t last) {
    const char *text = x->text.data, *begun = text + x->entries[i].at, *at = begun;
    const char *end = text + x->entries[last - 1].at + x->entries[last - 1].len;
    size_t found = 0;
    while (at < end && (at = memmem(at, (size_t)(end - at), run->needle, run->len))) {
        i = entry_at(x, i, last, (size_t)(at - text));
        const struct entry *e = &x->entries[i];
        const char *begin = text + e->at, *next = begin + e->len;
        int best = e->o ? rank_entry(x, begin, next, at, run->needle, run->len) : -1;
        if (best >= 0)
            hits_add(x, &run->hits[kind], &(struct hit){e->o, best});
        at = next;
        found++;
    }
    return (size_t)(end - begun) + found * HIT_BYTES;
}

/* False: there is more. bytes: how much of the text may be looked at still. */
static bool search_kind(struct search_run *run, const struct search_index *x, enum api_kind kind, size_t *bytes) {
    size_t *at = &run->at[kind];
    while (*at < x->n && *bytes) {
        size_t last = (*at / BLOCK + 1) * BLOCK, cost = BLOCK_BYTES;
        if (last > x->n)
            last = x->n;
        if (block_may_have(&x->blocks[*at / BLOCK], run))
            cost = search_block(run, x, kind, *at, last);
        *bytes = *bytes > cost ? *bytes - cost : 0;
        *at = last;
    }
    return *at == x->n;
}

/* One goes on until it has looked at everything, or at enough for now (false). */
static bool search_go(const struct search *s, struct search_run *run, size_t bytes) {
    for (int kind = 0; kind < API_KIND_COUNT; kind++)
        if (run->may & 1u << kind && !search_kind(run, &s->kinds[kind], (enum api_kind)kind, &bytes))
            return false;
    return true;
}

static void run_entry_dies(struct search_run *run, const struct search_index *x, const struct object *o, size_t at) {
    const struct entry *e = &x->entries[at];
    struct hits *h = &run->hits[o->kind];
    const char *begin = x->text.data + e->at;
    const char *found = at < run->at[o->kind] ? memmem(begin, e->len, run->needle, run->len) : NULL;
    if (!found || rank_entry(x, begin, begin + e->len, found, run->needle, run->len) < 0)
        return;
    h->total--;
    for (size_t i = 0; i < h->n; i++) {
        if (h->list[i].o != o)
            continue;
        memmove(h->list + i, h->list + i + 1, (h->n - i - 1) * sizeof *h->list);
        h->n--;
        return;
    }
}

/* ---- answers ---- */

struct excerpt {
    const struct core *c;
    const char *needle, *ref;
    char *text;
};

static bool take_match(void *ctx, const struct scalar *v) {
    struct excerpt *x = ctx;
    const char *at = strcasestr(v->text, x->needle);
    if (!at)
        return false;
    const char *from = at - v->text > DETAIL_MAX / 2 ? at - DETAIL_MAX / 2 : v->text;
    while (from < at && ((unsigned char)*from & 0xc0) == 0x80)
        from++;
    size_t n = strnlen(from, DETAIL_MAX);
    while (n && from[n] && ((unsigned char)from[n] & 0xc0) == 0x80)
        n--;
    x->text = xstrndup(from, n);
    return true;
}

static bool take_text(void *ctx, const struct scalar *v) {
    struct excerpt *x = ctx;
    if (str_empty(v->text))
        return false;
    int kind = x->ref ? api_kind_from_text(x->ref) : -1;
    const struct object *o = kind >= 0 ? core_find(x->c, (enum api_kind)kind, v->text) : NULL;
    x->text = xstrdup(o ? object_name(o) : v->text);
    return true;
}

static char *detail_of(const struct core *c, const struct search_index *x, const struct hit *h, const char *needle) {
    struct excerpt e = {.c = c, .needle = needle};
    for (size_t i = 0; i < ARRAY_LEN(searched) && h->rank >= 5 && !e.text; i++)
        if (x->paths[i].n && searched[i].class != CLASS_NAME)
            path_visit(&x->paths[i], 0, h->o->v->data, take_match, &e);
    for (size_t i = 0; i < ARRAY_LEN(whereabouts) && !e.text; i++) {
        if (!x->where[i].n)
            continue;
        e.ref = x->where[i].fields[0]->ref;
        path_visit(&x->where[i], 0, h->o->v->data, take_text, &e);
    }
    return e.text;
}

static void print_hits(const struct core *c, const struct search_index *x, const struct hits *h, const char *needle,
                       json_t *items) {
    for (size_t i = 0; i < h->n && i < h->cap - SPARE; i++) {
        const struct object *o = h->list[i].o;
        struct excerpt state = {.c = c};
        if (x->state.n)
            path_visit(&x->state, 0, o->v->data, take_text, &state);
        _cleanup_free_ char *detail = detail_of(c, x, &h->list[i], needle), *text = state.text;
        json_t *j = json_object();
        json_set_str(j, "kind", api_kinds[o->kind].name);
        json_set_str(j, "id", o->id);
        json_set_str(j, "name", o->kind == API_KIND_JOB ? ((const struct api_job *)o->v->data)->title : object_name(o));
        json_set_str(j, "state", str_or(text, ""));
        json_set_str(j, "detail", str_or(detail, ""));
        json_array_append_new(items, j);
    }
}

/* Where kinds match equally well, this is their order; jobs, which name what they are about, are last always. */
static int kind_rank(enum api_kind kind, const struct hits *h) {
    static const enum api_kind first[] = {API_KIND_VM, API_KIND_SERVER, API_KIND_REPOSITORY, API_KIND_TEMPLATE,
                                          API_KIND_DISK};
    int place = 0;
    while (place < (int)ARRAY_LEN(first) && first[place] != kind)
        place++;
    return kind == API_KIND_JOB ? 1000 : h->list[0].rank * 10 + place;
}

/* The kinds in the order in which they are shown: the best match first. */
static size_t order_kinds(const struct hits *hits, enum api_kind order[static API_KIND_COUNT]) {
    size_t n = 0;
    for (int kind = 0; kind < API_KIND_COUNT; kind++) {
        if (!hits[kind].n)
            continue;
        size_t at = n++;
        int rank = kind_rank((enum api_kind)kind, &hits[kind]);
        for (; at > 0; at--) {
            enum api_kind other = order[at - 1];
            if (kind_rank(other, &hits[other]) <= rank)
                break;
            order[at] = other;
        }
        order[at] = (enum api_kind)kind;
    }
    return n;
}

unsigned core_role_kinds(enum api_role role) {
    unsigned may = 0;
    for (int i = 0; i < API_OP_COUNT; i++) {
        const struct api_op *op = &api_ops[i];
        /* An operation for oneself (one's own tokens) says nothing of everybody's objects. */
        if (op->list && op->kind >= 0 && (role == API_ROLE_ADMINISTRATOR || (!op->self && (op->roles & 1u << role))))
            may |= 1u << op->kind;
    }
    return may;
}

static char *trimmed(const char *s) {
    while (isspace((unsigned char)*s))
        s++;
    size_t n = strlen(s);
    while (n && isspace((unsigned char)s[n - 1]))
        n--;
    char *out = xstrndup(s, n);
    for (char *p = out; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    return out;
}

void search_run_free(struct core *c, struct search_run *run) {
    if (!run)
        return;
    for (int kind = 0; kind < API_KIND_COUNT; kind++)
        free(run->hits[kind].list);
    list_remove(&run->link);
    free(run->needle);
    free(run);
}

static struct search_run *run_new(struct core *c, const struct core_request *r, struct error *e) {
    struct api_search_query q;
    if (api_search_query_parse(r->args, API_CREATE, &q, e) < 0)
        return NULL;
    _cleanup_free_ char *needle = trimmed(q.q);
    size_t limit = (size_t)q.limit;
    api_search_query_done(&q);
    if (!*needle) {
        error_set_field(e, ERR_INVALID, "q", "is empty: give what to look for");
        return NULL;
    }
    struct search_run *run = xcalloc(1, sizeof *run);
    run->len = strlen(needle);
    run->needle = TAKE_PTR(needle);
    run->may = core_role_kinds(r->role);
    run_mark(run);
    for (int kind = 0; kind < API_KIND_COUNT; kind++) {
        run->hits[kind].cap = limit + SPARE;
        run->hits[kind].list = xcalloc(limit + SPARE, sizeof *run->hits[kind].list);
    }
    list_append(&c->search->runs, &run->link);
    return run;
}

static void run_reply(struct core *c, const struct core_request *r, const struct search_run *run) {
    enum api_kind order[API_KIND_COUNT];
    uint64_t after = 0;
    json_t *items = json_array(), *totals = json_array();
    size_t n = order_kinds(run->hits, order);
    for (size_t i = 0; i < n; i++) {
        print_hits(c, &c->search->kinds[order[i]], &run->hits[order[i]], run->needle, items);
        json_array_append_new(totals, json_pack("{s:s, s:I}", "kind", api_kinds[order[i]].name, "total",
                                                (json_int_t)run->hits[order[i]].total));
        if (c->tables[order[i]].dirty > after)
            after = c->tables[order[i]].dirty;
    }
    _cleanup_json_ json_t *answer = json_pack("{s:o, s:o}", "items", items, "totals", totals);
    core_reply(c, r->id, 200, json_text(answer), 0, after);
}

int op_search(struct core *c, const struct core_request *r, struct error *e) {
    struct search_run *run = c->resumed ? TAKE_PTR(c->resumed->search) : run_new(c, r, e);
    if (!run)
        return -EINVAL;
    if (!search_go(c->search, run, core_slice(c) * OBJECT_BYTES)) {
        park(c, r)->search = run;
        return 0;
    }
    run_reply(c, r, run);
    search_run_free(c, run);
    return 0;
}

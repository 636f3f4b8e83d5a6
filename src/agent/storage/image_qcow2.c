/* SPDX-License-Identifier: Apache-2.0 */
/* qcow2, versions 2 and 3 (docs/interop/qcow2 of QEMU is the specification). Integers are big-endian. */
#include "agent/storage/image_internal.h"

#include "base/mem.h"

#include <inttypes.h>

#define QCOW2_HEADER_V2     72
#define QCOW2_HEADER_V3     104
#define QCOW2_L1_MAX        (32 * MIB) /* QEMU's own limits, in bytes */
#define QCOW2_REFCOUNTS_MAX (8 * MIB)

enum {
    INCOMPAT_DIRTY = 1 << 0, /* refcounts are stale; reading does not need them */
    INCOMPAT_CORRUPT = 1 << 1,
    INCOMPAT_DATA_FILE = 1 << 2,
    INCOMPAT_COMPRESSION = 1 << 3,
    INCOMPAT_EXTENDED_L2 = 1 << 4,
    INCOMPAT_KNOWN = (1 << 5) - 1,
};

#define EXT_END            0
#define EXT_BACKING_FORMAT 0xe2792aca
#define EXT_DATA_FILE      0x44415441
#define EXT_ENCRYPTION     0x0537be77

struct qcow2_header {
    uint32_t version, cluster_bits, header_length, l1_entries, crypt;
    uint64_t backing_offset, size, l1_offset, refcounts_offset, incompatible;
    uint32_t refcounts_clusters;
    uint32_t backing_len;
    char backing[IMAGE_BACKING_MAX + 1];
    char backing_format[16];
    char data_file[256];
};

static int read_extensions(const struct image_source *s, struct qcow2_header *h, struct error *e) {
    uint64_t at = h->header_length, end = UINT64_C(1) << h->cluster_bits;
    if (h->backing_offset && h->backing_offset < end)
        end = h->backing_offset;
    for (int i = 0; i < 64 && at + 8 <= end; i++) {
        uint8_t head[8];
        int r = image_read(s, at, head, sizeof(head), "its header", e);
        if (r < 0)
            return r;
        uint32_t type = get_be32(head), len = get_be32(head + 4);
        at += 8;
        if (type == EXT_END)
            return 0;
        if (len > end - at)
            return error_set(e, ERR_BAD_IMAGE, "the image is corrupt: a header extension is longer than the header");
        char *to = NULL;
        size_t cap = 0;
        if (type == EXT_BACKING_FORMAT)
            to = h->backing_format, cap = sizeof(h->backing_format) - 1;
        else if (type == EXT_DATA_FILE)
            to = h->data_file, cap = sizeof(h->data_file) - 1;
        else if (type == EXT_ENCRYPTION)
            h->crypt = 2;
        size_t n = len < cap ? len : cap;
        if (to && n > 0 && (r = image_read(s, at, to, n, "its header", e)) < 0)
            return r;
        at += (len + 7) & ~UINT64_C(7);
    }
    return 0;
}

static int read_header(const struct image_source *s, struct qcow2_header *ret, struct error *e) {
    uint8_t b[QCOW2_HEADER_V3] = {0};
    struct qcow2_header h = {.header_length = QCOW2_HEADER_V2};
    int r = image_read(s, 0, b, QCOW2_HEADER_V2, "its header", e);
    if (r < 0)
        return r;
    h.version = get_be32(b + 4);
    if (h.version != 2 && h.version != 3)
        return error_set(e, ERR_BAD_IMAGE, "the image is qcow2 of version %" PRIu32 ", which is not known", h.version);
    if (h.version == 3 && (r = image_read(s, 0, b, QCOW2_HEADER_V3, "its header", e)) < 0)
        return r;
    h.backing_offset = get_be64(b + 8);
    h.backing_len = get_be32(b + 16);
    h.cluster_bits = get_be32(b + 20);
    h.size = get_be64(b + 24);
    h.crypt = get_be32(b + 32);
    h.l1_entries = get_be32(b + 36);
    h.l1_offset = get_be64(b + 40);
    h.refcounts_offset = get_be64(b + 48);
    h.refcounts_clusters = get_be32(b + 56);
    if (h.version == 3) {
        h.incompatible = get_be64(b + 72);
        h.header_length = get_be32(b + 100);
    }
    if (h.cluster_bits < 9 || h.cluster_bits > 21)
        return error_set(e, ERR_BAD_IMAGE, "the image is corrupt: its clusters have 2^%" PRIu32 " bytes",
                         h.cluster_bits);
    if (h.header_length < (h.version == 3 ? QCOW2_HEADER_V3 : QCOW2_HEADER_V2) ||
        h.header_length > 1u << h.cluster_bits)
        return error_set(e, ERR_BAD_IMAGE, "the image is corrupt: its header has %" PRIu32 " bytes", h.header_length);
    if ((r = read_extensions(s, &h, e)) < 0)
        return r;
    if (h.backing_offset) {
        if (h.backing_len > IMAGE_BACKING_MAX)
            return error_set(e, ERR_BAD_IMAGE, "the image is corrupt: the name of its backing file is too long");
        if (!image_peek(s, h.backing_offset, h.backing, h.backing_len)) /* that it has one is enough to refuse it */
            memset(h.backing, 0, sizeof(h.backing));
    }
    *ret = h;
    return 0;
}

static int check_features(const struct qcow2_header *h, struct error *e) {
    char text[IMAGE_TEXT_MAX];
    if (h->incompatible & INCOMPAT_DATA_FILE || h->data_file[0])
        return error_set(e, ERR_BAD_IMAGE,
                         "the image keeps its data in another file (%s); make it whole first: "
                         "qemu-img convert -O qcow2 OLD NEW",
                         image_printable(h->data_file, strlen(h->data_file), text));
    if (h->crypt)
        return error_set(e, ERR_BAD_IMAGE, "the image is encrypted; decrypt it with qemu-img convert first");
    if (h->incompatible & INCOMPAT_CORRUPT)
        return error_set(e, ERR_BAD_IMAGE, "the image is marked corrupt; repair it first: qemu-img check -r all FILE");
    if (h->incompatible & ~(uint64_t)INCOMPAT_KNOWN)
        return error_set(e, ERR_BAD_IMAGE, "the image uses features of qcow2 that are not known (bits 0x%" PRIx64 ")",
                         h->incompatible & ~(uint64_t)INCOMPAT_KNOWN);
    return 0;
}

static uint64_t l2_reach(const struct qcow2_header *h) { /* log2 of the bytes that one L2 table maps */
    return 2 * h->cluster_bits - (h->incompatible & INCOMPAT_EXTENDED_L2 ? 4 : 3);
}

static int check_tables(const struct image_source *s, const struct qcow2_header *h, struct error *e) {
    uint64_t shift = l2_reach(h), needed = (h->size + (UINT64_C(1) << shift) - 1) >> shift;
    if (needed > h->l1_entries || (uint64_t)h->l1_entries * 8 > QCOW2_L1_MAX)
        return error_set(e, ERR_BAD_IMAGE,
                         "the image is corrupt: its L1 table has %" PRIu32 " entries where %" PRIu64 " are needed",
                         h->l1_entries, needed);
    if (h->l1_offset == 0 || h->l1_offset & ((UINT64_C(1) << h->cluster_bits) - 1))
        return error_set(e, ERR_BAD_IMAGE, "the image is corrupt: the place of its L1 table makes no sense");
    if (h->refcounts_offset & ((UINT64_C(1) << h->cluster_bits) - 1) ||
        (uint64_t)h->refcounts_clusters << h->cluster_bits > QCOW2_REFCOUNTS_MAX)
        return error_set(e, ERR_BAD_IMAGE,
                         "the image is corrupt: the place or size of its refcount table makes no sense");
    int r = image_within(s, h->refcounts_offset, (uint64_t)h->refcounts_clusters << h->cluster_bits,
                         "its refcount table", e);
    return r < 0 ? r : image_within(s, h->l1_offset, needed * 8, "its L1 table", e);
}

int qcow2_probe(const struct image_source *s, struct image_info *ret, struct error *e) {
    struct qcow2_header h;
    char text[IMAGE_TEXT_MAX];
    int r = read_header(s, &h, e);
    if (r < 0)
        return r;
    if (h.backing_offset || h.backing_len)
        return error_set(e, ERR_BAD_IMAGE,
                         "the image holds only the changes to another file, its backing file %s; make it whole first: "
                         "qemu-img convert -O qcow2 OLD NEW",
                         image_printable(h.backing, h.backing_len, text));
    if ((r = check_features(&h, e)) < 0 || (r = image_check_size(h.size, e)) < 0 || (r = check_tables(s, &h, e)) < 0)
        return r;
    ret->size = (int64_t)h.size;
    ret->u.qcow2.version = h.version;
    ret->u.qcow2.cluster_bits = h.cluster_bits;
    ret->u.qcow2.extended_l2 = h.incompatible & INCOMPAT_EXTENDED_L2;
    ret->u.qcow2.l1_offset = h.l1_offset;
    ret->u.qcow2.refcounts_offset = h.refcounts_offset;
    ret->u.qcow2.refcounts_entries = (uint32_t)(((uint64_t)h.refcounts_clusters << h.cluster_bits) / 8);
    ret->u.qcow2.l1_entries = (uint32_t)((h.size + (UINT64_C(1) << l2_reach(&h)) - 1) >> l2_reach(&h));
    return 0;
}

/* ---- verify
 * ---------------------------------------------------------------------------------------------------------- */

struct qcow2_walk {
    const struct image_source *s;
    const struct image_info *info;
    uint64_t base; /* index of the first cluster that the L2 table under way maps */
};

#define OFFSET_MASK   UINT64_C(0x00fffffffffffe00)
#define L2_COMPRESSED (UINT64_C(1) << 62)
#define L2_ZERO       UINT64_C(1)

static int check_compressed(const struct qcow2_walk *w, uint64_t entry, struct error *e) {
    unsigned x = 62 - (w->info->u.qcow2.cluster_bits - 8);
    uint64_t offset = entry & ((UINT64_C(1) << x) - 1);
    uint64_t sectors = ((entry & (L2_COMPRESSED - 1)) >> x) + 1;
    /* Its length is rounded up to sectors; the file may end with the data. What is missing then fails to decompress. */
    uint64_t end = (offset & ~UINT64_C(511)) + sectors * 512;
    return end > w->s->length + 511 || offset >= w->s->length ? image_truncated(w->s, end, "a compressed cluster", e)
                                                              : 0;
}

static int check_l2_entry(void *ctx, uint64_t index, const uint8_t *bytes, struct error *e) {
    const struct qcow2_walk *w = ctx;
    uint64_t entry = get_be64(bytes), cluster = UINT64_C(1) << w->info->u.qcow2.cluster_bits;
    uint64_t guest = (w->base + index) << w->info->u.qcow2.cluster_bits;
    if (guest >= (uint64_t)w->info->size)
        return 0;
    if (entry & L2_COMPRESSED)
        return check_compressed(w, entry, e);
    uint64_t offset = entry & OFFSET_MASK;
    if (offset == 0)
        return 0;
    if (offset & (cluster - 1))
        return error_set(e, ERR_BAD_IMAGE,
                         "the image is corrupt: a cluster is not aligned; try qemu-img check -r all FILE");
    if (!w->info->u.qcow2.extended_l2 && entry & L2_ZERO)
        return 0;
    uint32_t subclusters = w->info->u.qcow2.extended_l2 ? (uint32_t)get_be64(bytes + 8) : UINT32_MAX;
    if (subclusters == 0)
        return 0;
    /* Of 32 subclusters only those up to the last that is allocated need be there. */
    uint64_t len = cluster / 32 * (uint64_t)(32 - __builtin_clz(subclusters));
    return image_block(w->s, offset, len, guest, (uint64_t)w->info->size, "a cluster", e);
}

static int check_l1_entry(void *ctx, uint64_t index, const uint8_t *bytes, struct error *e) {
    struct qcow2_walk *w = ctx;
    unsigned bits = w->info->u.qcow2.cluster_bits, width = w->info->u.qcow2.extended_l2 ? 16 : 8;
    uint64_t offset = get_be64(bytes) & OFFSET_MASK;
    if (offset == 0)
        return 0;
    if (offset & ((UINT64_C(1) << bits) - 1))
        return error_set(e, ERR_BAD_IMAGE,
                         "the image is corrupt: an L2 table is not aligned; try qemu-img check -r all FILE");
    struct image_table l2 = {.offset = offset,
                             .entries = (UINT64_C(1) << bits) / width,
                             .width = width,
                             .what = "an L2 table",
                             .item = check_l2_entry,
                             .ctx = w};
    w->base = index * l2.entries;
    return image_walk(w->s, &l2, e);
}

/* Reading needs no refcounts, but where one of their blocks is cut off, so may be what nobody would miss at once. */
static int check_refcount_entry(void *ctx, uint64_t index, const uint8_t *bytes, struct error *e) {
    const struct qcow2_walk *w = ctx;
    uint64_t offset = get_be64(bytes) & OFFSET_MASK;
    return offset ? image_within(w->s, offset, UINT64_C(1) << w->info->u.qcow2.cluster_bits, "a refcount block", e) : 0;
}

int qcow2_verify(const struct image_source *s, const struct image_info *info, struct error *e) {
    struct qcow2_walk w = {.s = s, .info = info};
    struct image_table l1 = {.offset = info->u.qcow2.l1_offset,
                             .entries = info->u.qcow2.l1_entries,
                             .width = 8,
                             .what = "its L1 table",
                             .item = check_l1_entry,
                             .ctx = &w};
    struct image_table refcounts = {.offset = info->u.qcow2.refcounts_offset,
                                    .entries = info->u.qcow2.refcounts_entries,
                                    .width = 8,
                                    .what = "its refcount table",
                                    .item = check_refcount_entry,
                                    .ctx = &w};
    int r = image_walk(s, &l1, e);
    return r < 0 ? r : image_walk(s, &refcounts, e);
}

/* ---- Tarn's own
 * ------------------------------------------------------------------------------------------------------ */

static int read_own(const struct image_source *s, struct qcow2_header *h, struct error *e) {
    char magic[4];
    int r = image_read(s, 0, magic, sizeof(magic), "its header", e);
    if (r < 0)
        return r;
    if (memcmp(magic, "QFI\xfb", 4) != 0)
        return error_set(e, ERR_BAD_IMAGE, "the file is no qcow2 image; somebody changed it");
    return read_header(s, h, e);
}

int image_own_backing(const struct image_source *s, char ret[static IMAGE_BACKING_MAX + 1], struct error *e) {
    struct qcow2_header h;
    int r = read_own(s, &h, e);
    if (r < 0)
        return r;
    memcpy(ret, h.backing, sizeof(h.backing));
    return 0;
}

int image_check_own(const struct image_source *s, const char *backing, int64_t *ret_size, struct error *e) {
    struct qcow2_header h;
    char text[IMAGE_TEXT_MAX];
    int r = read_own(s, &h, e);
    if (r < 0 || (r = check_features(&h, e)) < 0 || (r = image_check_size(h.size, e)) < 0 ||
        (r = check_tables(s, &h, e)) < 0)
        return r;
    if (strlen(h.backing) != h.backing_len || strcmp(h.backing, str_or(backing, "")) != 0)
        return error_set(e, ERR_BAD_IMAGE, "its backing file is \"%s\" where \"%s\" belongs; somebody changed it",
                         image_printable(h.backing, h.backing_len, text), str_or(backing, ""));
    if (!str_empty(backing) && strcmp(h.backing_format, "qcow2") != 0)
        return error_set(e, ERR_BAD_IMAGE, "the format of its backing file is not qcow2; somebody changed it");
    *ret_size = (int64_t)h.size;
    return 0;
}

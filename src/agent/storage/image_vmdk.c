/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VMDK: monolithicSparse and streamOptimized, which hold everything in one file (VMware Virtual Disk Format 5.0). All
 * other kinds are a descriptor that names extent files. Integers are little-endian, places in sectors of 512 bytes.
 */
#include "agent/storage/image_internal.h"

#include "base/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <strings.h>

#define SECTOR          512
#define GD_AT_END       UINT64_MAX
#define DESCRIPTOR_MAX  (64 * KIB)
#define FLAG_COMPRESSED (1u << 16)

struct vmdk_header {
    uint32_t version, flags, entries_per_table;
    uint64_t capacity, grain, descriptor, descriptor_len, directory;
    uint16_t compression;
};

static void header_parse(const uint8_t *b, struct vmdk_header *h) {
    *h = (struct vmdk_header){
        .version = get_le32(b + 4),
        .flags = get_le32(b + 8),
        .capacity = get_le64(b + 12),
        .grain = get_le64(b + 20),
        .descriptor = get_le64(b + 28),
        .descriptor_len = get_le64(b + 36),
        .entries_per_table = get_le32(b + 44),
        .directory = get_le64(b + 56),
        .compression = get_le16(b + 77),
    };
}

/* ---- the descriptor
 * -------------------------------------------------------------------------------------------------- */

struct descriptor {
    char type[32], parent[IMAGE_TEXT_MAX], extent[IMAGE_TEXT_MAX], parent_cid[16];
    unsigned extents;
};

/* key=value or key="value"; to is cut to cap. */
static bool take_value(const char *line, size_t len, const char *key, char *to, size_t cap) {
    size_t k = strlen(key);
    if (len <= k || strncasecmp(line, key, k) != 0)
        return false;
    const char *p = line + k, *end = line + len;
    while (p < end && (*p == ' ' || *p == '\t'))
        p++;
    if (p == end || *p != '=')
        return false;
    for (p++; p < end && (*p == ' ' || *p == '\t' || *p == '"'); p++)
        ;
    while (end > p && (end[-1] == '"' || end[-1] == ' ' || end[-1] == '\r' || end[-1] == '\t'))
        end--;
    size_t n = (size_t)(end - p) < cap - 1 ? (size_t)(end - p) : cap - 1;
    char text[IMAGE_TEXT_MAX];
    image_printable(p, n, text);
    snprintf(to, cap, "%s", text);
    return true;
}

static void take_extent(const char *line, size_t len, struct descriptor *d) {
    static const char *const access[] = {"RW ", "RDONLY ", "NOACCESS "};
    for (size_t i = 0; i < ARRAY_LEN(access); i++) {
        size_t n = strlen(access[i]);
        if (len <= n || strncasecmp(line, access[i], n) != 0)
            continue;
        d->extents++;
        const char *q = memchr(line, '"', len);
        const char *end = q ? memchr(q + 1, '"', len - (size_t)(q + 1 - line)) : NULL;
        /* The first name with a directory in it is the one worth telling. */
        if (end && (d->extents == 1 || !strpbrk(d->extent, "/\\")))
            image_printable(q + 1, (size_t)(end - q - 1), d->extent);
        return;
    }
}

static void descriptor_parse(const char *text, size_t len, struct descriptor *d) {
    for (size_t at = 0; at < len && text[at];) {
        const char *line = text + at, *nl = memchr(line, '\n', len - at);
        size_t n = nl ? (size_t)(nl - line) : strnlen(line, len - at);
        at += n + 1;
        while (n > 0 && (*line == ' ' || *line == '\t'))
            line++, n--;
        if (take_value(line, n, "createType", d->type, sizeof(d->type)) ||
            take_value(line, n, "parentCID", d->parent_cid, sizeof(d->parent_cid)) ||
            take_value(line, n, "parentFileNameHint", d->parent, sizeof(d->parent)))
            continue;
        take_extent(line, n, d);
    }
}

static int descriptor_read(const struct image_source *s, uint64_t offset, uint64_t len, struct descriptor *d,
                           struct error *e) {
    if (len > DESCRIPTOR_MAX)
        return error_set(e, ERR_BAD_IMAGE, "the image is corrupt: its descriptor is larger than 64 KiB");
    _cleanup_free_ char *text = xmalloc((size_t)len + 1);
    int r = image_read(s, offset, text, (size_t)len, "its descriptor", e);
    if (r < 0)
        return r;
    text[len] = 0;
    descriptor_parse(text, (size_t)len, d);
    return 0;
}

static int refuse_parent(const struct descriptor *d, struct error *e) {
    if (d->parent[0] || (d->parent_cid[0] && strcasecmp(d->parent_cid, "ffffffff") != 0))
        return error_set(e, ERR_BAD_IMAGE,
                         "the image is only the changes to another file%s%s (a snapshot); consolidate the "
                         "virtual machine's snapshots and export it again",
                         d->parent[0] ? ", " : "", d->parent);
    return 0;
}

/* A file that is a descriptor and nothing else. */
static int refuse_descriptor(const struct image_source *s, struct error *e) {
    struct descriptor d = {.type = ""};
    int r = descriptor_read(s, 0, s->length < DESCRIPTOR_MAX ? s->length : DESCRIPTOR_MAX, &d, e);
    if (r < 0 || (r = refuse_parent(&d, e)) < 0)
        return r;
    return error_set(e, ERR_BAD_IMAGE,
                     "the file is only a VMDK descriptor (%s) that names other files%s%s; make it one file "
                     "first: qemu-img convert -O qcow2 OLD NEW",
                     str_or(d.type, "no type"), d.extent[0] ? ", first " : "", d.extent);
}

static int refuse_extent(struct error *e) {
    return error_set(e, ERR_BAD_IMAGE,
                     "the file is one extent of a split VMDK, without its descriptor; make it one file first: "
                     "qemu-img convert -O qcow2 DESCRIPTOR NEW");
}

static int check_descriptor(const struct image_source *s, const struct vmdk_header *h, struct error *e) {
    struct descriptor d = {.type = ""};
    if (h->descriptor == 0 || h->descriptor_len == 0 || h->descriptor > s->length / SECTOR)
        return refuse_extent(e);
    uint64_t len = h->descriptor_len > DESCRIPTOR_MAX / SECTOR ? DESCRIPTOR_MAX : h->descriptor_len * SECTOR;
    int r = descriptor_read(s, h->descriptor * SECTOR, len, &d, e);
    if (r < 0 || (r = refuse_parent(&d, e)) < 0)
        return r;
    if (!d.type[0])
        return refuse_extent(e);
    if (strcasecmp(d.type, "monolithicSparse") != 0 && strcasecmp(d.type, "streamOptimized") != 0)
        return error_set(e, ERR_BAD_IMAGE,
                         "the image is a VMDK of type \"%s\"; only monolithicSparse and streamOptimized hold "
                         "everything in one file: qemu-img convert -O qcow2 OLD NEW",
                         d.type);
    if (d.extents > 1 || strpbrk(d.extent, "/\\"))
        return error_set(e, ERR_BAD_IMAGE,
                         "the image names other files (%s); make it one file first: "
                         "qemu-img convert -O qcow2 OLD NEW",
                         d.extent);
    return 0;
}

/* ---- headers
 * --------------------------------------------------------------------------------------------------------- */

/* streamOptimized keeps the header that counts at the end: {footer marker, footer, end-of-stream marker}. */
static int read_footer(const struct image_source *s, struct vmdk_header *h, struct error *e) {
    uint8_t b[3 * SECTOR];
    if (s->length < 4 * SECTOR)
        return image_truncated(s, 4 * SECTOR, "its footer", e);
    int r = image_read(s, (s->length & ~UINT64_C(511)) - sizeof(b), b, sizeof(b), "its footer", e);
    if (r < 0)
        return r;
    if (get_le32(b + 8) != 0 || get_le32(b + 12) != 3 || memcmp(b + SECTOR, "KDMV", 4) != 0 ||
        get_le64(b + 2 * SECTOR) != 0 || get_le32(b + 2 * SECTOR + 8) != 0)
        return error_set(e, ERR_BAD_IMAGE,
                         "the image is truncated: the footer that belongs at its end is missing; download or "
                         "copy it again and compare its checksum");
    uint64_t descriptor = h->descriptor, descriptor_len = h->descriptor_len;
    header_parse(b + SECTOR, h);
    h->descriptor = descriptor;
    h->descriptor_len = descriptor_len;
    return 0;
}

static int check_header(const struct vmdk_header *h, struct error *e) {
    if (h->version < 1 || h->version > 3)
        return error_set(e, ERR_BAD_IMAGE, "the image is VMDK of version %" PRIu32 ", which is not known", h->version);
    if (h->capacity > UINT64_MAX / SECTOR)
        return error_set(e, ERR_BAD_IMAGE, "the image says that its disk has %" PRIu64 " sectors; the most is 64 TiB",
                         h->capacity);
    int r = image_check_size(h->capacity * SECTOR, e);
    if (r < 0)
        return r;
    if (h->grain < 1 || h->grain > 128 * MIB / SECTOR || h->entries_per_table < 1 || h->entries_per_table > 512)
        return error_set(e, ERR_BAD_IMAGE, "the image is corrupt: the sizes of its grains or tables make no sense");
    if (h->compression > 1)
        return error_set(e, ERR_BAD_IMAGE, "the image is compressed in a way that is not known");
    if (h->directory == 0 || h->directory > (uint64_t)INT64_MAX / SECTOR)
        return error_set(e, ERR_BAD_IMAGE, "the image is corrupt: the place of its grain directory makes no sense");
    return 0;
}

int vmdk_probe(const struct image_source *s, struct image_info *ret, struct error *e) {
    uint8_t b[SECTOR];
    struct vmdk_header h;
    if (!image_peek(s, 0, b, 4) || memcmp(b, "KDMV", 4) != 0)
        return refuse_descriptor(s, e);
    int r = image_read(s, 0, b, sizeof(b), "its header", e);
    if (r < 0)
        return r;
    if (memcmp(b + 73, "\n \r\n", 4) != 0)
        return error_set(e, ERR_BAD_IMAGE,
                         "the image was damaged by a transfer in text mode; copy it again in binary mode");
    if (s->length % SECTOR)
        return image_truncated(s, (s->length + SECTOR - 1) / SECTOR * SECTOR, "its last sector", e);
    header_parse(b, &h);
    if ((r = check_descriptor(s, &h, e)) < 0 || (h.directory == GD_AT_END && (r = read_footer(s, &h, e)) < 0) ||
        (r = check_header(&h, e)) < 0)
        return r;
    ret->size = (int64_t)(h.capacity * SECTOR);
    ret->u.vmdk.grain_size = h.grain * SECTOR;
    ret->u.vmdk.directory_offset = h.directory * SECTOR;
    ret->u.vmdk.entries_per_table = h.entries_per_table;
    ret->u.vmdk.compressed = h.flags & FLAG_COMPRESSED;
    uint64_t reach = h.grain * h.entries_per_table, tables = (h.capacity + reach - 1) / reach;
    if (tables * 4 > 512 * MIB)
        return error_set(e, ERR_BAD_IMAGE, "the image is corrupt: its grain directory is too large");
    return image_within(s, h.directory * SECTOR, tables * 4, "its grain directory", e);
}

/* ---- verify
 * ---------------------------------------------------------------------------------------------------------- */

struct vmdk_walk {
    const struct image_source *s;
    const struct image_info *info;
    uint64_t base;    /* first grain of the table under way */
    uint64_t highest; /* the compressed grain that lies last in the file */
};

static int check_grain(void *ctx, uint64_t index, const uint8_t *bytes, struct error *e) {
    struct vmdk_walk *w = ctx;
    uint64_t offset = (uint64_t)get_le32(bytes) * SECTOR, grain = w->info->u.vmdk.grain_size;
    uint64_t guest = (w->base + index) * grain;
    if (offset <= SECTOR || guest >= (uint64_t)w->info->size) /* 0: not there; 1: zeros */
        return 0;
    if (w->info->u.vmdk.compressed) {
        if (offset > w->highest)
            w->highest = offset;
        return image_within(w->s, offset, 12, "a grain", e);
    }
    return image_block(w->s, offset, grain, guest, (uint64_t)w->info->size, "a grain", e);
}

static int check_directory_entry(void *ctx, uint64_t index, const uint8_t *bytes, struct error *e) {
    struct vmdk_walk *w = ctx;
    uint64_t offset = (uint64_t)get_le32(bytes) * SECTOR;
    if (offset == 0)
        return 0;
    struct image_table t = {.offset = offset,
                            .entries = w->info->u.vmdk.entries_per_table,
                            .width = 4,
                            .what = "a grain table",
                            .item = check_grain,
                            .ctx = w};
    w->base = index * t.entries;
    return image_walk(w->s, &t, e);
}

int vmdk_verify(const struct image_source *s, const struct image_info *info, struct error *e) {
    struct vmdk_walk w = {.s = s, .info = info};
    uint64_t reach = info->u.vmdk.grain_size * info->u.vmdk.entries_per_table;
    struct image_table d = {.offset = info->u.vmdk.directory_offset,
                            .entries = ((uint64_t)info->size + reach - 1) / reach,
                            .width = 4,
                            .what = "its grain directory",
                            .item = check_directory_entry,
                            .ctx = &w};
    int r = image_walk(s, &d, e);
    if (r < 0 || w.highest == 0)
        return r;
    uint8_t marker[12]; /* {u64 sector, u32 length} and then the data */
    if ((r = image_read(s, w.highest, marker, sizeof(marker), "a grain", e)) < 0)
        return r;
    return image_within(s, w.highest + sizeof(marker), get_le32(marker + 8), "a compressed grain", e);
}

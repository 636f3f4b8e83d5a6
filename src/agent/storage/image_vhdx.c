/* SPDX-License-Identifier: Apache-2.0 */
/* VHDX ([MS-VHDX]): little-endian; two headers, two region tables that find the block table (BAT) and the metadata. */
#include "agent/storage/image_internal.h"

#include <inttypes.h>

#define HEADER_AT    (64 * KIB)
#define HEADER_LEN   (4 * KIB)
#define REGION_AT    (192 * KIB)
#define REGION_LEN   (64 * KIB)
#define REGIONS_MAX  2047
#define METADATA_MAX 2047
#define HAS_PARENT   2u

/* GUIDs as they lie in the file */
static const uint8_t guid_bat[16] = {0x66, 0x77, 0xc2, 0x2d, 0x23, 0xf6, 0x00, 0x42,
                                     0x9d, 0x64, 0x11, 0x5e, 0x9b, 0xfd, 0x4a, 0x08};
static const uint8_t guid_metadata[16] = {0x06, 0xa2, 0x7c, 0x8b, 0x90, 0x47, 0x9a, 0x4b,
                                          0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e};
static const uint8_t guid_parameters[16] = {0x37, 0x67, 0xa1, 0xca, 0x36, 0xfa, 0x43, 0x4d,
                                            0xb3, 0xb6, 0x33, 0xf0, 0xaa, 0x44, 0xe7, 0x6b};
static const uint8_t guid_size[16] = {0x24, 0x42, 0xa5, 0x2f, 0x1b, 0xcd, 0x76, 0x48,
                                      0xb2, 0x11, 0x5d, 0xbe, 0xd8, 0x3b, 0xf4, 0xb8};
static const uint8_t guid_sector[16] = {0x1d, 0xbf, 0x41, 0x81, 0x6f, 0xa9, 0x09, 0x47,
                                        0xba, 0x47, 0xf2, 0x33, 0xa8, 0xfa, 0xab, 0x5f};
static const uint8_t guid_parent[16] = {0x2d, 0x5f, 0xd3, 0xa8, 0x0b, 0xb3, 0x4d, 0x45,
                                        0xab, 0xf7, 0xd3, 0xd8, 0x48, 0x34, 0xab, 0x0c};

/* CRC-32C with the four bytes at `at` taken as zero. */
static uint32_t crc32c(const uint8_t *b, size_t len, size_t at) {
    uint32_t crc = ~0u;
    for (size_t i = 0; i < len; i++) {
        crc ^= i >= at && i < at + 4 ? 0 : b[i];
        for (int k = 0; k < 8; k++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
    }
    return ~crc;
}

/* The valid header with the higher sequence number. A log that is not empty has to be replayed by its owner first. */
static int check_headers(const struct image_source *s, struct error *e) {
    static const uint8_t zero[16];
    uint8_t b[HEADER_LEN], log[16] = {0};
    bool found = false;
    uint64_t sequence = 0;
    for (unsigned i = 0; i < 2; i++) {
        int r = image_read(s, HEADER_AT * (i + 1), b, sizeof(b), "its header", e);
        if (r < 0)
            return r;
        if (memcmp(b, "head", 4) != 0 || get_le32(b + 4) != crc32c(b, sizeof(b), 4))
            continue;
        if (found && get_le64(b + 8) <= sequence)
            continue;
        if (get_le16(b + 66) != 1)
            return error_set(e, ERR_BAD_IMAGE, "the image is VHDX of version %u, which is not known", get_le16(b + 66));
        found = true;
        sequence = get_le64(b + 8);
        memcpy(log, b + 48, sizeof(log));
    }
    if (!found)
        return error_set(e, ERR_BAD_IMAGE, "the image is corrupt: neither of its headers is valid");
    if (memcmp(log, zero, sizeof(log)) != 0)
        return error_set(e, ERR_BAD_IMAGE,
                         "the image was not closed cleanly: its log must be replayed; shut its virtual machine "
                         "down, or attach it once in Hyper-V");
    return 0;
}

struct region {
    uint64_t offset, length;
};

static int read_regions(const struct image_source *s, uint64_t at, struct region *bat, struct region *metadata,
                        struct error *e) {
    uint8_t head[16], entry[32];
    int r = image_read(s, at, head, sizeof(head), "its region table", e);
    if (r < 0)
        return r;
    uint32_t count = get_le32(head + 8);
    if (memcmp(head, "regi", 4) != 0 || count > REGIONS_MAX)
        return error_set(e, ERR_BAD_IMAGE, "the image is corrupt: its region table is damaged");
    for (uint32_t i = 0; i < count; i++) {
        if ((r = image_read(s, at + 16 + i * UINT64_C(32), entry, sizeof(entry), "its region table", e)) < 0)
            return r;
        struct region g = {.offset = get_le64(entry + 16), .length = get_le32(entry + 24)};
        if (memcmp(entry, guid_bat, 16) == 0)
            *bat = g;
        else if (memcmp(entry, guid_metadata, 16) == 0)
            *metadata = g;
        else if (get_le32(entry + 28) & 1)
            return error_set(e, ERR_BAD_IMAGE, "the image needs a feature of VHDX that is not known");
    }
    if (bat->offset < MIB || metadata->offset < MIB)
        return error_set(e, ERR_BAD_IMAGE, "the image is corrupt: its region table is damaged");
    return 0;
}

struct metadata {
    uint8_t parameters[8], size[8], sector[4];
    unsigned have;
    bool parent;
};

static int take_metadata(const struct image_source *s, const struct region *g, const uint8_t *entry, struct metadata *m,
                         struct error *e) {
    uint64_t at = get_le32(entry + 16);
    if (memcmp(entry, guid_parent, 16) == 0)
        m->parent = true;
    else if (at < 64 * KIB || at > g->length)
        return 0;
    else if (memcmp(entry, guid_parameters, 16) == 0)
        return m->have |= 1, image_read(s, g->offset + at, m->parameters, sizeof(m->parameters), "its metadata", e);
    else if (memcmp(entry, guid_size, 16) == 0)
        return m->have |= 2, image_read(s, g->offset + at, m->size, sizeof(m->size), "its metadata", e);
    else if (memcmp(entry, guid_sector, 16) == 0)
        return m->have |= 4, image_read(s, g->offset + at, m->sector, sizeof(m->sector), "its metadata", e);
    return 0;
}

static int read_metadata(const struct image_source *s, const struct region *g, struct metadata *m, struct error *e) {
    uint8_t head[32], entry[32];
    int r = image_within(s, g->offset, g->length, "its metadata", e);
    if (r < 0 || (r = image_read(s, g->offset, head, sizeof(head), "its metadata", e)) < 0)
        return r;
    unsigned count = get_le16(head + 10);
    if (memcmp(head, "metadata", 8) != 0 || count > METADATA_MAX)
        return error_set(e, ERR_BAD_IMAGE, "the image is corrupt: its metadata are damaged");
    for (unsigned i = 0; i < count; i++)
        if ((r = image_read(s, g->offset + 32 + i * UINT64_C(32), entry, sizeof(entry), "its metadata", e)) < 0 ||
            (r = take_metadata(s, g, entry, m, e)) < 0)
            return r;
    if (m->have != 7)
        return error_set(e, ERR_BAD_IMAGE, "the image is corrupt: its metadata are not complete");
    return 0;
}

static uint64_t chunk_ratio(const struct image_info *i) {
    return (UINT64_C(1) << 23) * i->u.vhdx.sector_size / i->u.vhdx.block_size;
}

int vhdx_probe(const struct image_source *s, struct image_info *ret, struct error *e) {
    struct region bat = {0}, where = {0};
    struct metadata m = {.have = 0};
    int r = check_headers(s, e);
    if (r < 0)
        return r;
    if ((r = read_regions(s, REGION_AT, &bat, &where, NULL)) < 0 &&
        (r = read_regions(s, REGION_AT + REGION_LEN, &bat, &where, e)) < 0)
        return r;
    if ((r = read_metadata(s, &where, &m, e)) < 0)
        return r;
    if (m.parent || get_le32(m.parameters + 4) & HAS_PARENT)
        return error_set(e, ERR_BAD_IMAGE,
                         "the image is only the changes to another one (a differencing disk); merge it with "
                         "its parent first");
    uint64_t size = get_le64(m.size), block = get_le32(m.parameters);
    if ((r = image_check_size(size, e)) < 0)
        return r;
    uint32_t sector = get_le32(m.sector);
    if (block < MIB || block > 256 * MIB || block & (block - 1) || (sector != 512 && sector != 4096))
        return error_set(e, ERR_BAD_IMAGE, "the image is corrupt: the sizes of its blocks or sectors make no sense");
    ret->size = (int64_t)size;
    ret->u.vhdx.bat_offset = bat.offset;
    ret->u.vhdx.bat_length = bat.length;
    ret->u.vhdx.block_size = (uint32_t)block;
    ret->u.vhdx.sector_size = sector;
    uint64_t blocks = (size + block - 1) / block;
    uint64_t entries = blocks + (blocks - 1) / chunk_ratio(ret);
    if (entries * 8 > bat.length)
        return error_set(e, ERR_BAD_IMAGE, "the image is corrupt: its block table is smaller than its disk");
    return image_within(s, bat.offset, entries * 8, "its block table", e);
}

struct vhdx_walk {
    const struct image_source *s;
    const struct image_info *info;
    uint64_t ratio;
};

static int check_block(void *ctx, uint64_t index, const uint8_t *bytes, struct error *e) {
    enum { FULLY_PRESENT = 6, PARTIALLY_PRESENT = 7 };
    const struct vhdx_walk *w = ctx;
    uint64_t entry = get_le64(bytes), state = entry & 7, block = w->info->u.vhdx.block_size;
    if (index % (w->ratio + 1) == w->ratio) /* a sector bitmap: of interest to differencing disks only */
        return 0;
    uint64_t guest = (index - index / (w->ratio + 1)) * block;
    if (guest >= (uint64_t)w->info->size || state < FULLY_PRESENT)
        return 0;
    if (state == PARTIALLY_PRESENT)
        return error_set(e, ERR_BAD_IMAGE, "the image is only the changes to another one (a differencing disk)");
    return image_within(w->s, entry & ~(MIB - 1), block, "a block", e);
}

int vhdx_verify(const struct image_source *s, const struct image_info *info, struct error *e) {
    struct vhdx_walk w = {.s = s, .info = info, .ratio = chunk_ratio(info)};
    uint64_t block = info->u.vhdx.block_size, blocks = ((uint64_t)info->size + block - 1) / block;
    struct image_table t = {.offset = info->u.vhdx.bat_offset,
                            .entries = blocks + (blocks - 1) / w.ratio,
                            .width = 8,
                            .what = "its block table",
                            .item = check_block,
                            .ctx = &w};
    return image_walk(s, &t, e);
}

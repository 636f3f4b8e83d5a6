/* SPDX-License-Identifier: Apache-2.0 */
/* VHD (Virtual Hard Disk Image Format Specification 1.0): big-endian, a footer of 512 bytes, dynamic ones with a copy
 * at 0. */
#include "agent/storage/image_internal.h"

#include <inttypes.h>

#define FOOTER 512
enum { VHD_FIXED = 2, VHD_DYNAMIC = 3, VHD_DIFFERENCING = 4 };

static const char damaged[] = "; download or copy it again and compare its checksum";

/* One's complement of the sum of all bytes, those of the sum itself left out. */
static bool checksum_good(const uint8_t *b, size_t len, size_t at) {
    uint32_t sum = 0;
    for (size_t i = 0; i < len; i++)
        if (i < at || i >= at + 4)
            sum += b[i];
    return get_be32(b + at) == ~sum;
}

static int read_footer(const struct image_source *s, uint8_t b[static FOOTER], struct error *e) {
    if (s->length < FOOTER)
        return image_truncated(s, FOOTER, "its footer", e);
    int r = image_read(s, s->length - FOOTER, b, FOOTER, "its footer", e);
    if (r < 0)
        return r;
    if (memcmp(b, "conectix", 8) != 0)
        return error_set(e, ERR_BAD_IMAGE, "the image is truncated: the footer that belongs at its end is missing%s",
                         damaged);
    if (!checksum_good(b, FOOTER, 64))
        return error_set(e, ERR_BAD_IMAGE, "the image is corrupt: the checksum of its footer is wrong%s", damaged);
    return 0;
}

static int read_dynamic(const struct image_source *s, uint64_t at, struct image_info *ret, struct error *e) {
    uint8_t d[1024];
    int r = image_read(s, at, d, sizeof(d), "its dynamic header", e);
    if (r < 0)
        return r;
    if (memcmp(d, "cxsparse", 8) != 0 || !checksum_good(d, sizeof(d), 36))
        return error_set(e, ERR_BAD_IMAGE, "the image is corrupt: its dynamic header is damaged%s", damaged);
    uint64_t block = get_be32(d + 32);
    ret->u.vhd.bat_offset = get_be64(d + 16);
    ret->u.vhd.entries = get_be32(d + 28);
    ret->u.vhd.block_size = (uint32_t)block;
    if (block < 512 || block > 256 * MIB || block & (block - 1))
        return error_set(e, ERR_BAD_IMAGE, "the image is corrupt: its blocks have %" PRIu64 " bytes", block);
    if (ret->u.vhd.entries < ((uint64_t)ret->size + block - 1) / block)
        return error_set(e, ERR_BAD_IMAGE, "the image is corrupt: its block table is smaller than its disk");
    return image_within(s, ret->u.vhd.bat_offset, (uint64_t)ret->u.vhd.entries * 4, "its block table", e);
}

int vhd_probe(const struct image_source *s, struct image_info *ret, struct error *e) {
    uint8_t b[FOOTER];
    int r = read_footer(s, b, e);
    if (r < 0)
        return r;
    uint32_t type = get_be32(b + 60);
    uint64_t size = get_be64(b + 48);
    if (type == VHD_DIFFERENCING)
        return error_set(e, ERR_BAD_IMAGE,
                         "the image is only the changes to another one (a differencing disk); merge it with "
                         "its parent first");
    if (type != VHD_FIXED && type != VHD_DYNAMIC)
        return error_set(e, ERR_BAD_IMAGE, "the image is VHD of type %" PRIu32 ", which is not known", type);
    if (get_be32(b + 12) >> 16 != 1)
        return error_set(e, ERR_BAD_IMAGE, "the image is VHD of version %" PRIu32 ", which is not known",
                         get_be32(b + 12) >> 16);
    if ((r = image_check_size(size, e)) < 0)
        return r;
    ret->size = (int64_t)size;
    ret->u.vhd.fixed = type == VHD_FIXED;
    if (type == VHD_DYNAMIC)
        return read_dynamic(s, get_be64(b + 16), ret, e);
    return image_within(s, size, FOOTER, "its footer", e);
}

struct vhd_walk {
    const struct image_source *s;
    const struct image_info *info;
};

static int check_block(void *ctx, uint64_t index, const uint8_t *bytes, struct error *e) {
    const struct vhd_walk *w = ctx;
    uint32_t entry = get_be32(bytes);
    uint64_t block = w->info->u.vhd.block_size, guest = index * block;
    if (entry == UINT32_MAX || guest >= (uint64_t)w->info->size)
        return 0;
    uint64_t bitmap = (block / 512 / 8 + 511) & ~UINT64_C(511);
    /* The footer follows the data: the block has to end before it. */
    return image_within(w->s, entry * UINT64_C(512), bitmap + block + FOOTER, "a block", e);
}

int vhd_verify(const struct image_source *s, const struct image_info *info, struct error *e) {
    if (info->u.vhd.fixed)
        return 0;
    struct vhd_walk w = {.s = s, .info = info};
    struct image_table t = {.offset = info->u.vhd.bat_offset,
                            .entries = info->u.vhd.entries,
                            .width = 4,
                            .what = "its block table",
                            .item = check_block,
                            .ctx = &w};
    return image_walk(s, &t, e);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* VDI, VirtualBox's format 1.1. Integers are little-endian. */
#include "agent/storage/image_internal.h"

#include <inttypes.h>

#define VDI_HEADER 512
enum { VDI_DYNAMIC = 1, VDI_STATIC = 2, VDI_UNDO = 3, VDI_DIFFERENCING = 4 };

static bool all_zero(const uint8_t *p, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (p[i])
            return false;
    return true;
}

int vdi_probe(const struct image_source *s, struct image_info *ret, struct error *e) {
    uint8_t b[VDI_HEADER];
    int r = image_read(s, 0, b, sizeof(b), "its header", e);
    if (r < 0)
        return r;
    uint32_t version = get_le32(b + 0x44), type = get_le32(b + 0x4c);
    if (version != 0x00010001)
        return error_set(e, ERR_BAD_IMAGE, "the image is VDI of version %" PRIu32 ".%" PRIu32 ", which is not known",
                         version >> 16, version & 0xffff);
    if (type == VDI_UNDO || type == VDI_DIFFERENCING || !all_zero(b + 0x1a8, 16) || !all_zero(b + 0x1b8, 16))
        return error_set(e, ERR_BAD_IMAGE,
                         "the image is only the changes to another one (a snapshot); make it whole first: "
                         "VBoxManage clonemedium OLD NEW");
    if (type != VDI_DYNAMIC && type != VDI_STATIC)
        return error_set(e, ERR_BAD_IMAGE, "the image is VDI of type %" PRIu32 ", which is not known", type);
    uint64_t size = get_le64(b + 0x170);
    if ((r = image_check_size(size, e)) < 0)
        return r;
    ret->size = (int64_t)size;
    ret->u.vdi.map_offset = get_le32(b + 0x154);
    ret->u.vdi.data_offset = get_le32(b + 0x158);
    ret->u.vdi.block_size = get_le32(b + 0x178);
    ret->u.vdi.extra = get_le32(b + 0x17c);
    ret->u.vdi.blocks = get_le32(b + 0x180);
    uint64_t block = ret->u.vdi.block_size;
    if (get_le32(b + 0x168) != 512 || block != MIB || ret->u.vdi.extra != 0) /* all that QEMU reads */
        return error_set(e, ERR_BAD_IMAGE,
                         "the image has blocks of %" PRIu64 " bytes; only VDI with blocks of 1 MiB is read: "
                         "VBoxManage clonemedium OLD NEW",
                         block);
    if (ret->u.vdi.blocks < (size + block - 1) / block)
        return error_set(e, ERR_BAD_IMAGE, "the image is corrupt: its block map is smaller than its disk");
    if (ret->u.vdi.map_offset % 512 || ret->u.vdi.data_offset % 512)
        return error_set(e, ERR_BAD_IMAGE, "the image is corrupt: its block map or its data are not aligned");
    return image_within(s, ret->u.vdi.map_offset, (uint64_t)ret->u.vdi.blocks * 4, "its block map", e);
}

struct vdi_walk {
    const struct image_source *s;
    const struct image_info *info;
};

static int check_block(void *ctx, uint64_t index, const uint8_t *bytes, struct error *e) {
    const struct vdi_walk *w = ctx;
    uint32_t entry = get_le32(bytes);
    uint64_t block = w->info->u.vdi.block_size, guest = index * block;
    if (entry >= 0xfffffffe || guest >= (uint64_t)w->info->size) /* free, or zeros */
        return 0;
    return image_block(w->s, w->info->u.vdi.data_offset + entry * block, block, guest, (uint64_t)w->info->size,
                       "a block", e);
}

int vdi_verify(const struct image_source *s, const struct image_info *info, struct error *e) {
    struct vdi_walk w = {.s = s, .info = info};
    struct image_table t = {.offset = info->u.vdi.map_offset,
                            .entries = info->u.vdi.blocks,
                            .width = 4,
                            .what = "its block map",
                            .item = check_block,
                            .ctx = &w};
    return image_walk(s, &t, e);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Raw disks have no header, so what is on them must speak for them: a partition table, a boot sector, a file system.
 * Where that says how large the disk is, a file that is shorter has been cut off.
 */
#include "agent/storage/image_internal.h"

#include "base/mem.h"

#include <inttypes.h>

#define SECTOR 512

/* A magic number, and where the size of the whole stands beside it: value << shift. */
struct evidence {
    uint64_t offset;
    const char *bytes;
    size_t len;
    const char *what;
    uint64_t size_at; /* 0: it says none */
    char size_type;   /* l le32, L le64, g GPT, e ext, x XFS: see claimed_size() */
    unsigned shift;
};
#define E(offset, bytes, what, ...)                                                                                    \
    { offset, bytes, sizeof(bytes) - 1, what, __VA_ARGS__ }

static const struct evidence table[] = {
    E(32769, "CD001", "an ISO 9660 file system", 32768 + 80, 'l', 11),
    E(1080, "\x53\xef", "an ext file system", 1028, 'e', 0),
    E(0, "XFSB", "an XFS file system", 8, 'x', 0),
    E(65600, "_BHRfS_M", "a btrfs file system", 65536 + 112, 'L', 0),
    E(0, "hsqs", "a squashfs file system", 40, 'L', 0),
    E(1024, "\xe2\xe1\xf5\xe0", "an EROFS file system", 0, 0, 0),
    E(1024, "\x10\x20\xf5\xf2", "an F2FS file system", 0, 0, 0),
    E(0, "LUKS\xba\xbe", "a LUKS volume", 0, 0, 0),
    E(512, "LABELONE", "an LVM volume", 0, 0, 0),
    E(0, "LABELONE", "an LVM volume", 0, 0, 0),
    E(4086, "SWAPSPACE2", "a swap area", 0, 0, 0),
    E(SECTOR, "EFI PART", "a GPT", SECTOR + 32, 'g', 9),
    E(4096, "EFI PART", "a GPT", 4096 + 32, 'g', 12),
};

static uint64_t claimed_size(const struct image_source *s, const struct evidence *v) {
    uint8_t b[8], block[4];
    if (!v->size_at || !image_peek(s, v->size_at, b, sizeof(b)))
        return 0;
    switch (v->size_type) {
    case 'l':
        return (uint64_t)get_le32(b) << v->shift;
    case 'L':
        return get_le64(b) << v->shift;
    case 'g': /* the last block, where the backup of the table is */
        return get_le64(b) < (UINT64_C(1) << 50) ? (get_le64(b) + 1) << v->shift : UINT64_MAX;
    case 'e':
        return image_peek(s, 1048, block, 4) && get_le32(block) <= 6 ? (uint64_t)get_le32(b) << (10 + get_le32(block))
                                                                     : 0;
    case 'x':
        return image_peek(s, 4, block, 4) && get_be32(block) <= 65536 && get_be64(b) < (UINT64_C(1) << 47)
                   ? get_be64(b) * get_be32(block)
                   : 0;
    default:
        return 0;
    }
}

/* The end of the last primary partition of a DOS partition table; 0 if a boot sector has none that makes sense. */
static uint64_t dos_end(const uint8_t *sector) {
    uint64_t end = 0;
    for (unsigned i = 0; i < 4; i++) {
        const uint8_t *p = sector + 446 + 16 * i;
        uint64_t start = get_le32(p + 8), count = get_le32(p + 12);
        if (p[0] != 0 && p[0] != 0x80)
            return 0; /* a boot sector of a file system: code, no table */
        if (p[4] == 0xee)
            return 0; /* a GPT, which says it better */
        if (p[4] && count && (start + count) * SECTOR > end)
            end = (start + count) * SECTOR;
    }
    return end;
}

static const char sure[] = "; if it really is a whole raw disk, say so: --format raw";

static int check_claim(const struct image_source *s, uint64_t size, const char *what, struct error *e) {
    if (size <= s->length)
        return 0;
    return error_set(e, ERR_BAD_IMAGE,
                     "the image is truncated: %s in it reaches to byte %" PRIu64 ", but the file has only %" PRIu64
                     "%s",
                     what, size, s->length, sure);
}

int raw_probe(const struct image_source *s, bool insist, struct image_info *ret, struct error *e) {
    uint8_t sector[SECTOR];
    bool known = false, iso = false;
    int r = image_check_size(s->length, e);
    if (r < 0)
        return r;
    if (s->length % SECTOR)
        return error_set(e, ERR_BAD_IMAGE,
                         "the file is no raw disk: its length, %" PRIu64 ", is no multiple of 512; it may be "
                         "truncated (if not, fill it up: truncate -s %%512 FILE)",
                         s->length);
    for (size_t i = 0; i < ARRAY_LEN(table) && !insist; i++) {
        char magic[16];
        if (!image_peek(s, table[i].offset, magic, table[i].len) || memcmp(magic, table[i].bytes, table[i].len) != 0)
            continue;
        known = true;
        iso |= i == 0;
        /* Hybrid ISO images carry partition tables that reach beyond their end. */
        if ((!iso || i == 0) && (r = check_claim(s, claimed_size(s, &table[i]), table[i].what, e)) < 0)
            return r;
    }
    if (!insist && image_peek(s, 0, sector, SECTOR) && sector[510] == 0x55 && sector[511] == 0xaa) {
        known = true;
        if (!iso && (r = check_claim(s, dos_end(sector), "a partition", e)) < 0)
            return r;
    }
    if (!known && !insist)
        return error_set(e, ERR_BAD_IMAGE,
                         "the file is no disk image that is known (qcow2, VMDK, VDI, VHDX, VHD, or a raw disk with "
                         "a partition table or a file system)%s",
                         sure);
    ret->size = (int64_t)s->length;
    return 0;
}

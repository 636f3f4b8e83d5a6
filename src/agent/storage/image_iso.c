/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ISO 9660 and UDF, as far as it takes to tell an image of a CD or DVD from anything else, and a whole one from one
 * that broke off. Volume descriptors lie in sectors of 2 KiB from the 16th on. A DVD may be UDF alone, or have a small
 * ISO 9660 beside it, so only a volume that ends beyond the file is an error.
 */
#include "agent/storage/image_internal.h"

#include "base/error.h"

#include <errno.h>
#include <inttypes.h>

#define SECTOR      2048
#define FIRST       16
#define DESCRIPTORS 32
#define PADDING     (150 * SECTOR) /* which many programs leave away at the end */

static void take_label(const uint8_t *at, char ret[static IMAGE_LABEL_MAX + 1]) {
    size_t n = 0;
    for (size_t i = 0; i < IMAGE_LABEL_MAX; i++)
        ret[n++] = at[i] >= 0x20 && at[i] < 0x7f ? (char)at[i] : '?';
    while (n && ret[n - 1] == ' ')
        n--;
    ret[n] = 0;
}

static int check_volume(const struct image_source *s, const uint8_t *sector, struct error *e) {
    uint64_t sectors = get_le32(sector + 80), block = get_le16(sector + 128);
    if (!sectors || block < 512 || block > SECTOR || (block & (block - 1)) || get_be32(sector + 84) != sectors)
        return error_set(e, ERR_BAD_IMAGE, "the image is corrupt: its volume descriptor makes no sense");
    if (sectors * block > s->length + PADDING)
        return image_truncated(s, sectors * block, "its volume", e);
    return 0;
}

int image_check_iso(const struct image_source *s, char ret_label[static IMAGE_LABEL_MAX + 1], struct error *e) {
    uint8_t sector[SECTOR];
    bool iso = false, udf = false;
    char label[IMAGE_LABEL_MAX + 1] = "";
    for (unsigned i = 0; i < DESCRIPTORS; i++) {
        if (!image_peek(s, (uint64_t)(FIRST + i) * SECTOR, sector, sizeof sector))
            break;
        if (memcmp(sector + 1, "CD001", 5) == 0 && sector[0] == 1 && !iso) {
            int r = check_volume(s, sector, e);
            if (r < 0)
                return r;
            take_label(sector + 40, label);
            iso = true;
        } else if (memcmp(sector + 1, "NSR02", 5) == 0 || memcmp(sector + 1, "NSR03", 5) == 0) {
            udf = true;
        } else if (memcmp(sector + 1, "CD001", 5) != 0 && memcmp(sector + 1, "BEA01", 5) != 0 &&
                   memcmp(sector + 1, "TEA01", 5) != 0 && memcmp(sector + 1, "BOOT2", 5) != 0) {
            break;
        }
    }
    if (!iso && !udf)
        return error_set(e, ERR_BAD_IMAGE,
                         "this is no ISO image: the file has neither an ISO 9660 nor a UDF volume; a disk image is "
                         "imported with: tarn disk import");
    memcpy(ret_label, label, sizeof label);
    return 0;
}

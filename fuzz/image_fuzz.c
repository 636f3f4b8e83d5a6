/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a disk image of every format, as a kernel, an initramfs and one of Tarn's own overlays. */
#include "fuzz.h"

#include "agent/storage/image.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct bytes {
    const uint8_t *data;
    size_t size;
    unsigned polls;
};

static int bytes_read(void *ctx, uint64_t offset, void *buf, size_t len) {
    const struct bytes *b = ctx;
    if (offset > b->size || len > b->size - offset)
        abort(); /* never beyond the end: the promise of image.h */
    memcpy(buf, b->data + offset, len);
    return 0;
}

/* A table may name one block a million times; that is slow, not wrong, and a person can cancel it. */
static bool bytes_cancelled(void *ctx) { return ++((struct bytes *)ctx)->polls > 5000; }

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct bytes b = {.data = data, .size = size};
    struct image_source s = {.read = bytes_read, .ctx = &b, .length = size, .cancelled = bytes_cancelled};
    char backing[IMAGE_BACKING_MAX + 1];
    int64_t own;
    for (enum image_format f = IMAGE_AUTO; f < IMAGE_FORMAT_COUNT; f++) {
        _cleanup_error_ struct error e = ERROR_INIT;
        struct image_info info;
        b.polls = 0;
        int r = image_probe(&s, f, &info, &e);
        if (r == 0 && (info.size <= 0 || info.size > IMAGE_SIZE_MAX || (f != IMAGE_AUTO && info.format != f)))
            abort();
        if (r == 0)
            r = image_verify(&s, &info, &e);
        if ((r < 0) != (e.code != ERR_OK) || (r < 0 && !e.message))
            abort();
    }
    image_check_boot_file(&s, IMAGE_KERNEL, NULL);
    image_check_boot_file(&s, IMAGE_INITRD, NULL);
    char label[IMAGE_LABEL_MAX + 1] = "";
    if (image_check_iso(&s, label, NULL) == 0 && memchr(label, 0, sizeof label) == NULL)
        abort();
    if (image_own_backing(&s, backing, NULL) == 0 && strlen(backing) > IMAGE_BACKING_MAX)
        abort();
    image_check_own(&s, "../templates/0190b5d1-0000-7000-8000-000000000001/disk-0.qcow2", &own, NULL);
    return 0;
}

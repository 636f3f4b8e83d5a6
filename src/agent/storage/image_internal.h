/* SPDX-License-Identifier: Apache-2.0 */
/* What the image_*.c files share. */
#pragma once

#include "agent/storage/image.h"

#include <string.h>

#define KIB UINT64_C(1024)
#define MIB (UINT64_C(1024) * KIB)

static inline uint16_t get_le16(const void *p) {
    const uint8_t *b = p;
    return (uint16_t)(b[0] | b[1] << 8);
}
static inline uint32_t get_le32(const void *p) {
    return (uint32_t)get_le16(p) | (uint32_t)get_le16((const uint8_t *)p + 2) << 16;
}
static inline uint64_t get_le64(const void *p) {
    return (uint64_t)get_le32(p) | (uint64_t)get_le32((const uint8_t *)p + 4) << 32;
}
static inline uint16_t get_be16(const void *p) {
    const uint8_t *b = p;
    return (uint16_t)(b[0] << 8 | b[1]);
}
static inline uint32_t get_be32(const void *p) {
    return (uint32_t)get_be16(p) << 16 | get_be16((const uint8_t *)p + 2);
}
static inline uint64_t get_be64(const void *p) {
    return (uint64_t)get_be32(p) << 32 | get_be32((const uint8_t *)p + 4);
}

/* Reads len bytes; ERR_BAD_IMAGE "truncated" when they do not lie in the file. what: "its header". */
int image_read(const struct image_source *s, uint64_t offset, void *buf, size_t len, const char *what, struct error *e);
/* Like it, but false instead of an error when they do not lie in the file or cannot be read. */
bool image_peek(const struct image_source *s, uint64_t offset, void *buf, size_t len);
/* ERR_BAD_IMAGE unless [offset, offset + len) lies in the file. */
int image_within(const struct image_source *s, uint64_t offset, uint64_t len, const char *what, struct error *e);
/*
 * The same for a block of data that maps the disk from byte guest on. Of the last block only what belongs to the disk
 * need be there, if the file ends with it: some programs write no more.
 */
int image_block(const struct image_source *s, uint64_t offset, uint64_t block, uint64_t guest, uint64_t size,
                const char *what, struct error *e);
/* ERR_BAD_IMAGE unless 0 < size <= IMAGE_SIZE_MAX. */
int image_check_size(uint64_t size, struct error *e);
int image_truncated(const struct image_source *s, uint64_t needed, const char *what, struct error *e);
int image_poll(const struct image_source *s, struct error *e);

/* Reads a long table of integers in pieces of 64 KiB and calls item for each; stops at the first non-zero return. */
struct image_table {
    uint64_t offset, entries;
    unsigned width; /* bytes of an entry: 4, 8, 16 */
    const char *what;
    int (*item)(void *ctx, uint64_t index, const uint8_t *entry, struct error *e);
    void *ctx;
};
int image_walk(const struct image_source *s, const struct image_table *t, struct error *e);

/* len bytes of foreign text made printable and short, for messages. */
#define IMAGE_TEXT_MAX 128
const char *image_printable(const void *text, size_t len, char buf[static IMAGE_TEXT_MAX]);

int qcow2_probe(const struct image_source *s, struct image_info *ret, struct error *e);
int qcow2_verify(const struct image_source *s, const struct image_info *info, struct error *e);
int vmdk_probe(const struct image_source *s, struct image_info *ret, struct error *e);
int vmdk_verify(const struct image_source *s, const struct image_info *info, struct error *e);
int vdi_probe(const struct image_source *s, struct image_info *ret, struct error *e);
int vdi_verify(const struct image_source *s, const struct image_info *info, struct error *e);
int vhd_probe(const struct image_source *s, struct image_info *ret, struct error *e);
int vhd_verify(const struct image_source *s, const struct image_info *info, struct error *e);
int vhdx_probe(const struct image_source *s, struct image_info *ret, struct error *e);
int vhdx_verify(const struct image_source *s, const struct image_info *info, struct error *e);
int raw_probe(const struct image_source *s, bool insist, struct image_info *ret, struct error *e);

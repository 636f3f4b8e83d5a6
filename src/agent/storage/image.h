/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Disk images as strangers send them: what they are, how large, and whether they are whole.
 *
 * An image is data from outside that qemu-img and later QEMU will interpret, so nothing in it is trusted before it has
 * been looked at here, and nothing is copied from it but guest data:
 *
 *   image_probe   reads headers only. It tells the format and the virtual size, and refuses what could reach beyond the
 * file (backing, parent, data and extent files), what cannot be read (encryption, unknown features) and what is no disk
 * image at all. image_verify  walks the format's own tables and refuses an image that is shorter than they say. This is
 * ours to do: QEMU reads zeros beyond the end of a file, so a half-finished download would import without complaint and
 *                 fail when the guest needs the rest.
 *
 * Pure: bytes come through a callback, memory is bounded (a 64 KiB buffer), nothing recurses, and every offset is
 * checked before it is added to another. One file a family of formats: image_qcow2.c, image_vmdk.c, image_vdi.c,
 * image_vhd.c (VHD and VHDX), image_raw.c, image_iso.c.
 */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum image_format {
    IMAGE_AUTO,
    IMAGE_RAW,
    IMAGE_QCOW2,
    IMAGE_VMDK,
    IMAGE_VDI,
    IMAGE_VHDX,
    IMAGE_VHD,
    IMAGE_FORMAT_COUNT
};
const char *image_format_text(enum image_format f);
int image_format_from_text(const char *text, enum image_format *ret);
/* The name of QEMU's block driver for it. */
const char *image_format_driver(enum image_format f);

#define IMAGE_SIZE_MAX    INT64_C(70368744177664) /* 64 TiB */
#define IMAGE_BACKING_MAX 1023

struct image_source {
    /* Fills buf with exactly len bytes from offset; 0 or a negative errno. Never called beyond length. */
    int (*read)(void *ctx, uint64_t offset, void *buf, size_t len);
    void *ctx;
    uint64_t length;
    /* Asked now and then during a long walk; true: give up with ERR_CANCELLED. May be NULL. */
    bool (*cancelled)(void *ctx);
};

struct image_info {
    enum image_format format;
    int64_t size; /* virtual size in bytes, > 0, at most IMAGE_SIZE_MAX */
    union {
        struct {
            unsigned version, cluster_bits;
            bool extended_l2;
            uint64_t l1_offset;
            uint32_t l1_entries;
            uint64_t refcounts_offset;
            uint32_t refcounts_entries;
        } qcow2;
        struct {
            uint64_t grain_size, directory_offset; /* bytes */
            uint32_t entries_per_table;
            bool compressed;
        } vmdk;
        struct {
            uint32_t blocks, block_size, extra;
            uint64_t map_offset, data_offset;
        } vdi;
        struct {
            uint64_t bat_offset;
            uint32_t entries, block_size;
            bool fixed;
        } vhd;
        struct {
            uint64_t bat_offset, bat_length;
            uint32_t block_size, sector_size;
        } vhdx;
    } u;
};

/*
 * want: what the user says it is, or IMAGE_AUTO. Errors: ERR_BAD_IMAGE with a message that says why and what to do;
 * ERR_IO. A raw disk has no header, so IMAGE_AUTO wants evidence of one (a partition table or a file system).
 */
int image_probe(const struct image_source *s, enum image_format want, struct image_info *ret, struct error *e);
/* For what image_probe() has accepted. Errors as there. */
int image_verify(const struct image_source *s, const struct image_info *info, struct error *e);

enum image_boot_file { IMAGE_KERNEL, IMAGE_INITRD };
/* A bzImage; an initramfs (cpio, plain or compressed). */
int image_check_boot_file(const struct image_source *s, enum image_boot_file what, struct error *e);

/* An image of a CD or DVD, whole as far as its volume tells; its name as printable ASCII. */
#define IMAGE_LABEL_MAX 32
int image_check_iso(const struct image_source *s, char ret_label[static IMAGE_LABEL_MAX + 1], struct error *e);

/*
 * For Tarn's own disks: that this is a qcow2 whose backing file is exactly `backing`, with format qcow2 ("": it has
 * none), and which names no other file. Errors: ERR_BAD_IMAGE, ERR_IO.
 */
int image_check_own(const struct image_source *s, const char *backing, int64_t *ret_size, struct error *e);
/* The name of its backing file, "" if it has none. */
int image_own_backing(const struct image_source *s, char ret[static IMAGE_BACKING_MAX + 1], struct error *e);

/* A source that reads from a descriptor; fd must outlive it. */
struct image_fd {
    int fd;
    const bool *cancel; /* may be NULL */
};
int image_source_from_fd(struct image_fd *f, struct image_source *ret);

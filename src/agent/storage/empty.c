/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An empty qcow2: header, refcount table, one refcount block, an L1 table of zeros; byte for byte what
 *
 *     qemu-img create -f qcow2 -o cluster_size=64k,lazy_refcounts=off [-b BACKING -F qcow2] FILE SIZE
 *
 * of QEMU 7.2 makes (empty_test.c compares them and has qemu-img check it). Everything that is ever written into such a
 * file is written by QEMU; this is only its beginning, made in a millisecond where starting qemu-img takes 16.
 */
#include "agent/storage/task.h"

#include <endian.h>
#include <errno.h>
#include <unistd.h>

#define CLUSTER            65536u
#define L2_REACH           (UINT64_C(8192) * CLUSTER) /* 512 MiB: what one L1 entry maps */
#define HEADER_LEN         112
#define EXT_BACKING_FORMAT 0xe2792aca
#define EXT_FEATURES       0x6803f857

static void put32(struct buf *b, uint32_t v) {
    v = htobe32(v);
    buf_add(b, &v, sizeof(v));
}
static void put64(struct buf *b, uint64_t v) {
    v = htobe64(v);
    buf_add(b, &v, sizeof(v));
}

static void put_features(struct buf *b) {
    static const struct {
        uint8_t type, bit;
        char name[46];
    } features[] = {
        {0, 0, "dirty bit"},        {0, 1, "corrupt bit"},         {0, 2, "external data file"},
        {0, 3, "compression type"}, {0, 4, "extended L2 entries"}, {1, 0, "lazy refcounts"},
        {2, 0, "bitmaps"},          {2, 1, "raw external data"},
    };
    _Static_assert(sizeof(features[0]) == 48, "the feature name table is written as it lies in memory");
    put32(b, EXT_FEATURES);
    put32(b, sizeof(features));
    buf_add(b, features, sizeof(features));
}

static void put_header(struct buf *b, uint64_t size, uint64_t l1_entries, const char *backing) {
    size_t backing_at = HEADER_LEN + 16 + 8 + 8 * 48 + 8;
    put32(b, 0x514649fb);
    put32(b, 3);
    put64(b, *backing ? backing_at : 0);
    put32(b, (uint32_t)strlen(backing));
    put32(b, 16); /* cluster_bits */
    put64(b, size);
    put32(b, 0); /* encryption */
    put32(b, (uint32_t)l1_entries);
    put64(b, 3 * CLUSTER); /* L1 table */
    put64(b, 1 * CLUSTER); /* refcount table */
    put32(b, 1);
    put32(b, 0); /* snapshots */
    put64(b, 0);
    put64(b, 0); /* features: incompatible, compatible, autoclear */
    put64(b, 0);
    put64(b, 0);
    put32(b, 4); /* refcounts of 16 bits */
    put32(b, HEADER_LEN);
    put64(b, 0); /* compression type, padding */
    if (*backing) {
        put32(b, EXT_BACKING_FORMAT);
        put32(b, 5);
        buf_add(b, "qcow2\0\0", 8);
    }
    put_features(b);
    put64(b, 0); /* end of the extensions */
    buf_adds(b, backing);
}

static int write_at(int fd, const void *data, size_t len, uint64_t offset) {
    while (len > 0) {
        ssize_t n = pwrite(fd, data, len, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        data = (const char *)data + n;
        offset += (uint64_t)n;
        len -= (size_t)n;
    }
    return 0;
}

int qcow2_write_empty(int fd, int64_t size, const char *backing) {
    _cleanup_(buf_done) struct buf header = {0}, refcounts = {0};
    uint64_t l1_entries = ((uint64_t)size + L2_REACH - 1) / L2_REACH;
    uint64_t clusters = 3 + (l1_entries * 8 + CLUSTER - 1) / CLUSTER;
    uint64_t table = htobe64(2 * CLUSTER);
    uint16_t one = htobe16(1);
    if (strlen(backing) > 1023 || size <= 0 || clusters > CLUSTER / 2)
        return -EINVAL;
    put_header(&header, (uint64_t)size, l1_entries, backing);
    for (uint64_t i = 0; i < clusters; i++)
        buf_add(&refcounts, &one, sizeof(one));
    int r = write_at(fd, header.data, header.len, 0);
    if (r == 0)
        r = write_at(fd, &table, sizeof(table), CLUSTER);
    if (r == 0)
        r = write_at(fd, refcounts.data, refcounts.len, 2 * CLUSTER);
    if (r == 0 && ftruncate(fd, (off_t)(3 * CLUSTER + l1_entries * 8)) < 0)
        r = -errno;
    return r;
}

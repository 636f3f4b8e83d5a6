/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/storage/image_internal.h"

#include "base/mem.h"
#include "base/units.h"

#include <errno.h>
#include <inttypes.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct {
    const char *text, *driver;
} formats[IMAGE_FORMAT_COUNT] = {
    [IMAGE_AUTO] = {"auto", "raw"},  [IMAGE_RAW] = {"raw", "raw"}, [IMAGE_QCOW2] = {"qcow2", "qcow2"},
    [IMAGE_VMDK] = {"vmdk", "vmdk"}, [IMAGE_VDI] = {"vdi", "vdi"}, [IMAGE_VHDX] = {"vhdx", "vhdx"},
    [IMAGE_VHD] = {"vhd", "vpc"},
};

const char *image_format_text(enum image_format f) { return formats[f].text; }
const char *image_format_driver(enum image_format f) { return formats[f].driver; }

int image_format_from_text(const char *text, enum image_format *ret) {
    for (size_t i = 0; i < IMAGE_FORMAT_COUNT; i++)
        if (str_eq(text, formats[i].text)) {
            *ret = (enum image_format)i;
            return 0;
        }
    return -EINVAL;
}

/* ---- reading -------------------------------------------------------------------------------------------------------
 */

int image_truncated(const struct image_source *s, uint64_t needed, const char *what, struct error *e) {
    return error_set(e, ERR_BAD_IMAGE,
                     "the image is truncated: %s ends at byte %" PRIu64 ", but the file has only %" PRIu64
                     "; download or copy it again and compare its checksum",
                     what, needed, s->length);
}

int image_within(const struct image_source *s, uint64_t offset, uint64_t len, const char *what, struct error *e) {
    if (offset > INT64_MAX || len > INT64_MAX - offset)
        return error_set(e, ERR_BAD_IMAGE, "the image is corrupt: the place of %s makes no sense", what);
    if (offset + len > s->length)
        return image_truncated(s, offset + len, what, e);
    return 0;
}

int image_block(const struct image_source *s, uint64_t offset, uint64_t block, uint64_t guest, uint64_t size,
                const char *what, struct error *e) {
    uint64_t left = size - guest;
    if (left < block && offset <= INT64_MAX - left && s->length >= offset + left && s->length - (offset + left) < 512)
        return 0;
    return image_within(s, offset, block, what, e);
}

int image_read(const struct image_source *s, uint64_t offset, void *buf, size_t len, const char *what,
               struct error *e) {
    int r = image_within(s, offset, len, what, e);
    if (r < 0)
        return r;
    r = s->read(s->ctx, offset, buf, len);
    if (r < 0)
        return error_set(e, ERR_IO, "reading %s of the image failed: %s", what, strerror(-r));
    return 0;
}

bool image_peek(const struct image_source *s, uint64_t offset, void *buf, size_t len) {
    return offset <= s->length && len <= s->length - offset && s->read(s->ctx, offset, buf, len) == 0;
}

int image_check_size(uint64_t size, struct error *e) {
    char text[SIZE_TEXT_MAX];
    if (size == 0)
        return error_set(e, ERR_BAD_IMAGE, "the image says that its disk has 0 bytes; there is nothing to import");
    if (size > (uint64_t)IMAGE_SIZE_MAX)
        return error_set(e, ERR_BAD_IMAGE, "the image says that its disk has %" PRIu64 " bytes; the most is %s", size,
                         size_format(IMAGE_SIZE_MAX, text));
    return 0;
}

int image_poll(const struct image_source *s, struct error *e) {
    if (s->cancelled && s->cancelled(s->ctx))
        return error_set(e, ERR_CANCELLED, "cancelled");
    return 0;
}

int image_walk(const struct image_source *s, const struct image_table *t, struct error *e) {
    const size_t piece = 64 * KIB;
    int r = image_within(s, t->offset, t->entries * t->width, t->what, e);
    if (r < 0 || t->entries == 0)
        return r;
    uint64_t total = t->entries * t->width;
    size_t cap = total < piece ? (size_t)total : piece;
    _cleanup_free_ uint8_t *buf = xmalloc(cap);
    for (uint64_t done = 0; done < total;) {
        size_t n = total - done < cap ? (size_t)(total - done) : cap;
        if ((r = image_poll(s, e)) < 0 || (r = image_read(s, t->offset + done, buf, n, t->what, e)) < 0)
            return r;
        for (size_t i = 0; i < n; i += t->width)
            if ((r = t->item(t->ctx, (done + i) / t->width, buf + i, e)) != 0)
                return r;
        done += n;
    }
    return 0;
}

const char *image_printable(const void *text, size_t len, char buf[static IMAGE_TEXT_MAX]) {
    const unsigned char *t = text;
    size_t n = 0;
    for (; n < len && n < IMAGE_TEXT_MAX - 1 && t[n]; n++)
        buf[n] = t[n] >= 0x20 && t[n] < 0x7f ? (char)t[n] : '?';
    buf[n] = 0;
    return buf;
}

static int fd_read(void *ctx, uint64_t offset, void *buf, size_t len) {
    const struct image_fd *f = ctx;
    for (size_t done = 0; done < len;) {
        ssize_t n = pread(f->fd, (char *)buf + done, len - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            return -EIO; /* it shrank under us */
        done += (size_t)n;
    }
    return 0;
}

static bool fd_cancelled(void *ctx) {
    const struct image_fd *f = ctx;
    return f->cancel && __atomic_load_n(f->cancel, __ATOMIC_RELAXED);
}

int image_source_from_fd(struct image_fd *f, struct image_source *ret) {
    struct stat st;
    if (fstat(f->fd, &st) < 0)
        return -errno;
    *ret = (struct image_source){.read = fd_read, .ctx = f, .length = (uint64_t)st.st_size, .cancelled = fd_cancelled};
    return 0;
}

/* ---- what it is ----------------------------------------------------------------------------------------------------
 */

struct magic {
    unsigned offset;
    const char *bytes;
    size_t len;
    const char *what;
};
#define MAGIC(offset, bytes, what)                                                                                     \
    { offset, bytes, sizeof(bytes) - 1, what }

/* Formats of disk images that are not taken, each with what to do. */
static const struct magic foreign[] = {
    MAGIC(0, "QFI\xfb\0\0\0\1", "a qcow image of version 1; convert it with: qemu-img convert -O qcow2 OLD NEW"),
    MAGIC(0, "QED\0", "a QED image; convert it with: qemu-img convert -O qcow2 OLD NEW"),
    MAGIC(0, "WithoutFreeSpace", "a Parallels image; convert it with: qemu-img convert -O qcow2 OLD NEW"),
    MAGIC(0, "WithouFreSpacExt", "a Parallels image; convert it with: qemu-img convert -O qcow2 OLD NEW"),
    MAGIC(0, "COWD",
          "one extent of an ESX snapshot or split disk; export the virtual machine as OVA and import its VMDK"),
    MAGIC(0, "\xbe\xba\xfe\xca", "a VMware SE sparse snapshot; export the virtual machine as OVA and import its VMDK"),
    MAGIC(257, "ustar", "a tar archive (an OVA is one); unpack it with tar and import the disk image that is in it"),
};

/* Compressed files, which are refused wherever a disk is wanted. */
static const struct magic compressed[] = {
    MAGIC(0, "\x1f\x8b\x08", "gzip"),
    MAGIC(0,
          "\xfd"
          "7zXZ\0",
          "xz"),
    MAGIC(0, "\x28\xb5\x2f\xfd", "zstd"),
    MAGIC(0, "BZh", "bzip2"),
    MAGIC(0, "PK\x03\x04", "zip"),
    MAGIC(0, "\x04\x22\x4d\x18", "lz4"),
    MAGIC(0, "7z\xbc\xaf\x27\x1c", "7-Zip"),
    MAGIC(0, "LZIP", "lzip"),
};

static const struct magic *magic_find(const struct magic *table, size_t n, const uint8_t *head, size_t len) {
    for (size_t i = 0; i < n; i++)
        if (table[i].offset + table[i].len <= len && memcmp(head + table[i].offset, table[i].bytes, table[i].len) == 0)
            return &table[i];
    return NULL;
}

static bool looks_like_text(const uint8_t *head, size_t len) {
    for (size_t i = 0; i < len; i++)
        if (head[i] < 0x20 && head[i] != '\n' && head[i] != '\r' && head[i] != '\t' && head[i] != '\f' &&
            head[i] != 0x1b)
            return false;
    return len > 0;
}

static bool is_vmdk_descriptor(const uint8_t *head, size_t len) {
    static const char mark[] = "# Disk DescriptorFile";
    for (size_t i = 0; i + sizeof(mark) - 1 <= len && i < 64; i++)
        if (strncasecmp((const char *)head + i, mark, sizeof(mark) - 1) == 0)
            return true;
    return false;
}

/* The format that the bytes say; IMAGE_RAW when they say none. */
static enum image_format detect(const struct image_source *s, const uint8_t *head, size_t len) {
    char foot[8];
    if (len >= 8 && memcmp(head, "QFI\xfb", 4) == 0 && get_be32(head + 4) >= 2)
        return IMAGE_QCOW2;
    if (len >= 4 && memcmp(head, "KDMV", 4) == 0)
        return IMAGE_VMDK;
    if (is_vmdk_descriptor(head, len))
        return IMAGE_VMDK;
    if (len >= 0x44 && get_le32(head + 0x40) == 0xbeda107f)
        return IMAGE_VDI;
    if (len >= 8 && memcmp(head, "vhdxfile", 8) == 0)
        return IMAGE_VHDX;
    if (len >= 8 && memcmp(head, "conectix", 8) == 0)
        return IMAGE_VHD;
    if (s->length >= 512 && image_peek(s, s->length - 512, foot, 8) && memcmp(foot, "conectix", 8) == 0)
        return IMAGE_VHD;
    return IMAGE_RAW;
}

static int refuse_foreign(const uint8_t *head, size_t len, enum image_format want, struct error *e) {
    const struct magic *m;
    /* A raw disk begins with guest data: only what the user did not call raw is judged by its first bytes. */
    if (want == IMAGE_RAW)
        return 0;
    if ((m = magic_find(compressed, ARRAY_LEN(compressed), head, len)))
        return error_set(e, ERR_BAD_IMAGE, "the file is compressed (%s); decompress it first and import what is in it",
                         m->what);
    if ((m = magic_find(foreign, ARRAY_LEN(foreign), head, len)))
        return error_set(e, ERR_BAD_IMAGE, "the file is %s", m->what);
    return 0;
}

int image_probe(const struct image_source *s, enum image_format want, struct image_info *ret, struct error *e) {
    static int (*const probes[IMAGE_FORMAT_COUNT])(const struct image_source *, struct image_info *, struct error *) = {
        [IMAGE_QCOW2] = qcow2_probe, [IMAGE_VMDK] = vmdk_probe, [IMAGE_VDI] = vdi_probe,
        [IMAGE_VHDX] = vhdx_probe,   [IMAGE_VHD] = vhd_probe,
    };
    uint8_t head[4096];
    if (s->length == 0)
        return error_set(e, ERR_BAD_IMAGE, "the file is empty");
    size_t len = s->length < sizeof(head) ? (size_t)s->length : sizeof(head);
    int r = image_read(s, 0, head, len, "its beginning", e);
    if (r < 0 || (r = refuse_foreign(head, len, want, e)) < 0)
        return r;
    enum image_format found = detect(s, head, len);
    if (found == IMAGE_RAW && want != IMAGE_AUTO && want != IMAGE_RAW)
        return error_set(e, ERR_BAD_IMAGE, "the file is no %s image: its header is missing", image_format_text(want));
    if (found != IMAGE_RAW && want != IMAGE_AUTO && want != found)
        return error_set(e, ERR_BAD_IMAGE,
                         "the file is a %s image, not a %s one; leave the format out to have it found",
                         image_format_text(found), image_format_text(want));
    struct image_info info = {.format = found};
    if (found == IMAGE_RAW && want == IMAGE_AUTO && looks_like_text(head, len))
        return error_set(e, ERR_BAD_IMAGE, "the file is text, not a disk image");
    r = found == IMAGE_RAW ? raw_probe(s, want == IMAGE_RAW, &info, e) : probes[found](s, &info, e);
    if (r < 0)
        return r;
    *ret = info;
    return 0;
}

int image_verify(const struct image_source *s, const struct image_info *info, struct error *e) {
    switch (info->format) {
    case IMAGE_QCOW2:
        return qcow2_verify(s, info, e);
    case IMAGE_VMDK:
        return vmdk_verify(s, info, e);
    case IMAGE_VDI:
        return vdi_verify(s, info, e);
    case IMAGE_VHDX:
        return vhdx_verify(s, info, e);
    case IMAGE_VHD:
        return vhd_verify(s, info, e);
    case IMAGE_RAW:
    case IMAGE_AUTO:
    case IMAGE_FORMAT_COUNT:
        break;
    }
    return 0;
}

/* ---- kernels and initramfs ------------------------------------------------------------------------------------------
 */

int image_check_boot_file(const struct image_source *s, enum image_boot_file what, struct error *e) {
    static const struct magic initrds[] = {
        MAGIC(0, "070701", "cpio"),
        MAGIC(0, "070702", "cpio"),
        MAGIC(0, "070707", "cpio"),
        MAGIC(0, "\xc7\x71", "cpio"),
        MAGIC(0, "\x1f\x8b", "gzip"),
        MAGIC(0,
              "\xfd"
              "7zXZ\0",
              "xz"),
        MAGIC(0, "\x28\xb5\x2f\xfd", "zstd"),
        MAGIC(0, "BZh", "bzip2"),
        MAGIC(0, "\x02\x21\x4c\x18", "lz4"),
        MAGIC(0, "\x04\x22\x4d\x18", "lz4"),
        MAGIC(0, "\x5d\0\0", "lzma"),
        MAGIC(0, "\x89LZO", "lzo"),
    };
    const uint64_t most = 2048 * MIB;
    uint8_t head[0x210] = {0};
    size_t len = s->length < sizeof(head) ? (size_t)s->length : sizeof(head);
    if (s->length == 0)
        return error_set(e, ERR_BAD_IMAGE, "the %s is empty", what == IMAGE_KERNEL ? "kernel" : "initramfs");
    if (s->length > most)
        return error_set(e, ERR_BAD_IMAGE, "the %s is larger than 2 GiB",
                         what == IMAGE_KERNEL ? "kernel" : "initramfs");
    int r = image_read(s, 0, head, len, "its beginning", e);
    if (r < 0)
        return r;
    if (what == IMAGE_INITRD) {
        if (magic_find(initrds, ARRAY_LEN(initrds), head, len))
            return 0;
        return error_set(e, ERR_BAD_IMAGE,
                         "the file is no initramfs (a cpio archive, plain or compressed with gzip, xz, zstd, "
                         "bzip2, lz4, lzo or lzma)");
    }
    if (len < sizeof(head) || head[0x1fe] != 0x55 || head[0x1ff] != 0xaa || memcmp(head + 0x202, "HdrS", 4) != 0)
        return error_set(e, ERR_BAD_IMAGE,
                         "the file is no Linux kernel (bzImage); take the distribution's /boot/vmlinuz-VERSION");
    /* Boot protocol: setup sectors (0 stands for 4) after the first, then syssize paragraphs of 16 bytes. */
    uint64_t needed = ((head[0x1f1] ? head[0x1f1] : 4u) + 1) * 512 + (uint64_t)get_le32(head + 0x1f4) * 16;
    if (needed > s->length + 15)
        return image_truncated(s, needed, "the kernel", e);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/storage/image_internal.h"
#include "agent/storage/test_util.h"

#include <dirent.h>

char scratch[64];

/* ---- helpers
 * --------------------------------------------------------------------------------------------------------- */

/* 0 or the error's code, with the text of the message in `said`. */
static char said[1024];
static int check_fd(int fd, enum image_format want, struct image_info *ret) {
    struct image_fd f = {.fd = fd};
    struct image_source s;
    _cleanup_error_ struct error e = ERROR_INIT;
    assert_int_equal(image_source_from_fd(&f, &s), 0);
    int r = image_probe(&s, want, ret, &e);
    if (r == 0)
        r = image_verify(&s, ret, &e);
    snprintf(said, sizeof(said), "%s", str_or(e.message, ""));
    assert_true((r < 0) == (e.code != ERR_OK));
    return (int)e.code;
}

static int check(const char *path, enum image_format want, struct image_info *ret) {
    struct image_info info;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    int r = check_fd(fd, want, ret ? ret : &info);
    close(fd);
    return r;
}

static void assert_refused(const char *path, enum image_format want, const char *because) {
    int r = check(path, want, NULL);
    if (r != ERR_BAD_IMAGE || !strstr(said, because))
        fail_msg("%s: code %d, \"%s\" where \"%s\" was expected", path, r, said, because);
}

static void assert_accepted(const char *path, enum image_format format, uint64_t size) {
    struct image_info info;
    if (check(path, IMAGE_AUTO, &info) != 0 || check(path, format, &info) != 0)
        fail_msg("%s: %s", path, said);
    assert_int_equal(info.format, format);
    assert_int_equal(info.size, size);
}

/*
 * Cut at many places, the image must be refused at each; qemu-img would fill most of them up with zeros. Accepted is
 * only one that has lost nothing (padding, or the footer of a fixed VHD, which without it is a raw disk).
 */
static void assert_truncation_seen(const char *path, const char *what, const char *raw) {
    static const double parts[] = {0.01, 0.1, 0.3, 0.5, 0.75, 0.9, 0.99, 0.999};
    uint64_t length = file_length(path);
    const char *cut = in_scratch("cut");
    assert_int_equal(run("cp", "--sparse=always", path, cut, NULL), 0);
    for (int i = ARRAY_LEN(parts) + 1; i >= 0; i--) {
        uint64_t at = i > (int)ARRAY_LEN(parts)    ? length - 1
                      : i == (int)ARRAY_LEN(parts) ? length - 512
                                                   : (uint64_t)((double)length * parts[i]);
        assert_int_equal(truncate(cut, (off_t)at), 0);
        struct image_info info;
        int r = check(cut, IMAGE_AUTO, &info);
        if (r != ERR_BAD_IMAGE &&
            (r != 0 || run("qemu-img", "compare", "-f", "raw", "-F", image_format_driver(info.format), raw, cut, NULL)))
            fail_msg("%s of %llu bytes cut to %llu was accepted", what, (unsigned long long)length,
                     (unsigned long long)at);
    }
    unlink(cut);
}

/* ---- what qemu-img makes
 * ---------------------------------------------------------------------------------------------- */

static const struct sample {
    const char *name, *driver, *options;
    enum image_format format;
    bool compress;
} samples[] = {
    {"qcow2", "qcow2", "compat=1.1", IMAGE_QCOW2, false},
    {"qcow2 v2", "qcow2", "compat=0.10", IMAGE_QCOW2, false},
    {"qcow2 small clusters", "qcow2", "cluster_size=512", IMAGE_QCOW2, false},
    {"qcow2 large clusters", "qcow2", "cluster_size=2M", IMAGE_QCOW2, false},
    {"qcow2 extended L2", "qcow2", "extended_l2=on,cluster_size=128k", IMAGE_QCOW2, false},
    {"qcow2 zlib", "qcow2", "compat=1.1", IMAGE_QCOW2, true},
    {"qcow2 zstd", "qcow2", "compression_type=zstd", IMAGE_QCOW2, true},
    {"qcow2 preallocated", "qcow2", "preallocation=metadata", IMAGE_QCOW2, false},
    {"qcow2 lazy", "qcow2", "lazy_refcounts=on", IMAGE_QCOW2, false},
    {"vmdk sparse", "vmdk", "subformat=monolithicSparse", IMAGE_VMDK, false},
    {"vmdk stream", "vmdk", "subformat=streamOptimized", IMAGE_VMDK, false},
    {"vdi", "vdi", "static=off", IMAGE_VDI, false},
    {"vdi static", "vdi", "static=on", IMAGE_VDI, false},
    {"vhd", "vpc", "subformat=dynamic,force_size=on", IMAGE_VHD, false},
    {"vhd fixed", "vpc", "subformat=fixed,force_size=on", IMAGE_VHD, false},
    {"vhdx", "vhdx", "subformat=dynamic", IMAGE_VHDX, false},
    {"vhdx fixed", "vhdx", "subformat=fixed", IMAGE_VHDX, false},
};

static void test_samples(void **state) {
    const uint64_t sizes[] = {16 * MIB, 20 * MIB + 512 * 3};
    for (size_t k = 0; k < ARRAY_LEN(sizes); k++) {
        const char *raw = in_scratch("raw");
        make_raw(raw, sizes[k], 300000);
        for (size_t i = 0; i < ARRAY_LEN(samples); i++) {
            const struct sample *s = &samples[i];
            const char *image = in_scratch("image");
            unlink(image);
            if (run("qemu-img", "convert", "-f", "raw", "-O", s->driver, "-o", s->options, raw, image,
                    s->compress ? "-c" : NULL, NULL))
                fail_msg("qemu-img cannot make %s", s->name);
            assert_accepted(image, s->format, sizes[k]);
            assert_truncation_seen(image, s->name, in_scratch("raw"));
            raw = in_scratch("raw");
        }
    }
}

static void test_empty_and_large(void **state) {
    static const char *const drivers[] = {"qcow2", "vmdk", "vdi", "vhdx"};
    static const enum image_format formats[] = {IMAGE_QCOW2, IMAGE_VMDK, IMAGE_VDI, IMAGE_VHDX};
    for (size_t i = 0; i < ARRAY_LEN(drivers); i++) {
        const char *image = in_scratch("image");
        unlink(image);
        assert_int_equal(run("qemu-img", "create", "-f", drivers[i], image, "1T", NULL), 0);
        assert_accepted(image, formats[i], UINT64_C(1) << 40);
    }
    const char *image = in_scratch("image");
    assert_int_equal(run("qemu-img", "create", "-f", "qcow2", image, "64T", NULL), 0);
    assert_accepted(image, IMAGE_QCOW2, IMAGE_SIZE_MAX);
    assert_int_equal(run("qemu-img", "create", "-f", "qcow2", image, "65T", NULL), 0);
    assert_refused(image, IMAGE_AUTO, "the most is 64 TiB");
}

/* ---- images that reach beyond themselves
 * ------------------------------------------------------------------------------- */

static void test_backing(void **state) {
    const char *image = in_scratch("image");
    assert_int_equal(
        run("qemu-img", "create", "-u", "-f", "qcow2", "-b", "/etc/passwd", "-F", "raw", image, "1G", NULL), 0);
    assert_refused(image, IMAGE_AUTO, "another file, its backing file /etc/passwd");
    assert_refused(image, IMAGE_QCOW2, "/etc/passwd");
    assert_int_equal(run("qemu-img", "create", "-u", "-f", "qcow2", "-b", "json:{\"driver\":\"raw\",\"file\":{}}", "-F",
                         "raw", image, "1G", NULL),
                     0);
    assert_refused(image, IMAGE_AUTO, "json:");
}

static void test_data_file(void **state) {
    const char *image = in_scratch("image");
    _cleanup_free_ char *options = xasprintf("data_file=%s,data_file_raw=on", in_scratch("secret"));
    assert_int_equal(run("qemu-img", "create", "-f", "qcow2", "-o", options, image, "1M", NULL), 0);
    assert_refused(image, IMAGE_AUTO, "keeps its data in another file");
}

static void test_encrypted(void **state) {
    const char *image = in_scratch("image");
    if (run("qemu-img", "create", "-f", "qcow2", "--object", "secret,id=s,data=x", "-o",
            "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10", image, "4M", NULL))
        skip();
    assert_refused(image, IMAGE_AUTO, "encrypted");
}

static void test_qcow2_header(void **state) {
    static const struct {
        unsigned offset;
        uint8_t bytes[8];
        size_t len;
        const char *because;
    } cases[] = {
        {24, {0x80}, 8, "the most is 64 TiB"},                                 /* 2^63 */
        {24, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe, 0}, 8, "the most is"}, /* -512 */
        {24, {0}, 8, "0 bytes"},
        {24, {0, 0, 0x40, 0, 0, 0, 0, 1}, 8, "the most is 64 TiB"},
        {24, {0, 0, 0x3f, 0, 0, 0, 0, 0}, 8, "L1 table has"},
        {4, {0, 0, 0, 9}, 4, "version 9"},
        {20, {0, 0, 0, 40}, 4, "2^40 bytes"},
        {20, {0, 0, 0, 8}, 4, "2^8 bytes"},
        {32, {0, 0, 0, 1}, 4, "encrypted"},
        {40, {0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0}, 8, "truncated"},
        {40, {0, 0, 0, 1, 0, 0, 0, 0}, 8, "truncated"},
        {40, {0, 0, 0, 0, 0, 3, 0, 1}, 8, "L1 table makes no sense"},
        {72, {0, 0, 0, 0, 0, 0, 0, 2}, 8, "marked corrupt"},
        {72, {0, 0, 0, 0, 0, 0, 0, 4}, 8, "another file"},
        {72, {0x80, 0, 0, 0, 0, 0, 0, 0}, 8, "not known"},
        {100, {0xff, 0xff, 0xff, 0xff}, 4, "its header has"},
        {0x74, {0xff, 0xff, 0xff, 0xf0}, 4, "header extension"},
        {8,
         {
             0x7f,
             0xff,
             0xff,
             0xff,
             0xff,
             0xff,
             0xff,
             0xff,
         },
         8,
         "backing file"},
        {16, {0, 0, 0, 4}, 4, "backing file"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *image = in_scratch("image");
        assert_int_equal(run("qemu-img", "create", "-f", "qcow2", image, "1G", NULL), 0);
        write_at(image, cases[i].offset, cases[i].bytes, cases[i].len);
        assert_refused(image, IMAGE_AUTO, cases[i].because);
    }
}

static void test_vmdk_others(void **state) {
    static const char *const split[] = {"monolithicFlat", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat"};
    for (size_t i = 0; i < ARRAY_LEN(split); i++) {
        const char *image = in_scratch("disk.vmdk");
        _cleanup_free_ char *options = xasprintf("subformat=%s", split[i]);
        unlink(image);
        assert_int_equal(run("qemu-img", "create", "-f", "vmdk", "-o", options, image, "8M", NULL), 0);
        assert_refused(image, IMAGE_AUTO, "names other files, first disk");
    }
    assert_refused(in_scratch("disk-s001.vmdk"), IMAGE_AUTO, "one extent of a split VMDK");
    static const char hostile[] =
        "# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType=\"monolithicFlat\"\n"
        "RW 64 FLAT \"/etc/passwd\" 0\n";
    const char *image = in_scratch("image");
    write_file(image, hostile, sizeof(hostile) - 1);
    assert_refused(image, IMAGE_AUTO, "first /etc/passwd");
    assert_refused(image, IMAGE_VMDK, "first /etc/passwd");
}

/* The descriptor inside a sparse VMDK, with one string replaced by another of the same length. */
static void edit(const char *path, const char *old, const char *new) {
    char text[4096];
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0 && strlen(old) == strlen(new));
    ssize_t n = pread(fd, text, sizeof(text), 0);
    char *at = memmem(text, (size_t)n, old, strlen(old));
    assert_non_null(at);
    assert_int_equal(pwrite(fd, new, strlen(new), at - text), strlen(new));
    close(fd);
}

static void test_vmdk_descriptor(void **state) {
    static const struct {
        const char *old, *new, *because;
    } cases[] = {
        {"parentCID=ffffffff", "parentCID=12345678", "a snapshot"},
        {"# Disk DescriptorFile\n", "parentFileNameHint=xx\n", "another file, xx"},
        {"monolithicSparse", "monolithicFlatxx", "monolithicFlatxx"},
        {"image.vmdk", "/etc/pass0", "names other files (/etc/pass0)"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *image = in_scratch("image.vmdk");
        unlink(image);
        assert_int_equal(run("qemu-img", "create", "-f", "vmdk", image, "8M", NULL), 0);
        assert_accepted(image, IMAGE_VMDK, 8 * MIB);
        edit(image, cases[i].old, cases[i].new);
        assert_refused(image, IMAGE_AUTO, cases[i].because);
    }
}

static void put_be32(uint8_t *p, uint32_t v) {
    p[0] = (uint8_t)(v >> 24), p[1] = (uint8_t)(v >> 16), p[2] = (uint8_t)(v >> 8), p[3] = (uint8_t)v;
}

/* Sets the type in both footers of a VHD and makes the checksums right again. */
static void vhd_set_type(const char *path, uint32_t type) {
    uint8_t f[512];
    int fd = open(path, O_RDWR | O_CLOEXEC);
    uint64_t at[2] = {0, file_length(path) - 512};
    for (int i = 0; i < 2; i++) {
        uint32_t sum = 0;
        assert_int_equal(pread(fd, f, sizeof(f), (off_t)at[i]), sizeof(f));
        put_be32(f + 60, type);
        put_be32(f + 64, 0);
        for (size_t k = 0; k < sizeof(f); k++)
            sum += f[k];
        put_be32(f + 64, ~sum);
        assert_int_equal(pwrite(fd, f, sizeof(f), (off_t)at[i]), sizeof(f));
    }
    close(fd);
}

static void test_differencing(void **state) {
    const char *image = in_scratch("image.vhd");
    assert_int_equal(run("qemu-img", "create", "-f", "vpc", image, "8M", NULL), 0);
    vhd_set_type(image, 4);
    assert_refused(image, IMAGE_AUTO, "differencing");
    vhd_set_type(image, 9);
    assert_refused(image, IMAGE_AUTO, "type 9");
    write_at(image, file_length(image) - 300, "x", 1);
    assert_refused(image, IMAGE_AUTO, "checksum");

    image = in_scratch("image.vdi");
    assert_int_equal(run("qemu-img", "create", "-f", "vdi", image, "8M", NULL), 0);
    write_at(image, 0x4c, "\4", 1);
    assert_refused(image, IMAGE_AUTO, "a snapshot");
    write_at(image, 0x4c, "\1", 1);
    write_at(image, 0x1b8, "parent", 6);
    assert_refused(image, IMAGE_AUTO, "a snapshot");
}

/* VHDX: the flag stands in the file parameters, whose place the metadata table gives. */
static void test_vhdx_parent(void **state) {
    const char *image = in_scratch("image.vhdx");
    uint8_t table[1024];
    static const uint8_t parameters[16] = {0x37, 0x67, 0xa1, 0xca, 0x36, 0xfa, 0x43, 0x4d,
                                           0xb3, 0xb6, 0x33, 0xf0, 0xaa, 0x44, 0xe7, 0x6b};
    assert_int_equal(run("qemu-img", "create", "-f", "vhdx", image, "8M", NULL), 0);
    int fd = open(image, O_RDWR | O_CLOEXEC);
    uint64_t metadata = 0;
    for (uint64_t at = MIB; at < 8 * MIB && !metadata; at += MIB)
        if (pread(fd, table, sizeof(table), (off_t)at) == sizeof(table) && memcmp(table, "metadata", 8) == 0)
            metadata = at;
    uint8_t *entry = memmem(table, sizeof(table), parameters, 16);
    assert_true(metadata && entry);
    assert_int_equal(pwrite(fd, "\2", 1, (off_t)(metadata + get_le32(entry + 16) + 4)), 1);
    close(fd);
    assert_refused(image, IMAGE_AUTO, "differencing");
    write_at(image, 64 * KIB, "xxxx", 4);
    write_at(image, 128 * KIB, "xxxx", 4);
    assert_refused(image, IMAGE_AUTO, "neither of its headers");
}

/* ---- what is no disk image
 * ------------------------------------------------------------------------------------------- */

static void test_not_images(void **state) {
    static const struct {
        const char *bytes;
        size_t len;
        const char *because;
    } cases[] = {
        {"", 0, "empty"},
        {"hello, world\n", 13, "is text"},
        {"<!DOCTYPE html><html>404</html>", 31, "is text"},
        {"\x1f\x8b\x08\0\0\0\0\0", 8, "gzip"},
        {"\xfd"
         "7zXZ\0\0",
         7, "xz"},
        {"PK\3\4\0\0\0\0", 8, "zip"},
        {"QED\0\0\0\0\0", 8, "QED"},
        {"QFI\xfb\0\0\0\1", 8, "version 1"},
        {"QFI\xfb\0\0\0\3", 8, "truncated"},
        {"KDMV", 4, "truncated"},
        {"vhdxfile", 8, "truncated"},
        {"conectix", 8, "truncated"},
        {"\0\1\2\3", 4, "no multiple of 512"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *image = in_scratch("image");
        write_file(image, cases[i].bytes, cases[i].len);
        assert_refused(image, IMAGE_AUTO, cases[i].because);
    }
    uint8_t unknown[4096] = {1, 2, 3};
    const char *image = in_scratch("image");
    write_file(image, unknown, sizeof(unknown));
    assert_refused(image, IMAGE_AUTO, "say so: --format raw");
    assert_int_equal(check(image, IMAGE_RAW, NULL), 0);
    assert_refused(image, IMAGE_VMDK, "no vmdk image");
    memcpy(unknown + 257, "ustar", 5);
    write_file(image, unknown, sizeof(unknown));
    assert_refused(image, IMAGE_AUTO, "tar archive");
    write_file(image, unknown, 513);
    assert_refused(image, IMAGE_RAW, "no multiple of 512");
    assert_int_equal(run("qemu-img", "create", "-f", "qcow2", image, "1G", NULL), 0);
    assert_refused(image, IMAGE_RAW, "is a qcow2 image");
    assert_refused(image, IMAGE_VDI, "is a qcow2 image");
}

static void test_raw(void **state) {
    const char *image = in_scratch("image");
    make_raw(image, 8 * MIB, 4096);
    assert_accepted(image, IMAGE_RAW, 8 * MIB);
    assert_truncation_seen(image, "raw with partitions", image);
    assert_int_equal(truncate(image, 4 * MIB), 0);
    assert_refused(image, IMAGE_AUTO, "a partition in it reaches to byte 8388608");
    assert_int_equal(check(image, IMAGE_RAW, NULL), 0);
    static const char *const makers[] = {"mkfs.ext4", "mkfs.xfs", "mkfs.btrfs"};
    for (size_t i = 0; i < ARRAY_LEN(makers); i++) {
        unlink(image);
        write_file(image, "", 0);
        assert_int_equal(truncate(image, 512 * MIB), 0);
        if (run(makers[i], "-q", image, NULL) != 0)
            continue;
        assert_accepted(image, IMAGE_RAW, 512 * MIB);
        assert_int_equal(truncate(image, 256 * MIB), 0);
        assert_refused(image, IMAGE_AUTO, "file system in it reaches");
    }
}

/* A volume of that many sectors in a file of that many bytes, as a CD or, with udf, as a DVD without ISO 9660. */
static int check_disc(uint32_t sectors, size_t length, bool udf, char label[static IMAGE_LABEL_MAX + 1]) {
    uint8_t descriptor[2048] = {1, 'C', 'D', '0', '0', '1', 1}, end[2048] = {255, 'C', 'D', '0', '0', '1', 1};
    memcpy(descriptor + 40, "A LABEL\n                          ", 32);
    for (int i = 0; i < 4; i++) {
        descriptor[80 + i] = (uint8_t)(sectors >> 8 * i);
        descriptor[87 - i] = (uint8_t)(sectors >> 8 * i);
    }
    descriptor[129] = descriptor[130] = 8; /* 2048, both ways */
    int fd = open(in_scratch("disc"), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_int_equal(ftruncate(fd, (off_t)length), 0);
    if (udf) {
        static const char *const ids[] = {"BEA01", "NSR02", "TEA01"};
        for (int i = 0; i < 3; i++)
            assert_int_equal(pwrite(fd, ids[i], 5, (16 + i) * 2048 + 1), 5);
    } else if (length > 18 * 2048) {
        assert_int_equal(pwrite(fd, descriptor, 2048, 16 * 2048), 2048);
        assert_int_equal(pwrite(fd, end, 2048, 17 * 2048), 2048);
    }
    struct image_fd f = {.fd = fd};
    struct image_source s;
    _cleanup_error_ struct error e = ERROR_INIT;
    assert_int_equal(image_source_from_fd(&f, &s), 0);
    int r = image_check_iso(&s, label, &e);
    snprintf(said, sizeof(said), "%s", str_or(e.message, ""));
    close(fd);
    return r;
}

static void test_discs(void **state) {
    char label[IMAGE_LABEL_MAX + 1] = "untouched";
    assert_int_equal(check_disc(1000, 0, false, label), -EBADMSG);
    assert_int_equal(check_disc(1000, 4096, false, label), -EBADMSG);
    assert_int_equal(check_disc(1000, 500 * 2048, false, label), -EBADMSG);
    assert_non_null(strstr(said, "truncated"));
    assert_int_equal(check_disc(0, 500 * 2048, false, label), -EBADMSG);
    assert_int_equal(check_disc(UINT32_MAX, 500 * 2048, false, label), -EBADMSG);
    assert_string_equal(label, "untouched");
    assert_int_equal(check_disc(1000, 1000 * 2048, false, label), 0);
    assert_string_equal(label, "A LABEL?");
    assert_int_equal(check_disc(1000, 900 * 2048, false, label), 0); /* without its padding */
    assert_int_equal(check_disc(1000, 1000 * 2048, true, label), 0);
    assert_string_equal(label, "");
}

static void test_boot_files(void **state) {
    struct image_fd f;
    struct image_source s;
    uint8_t kernel[0x400] = {0};
    const char *path = in_scratch("kernel");
    _cleanup_error_ struct error e = ERROR_INIT;
    kernel[0x1f1] = 1;
    memcpy(kernel + 0x1fe, "\x55\xaa", 2);
    memcpy(kernel + 0x202, "HdrS", 4);
    write_file(path, kernel, sizeof(kernel));
    f.fd = open(path, O_RDWR | O_CLOEXEC);
    assert_int_equal(image_source_from_fd(&f, &s), 0);
    assert_int_equal(image_check_boot_file(&s, IMAGE_KERNEL, &e), 0);
    assert_int_equal(image_check_boot_file(&s, IMAGE_INITRD, &e), -EBADMSG);
    kernel[0x1f4] = 200; /* 3200 bytes of protected-mode code */
    assert_int_equal(pwrite(f.fd, kernel, sizeof(kernel), 0), sizeof(kernel));
    assert_int_equal(image_check_boot_file(&s, IMAGE_KERNEL, &e), -EBADMSG);
    assert_non_null(strstr(e.message, "truncated"));
    assert_int_equal(pwrite(f.fd, "\x28\xb5\x2f\xfd", 4, 0), 4);
    assert_int_equal(image_check_boot_file(&s, IMAGE_INITRD, &e), 0);
    close(f.fd);
}

/* Real files of other products, read in place where they are: accepted, or refused with a reason; never a crash. */
static void check_tree(const char *path, unsigned *n) {
    DIR *d = opendir(path);
    const struct dirent *entry;
    while (d && (entry = readdir(d))) {
        _cleanup_free_ char *child = xasprintf("%s/%s", path, entry->d_name);
        struct stat st;
        if (entry->d_name[0] == '.' || lstat(child, &st) < 0)
            continue;
        if (S_ISDIR(st.st_mode))
            check_tree(child, n);
        if (!S_ISREG(st.st_mode))
            continue;
        int r = check(child, IMAGE_AUTO, NULL);
        assert_true(r == 0 || (r == ERR_BAD_IMAGE && strlen(said) > 20));
        if (getenv("TARN_TEST_VERBOSE"))
            print_message("%s: %s\n", child, r ? said : "accepted");
        (*n)++;
    }
    if (d)
        closedir(d);
}

static void test_corpora(void **state) {
    static const char beside[] = TARN_SOURCE_ROOT "/../shared/corpora/ova";
    const char *corpora = str_or(getenv("TARN_CORPORA"), beside);
    if (corpora == beside && access(beside, F_OK) < 0)
        return; /* a clone that stands alone */
    unsigned n = 0;
    check_tree(corpora, &n);
    assert_true(n > 0);
}

static int setup(void **state) { return scratch_make(), 0; }
static int teardown(void **state) { return scratch_remove(), 0; }

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_samples),     cmocka_unit_test(test_empty_and_large), cmocka_unit_test(test_backing),
        cmocka_unit_test(test_data_file),   cmocka_unit_test(test_encrypted),       cmocka_unit_test(test_qcow2_header),
        cmocka_unit_test(test_vmdk_others), cmocka_unit_test(test_vmdk_descriptor), cmocka_unit_test(test_differencing),
        cmocka_unit_test(test_vhdx_parent), cmocka_unit_test(test_not_images),      cmocka_unit_test(test_raw),
        cmocka_unit_test(test_discs),       cmocka_unit_test(test_boot_files),      cmocka_unit_test(test_corpora),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}

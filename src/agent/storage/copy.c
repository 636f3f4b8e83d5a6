/* SPDX-License-Identifier: Apache-2.0 */
/* Plain copies inside the kernel: a reflink where the file system has them, else range by range with the holes kept. */
#include "agent/storage/task.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define PIECE (INT64_C(16) << 20)

static int copy_read_write(int from, int to, int64_t offset, size_t len) {
    _cleanup_free_ char *buf = xmalloc(len);
    ssize_t n = pread(from, buf, len, offset);
    if (n == 0)
        return -EIO;
    for (ssize_t done = 0; n > 0 && done < n;) {
        ssize_t w = pwrite(to, buf + done, (size_t)(n - done), offset + done);
        if (w < 0)
            return -errno;
        done += w;
    }
    return n < 0 ? -errno : (int)n;
}

/* Returns how much was copied, > 0, or a negative errno. */
static int64_t copy_piece(int from, int to, int64_t offset, int64_t len) {
    off64_t in = offset, out = offset;
    ssize_t n = copy_file_range(from, &in, to, &out, (size_t)len, 0);
    if (n > 0)
        return n;
    if (n < 0 && errno != EXDEV && errno != EINVAL && errno != EOPNOTSUPP && errno != ENOSYS && errno != EINTR)
        return -errno;
    return copy_read_write(from, to, offset,
                           (size_t)(len < (1 << 20) ? len : 1 << 20)); /* also where it says 0 (procfs) */
}

int file_copy(struct task *t, int from, int to, int64_t length, const char *message) {
    if (ioctl(to, FICLONE, from) == 0)
        return 0;
    if (ftruncate(to, length) < 0)
        return -errno;
    for (int64_t at = 0; at < length;) {
        off_t data = lseek(from, at, SEEK_DATA);
        if (data < 0 && errno == ENXIO)
            break; /* a hole up to the end */
        if (data < 0 || data < at)
            data = at;
        off_t hole = lseek(from, data, SEEK_HOLE);
        if (hole < 0 || hole > length)
            hole = length;
        for (at = data; at < hole;) {
            int64_t n = copy_piece(from, to, at, hole - at < PIECE ? hole - at : PIECE);
            if (n < 0)
                return (int)n;
            at += n;
            task_progress(t, (int)(100 * ((double)at / (double)length)), message);
            if (task_cancelled(t))
                return -ECANCELED;
        }
    }
    return 0;
}

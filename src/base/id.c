/* SPDX-License-Identifier: Apache-2.0 */
#include "base/id.h"

#include "base/mem.h"

#include <ctype.h>
#include <stdio.h>

static uint64_t rotl(uint64_t x, int k) { return (x << k) | (x >> (64 - k)); }

void idgen_init(struct idgen *g, const uint64_t seed[4]) {
    memcpy(g->s, seed, sizeof g->s);
    if (!(g->s[0] | g->s[1] | g->s[2] | g->s[3]))
        g->s[0] = 1; /* the all-zero state is a fixed point */
}

uint64_t idgen_next(struct idgen *g) {
    uint64_t *s = g->s, result = rotl(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

void uuid_make(struct idgen *g, int64_t wall_ms, char ret[static UUID_LEN + 1]) {
    uint64_t a = idgen_next(g), b = idgen_next(g);
    uint64_t t = (uint64_t)wall_ms & 0xffffffffffffULL;
    snprintf(ret, UUID_LEN + 1, "%08x-%04x-7%03x-%04x-%012llx", (unsigned)(t >> 16), (unsigned)(t & 0xffff),
             (unsigned)(a & 0xfff), (unsigned)(0x8000 | ((a >> 16) & 0x3fff)),
             (unsigned long long)(b & 0xffffffffffffULL));
}

bool uuid_valid(const char *s) {
    if (!s || strlen(s) != UUID_LEN)
        return false;
    for (int i = 0; i < UUID_LEN; i++) {
        if (i == 8 || i == 13 || i == 18 || i == 23) {
            if (s[i] != '-')
                return false;
        } else if (!((s[i] >= '0' && s[i] <= '9') || (s[i] >= 'a' && s[i] <= 'f'))) {
            return false;
        }
    }
    return true;
}

int32_t utf8_next(const char *text, size_t len, size_t *ret_len) {
    const unsigned char *s = (const unsigned char *)text;
    *ret_len = 1;
    if (s[0] < 0x80)
        return s[0];
    size_t n = (s[0] & 0xe0) == 0xc0 ? 2 : (s[0] & 0xf0) == 0xe0 ? 3 : (s[0] & 0xf8) == 0xf0 ? 4 : 0;
    if (!n || n > len)
        return -1;
    int32_t c = s[0] & (0xff >> (n + 1));
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return -1;
        c = (c << 6) | (s[i] & 0x3f);
    }
    static const int32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
        return -1;
    *ret_len = n;
    return c;
}

/* Of a text that ends with a NUL, which no sequence goes beyond. */
static int32_t utf8_at(const unsigned char *s, size_t *ret_len) { return utf8_next((const char *)s, 4, ret_len); }

bool utf8_valid(const char *s) {
    size_t len;
    for (const unsigned char *p = (const unsigned char *)s; *p; p += len)
        if (utf8_at(p, &len) < 0)
            return false;
    return true;
}

/* Letters beyond ASCII: everything but controls, spaces, and the characters that reorder or hide text. */
static bool wide_ok(int32_t c) {
    if (c < 0xa1 || c == 0xad || c == 0x1680 || c == 0x3000 || c == 0xfeff)
        return false;
    if ((c >= 0x2000 && c <= 0x206f) || (c >= 0xfff0 && c <= 0xffff) || (c >= 0xe000 && c <= 0xf8ff) || c >= 0xe0000)
        return false;
    return true;
}

const char *label_problem(const char *s) {
    size_t len;
    for (const unsigned char *p = (const unsigned char *)s; *p; p += len) {
        int32_t c = utf8_at(p, &len);
        if (c < 0)
            return "is not valid UTF-8";
        if (c < 0x20 || (c >= 0x7f && c < 0xa0))
            return "contains a control character";
        /* Marks and overrides of direction, separators of lines, nothing at all: what one sees is not what is there. */
        if (c == 0x61c || c == 0x200b || c == 0x200e || c == 0x200f || (c >= 0x2028 && c <= 0x202e) ||
            (c >= 0x2060 && c <= 0x206f) || c == 0xfeff || (c >= 0xe0000 && c <= 0xe007f))
            return "contains a character that hides or reorders text";
    }
    return NULL;
}

const char *name_problem(const char *s) {
    if (!*s)
        return "is empty";
    if (strlen(s) > NAME_MAX_BYTES)
        return "is longer than 128 bytes";
    if (uuid_valid(s))
        return "has the form of an id";
    if (strstr(s, ".."))
        return "contains \"..\"";
    size_t len;
    bool last_space = false, last_word = false;
    for (const unsigned char *p = (const unsigned char *)s; *p; p += len) {
        int32_t c = utf8_at(p, &len);
        if (c < 0)
            return "is not valid UTF-8";
        bool word = c < 0x80 ? isalnum((int)c) != 0 : wide_ok(c);
        bool inner = c == '.' || c == '_' || c == '-' || c == ' ';
        if (!word && !inner)
            return c < 0x20 || c == 0x7f ? "contains a control character"
                                         : "contains a character other than letters, digits, space and . _ -";
        if (p == (const unsigned char *)s && !word)
            return "does not begin with a letter or digit";
        if (c == ' ' && last_space)
            return "contains two spaces in a row";
        last_space = c == ' ';
        last_word = word;
    }
    return last_word ? NULL : "does not end with a letter or digit";
}

const char *path_problem(const char *s) {
    if (*s != '/')
        return "is not an absolute path (it must begin with /)";
    if (!utf8_valid(s))
        return "is not valid UTF-8";
    for (const char *p = s; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            return "contains a control character";
    for (const char *p = s; p;) {
        const char *c = p + 1, *end = strchr(c, '/');
        size_t n = end ? (size_t)(end - c) : strlen(c);
        if ((n == 1 && c[0] == '.') || (n == 2 && c[0] == '.' && c[1] == '.'))
            return "contains a \".\" or \"..\" component";
        p = end;
    }
    return NULL;
}

static size_t component(const char **p) {
    *p += strspn(*p, "/");
    return strcspn(*p, "/");
}

bool path_overlaps(const char *a, const char *b) {
    for (size_t n, m; (n = component(&a)) && (m = component(&b)); a += n, b += m)
        if (n != m || memcmp(a, b, n) != 0)
            return false;
    return true;
}

const char *mac_problem(const char *s) {
    if (strlen(s) != 17)
        return "is not of the form 52:54:00:12:34:56";
    for (int i = 0; i < 17; i++)
        if (i % 3 == 2 ? s[i] != ':' : !isxdigit((unsigned char)s[i]))
            return "is not of the form 52:54:00:12:34:56";
    if (strtol((char[]){s[0], s[1], 0}, NULL, 16) & 1)
        return "is a multicast address";
    return NULL;
}

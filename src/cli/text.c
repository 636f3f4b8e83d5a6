/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/text.h"

#include "base/id.h"
#include "base/mem.h"

#include <ctype.h>
#include <langinfo.h>
#include <locale.h>
#include <stdio.h>
#include <wchar.h>

void text_init(void) {
    /* Only the character type: numbers must keep their point whatever the user's language. */
    if (!setlocale(LC_CTYPE, "") || strcmp(nl_langinfo(CODESET), "UTF-8") != 0)
        setlocale(LC_CTYPE, "C.UTF-8");
}

/* Controls, and the format characters that turn the direction of a line, join lines or are invisible. */
static bool harmful(int32_t c) {
    return c < 0x20 || (c >= 0x7f && c <= 0x9f) || c == 0xad || c == 0x61c || (c >= 0x200b && c <= 0x200f) ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) || c == 0xfeff ||
           (c >= 0xfff0 && c <= 0xfffb) || c >= 0xe0000;
}

static void escape_one(struct buf *out, int32_t c, unsigned char byte) {
    if (c == '\n')
        buf_adds(out, "\\n");
    else if (c == '\t')
        buf_adds(out, "\\t");
    else if (c == '\r')
        buf_adds(out, "\\r");
    else if (c < 0 || c < 0x80)
        buf_addf(out, "\\x%02x", c < 0 ? byte : (unsigned)c);
    else if (c < 0x10000)
        buf_addf(out, "\\u%04x", (unsigned)c);
    else
        buf_addf(out, "\\U%08x", (unsigned)c);
}

static void escape(struct buf *out, const char *s, size_t len, bool lines) {
    size_t n;
    for (size_t i = 0; i < len; i += n) {
        int32_t c = utf8_next(s + i, len - i, &n);
        if (c >= 0 && (!harmful(c) || (lines && (c == '\n' || c == '\t'))))
            buf_add(out, s + i, n);
        else
            escape_one(out, c, (unsigned char)s[i]);
    }
}

void text_escape(struct buf *out, const char *s, size_t len) { escape(out, s, len, false); }

char *text_safe(const char *s) {
    struct buf b = {0};
    escape(&b, s, strlen(s), false);
    return buf_take(&b);
}

char *text_safe_lines(const char *s) {
    struct buf b = {0};
    escape(&b, s, strlen(s), true);
    return buf_take(&b);
}

void text_escape_json(struct buf *out, const char *json, size_t len) {
    size_t n;
    for (size_t i = 0; i < len; i += n) {
        int32_t c = utf8_next(json + i, len - i, &n);
        if (c < 0x7f || !harmful(c))
            buf_add(out, json + i, n);
        else if (c < 0x10000)
            buf_addf(out, "\\u%04x", (unsigned)c);
        else
            buf_addf(out, "\\u%04x\\u%04x", (unsigned)(0xd7c0 + (c >> 10)), (unsigned)(0xdc00 + (c & 0x3ff)));
    }
}

static size_t char_width(int32_t c) {
    int w = c < 0 ? 1 : wcwidth((wchar_t)c);
    return w < 0 ? 1 : (size_t)w;
}

size_t text_width(const char *s) {
    size_t width = 0, len = strlen(s), n;
    for (size_t i = 0; i < len; i += n)
        width += char_width(utf8_next(s + i, len - i, &n));
    return width;
}

size_t text_fit(struct buf *out, const char *s, size_t width) {
    size_t all = text_width(s);
    if (all <= width) {
        buf_adds(out, s);
        return all;
    }
    size_t used = 0, len = strlen(s), n;
    for (size_t i = 0; i < len; i += n) {
        size_t w = char_width(utf8_next(s + i, len - i, &n));
        if (used + w + 1 > width)
            break;
        buf_add(out, s + i, n);
        used += w;
    }
    if (width) {
        buf_adds(out, "…");
        used++;
    }
    return used;
}

void text_pad(struct buf *out, size_t columns) {
    while (columns--)
        buf_addc(out, ' ');
}

void text_wrap(struct buf *out, const char *s, size_t indent, size_t width) {
    size_t room = width > indent + 20 ? width - indent : 20, used = 0;
    while (*s) {
        size_t n = strcspn(s, " ");
        _cleanup_free_ char *word = xstrndup(s, n);
        size_t w = text_width(word);
        if (used && used + 1 + w > room) {
            buf_addc(out, '\n');
            text_pad(out, indent);
            used = 0;
        } else if (used) {
            buf_addc(out, ' ');
            used++;
        }
        buf_adds(out, word);
        used += w;
        s += n;
        s += strspn(s, " ");
    }
}

/* Edits (insert, delete, replace, swap of neighbours) between two short words; more than max is max + 1. */
static size_t distance(const char *a, const char *b, size_t max) {
    size_t la = strlen(a), lb = strlen(b);
    if (la > 40 || lb > 40 || (la > lb ? la - lb : lb - la) > max)
        return max + 1;
    size_t d[42][42];
    for (size_t i = 0; i <= la; i++)
        d[i][0] = i;
    for (size_t j = 0; j <= lb; j++)
        d[0][j] = j;
    for (size_t i = 1; i <= la; i++) {
        for (size_t j = 1; j <= lb; j++) {
            size_t best = d[i - 1][j - 1] + (tolower((unsigned char)a[i - 1]) != tolower((unsigned char)b[j - 1]));
            if (d[i - 1][j] + 1 < best)
                best = d[i - 1][j] + 1;
            if (d[i][j - 1] + 1 < best)
                best = d[i][j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && d[i - 2][j - 2] + 1 < best)
                best = d[i - 2][j - 2] + 1;
            d[i][j] = best;
        }
    }
    return d[la][lb];
}

const char *text_nearest(const char *word, const char *const *candidates, size_t n) {
    size_t len = strlen(word), max = len <= 3 ? 1 : len <= 6 ? 2 : 3, best = max + 1;
    const char *found = NULL;
    for (size_t i = 0; i < n; i++) {
        size_t d = distance(word, candidates[i], max);
        if (d > 1 && len >= 2 && strncmp(candidates[i], word, len) == 0)
            d = 1; /* the beginning of it */
        if (d < best) {
            best = d;
            found = candidates[i];
        }
    }
    return found;
}

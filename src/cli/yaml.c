/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The few rules that block YAML needs for JSON's values. Whatever is not obviously a plain word is written in double
 * quotes with JSON's escapes, which YAML 1.2 shares; that is why this needs no library, only a careful yaml_plain().
 */
#include "cli/yaml.h"

#include "base/mem.h"
#include "cli/text.h"

#include <ctype.h>
#include <strings.h>

bool yaml_plain(const char *s) {
    static const char *const words[] = {"true", "false", "yes", "no", "on", "off", "y", "n", "null"};
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (strcasecmp(s, words[i]) == 0)
            return false;
    /* Beginning with a letter leaves out numbers, dates, times and every indicator. */
    if (!isalpha((unsigned char)s[0]))
        return false;
    for (const char *p = s; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr("_-./+@", *p) && !(*p == ' ' && p[1] && p[1] != ' '))
            return false;
    return true;
}

static void print_string(struct buf *out, const json_t *v) {
    const char *s = json_string_value(v);
    if (strlen(s) == json_string_length(v) && yaml_plain(s)) {
        buf_adds(out, s);
        return;
    }
    char *quoted = json_dumps(v, JSON_ENCODE_ANY);
    if (!quoted)
        abort();
    text_escape_json(out, quoted, strlen(quoted));
    free(quoted);
}

static bool nested(const json_t *v) {
    return (json_is_object(v) && json_object_size(v)) || (json_is_array(v) && json_array_size(v));
}

static void print_scalar(struct buf *out, const json_t *v) {
    if (json_is_string(v)) {
        print_string(out, v);
    } else if (json_is_object(v)) {
        buf_adds(out, "{}");
    } else if (json_is_array(v)) {
        buf_adds(out, "[]");
    } else {
        char *text = json_dumps(v, JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
        buf_adds(out, text ? text : "null");
        free(text);
    }
}

/* inline_first: the cursor already stands where the first line begins (after "- "). */
static void print_block(struct buf *out, const json_t *v, size_t indent, bool inline_first);

static void print_member(struct buf *out, const json_t *v, size_t indent) {
    if (!nested(v)) {
        buf_addc(out, ' ');
        print_scalar(out, v);
        buf_addc(out, '\n');
        return;
    }
    buf_addc(out, '\n');
    print_block(out, v, indent, false);
}

static void print_block(struct buf *out, const json_t *v, size_t indent, bool inline_first) {
    if (json_is_object(v)) {
        const char *key;
        json_t *member;
        json_object_foreach((json_t *)v, key, member) {
            if (!inline_first)
                text_pad(out, indent);
            inline_first = false;
            json_t *name = json_string(key);
            print_string(out, name);
            json_decref(name);
            buf_addc(out, ':');
            print_member(out, member, indent + 2);
        }
        return;
    }
    size_t i;
    json_t *item;
    json_array_foreach((json_t *)v, i, item) {
        if (!inline_first)
            text_pad(out, indent);
        inline_first = false;
        buf_adds(out, "- ");
        if (nested(item)) {
            print_block(out, item, indent + 2, true);
        } else {
            print_scalar(out, item);
            buf_addc(out, '\n');
        }
    }
}

void yaml_print(struct buf *out, const json_t *value) {
    if (nested(value)) {
        print_block(out, value, 0, false);
    } else {
        print_scalar(out, value);
        buf_addc(out, '\n');
    }
}

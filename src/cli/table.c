/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/table.h"

#include "base/mem.h"
#include "cli/text.h"

#define GAP       2
#define NARROWEST 8 /* no column is cut below this */

struct column {
    char *title; /* owned */
    enum table_align align;
};

struct cell {
    char *text; /* owned */
    const char *style;
    size_t width;
};

struct table {
    struct column *columns;
    size_t n_columns;
    struct cell *cells;
    size_t n_cells, cap;
};

struct table *table_new(void) {
    return xcalloc(1, sizeof(struct table));
}

void table_free(struct table *t) {
    if (!t)
        return;
    for (size_t i = 0; i < t->n_columns; i++)
        free(t->columns[i].title);
    for (size_t i = 0; i < t->n_cells; i++)
        free(t->cells[i].text);
    free(t->columns);
    free(t->cells);
    free(t);
}

void table_column(struct table *t, const char *title, enum table_align align) {
    t->columns = xreallocarray(t->columns, t->n_columns + 1, sizeof *t->columns);
    t->columns[t->n_columns++] = (struct column){.title = xstrdup(title), .align = align};
}

void table_cell(struct table *t, const char *text, const char *style) {
    if (t->n_cells == t->cap) {
        t->cap = t->cap ? t->cap * 2 : 64;
        t->cells = xreallocarray(t->cells, t->cap, sizeof *t->cells);
    }
    struct cell *c = &t->cells[t->n_cells++];
    *c = (struct cell){.text = text_safe(text), .style = style};
    c->width = text_width(c->text);
}

/* Takes from the widest column until the row fits or nothing more may be cut. */
static void shrink(size_t *widths, size_t n, size_t width) {
    for (;;) {
        size_t total = n ? (n - 1) * GAP : 0, widest = 0;
        for (size_t i = 0; i < n; i++) {
            total += widths[i];
            if (widths[i] > widths[widest])
                widest = i;
        }
        if (total <= width || !n || widths[widest] <= NARROWEST)
            return;
        widths[widest]--;
    }
}

static void print_cell(struct buf *out, const char *text, const char *style, enum table_align align, size_t width,
                       bool last) {
    struct buf fitted = {0};
    size_t used = text_fit(&fitted, text, width), rest = width > used ? width - used : 0;
    if (align == TABLE_RIGHT)
        text_pad(out, rest);
    if (style)
        buf_addf(out, "\033[%sm", style);
    if (fitted.len)
        buf_add(out, fitted.data, fitted.len);
    if (style)
        buf_adds(out, "\033[0m");
    if (!last)
        text_pad(out, GAP + (align == TABLE_LEFT ? rest : 0));
    buf_done(&fitted);
}

void table_print(const struct table *t, struct buf *out, size_t width, bool colour) {
    size_t n = t->n_columns;
    if (!n)
        return;
    size_t *widths = xcalloc(n, sizeof *widths);
    for (size_t i = 0; i < n; i++)
        widths[i] = text_width(t->columns[i].title);
    for (size_t i = 0; i < t->n_cells; i++)
        if (t->cells[i].width > widths[i % n])
            widths[i % n] = t->cells[i].width;
    if (width)
        shrink(widths, n, width);
    for (size_t i = 0; i < n; i++)
        print_cell(out, t->columns[i].title, colour ? "1" : NULL, t->columns[i].align, widths[i], i + 1 == n);
    buf_addc(out, '\n');
    for (size_t i = 0; i < t->n_cells; i++) {
        const struct cell *c = &t->cells[i];
        bool last = (i + 1) % n == 0;
        print_cell(out, c->text, colour ? c->style : NULL, t->columns[i % n].align, widths[i % n], last);
        if (last) {
            while (out->len && out->data[out->len - 1] == ' ')
                out->len--;
            buf_addc(out, '\n');
        }
    }
    free(widths);
}

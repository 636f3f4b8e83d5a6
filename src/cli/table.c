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

/* Of columns that are shown. */
static size_t total_width(const size_t *widths, size_t n) {
    size_t total = 0;
    for (size_t i = 0; i < n; i++)
        total += widths[i] ? widths[i] + GAP : 0;
    return total > GAP ? total - GAP : 0;
}

static bool is_bare(const struct table *t, size_t column) {
    for (size_t i = column; i < t->n_cells; i += t->n_columns)
        if (*t->cells[i].text && !str_eq(t->cells[i].text, "-"))
            return false;
    return t->n_cells > 0;
}

/* Where the rows are too wide, columns that say nothing make room for those that do. */
static void leave_out(const struct table *t, size_t *widths, size_t width) {
    for (size_t i = t->n_columns; i-- > 1 && total_width(widths, t->n_columns) > width;)
        if (is_bare(t, i))
            widths[i] = 0;
}

/* Takes from the widest column until the row fits or nothing more may be cut. */
static void shrink(size_t *widths, size_t n, size_t width) {
    for (;;) {
        size_t total = total_width(widths, n), widest = 0;
        for (size_t i = 0; i < n; i++)
            if (widths[i] > widths[widest])
                widest = i;
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
    if (width) {
        leave_out(t, widths, width);
        shrink(widths, n, width);
    }
    size_t last = n - 1;
    while (last && !widths[last])
        last--;
    for (size_t i = 0; i <= last; i++)
        if (widths[i])
            print_cell(out, t->columns[i].title, colour ? "1" : NULL, t->columns[i].align, widths[i], i == last);
    buf_addc(out, '\n');
    for (size_t i = 0; i < t->n_cells; i++) {
        const struct cell *c = &t->cells[i];
        if (widths[i % n])
            print_cell(out, c->text, colour ? c->style : NULL, t->columns[i % n].align, widths[i % n], i % n == last);
        if (i % n == n - 1) {
            while (out->len && out->data[out->len - 1] == ' ')
                out->len--;
            buf_addc(out, '\n');
        }
    }
    free(widths);
}

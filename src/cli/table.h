/* SPDX-License-Identifier: Apache-2.0 */
/* Tables for people: columns as wide as what stands in them, aware of double-width characters. */
#pragma once

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>

struct table;

enum table_align { TABLE_LEFT, TABLE_RIGHT };

struct table *table_new(void);
void table_free(struct table *t);
static inline void table_freep(struct table **t) { table_free(*t); }
#define _cleanup_table_ __attribute__((cleanup(table_freep)))

void table_column(struct table *t, const char *title, enum table_align align);
/* Cells follow one another, a row is full when it has a cell for each column; the text is made harmless and copied.
   style: an SGR sequence's number ("32") or NULL; used only where colours are on. */
void table_cell(struct table *t, const char *text, const char *style);
/* width: columns of the terminal, 0 for no limit: the widest columns are cut to fit. */
void table_print(const struct table *t, struct buf *out, size_t width, bool colour);

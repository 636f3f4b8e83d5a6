/* SPDX-License-Identifier: Apache-2.0 */
/* Text for terminals: what servers and guests have named can hold anything, so it is made harmless before it is shown.
 */
#pragma once

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Chooses a UTF-8 locale for character widths; once, before the rest. */
void text_init(void);

/*
 * Appends s with everything that a terminal or a reader could mistake written visibly: controls (C0, DEL, C1), invalid
 * UTF-8, and the characters that reorder or hide text become \n, \t, \x1b or \u202e.
 */
void text_escape(struct buf *out, const char *s, size_t len);
/* The same for a whole string; malloc'd. */
char *text_safe(const char *s);
/* Like text_safe, but keeps line breaks and tabs (help texts, multi-line values). */
char *text_safe_lines(const char *s);
/* In JSON text: what jansson leaves unescaped but a terminal would obey becomes \uXXXX; still the same JSON. */
void text_escape_json(struct buf *out, const char *json, size_t len);

/* Columns that a harmless text takes on a terminal (CJK are two, combining marks none). */
size_t text_width(const char *s);
/* Appends s, cut with an ellipsis to at most width columns if it is longer; returns the columns taken. */
size_t text_fit(struct buf *out, const char *s, size_t width);
void text_pad(struct buf *out, size_t columns);
/* Appends s broken at spaces into lines of at most width columns, each after the first indented. */
void text_wrap(struct buf *out, const char *s, size_t indent, size_t width);

/* The candidate that the user probably meant, or NULL if none is near. */
const char *text_nearest(const char *word, const char *const *candidates, size_t n);

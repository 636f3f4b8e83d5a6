/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The console's files. They are read once, at the start, into memory (a few MB): a request then is a look-up by its
 * exact path, so nothing in a path can lead anywhere else, and no slow disk holds the loop. Beside NAME may stand
 * NAME.br and NAME.gz, which are the same compressed; whoever builds the console makes them.
 */
#pragma once

#include "manager/manager.h"

struct site;
struct exchange;

/* Reads the directory. With must, an absent one is an error; else *ret is NULL. Symlinks are not followed. */
int site_load(const char *dir, bool must, struct site **ret, struct error *e);
void site_free(struct site *s);
/* Whether the path is a file of the console or a route within it. */
bool site_has(const struct site *s, const char *path);
/* Answers. site_has() was true. */
void site_get(struct exchange *x);

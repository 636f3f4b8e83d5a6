/* SPDX-License-Identifier: Apache-2.0 */
/* What can stand where the cursor is. */
#pragma once

#include "cli/cli.h"

/* words: what follows "tarn" up to the cursor, the last one unfinished. Returns an object whose keys are the
   candidates. cli may be NULL: then no manager is asked. */
json_t *complete_words(struct cli *cli, int n, char *const *words);
int complete_print(struct cli *cli, int n, char *const *words);

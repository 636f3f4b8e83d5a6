/* SPDX-License-Identifier: Apache-2.0 */
/* One flag's text, and how the help describes it. */
#pragma once

#include "api/cli_table.h"
#include "base/buf.h"
#include "base/error.h"

#include <jansson.h>

/* What stands behind the flag in the help: "SIZE", "N", "q35|microvm", "KEY=VALUE,…", "FILE". */
const char *flag_metavar(const struct api_cli_flag *flag);
/* "one of a, b, c" for a flag that takes a choice; nothing for others. */
void flag_choices(const struct api_cli_flag *flag, struct buf *out);
/* Whether the text is empty although the flag takes an object's name: mostly a shell variable that was not set, and
   what would be done is something else than what was meant. */
bool flag_lacks_name(const struct api_cli_flag *flag, const char *text);
/* The default as people write it ("256 MiB"), or nothing. */
void flag_default(const struct api_cli_flag *flag, struct buf *out);
/* A flag that may be repeated: text is one element, or several with commas where elements are words. */
int flag_append(const struct api_cli_flag *flag, const char *text, json_t *body, struct error *e);

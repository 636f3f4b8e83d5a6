/* SPDX-License-Identifier: Apache-2.0 */
/* One flag's text, and how the help describes it. */
#pragma once

#include "api/cli_table.h"
#include "base/buf.h"
#include "base/error.h"

#include <jansson.h>

/* What stands behind the flag in the help: "SIZE", "N", "q35|microvm", "KEY=VALUE,…", "FILE". */
const char *flag_metavar(const struct api_cli_flag *flag);
/* The default as people write it ("256 MiB"), or nothing. */
void flag_default(const struct api_cli_flag *flag, struct buf *out);
/* A flag that may be repeated: text is one element, or several with commas where elements are words. */
int flag_append(const struct api_cli_flag *flag, const char *text, json_t *body, struct error *e);

/* SPDX-License-Identifier: Apache-2.0 */
/* A JSON value as YAML 1.2 in block style. */
#pragma once

#include "base/buf.h"

#include <jansson.h>
#include <stdbool.h>

void yaml_print(struct buf *out, const json_t *value);
/* Whether a string means itself when it is written without quotes, for YAML 1.1 readers as well. */
bool yaml_plain(const char *s);

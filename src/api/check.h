/* SPDX-License-Identifier: Apache-2.0 */
/* The checks of one value from a client; used by runtime.c only. */
#pragma once

#include "api/runtime.h"

/* Each sets the field's name in the error. index: of an array's element, or -1 for the field itself. */
int api_check_string(const struct api_field *f, int index, const json_t *j, struct error *e);
int api_check_number(const struct api_field *f, int index, double value, struct error *e);
int api_check_integer(const struct api_field *f, int index, int64_t value, struct error *e);
int api_wrong_type(const struct api_field *f, int index, const json_t *j, struct error *e);
int api_wrong_choice(const struct api_field *f, int index, const char *text, struct error *e);
int api_unknown_field(const struct api_schema *schema, const char *key, struct error *e);
/* error_set_field for the field or its element. */
int api_field_error(const struct api_field *f, int index, struct error *e, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

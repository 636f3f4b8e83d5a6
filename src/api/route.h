/* SPDX-License-Identifier: Apache-2.0 */
/* How paths are matched; used by the generated api_ops.c only. */
#pragma once

#include "api/api.h"

#define API_PATH_METHODS 5
struct api_path {
    const char *pattern; /* "/vms/{vm}/start" */
    const char *allow;   /* "GET, PATCH" */
    size_t n;
    const struct api_op *ops[API_PATH_METHODS];
};
const struct api_op *api_route_find(const struct api_path *paths, size_t n, const char *method, const char *path,
                                    struct api_route *ret);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Power switches through the fence agents of the package fence-agents: a program each, parameters on its standard
 * input. What it says is not believed: after each action its status is asked, and that counts.
 */
#pragma once

#include "api/api.h"
#include "base/error.h"

#include <uv.h>

struct fence;

/* Done is called once, later, with NULL or why not, and the FenceResult (borrowed). */
typedef void fence_done(void *ctx, uint64_t call, const struct error *error, const json_t *result);
int fence_run(uv_loop_t *loop, const struct api_fence_run *run, uint64_t call, fence_done *done, void *ctx,
              struct fence **ret, struct error *e);
void fence_free(struct fence *f); /* ends its program; done is not called any more */
/* What goes to the fence agent's standard input; the caller's. Refuses what it would misread. */
int fence_input(const struct api_fence *fence, const char *action, char **ret, struct error *e);

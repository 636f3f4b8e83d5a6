/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs: following one until it ends, and saying what became of it. */
#pragma once

#include "cli/cli.h"

/* Follows the job through the stream of changes, or by asking again and again where there is no stream. 0 when it has
   ended
   (*ret is its last state), EXIT_INTERRUPTED after Ctrl-C, or a negative errno. The job itself goes on in any case. */
int job_follow(struct cli *cli, const json_t *job, json_t **ret, struct error *e);
bool job_has_ended(const json_t *job);
/* What to print for a job that nobody waits for. */
int job_print_started(struct cli *cli, const json_t *job, struct error *e);
/* Prints the result; a failed or aborted job is an error with its code. */
int job_print_ended(struct cli *cli, const json_t *job, struct error *e);
/* "40% create disk" from the job's state; malloc'd. */
char *job_describe(const json_t *job);

/* SPDX-License-Identifier: Apache-2.0 */
/* Sending a file into a repository; a break is made good by going on where it happened. */
#pragma once

#include "cli/cli.h"

#include <signal.h>

/* repository: a name or id, NULL for the only one. resume: ids of uploads that broke off earlier, of which the one with
   the file's name and length is gone on with; or NULL. Returns the upload's id (malloc'd) once it is complete. After
   Ctrl-C, or when it cannot go on, the id of what is left is in *ret too, and the result says why. */
int upload_send(struct cli *cli, const char *path, const char *repository, const json_t *resume, char **ret,
                struct error *e);
/* Throws it away, in silence: for uploads that nobody will name any more. */
void upload_discard(struct cli *cli, const char *id);

/* While set, Ctrl-C only raises this flag. */
extern volatile sig_atomic_t upload_interrupted;
void upload_catch_interrupts(bool on);

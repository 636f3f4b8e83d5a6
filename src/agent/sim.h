/* SPDX-License-Identifier: Apache-2.0 */
/* Simulated servers' beginnings, and how the program that joins is found. */
#pragma once

#include "base/error.h"

/* "servers=N", 1 to 1000. */
int sim_parse(const char *text, int *ret_servers, struct error *e);
/* Joins the server whose state directory is given, unless it has been joined. */
int sim_join(const char *state_dir, const char *name, const char *manager, const char *token, struct error *e);
/* Becomes tarn-agent-join; returns only on failure, with an exit code. */
int sim_exec_join(int argc, char **argv);

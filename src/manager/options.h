/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of tarn-manager. */
#pragma once

#include "manager/manager.h"

/* 0: go on; 1: all is said (--help, --version); negative: the mistake has been printed, in one line. */
int options_parse(int argc, char **argv, struct options *ret);
void options_done(struct options *o);

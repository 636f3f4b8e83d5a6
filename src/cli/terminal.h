/* SPDX-License-Identifier: Apache-2.0 */
/* The person at the terminal: questions, passwords without echo, raw mode; always put back, whatever signal comes. */
#pragma once

#include "base/error.h"

#include <stdbool.h>

/* There is a terminal for questions (/dev/tty), and a person who sees them (stderr). */
bool terminal_can_ask(void);
/* otherwise: the answer to an empty line; malloc'd. */
int terminal_ask_text(const char *question, const char *otherwise, char **ret, struct error *e);
int terminal_ask_secret(const char *question, char **ret, struct error *e);
bool terminal_ask_yes(const char *question);

/* Raw mode of stdin until terminal_restore(), exit() or a signal that ends the program. */
int terminal_raw(void);
void terminal_restore(void);

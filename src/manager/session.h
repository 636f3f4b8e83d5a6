/* SPDX-License-Identifier: Apache-2.0 */
/* Sign-in, sign-out, tokens, and the joining of servers: whatever has a secret, which the core never sees. */
#pragma once

#include "manager/http.h"

void session_create(struct exchange *x);
void session_show(struct exchange *x);
void session_delete(struct exchange *x);
void session_token_create(struct exchange *x);
void session_server_token_create(struct exchange *x);
void session_server_join(struct exchange *x);

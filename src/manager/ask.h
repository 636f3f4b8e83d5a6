/* SPDX-License-Identifier: Apache-2.0 */
/* Questions to agents whose answers nobody keeps (ops with x-once: false): asked for one request, answered to it. */
#pragma once

#include "manager/http.h"

#define ASK_OP "ask/" /* how the ids of such ops begin */

/* Sends the op and answers the exchange with what comes, if it parses as the op's result; with an error if the agent is
   not connected, goes, or does not answer in time. args is stolen. */
void ask_agent(struct exchange *x, const char *server, enum api_agent_op op, json_t *args);
void ask_answered(struct manager *m, const char *server, const char *number, const json_t *message);
void ask_agent_lost(struct manager *m, const char *server);
void ask_tick(struct manager *m);
void ask_init(struct manager *m);
void ask_done(struct manager *m);

/* Handlers. */
void ask_server_metrics(struct exchange *x);
void ask_vm_metrics(struct exchange *x);

/* SPDX-License-Identifier: Apache-2.0 */
/* The agents' control connections; docs/agent-protocol.md says how they behave. */
#pragma once

#include "manager/http.h"

#define AGENT_PATH "/agent/v1"

/* A WebSocket to AGENT_PATH or below. */
bool agents_upgrade(struct exchange *x);
/* One text frame to the server's agent; dropped if it is not connected (the core knows, or soon will). */
void agents_send(struct manager *m, const char *server, const char *text);
/* Ends the server's connection. */
/* A frame of its that was to be read later was no JSON: the connection ends. */
void agents_malformed(struct manager *m, const char *server);
void agents_drop(struct manager *m, const char *server);
bool agents_connected(struct manager *m, const char *server);
void agents_init(struct manager *m);
void agents_tick(struct manager *m);
void agents_done(struct manager *m);

/* SPDX-License-Identifier: Apache-2.0 */
/* The listening sockets, and how many connections each client may hold. */
#pragma once

#include "manager/manager.h"

/* Binds every --listen. The error says which port is taken and what to do. */
int listen_init(struct manager *m, struct error *e);
/* Begins to accept. */
int listen_start(struct manager *m, struct error *e);
void listen_stop(struct manager *m); /* accepts no more; the loop must run before listen_done() */
void listen_done(struct manager *m);
/* A connection has ended. */
void listen_closed(struct manager *m, const char *client);
/* "https://ADDR:PORT" of the first; the caller's. */
char *listen_address(struct manager *m);

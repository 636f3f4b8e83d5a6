/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers that somebody has asked for and does not read. Each is kept whole until it has been read, or not a byte of it
 * has been for half a minute: who asks for large pages over many connections and reads none would have the manager grow
 * by gigabytes. So a user, or the address of somebody who has not signed in, has so much of them at a time.
 */
#pragma once

#include "manager/http.h"

#define UNREAD_MAX (128 << 20)
#define UNREAD_KEY 64

/* Whether there is room for one more, which is then counted; key: for unread_give(). */
bool unread_take(const struct exchange *x, size_t len, char key[static UNREAD_KEY]);
/* It has been read, or its client is gone. key "": it was not counted. */
void unread_give(struct manager *m, char key[static UNREAD_KEY], size_t len);
void unread_done(struct manager *m);

/* For whom a request counts: its user or, unknown, the client's address. */
const char *unread_client(const struct exchange *x);

/* SPDX-License-Identifier: Apache-2.0 */
/* The frames with samples that agents send, until they are taken apart (stats.h). */
#pragma once

#include "manager/manager.h"

void samples_init(struct manager *m);
void samples_done(struct manager *m);
/* Whether a frame is one, as agents write it. Others that mean the same go the way of all messages. */
bool samples_are(const char *text, size_t len);
void samples_add(struct manager *m, const char *server, const char *text, size_t len);
void samples_forget(struct manager *m, const char *server);

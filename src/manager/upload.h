/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PUT /uploads/UPLOAD/data?offset=N: the body goes straight into the channel of the repository's agent, at the pace of
 * the slower side, and the answer says how much the agent has made durable. Nothing is kept here: after whatever goes
 * wrong the client reads the upload's `received` and goes on from there.
 */
#pragma once

#include "manager/http.h"

void upload_init(struct manager *m);
/* Takes the exchange's body over, or answers. */
void upload_begin(struct exchange *x);

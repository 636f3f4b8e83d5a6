/* SPDX-License-Identifier: Apache-2.0 */
/* GET /vms/VM/console: a client's WebSocket spliced to the channel of the VM's agent, with back-pressure both ways. */
#pragma once

#include "manager/http.h"

void console_init(struct manager *m);
/* Whether the VM of the path has the console that the query names; if not, it has been answered. */
bool console_check(struct exchange *x);
bool console_upgrade(struct exchange *x);

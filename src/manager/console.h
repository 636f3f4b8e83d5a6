/* SPDX-License-Identifier: Apache-2.0 */
/* GET /vms/VM/console: a client's WebSocket spliced to the channel of the VM's agent, with back-pressure both ways. */
#pragma once

#include "manager/http.h"

bool console_upgrade(struct exchange *x);

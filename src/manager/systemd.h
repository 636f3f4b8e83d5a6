/* SPDX-License-Identifier: Apache-2.0 */
/* sd_notify(3), by its own protocol: one datagram. */
#pragma once

/* Does nothing where NOTIFY_SOCKET is not set. */
void systemd_notify(const char *state);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* How long each operation of the simulated hypervisor takes; before it is opened. */
void hypervisor_sim_set_latency(int ms);

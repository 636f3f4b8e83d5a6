/* SPDX-License-Identifier: Apache-2.0 */
/* A tree of files in one text, for tests and the fuzzer: "@PATH" begins a file, "%NIC ADDRESS/PREFIX" is an address. */
#pragma once

#include "agent/hardware.h"

/* text must live as long as the tree is used. */
struct hardware_tree hardware_recorded(const char *text);

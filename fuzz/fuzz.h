/* SPDX-License-Identifier: Apache-2.0 */
/* What libFuzzer and runner.c call, once for each input; returns 0. It must free everything that it makes. */
#pragma once

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

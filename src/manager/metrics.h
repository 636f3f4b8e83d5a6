/* SPDX-License-Identifier: Apache-2.0 */
/* GET /metrics, in Prometheus' text format. */
#pragma once

#include "manager/http.h"

void metrics_get(struct exchange *x);
void metrics_done(struct manager *m); /* forgets those that are under way */

/* SPDX-License-Identifier: Apache-2.0 */
/* What the manager says and a program goes by. */
#pragma once

/* guarded_reason of one that was just made highly available, until its server has answered. */
#define SAID_NOT_WATCHED_YET "its server does not watch it yet"

/* What is left of a job of that kind that has failed or was aborted. */
#define SAID_ALL_UNDONE "everything it did is undone"
const char *said_job_stays(const char *kind);

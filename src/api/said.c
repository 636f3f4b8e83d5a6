/* SPDX-License-Identifier: Apache-2.0 */
#include "api/said.h"

#include "base/mem.h"

/* A step that is neither undone nor carried to its end has its kind here; src/core's
   tests look. */
static const struct {
    const char *kind, *stays;
} kept[] = {
    {"vm.start", "everything it did is undone, but the guest stays with the server that was chosen for it"},
    {"vm.stop", "the guest may still shut down: what was asked of it is not taken back"},
    {"vm.restart", "the guest may have been shut down: that is not undone"},
    {"vm.policy", "the setting stays, and its server is told again"},
    {"pool.remove", "stopped guests that it has set free start on other servers; all else is undone"},
    {"server.maintenance", "guests that it has moved stay where they are; the server takes guests again"},
    {"server.fence", "a switch of the power, if it came to that, is not undone"},
};

const char *said_job_stays(const char *kind) {
    for (size_t i = 0; i < ARRAY_LEN(kept); i++)
        if (str_eq(kept[i].kind, kind))
            return kept[i].stays;
    return SAID_ALL_UNDONE;
}

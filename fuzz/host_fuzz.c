/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of any bytes as messages of the manager to the agent's brain, with calls answered by turns well and badly. */
#include "fuzz.h"

#include "base/json.h"
#include "base/mem.h"
#include "guest/host.h"

#include <errno.h>

static void carry_out(struct host *h, uint64_t *turn) {
    struct host_effect *e;
    for (int i = 0; i < 10000 && (e = host_next_effect(h)); i++) {
        static const struct error failure = {.code = ERR_GUEST, .message = (char *)"no"};
        if (e->kind == HOST_COMMIT)
            host_stored(h, e->seq, *turn % 13 == 12 ? -ENOSPC : 0);
        else if (e->kind == HOST_CALL)
            host_call_done(h, e->call, *turn % 5 == 4 ? &failure : NULL, e->args);
        ++*turn;
        host_effect_free(e);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct host_config config = {.version = "0.1"};
    struct host *h = host_new(&config);
    uint64_t turn = 0;
    int64_t now = 1000;
    host_set_time(h, now, now);
    host_start(h);
    struct api_agent_welcome welcome;
    api_agent_welcome_init(&welcome);
    host_connected(h, &welcome);
    api_agent_welcome_done(&welcome);
    while (size) {
        const uint8_t *end = memchr(data, '\n', size);
        size_t len = end ? (size_t)(end - data) : size;
        json_t *j = NULL;
        if (json_parse((const char *)data, len, &j, NULL) == 0) {
            host_message(h, j);
            const char *vm = json_str(json_object_get(j, "args"), "vm");
            carry_out(h, &turn);
            host_guest_event(h, vm, (enum guest_event)(turn % (GUEST_DIED + 1)), NULL);
            json_decref(j);
        }
        now += (int64_t)(turn % 3) * 1500;
        host_set_time(h, now, now);
        host_tick(h);
        carry_out(h, &turn);
        data += len + (end != NULL);
        size -= len + (end != NULL);
    }
    host_free(h);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of other servers' tarn-deadman, in any order: no proof is newer than what we have said, none without a
 * majority. */
#include "fuzz.h"

#include "guest/deadman.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct deadman_peers p = {.self = 1, .session = 7, .began = 1000};
    struct deadman_message m;
    int64_t now = 1000;
    size_t heard = 0;
    while (size >= 2) {
        size_t len = data[0] | (size_t)(data[1] & 3) << 8;
        uint32_t node = data[1] >> 2;
        data += 2, size -= 2;
        if (len > size)
            len = size;
        now += 100;
        heard += deadman_hear(&p, node, data, len, now) && node != 1;
        data += len, size -= len;
    }
    for (size_t nodes = 0; nodes <= DEADMAN_NODES + 1; nodes++) {
        int64_t proof = deadman_proof(&p, nodes, now);
        if (proof > now || (proof && nodes > 1 && (proof < p.began || heard < cluster_quorum(nodes) - 1)))
            abort();
    }
    if (deadman_say(&p, now, &m) > sizeof m || p.n > DEADMAN_NODES)
        abort();
    return 0;
}

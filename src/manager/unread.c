/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/unread.h"

#define SMALL 65536 /* as much as one answer may be that is not counted */

struct unread {
    size_t bytes;
};

const char *unread_client(const struct exchange *x) { return x->who.known ? x->who.user_id : conn_client(x->conn); }

bool unread_take(const struct exchange *x, size_t len, char key[static UNREAD_KEY]) {
    struct map *all = &x->m->unread;
    *key = 0;
    if (len <= SMALL || x->head)
        return true;
    struct unread *u = map_get(all, unread_client(x));
    if (u && u->bytes + len > UNREAD_MAX)
        return false;
    snprintf(key, UNREAD_KEY, "%s", unread_client(x));
    if (!u) {
        u = xcalloc(1, sizeof *u);
        map_put(all, key, u);
    }
    u->bytes += len;
    return true;
}

void unread_give(struct manager *m, char key[static UNREAD_KEY], size_t len) {
    struct unread *u = *key ? map_get(&m->unread, key) : NULL;
    if (u && (u->bytes -= len) == 0) {
        map_remove(&m->unread, key);
        free(u);
    }
    *key = 0;
}

void unread_done(struct manager *m) {
    size_t pos = 0;
    void *value;
    while (map_next(&m->unread, &pos, NULL, &value))
        free(value);
    map_done(&m->unread);
}

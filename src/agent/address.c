/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this server's addresses are for. The manager says so with each welcome and when it changes; it is kept in
 * addresses.json, because the next connection is to come from the management address before anybody has said anything.
 */
#include "agent/agent.h"

#include "base/address.h"
#include "os/file.h"
#include "os/log.h"

#define FILE_NAME "addresses.json"
#define FILE_MAX  65536

static char *printed(const struct api_agent_addresses *x) {
    _cleanup_json_ json_t *j = api_agent_addresses_print(x, API_PUBLIC);
    return json_text(j);
}

void addresses_load(struct agent *a) {
    _cleanup_close_ int dir = open_dir(a->state_dir);
    _cleanup_free_ char *text = NULL;
    _cleanup_json_ json_t *j = NULL;
    struct api_agent_addresses x;
    size_t len;
    if (dir < 0 || read_file_at(dir, FILE_NAME, FILE_MAX, &text, &len) < 0)
        return;
    _cleanup_error_ struct error e = ERROR_INIT;
    if (json_parse(text, len, &j, &e) < 0 || api_agent_addresses_parse(j, API_PEER, &x, &e) < 0) {
        log_warning("%s/" FILE_NAME " is not understood: %s", a->state_dir, e.message);
        return;
    }
    api_agent_addresses_done(&a->addresses);
    a->addresses = x;
}

bool addresses_take(struct agent *a, const struct api_server_address *list, size_t n) {
    const struct api_agent_addresses told = {.addresses = (struct api_server_address *)list, .n_addresses = n};
    _cleanup_free_ char *was = printed(&a->addresses), *is = printed(&told);
    if (str_eq(was, is))
        return false;
    api_agent_addresses_done(&a->addresses);
    api_agent_addresses_copy(&a->addresses, &told);
    if (a->config.sim)
        return true;
    _cleanup_close_ int dir = open_dir(a->state_dir);
    int r = dir < 0 ? dir : write_file_at(dir, FILE_NAME, is, strlen(is), 0600);
    if (r < 0)
        log_warning("what this server's addresses are for cannot be kept: %s", strerror(-r));
    return true;
}

const char *agent_address(const struct agent *a, enum api_network_role role) {
    for (size_t i = 0; i < a->addresses.n_addresses; i++)
        for (size_t k = 0; k < a->addresses.addresses[i].n_roles; k++)
            if (a->addresses.addresses[i].roles[k] == role)
                return a->addresses.addresses[i].address;
    return NULL;
}

bool agent_has_address(const struct agent *a, const char *text) {
    const struct api_hardware *h = &a->hello.server.hardware;
    struct address wanted, own;
    int prefix;
    if (address_parse(text, &wanted) < 0)
        return false;
    for (size_t i = 0; i < h->n_nics; i++)
        for (size_t k = 0; k < h->nics[i].n_addresses; k++)
            if (address_parse_network(h->nics[i].addresses[k], &own, &prefix) == 0 && address_equal(&own, &wanted))
                return true;
    return address_is_loopback(&wanted);
}

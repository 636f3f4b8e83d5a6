/* SPDX-License-Identifier: Apache-2.0 */
/* What machine this is. */
#include "agent/agent.h"

#include "agent/hardware.h"
#include "base/buf.h"
#include "os/file.h"
#include "os/log.h"

#include <fcntl.h>
#include <unistd.h>

#define FILE_MAX (256U << 10)

char *facts_read(const char *path) {
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? NULL : read_attribute(fd, FILE_MAX);
}

/* ---- a simulated machine ---- */

static void sim_numa(struct api_hardware *h) {
    h->n_numa = 2;
    h->numa = xcalloc(h->n_numa, sizeof(*h->numa));
    for (size_t i = 0; i < h->n_numa; i++) {
        api_hardware_numa_init(&h->numa[i]);
        h->numa[i].node = (int64_t)i;
        str_set(&h->numa[i].cpus, i ? "16-31,48-63" : "0-15,32-47");
        h->numa[i].memory = h->memory / 2;
    }
}

/* One for management and guests, one for storage and migration, with addresses that no two of them share. */
static void sim_nics(struct api_hardware *h, int number) {
    h->n_nics = 2;
    h->nics = xcalloc(h->n_nics, sizeof(*h->nics));
    for (size_t i = 0; i < h->n_nics; i++) {
        struct api_hardware_nic *n = &h->nics[i];
        api_hardware_nic_init(n);
        str_take(&n->name, xasprintf("eth%zu", i));
        str_take(&n->mac, xasprintf("02:54:%02zx:00:%02x:%02x", i, number / 256 % 256, number % 256));
        str_set(&n->driver, "sim");
        n->up = true;
        n->speed = 25000;
        n->mtu = i ? 9000 : 1500;
        n->n_addresses = 1;
        n->addresses = xcalloc(1, sizeof(*n->addresses));
        n->addresses[0] = xasprintf("10.%d.%d.%d/16", 66 + (int)i, number / 250 % 250, number % 250 + 1);
    }
}

void facts_sim_hardware(int number, struct api_hardware *ret) {
    str_set(&ret->cpu_model, "simulated");
    ret->cpus = 64;
    ret->sockets = 2;
    ret->cores = 16;
    ret->threads = 2;
    ret->memory = (int64_t)512 << 30;
    str_set(&ret->kernel, "simulated");
    str_set(&ret->os, "simulated");
    str_set(&ret->architecture, "x86_64");
    sim_numa(ret);
    sim_nics(ret, number);
    ret->n_disks = 1;
    ret->disks = xcalloc(1, sizeof(*ret->disks));
    api_hardware_disk_init(&ret->disks[0]);
    str_set(&ret->disks[0].name, "nvme0n1");
    str_set(&ret->disks[0].model, "simulated");
    ret->disks[0].size = (int64_t)2 << 40;
}

/* ---- what has changed since we said hello ---- */

void facts_take_driver(struct agent *a) {
    struct api_hardware *h = &a->hello.server.hardware;
    const char *const *models = NULL;
    size_t n = a->config.driver->cpu_models(a->hypervisor, &models);
    str_set(&h->limits, limits_word(a));
    hardware_names_free(h->cpu_models, h->n_cpu_models);
    h->cpu_models = xcalloc(n + 1, sizeof(*h->cpu_models));
    for (h->n_cpu_models = 0; h->n_cpu_models < n; h->n_cpu_models++)
        h->cpu_models[h->n_cpu_models] = xstrdup(models[h->n_cpu_models]);
}

static char *hardware_printed(const struct api_hardware *h) {
    _cleanup_json_ json_t *j = api_hardware_print(h, API_PUBLIC);
    return json_text(j);
}

static void on_changed(void *ctx) {
    struct agent *a = ctx;
    struct api_hardware now;
    if (a->closing)
        return;
    api_hardware_init(&now);
    hardware_of_system(&now);
    _cleanup_free_ char *was = hardware_printed(&a->hello.server.hardware);
    api_hardware_done(&a->hello.server.hardware);
    a->hello.server.hardware = now;
    facts_take_driver(a);
    _cleanup_free_ char *is = hardware_printed(&a->hello.server.hardware);
    if (str_eq(was, is))
        return;
    log_info("this server's hardware or addresses have changed");
    agent_begin(a);
    host_set_hello(a->host, &a->hello);
    agent_end(a);
    connect_addresses(a);
}

void facts_watch(struct agent *a) {
    if (a->config.sim)
        return;
    int r = hardware_watch_new(a->config.loop, on_changed, a, &a->hardware_watch);
    if (r < 0)
        log_warning("the kernel does not tell of changed hardware and addresses (%s): they are looked at each minute",
                    strerror(-r));
}

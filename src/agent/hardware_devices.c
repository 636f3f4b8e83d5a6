/* SPDX-License-Identifier: Apache-2.0 */
/* Network interfaces, disks and accelerators. */
#include "agent/hardware.h"

#include "base/mem.h"

#include <stdio.h>

#define NICS_MAX         64
#define ADDRESSES_MAX    32 /* of one interface */
#define DISKS_MAX        64
#define ACCELERATORS_MAX 32
#define DEVICES_MAX      4096 /* looked at */
#define SECTOR           512

/* KEY=value in a device's uevent file; "" if there is none. */
static char *uevent_value(const struct hardware_tree *tree, const char *device, const char *key) {
    _cleanup_free_ char *path = xasprintf("%s/uevent", device);
    _cleanup_free_ char *text = tree->read(tree->ctx, path);
    _cleanup_free_ char *start = xasprintf("%s=", key);
    for (const char *line = text; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
        if (strncmp(line, start, strlen(start)) == 0) {
            char *v = xstrndup(line + strlen(start), strcspn(line + strlen(start), "\n"));
            for (char *c = v; *c; c++)
                if (*c < ' ' || *c > '~')
                    *c = '?';
            if (strlen(v) > 64)
                v[64] = '\0';
            return v;
        }
    return xstrdup("");
}

static bool there(const struct hardware_tree *tree, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static bool there(const struct hardware_tree *tree, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    _cleanup_free_ char *path = xvasprintf(fmt, ap);
    va_end(ap);
    _cleanup_free_ char *text = tree->read(tree->ctx, path);
    return text != NULL;
}

/* ---- network interfaces ---- */

/* Addresses of the link alone are nobody's to name. */
static bool is_local(const char *text) { return strncmp(text, "fe80:", 5) == 0 || strncmp(text, "169.254.", 8) == 0; }

static void nic_addresses(struct api_hardware_nic *nic, const char *name, const struct hardware_address *all,
                          size_t n) {
    for (size_t i = 0; i < n && nic->n_addresses < ADDRESSES_MAX; i++) {
        if (!str_eq(all[i].nic, name) || is_local(all[i].text))
            continue;
        nic->addresses = xreallocarray(nic->addresses, nic->n_addresses + 1, sizeof *nic->addresses);
        nic->addresses[nic->n_addresses++] = xstrdup(all[i].text);
    }
}

static bool nic_is_up(const struct hardware_tree *tree, const char *dir) {
    _cleanup_free_ char *state = hardware_text(tree, "%s/operstate", dir);
    return str_eq(state, "up") || (str_eq(state, "unknown") && hardware_number(tree, "%s/carrier", dir) == 1);
}

static void nic_add(const struct hardware_tree *tree, struct api_hardware *h, const char *name,
                    const struct hardware_address *all, size_t n) {
    struct api_hardware_nic nic;
    _cleanup_free_ char *dir = xasprintf("sys/class/net/%s", name), *device = xasprintf("%s/device", dir);
    api_hardware_nic_init(&nic);
    nic_addresses(&nic, name, all, n);
    bool wanted = nic.n_addresses > 0 || there(tree, "%s/uevent", device) || there(tree, "%s/bridge/bridge_id", dir) ||
                  there(tree, "%s/bonding/mode", dir);
    if (!wanted || !there(tree, "%s/address", dir)) {
        api_hardware_nic_done(&nic);
        return;
    }
    int64_t speed = hardware_number(tree, "%s/speed", dir), mtu = hardware_number(tree, "%s/mtu", dir);
    str_set(&nic.name, name);
    str_take(&nic.mac, hardware_text(tree, "%s/address", dir));
    str_take(&nic.driver, uevent_value(tree, device, "DRIVER"));
    nic.up = nic_is_up(tree, dir);
    nic.speed = speed > 0 && speed < 10000000 ? speed : 0;
    nic.mtu = mtu > 0 ? mtu : 0;
    h->nics = xreallocarray(h->nics, h->n_nics + 1, sizeof *h->nics);
    h->nics[h->n_nics++] = nic;
}

static bool name_is_sane(const char *name) {
    size_t n = strlen(name);
    for (size_t i = 0; i < n; i++)
        if (name[i] <= ' ' || name[i] > '~' || name[i] == '/')
            return false;
    return n > 0 && n <= 64 && name[0] != '.';
}

void hardware_nics(const struct hardware_tree *tree, struct api_hardware *h) {
    struct hardware_address *all = NULL;
    char **names = NULL;
    size_t n_all = tree->addresses(tree->ctx, &all);
    size_t n = hardware_list(tree, "sys/class/net", DEVICES_MAX, &names);
    for (size_t i = 0; i < n && h->n_nics < NICS_MAX; i++)
        if (name_is_sane(names[i]) && !str_eq(names[i], "lo"))
            nic_add(tree, h, names[i], all, n_all);
    hardware_names_free(names, n);
    for (size_t i = 0; i < n_all; i++) {
        free(all[i].nic);
        free(all[i].text);
    }
    free(all);
}

/* ---- disks ---- */

/* What stands on a device: no partitions, loops, RAM disks or mapped volumes. */
void hardware_disks(const struct hardware_tree *tree, struct api_hardware *h) {
    char **names = NULL;
    size_t n = hardware_list(tree, "sys/block", DEVICES_MAX, &names);
    for (size_t i = 0; i < n && h->n_disks < DISKS_MAX; i++) {
        int64_t sectors = name_is_sane(names[i]) ? hardware_number(tree, "sys/block/%s/size", names[i]) : -1;
        if (sectors <= 0 || sectors > INT64_MAX / SECTOR || !there(tree, "sys/block/%s/device/uevent", names[i]))
            continue;
        h->disks = xreallocarray(h->disks, h->n_disks + 1, sizeof *h->disks);
        struct api_hardware_disk *d = &h->disks[h->n_disks++];
        api_hardware_disk_init(d);
        str_set(&d->name, names[i]);
        str_take(&d->model, hardware_text(tree, "sys/block/%s/device/model", names[i]));
        d->size = sectors * SECTOR;
        d->rotational = hardware_number(tree, "sys/block/%s/queue/rotational", names[i]) == 1;
    }
    hardware_names_free(names, n);
}

/* ---- accelerators ---- */

/* By PCI class: 0x03 draws (0x0302 without a screen), 0x12 computes. NULL for all others. */
static const char *accelerator_type(const char *class) {
    long c = strtol(class, NULL, 16);
    if (c >> 16 == 0x12)
        return "processing";
    if (c >> 16 != 0x03)
        return NULL;
    return (c >> 8 & 0xff) == 0x02 ? "3d" : "display";
}

static void lower(char *s) {
    for (; *s; s++)
        if (*s >= 'A' && *s <= 'Z')
            *s = (char)(*s + ('a' - 'A'));
}

void hardware_accelerators(const struct hardware_tree *tree, struct api_hardware *h) {
    static const char dir[] = "sys/bus/pci/devices";
    char **names = NULL;
    size_t n = hardware_list(tree, dir, DEVICES_MAX, &names);
    for (size_t i = 0; i < n && h->n_accelerators < ACCELERATORS_MAX; i++) {
        if (!name_is_sane(names[i]))
            continue;
        _cleanup_free_ char *device = xasprintf("%s/%s", dir, names[i]);
        _cleanup_free_ char *class = uevent_value(tree, device, "PCI_CLASS");
        const char *type = accelerator_type(class);
        if (!type)
            continue;
        h->accelerators = xreallocarray(h->accelerators, h->n_accelerators + 1, sizeof *h->accelerators);
        struct api_hardware_accelerator *a = &h->accelerators[h->n_accelerators++];
        api_hardware_accelerator_init(a);
        str_set(&a->address, names[i]);
        str_set(&a->type, type);
        str_take(&a->device, uevent_value(tree, device, "PCI_ID"));
        lower(a->device);
        str_take(&a->driver, uevent_value(tree, device, "DRIVER"));
        a->numa_node = hardware_number(tree, "%s/numa_node", device);
    }
    hardware_names_free(names, n);
}

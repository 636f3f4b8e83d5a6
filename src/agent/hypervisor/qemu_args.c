/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/hypervisor/qemu_args.h"

#include "base/buf.h"
#include "base/id.h"
#include "base/mem.h"

#include <stdarg.h>

#define FIRST_FD        3
#define MIB             (1024 * 1024)
#define SATA_PORTS      6  /* of one AHCI controller */
#define MICROVM_DEVICES 24 /* virtio-mmio slots of the machine */

struct maker {
    struct qemu_args a;
    const struct api_guest_start *start;
    const struct api_vm *vm;
    const struct guest_files *files;
    const struct qemu_host *host;
    struct error *e;
    bool microvm;
    bool seed_on_sata;
    int n_fdsets;
    int next_boot; /* boot index; 0 means none in boot_index_* */
    int boot_disk, boot_cdrom, boot_network;
    size_t n_sata, n_scsi, n_virtio;
    size_t n_mmio;
};

/* ---- building blocks ---- */

static void arg_take(struct maker *m, char *s) {
    m->a.argv = xreallocarray(m->a.argv, m->a.n + 2, sizeof *m->a.argv);
    m->a.argv[m->a.n++] = s;
    m->a.argv[m->a.n] = NULL;
}
static void arg(struct maker *m, const char *s) { arg_take(m, xstrdup(s)); }

/* An option and its value. */
static void __attribute__((format(printf, 3, 4))) option(struct maker *m, const char *name, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    arg(m, name);
    arg_take(m, xvasprintf(fmt, ap));
    va_end(ap);
}

/* In QEMU's key=value lists a comma is written twice. */
static char *escape(const char *s) {
    struct buf b = {0};
    for (; *s; s++) {
        buf_addc(&b, *s);
        if (*s == ',')
            buf_addc(&b, ',');
    }
    return buf_take(&b);
}

/* Its number in QEMU. */
static int pass_fd(struct maker *m, int fd) {
    m->a.fds = xreallocarray(m->a.fds, m->a.n_fds + 1, sizeof *m->a.fds);
    int to = FIRST_FD + (int)m->a.n_fds;
    m->a.fds[m->a.n_fds++] = (struct child_fd){.from = fd, .to = to};
    return to;
}

/* A file node on a descriptor, protected by QEMU's image lock. */
static void file_node_in(struct maker *m, int set, const char *node, const struct guest_file *f) {
    option(m, "-add-fd", "fd=%d,set=%d", pass_fd(m, f->fd), set);
    option(m, "-blockdev",
           "{\"driver\":\"file\",\"node-name\":\"%s\",\"filename\":\"/dev/fdset/"
           "%d\",\"locking\":\"on\",\"read-only\":%s%s%s}",
           node, set, f->read_only ? "true" : "false", f->read_only ? "" : ",\"discard\":\"unmap\"",
           f->direct ? ",\"cache\":{\"direct\":true}" : "");
}
static void file_node(struct maker *m, const char *node, int fd, bool read_only, bool direct) {
    file_node_in(m, m->n_fdsets++, node, &(struct guest_file){.fd = fd, .read_only = read_only, .direct = direct});
}

static int next_index(int *class_index) { return *class_index > 0 ? (*class_index)++ : 0; }

/* ",bootindex=N" or nothing; to be freed. */
static char *boot_option(int *class_index) {
    int i = next_index(class_index);
    return i ? xasprintf(",bootindex=%d", i) : xstrdup("");
}

/* ",addr=…" on PCI; nothing on virtio-mmio. To be freed. */
static char *place(const struct maker *m, unsigned slot, unsigned function, bool more) {
    return m->microvm ? xstrdup("") : xasprintf(",addr=%02x.%x%s", slot, function, more ? ",multifunction=on" : "");
}
/* "virtio-rng-pci" or "virtio-rng-device" */
static const char *suffix(struct maker *m) {
    m->n_mmio++;
    return m->microvm ? "device" : "pci";
}

/* ---- what cannot be ---- */

static int check_microvm(struct maker *m) {
    const struct api_vm *vm = m->vm;
    if (vm->firmware == API_FIRMWARE_UEFI)
        return error_set_field(m->e, ERR_UNSUPPORTED, "firmware", "a microvm has no UEFI firmware; use machine q35");
    for (size_t i = 0; i < m->start->n_disks; i++)
        if (m->start->disks[i].cdrom)
            return error_set_field(m->e, ERR_UNSUPPORTED, "disks", "a microvm has no CD drives; use machine q35");
    for (size_t i = 0; i < m->start->n_disks; i++)
        if (m->start->disks[i].bus == API_DISK_BUS_SATA)
            return error_set_field(m->e, ERR_UNSUPPORTED, "disks",
                                   "a microvm has no SATA; use bus virtio-blk or virtio-scsi");
    for (size_t i = 0; i < vm->n_nics; i++)
        if (vm->nics[i].model == API_NIC_MODEL_E1000)
            return error_set_field(m->e, ERR_UNSUPPORTED, "nics", "a microvm has no e1000; use model virtio");
    return 0;
}

/* Nothing that QEMU would take for another option. */
static bool cpu_model_is_plain(const char *name) {
    static const char good[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.";
    return str_empty(name) || (strspn(name, good) == strlen(name) && name[0] != '-');
}

static int check(struct maker *m) {
    const struct api_vm *vm = m->vm;
    /* The manager has checked these; here they go into lists where a comma would be more than a comma. */
    if (!m->start->has_vm || !uuid_valid(vm->id))
        return error_set_field(m->e, ERR_INVALID, "id", "the start names no virtual machine");
    for (size_t i = 0; i < vm->n_nics; i++)
        if (!str_empty(vm->nics[i].mac) && mac_problem(vm->nics[i].mac))
            return error_set_field(m->e, ERR_INVALID, "nics", "the MAC address %s", mac_problem(vm->nics[i].mac));
    for (const char *c = str_or(m->host->incoming, ""); *c; c++)
        if (!((*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9') || *c == '-' || *c == '.'))
            return error_set(m->e, ERR_INVALID, "the machine type of the other server has characters that none has");
    if (!cpu_model_is_plain(vm->cpu_model))
        return error_set_field(m->e, ERR_INVALID, "cpu_model", "the CPU model has characters that none has");
    if (vm->cpus < 1 || vm->sockets < 1 || vm->cpus % vm->sockets)
        return error_set_field(m->e, ERR_INVALID, "sockets", "%lld CPUs cannot be spread evenly over %lld sockets",
                               (long long)vm->cpus, (long long)vm->sockets);
    if (vm->memory < MIB || vm->memory % MIB)
        return error_set_field(m->e, ERR_INVALID, "memory", "memory must be a whole number of MiB");
    if (m->files->n_disks != m->start->n_disks)
        return error_set(m->e, ERR_INTERNAL, "%zu disks were opened, %zu are wanted", m->files->n_disks,
                         m->start->n_disks);
    for (size_t i = 0; i < m->start->n_disks; i++)
        if (m->start->disks[i].bus == API_DISK_BUS_SATA && m->start->disks[i].read_only && !m->start->disks[i].cdrom)
            return error_set_field(m->e, ERR_UNSUPPORTED, "disks",
                                   "a SATA disk cannot be read-only; use bus virtio-blk");
    if (vm->direct_boot && m->files->kernel_fd < 0)
        return error_set_field(m->e, ERR_INVALID, "direct_boot", "there is no kernel to boot");
    if (vm->firmware == API_FIRMWARE_UEFI && (m->files->firmware_fd < 0 || m->files->vars_fd < 0) && !m->microvm)
        return error_set_field(m->e, ERR_UNSUPPORTED, "firmware",
                               "no UEFI firmware was found; install the package ovmf");
    return m->microvm ? check_microvm(m) : 0;
}

/* ---- the machine ---- */

static void emit_identity(struct maker *m) {
    _cleanup_free_ char *name = escape(m->vm->name);
    option(m, "-name", "guest=%s", name);
    option(m, "-uuid", "%s", m->vm->id);
    arg(m, "-nodefaults");
    arg(m, "-no-user-config");
    option(m, "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny");
    if (!m->microvm)
        option(m, "-smbios", "type=1,manufacturer=Tarn,product=Tarn,uuid=%s", m->vm->id);
}

static void emit_machine(struct maker *m) {
    bool uefi = m->vm->firmware == API_FIRMWARE_UEFI;
    if (m->microvm) {
        /* ACPI so that the guest can be told to shut down, and finds its virtio-mmio devices. */
        option(m, "-machine", "%s,acpi=on,rtc=on,pcie=off,usb=off,dump-guest-core=off",
               str_or(m->host->incoming, "microvm"));
    } else {
        if (uefi) {
            file_node(m, "firmware-file", m->files->firmware_fd, true, false);
            option(m, "-blockdev",
                   "{\"driver\":\"raw\",\"node-name\":\"firmware\",\"file\":\"firmware-file\",\"read-only\":true}");
            file_node(m, "vars-file", m->files->vars_fd, false, m->files->vars_direct);
            option(m, "-blockdev",
                   "{\"driver\":\"raw\",\"node-name\":\"vars\",\"file\":\"vars-file\",\"read-only\":false}");
        }
        option(m, "-machine", "%s,usb=off,vmport=off,dump-guest-core=off%s", str_or(m->host->incoming, "q35"),
               uefi ? ",pflash0=firmware,pflash1=vars" : "");
    }
}

/*
 * The model of its pool, which every server of that has; NULL: all that this server's CPU has. What a bare name means
 * depends on the machine: q35 takes the first version of the model, microvm the last. Its variants have one version.
 */
static char *cpu_model(const struct maker *m) {
    static const char *const variants[] = {"-IBRS", "-IBPB", "-noTSX"};
    const char *name = str_or(m->vm->cpu_model, "");
    size_t len = strlen(name);
    if (!len || str_eq(name, "host"))
        return NULL;
    /* Otherwise a guest would see this server's maker, and another one after it has moved. */
    if (str_eq(name, "kvm64"))
        return xstrdup("kvm64-v1,vendor=GenuineIntel,enforce");
    if (str_eq(name, "qemu64"))
        return xstrdup("qemu64-v1,vendor=AuthenticAMD,enforce");
    for (size_t i = 0; i < ARRAY_LEN(variants); i++)
        if (len > strlen(variants[i]) && str_eq(name + len - strlen(variants[i]), variants[i]))
            return xasprintf("%s,enforce", name);
    return xasprintf("%s-v1,enforce", name);
}

static void emit_cpus(struct maker *m) {
    if (m->host->kvm) {
        _cleanup_free_ char *model = cpu_model(m);
        option(m, "-accel", "kvm");
        /* Without "enforce" QEMU leaves out what this server's CPU lacks, and a guest that moves here loses it. */
        option(m, "-cpu", "%s", str_or(model, "host,migratable=on"));
    } else {
        /* 64 MiB of translated code do for a kernel and its programs; QEMU's own choice is 1 GiB. 5-level paging makes
           every walk longer, and old firmware stumble. The CPU is the same wherever the version is, without which a
           guest does not move; of the older models some microvms stand still when they boot on a busy server. */
        option(m, "-accel", "tcg,thread=multi,tb-size=64");
        option(m, "-cpu", "max,la57=off");
    }
    option(m, "-smp", "cpus=%lld,sockets=%lld,cores=%lld,threads=1", (long long)m->vm->cpus, (long long)m->vm->sockets,
           (long long)(m->vm->cpus / m->vm->sockets));
    option(m, "-m", "size=%lldM", (long long)(m->vm->memory / MIB));
    option(m, "-rtc", "base=utc%s", m->host->kvm ? ",driftfix=slew" : "");
}

/* A guest that has stopped by itself is kept until the agent has seen and recorded why. */
static void emit_actions(struct maker *m) {
    option(m, "-action", "reboot=reset,shutdown=pause,panic=pause,watchdog=reset");
    option(m, "-boot", "strict=on");
    if (m->host->incoming) {
        option(m, "-incoming", "defer");
        arg(m, "-S");
    }
}

static void emit_monitors(struct maker *m, const struct qemu_sockets *s) {
    option(m, "-chardev", "socket,id=qmp,fd=%d,server=on,wait=off", pass_fd(m, s->qmp));
    option(m, "-mon", "chardev=qmp,mode=control");
    option(m, "-chardev", "socket,id=qmp-spare,fd=%d,server=on,wait=off", pass_fd(m, s->qmp_spare));
    option(m, "-mon", "chardev=qmp-spare,mode=control");
    option(m, "-chardev", "socket,id=serial0,fd=%d,server=on,wait=off", pass_fd(m, s->serial));
    option(m, "-serial", "chardev:serial0");
}

static void emit_kernel(struct maker *m) {
    if (!m->vm->direct_boot)
        return;
    option(m, "-kernel", "/proc/self/fd/%d", pass_fd(m, m->files->kernel_fd));
    if (m->files->initrd_fd >= 0)
        option(m, "-initrd", "/proc/self/fd/%d", pass_fd(m, m->files->initrd_fd));
    /* Before the user's own words, which therefore prevail. */
    _cleanup_buf_ struct buf line = {0};
    /* A microvm has no keyboard controller, on which Linux relies to restart. */
    if (m->microvm)
        buf_adds(&line, "reboot=t");
    /* Linux waits for ten ticks of its timer, does not get them in time from an emulated CPU on a busy server, and
     * stops. */
    if (!m->host->kvm)
        buf_addf(&line, "%sno_timer_check", line.len ? " " : "");
    /* Without a PIT to measure against, a slow emulated CPU makes the kernel's guess of the clock fail, and it hangs.
     */
    if (m->microvm && !m->host->kvm && m->host->tsc_khz > 0)
        buf_addf(&line, " tsc_early_khz=%lld tsc=reliable", (long long)m->host->tsc_khz);
    if (!str_empty(m->vm->cmdline))
        buf_addf(&line, "%s%s", line.len ? " " : "", m->vm->cmdline);
    if (line.len)
        option(m, "-append", "%s", line.data);
}

/* ---- devices ---- */

static void emit_display(struct maker *m) {
    option(m, "-display", "none");
    if (m->microvm || m->vm->display != API_DISPLAY_VNC)
        return;
    /* A VNC server that listens nowhere: viewers are handed over as descriptors. */
    option(m, "-vnc", "none");
    option(m, "-device", "VGA,id=display0,addr=02.0");
    /* An absolute pointer, or the browser's and the guest's part company. */
    option(m, "-device", "qemu-xhci,id=usb0,addr=08.0");
    option(m, "-device", "usb-tablet,bus=usb0.0");
}

static void emit_helpers(struct maker *m) {
    _cleanup_free_ char *rng = place(m, 3, 0, false), *balloon = place(m, 4, 0, false);
    option(m, "-device", "virtio-rng-%s,id=rng0%s", suffix(m), rng);
    option(m, "-device", "virtio-balloon-%s,id=balloon0,free-page-reporting=on,deflate-on-oom=on%s", suffix(m),
           balloon);
    option(m, "-device", m->microvm ? "pvpanic,id=panic0" : "pvpanic-pci,id=panic0,addr=07.0");
}

static void emit_scsi_controller(struct maker *m) {
    bool wanted = m->files->seed_fd >= 0 && !m->seed_on_sata && !m->microvm;
    for (size_t i = 0; i < m->start->n_disks; i++)
        wanted |= m->start->disks[i].bus != API_DISK_BUS_SATA &&
                  (m->start->disks[i].cdrom || m->start->disks[i].bus == API_DISK_BUS_VIRTIO_SCSI);
    if (!wanted)
        return;
    _cleanup_free_ char *where = place(m, 5, 0, false);
    option(m, "-device", "virtio-scsi-%s,id=scsi0%s", suffix(m), where);
}

/* The first six ports are those of q35 itself. */
static void emit_sata_controllers(struct maker *m) {
    size_t wanted = m->seed_on_sata;
    for (size_t i = 0; i < m->start->n_disks; i++)
        wanted += m->start->disks[i].bus == API_DISK_BUS_SATA;
    for (size_t i = 1; i * SATA_PORTS < wanted; i++)
        option(m, "-device", "ich9-ahci,id=sata%zu,addr=06.%zx%s", i, i - 1, i == 1 ? ",multifunction=on" : "");
}
static char *sata_port(struct maker *m) {
    size_t n = m->n_sata++, controller = n / SATA_PORTS;
    return controller ? xasprintf("sata%zu.%zu", controller, n % SATA_PORTS) : xasprintf("ide.%zu", n);
}

/* The nodes of one chain, base first: each names the one below it, so that none is opened by what an image says. */
static void emit_chain(struct maker *m, size_t disk, const struct guest_disk_files *f, bool read_only) {
    _cleanup_free_ char *backing = xstrdup("null");
    for (size_t k = f->n; k-- > 0;) {
        bool ro = k > 0 || read_only || f->chain[k].read_only;
        _cleanup_free_ char *file = xasprintf("disk%zu-%zu-file", disk, k);
        _cleanup_free_ char *node = k ? xasprintf("disk%zu-%zu", disk, k) : xasprintf("disk%zu", disk);
        bool qcow2 = f->chain[k].format == GUEST_DISK_QCOW2;
        /* QEMU takes a descriptor only if its mode is what the node wants. */
        file_node_in(m, m->n_fdsets++, file, &f->chain[k]);
        option(m, "-blockdev", "{\"driver\":\"%s\",\"node-name\":\"%s\",\"file\":\"%s\",\"read-only\":%s%s%s%s}",
               qcow2 ? "qcow2" : "raw", node, file, ro ? "true" : "false", ro ? "" : ",\"discard\":\"unmap\"",
               qcow2 ? ",\"backing\":" : "", qcow2 ? backing : "");
        str_take(&backing, xasprintf("\"%s\"", node));
    }
}

/* 20 bytes, which is what a virtio disk can show: for /dev/disk/by-id in the guest. */
static void disk_serial(const char *id, char ret[static 21]) {
    size_t n = 0;
    /* A UUIDv7 begins with the time; its end is what differs. */
    for (size_t i = strlen(id); i > 0 && n < 20; i--)
        if ((id[i - 1] >= '0' && id[i - 1] <= '9') || (id[i - 1] >= 'a' && id[i - 1] <= 'f'))
            ret[19 - n++] = id[i - 1];
    memmove(ret, ret + 20 - n, n);
    ret[n] = 0;
}

/* A drive keeps its name and place whatever is in it, so that a medium can be changed while the guest runs. */
static void emit_cdrom(struct maker *m, size_t i) {
    const struct guest_disk_files *f = &m->files->disks[i];
    _cleanup_free_ char *boot = boot_option(&m->boot_cdrom);
    _cleanup_free_ char *drive = f->n ? xasprintf(",drive=disk%zu", i) : xstrdup("");
    if (f->n) {
        _cleanup_free_ char *file = xasprintf("disk%zu-0-file", i);
        file_node_in(m, QEMU_CDROM_SET + (int)i, file, &f->chain[0]);
        option(m, "-blockdev", "{\"driver\":\"raw\",\"node-name\":\"disk%zu\",\"file\":\"%s\",\"read-only\":true}", i,
               file);
    }
    if (m->start->disks[i].bus == API_DISK_BUS_SATA) {
        _cleanup_free_ char *port = sata_port(m);
        option(m, "-device", "ide-cd,id=hd%zu,bus=%s%s%s", i, port, drive, boot);
    } else {
        option(m, "-device", "scsi-cd,id=hd%zu,bus=scsi0.0,scsi-id=%zu,lun=0%s%s", i, m->n_scsi++, drive, boot);
    }
}

static void emit_disk(struct maker *m, size_t i) {
    const struct api_guest_disk *d = &m->start->disks[i];
    if (d->cdrom) {
        emit_cdrom(m, i);
        return;
    }
    static const char policy[] = "werror=stop,rerror=stop";
    _cleanup_free_ char *boot = boot_option(&m->boot_disk);
    char serial[21];
    disk_serial(d->disk, serial);
    emit_chain(m, i, &m->files->disks[i], d->read_only);
    switch (d->bus) {
    case API_DISK_BUS_VIRTIO_SCSI:
        option(m, "-device", "scsi-hd,id=hd%zu,bus=scsi0.0,scsi-id=%zu,lun=0,drive=disk%zu,serial=%s,%s%s", i,
               m->n_scsi++, i, serial, policy, boot);
        break;
    case API_DISK_BUS_SATA: {
        _cleanup_free_ char *port = sata_port(m);
        option(m, "-device", "ide-hd,id=hd%zu,bus=%s,drive=disk%zu,serial=%s,%s%s", i, port, i, serial, policy, boot);
        break;
    }
    default: {
        size_t n = m->n_virtio++;
        _cleanup_free_ char *where = place(m, 0x10 + (unsigned)n / 8, (unsigned)n % 8, n % 8 == 0);
        option(m, "-device", "virtio-blk-%s,id=hd%zu,drive=disk%zu,serial=%s,%s%s%s", suffix(m), i, i, serial, policy,
               where, boot);
    }
    }
}

/*
 * cloud-init's seed is a CD-ROM where the guest's own disk is: cloud kernels have no AHCI driver, installed systems may
 * have no virtio-scsi. A microvm takes it as a read-only disk; cloud-init goes by the label.
 */
static void emit_seed(struct maker *m) {
    if (m->files->seed_fd < 0)
        return;
    _cleanup_free_ char *boot = boot_option(&m->boot_cdrom);
    file_node(m, "seed-file", m->files->seed_fd, true, false);
    option(m, "-blockdev", "{\"driver\":\"raw\",\"node-name\":\"seed\",\"file\":\"seed-file\",\"read-only\":true}");
    if (m->microvm) {
        option(m, "-device", "virtio-blk-%s,id=cd0,drive=seed", suffix(m));
    } else if (m->seed_on_sata) {
        _cleanup_free_ char *port = sata_port(m);
        option(m, "-device", "ide-cd,id=cd0,bus=%s,drive=seed%s", port, boot);
    } else {
        option(m, "-device", "scsi-cd,id=cd0,bus=scsi0.0,scsi-id=%zu,lun=0,drive=seed%s", m->n_scsi++, boot);
    }
}

static void emit_nic(struct maker *m, size_t i) {
    const struct api_vm_nic *nic = &m->vm->nics[i];
    bool e1000 = nic->model == API_NIC_MODEL_E1000;
    int index = next_index(&m->boot_network);
    _cleanup_free_ char *where = place(m, 0x0a, (unsigned)i, i == 0);
    _cleanup_free_ char *mac = str_empty(nic->mac) ? xstrdup("") : xasprintf(",mac=%s", nic->mac);
    /* The boot ROM costs the guest time in its firmware: only where it may be wanted. */
    _cleanup_free_ char *boot = m->microvm ? xstrdup("")
                                : index    ? xasprintf(",bootindex=%d", index)
                                           : xstrdup(",romfile=");
    option(m, "-netdev", "user,id=net%zu", i);
    if (e1000)
        option(m, "-device", "e1000,id=nic%zu,netdev=net%zu%s%s%s", i, i, mac, where, boot);
    else
        option(m, "-device", "virtio-net-%s,id=nic%zu,netdev=net%zu%s%s%s", suffix(m), i, i, mac, where, boot);
}

/* Each class of device gets a range of boot indexes in the order that is wanted. */
static void plan_boot(struct maker *m) {
    int next = 1;
    if (m->vm->direct_boot)
        return;
    for (size_t i = 0; i < m->vm->n_boot_order; i++) {
        enum api_boot_device d = m->vm->boot_order[i];
        int *class_index = d == API_BOOT_DEVICE_DISK    ? &m->boot_disk
                           : d == API_BOOT_DEVICE_CDROM ? &m->boot_cdrom
                                                        : &m->boot_network;
        if (*class_index)
            continue;
        *class_index = next;
        next += 64;
    }
}

static int emit_devices(struct maker *m) {
    emit_helpers(m);
    emit_scsi_controller(m);
    emit_sata_controllers(m);
    for (size_t i = 0; i < m->start->n_disks; i++)
        emit_disk(m, i);
    emit_seed(m);
    for (size_t i = 0; i < m->vm->n_nics; i++)
        emit_nic(m, i);
    if (m->microvm && m->n_mmio > MICROVM_DEVICES)
        return error_set_field(m->e, ERR_UNSUPPORTED, "disks",
                               "a microvm has room for %d devices, this one has %zu; use q35", MICROVM_DEVICES,
                               m->n_mmio);
    return 0;
}

int qemu_args_make(const struct api_guest_start *start, const struct guest_files *files, const struct qemu_host *host,
                   const struct qemu_sockets *sockets, struct qemu_args *ret, struct error *e) {
    struct maker m = {.start = start, .vm = &start->vm, .files = files, .host = host, .e = e};
    m.microvm = start->has_vm && m.vm->machine == API_MACHINE_MICROVM;
    m.seed_on_sata = files->seed_fd >= 0 && start->n_disks && start->disks[0].bus == API_DISK_BUS_SATA;
    int r = check(&m);
    if (r < 0)
        return r;
    arg(&m, host->binary);
    emit_identity(&m);
    emit_machine(&m);
    emit_cpus(&m);
    emit_actions(&m);
    emit_monitors(&m, sockets);
    plan_boot(&m);
    emit_kernel(&m);
    emit_display(&m);
    r = emit_devices(&m);
    if (r < 0) {
        qemu_args_done(&m.a);
        return r;
    }
    *ret = m.a;
    return 0;
}

void qemu_args_done(struct qemu_args *a) {
    for (size_t i = 0; i < a->n; i++)
        free(a->argv[i]);
    free(a->argv);
    free(a->fds);
    *a = (struct qemu_args){0};
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Operations on virtual machines. */
#include "core/core_int.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>

/* ---- create ---- */

struct creation {
    struct core *c;
    const struct core_request *r;
    struct api_vm *vm;
    const struct api_template *template; /* NULL: none */
    const struct api_repository *repository;
    json_t *clones;  /* disk id: {index, mode} */
    json_t *images;  /* disk id: {upload, path, format} */
    json_t *made;    /* ids of disks that the job makes */
    char *asked_for; /* the server that was named */
    struct placement placement;
};

static void from_template(struct api_vm *vm, const struct api_template *t) {
    if (!vm->given_cpus)
        vm->cpus = t->cpus;
    if (!vm->given_memory)
        vm->memory = t->memory;
    if (!vm->given_machine)
        vm->machine = t->machine;
    if (!vm->given_firmware)
        vm->firmware = t->firmware;
    if (!vm->given_cmdline)
        str_set(&vm->cmdline, t->cmdline);
    vm->direct_boot = t->kernel;
}

static int check_shape(const struct api_vm *vm, struct error *e) {
    int r = vm_check_limits(vm, e);
    if (r < 0)
        return r;
    if (vm->memory % (1024 * 1024))
        return error_set_field(e, ERR_INVALID, "memory", "must be a whole number of MiB");
    if (vm->cpus % vm->sockets)
        return error_set_field(e, ERR_INVALID, "sockets", "must divide the number of CPUs (%lld)", (long long)vm->cpus);
    if (vm->machine == API_MACHINE_MICROVM && vm->firmware == API_FIRMWARE_UEFI)
        return error_set_field(e, ERR_INVALID, "firmware", "uefi goes with machine q35, not microvm");
    for (size_t i = 0; i < vm->n_disks && vm->machine == API_MACHINE_MICROVM; i++) {
        char field[48];
        snprintf(field, sizeof field, "disks[%zu].bus", i);
        if (vm->disks[i].bus == API_DISK_BUS_SATA)
            return error_set_field(e, ERR_INVALID, field, "sata goes with machine q35, not microvm");
    }
    for (size_t i = 0; i < vm->n_nics && vm->machine == API_MACHINE_MICROVM; i++) {
        char field[48];
        snprintf(field, sizeof field, "nics[%zu].model", i);
        if (vm->nics[i].model == API_NIC_MODEL_E1000)
            return error_set_field(e, ERR_INVALID, field, "e1000 goes with machine q35, not microvm");
    }
    for (size_t i = 0; i < vm->n_boot_order; i++)
        for (size_t k = 0; k < i; k++)
            if (vm->boot_order[i] == vm->boot_order[k])
                return error_set_field(e, ERR_INVALID, "boot_order", "names %s twice",
                                       api_boot_device_text(vm->boot_order[i]));
    if (vm->display == API_DISPLAY_VNC && vm->machine == API_MACHINE_MICROVM)
        return 0; /* a microvm has no display device; it is simply not there */
    return 0;
}

static bool mac_taken(struct core *c, const char *mac, const char *except) {
    char lower[24] = "";
    for (size_t k = 0; mac[k] && k < sizeof lower - 1; k++)
        lower[k] = (char)tolower((unsigned char)mac[k]);
    const struct object *o = map_get(&c->macs, lower);
    return o && !str_eq(o->id, except);
}

/* 52:54:00 is the prefix that QEMU's users know; three random bytes. */
static void give_macs(struct core *c, struct api_vm *vm) {
    for (size_t i = 0; i < vm->n_nics; i++) {
        if (!str_empty(vm->nics[i].mac))
            continue;
        do {
            uint64_t n = idgen_next(&c->ids);
            str_take(&vm->nics[i].mac, xasprintf("52:54:00:%02x:%02x:%02x", (unsigned)(n & 0xff),
                                                 (unsigned)(n >> 8 & 0xff), (unsigned)(n >> 16 & 0xff)));
        } while (mac_taken(c, vm->nics[i].mac, vm->id));
    }
}

static int check_macs(struct core *c, const struct api_vm *vm, struct error *e) {
    for (size_t i = 0; i < vm->n_nics; i++) {
        char field[48];
        snprintf(field, sizeof field, "nics[%zu].mac", i);
        bool twice = false;
        for (size_t k = 0; k < i && !twice; k++)
            twice = strcasecmp(vm->nics[i].mac, vm->nics[k].mac) == 0;
        if (!str_empty(vm->nics[i].mac) && (twice || mac_taken(c, vm->nics[i].mac, vm->id)))
            return error_set_field(e, ERR_EXISTS, field, "%s is another network card's already", vm->nics[i].mac);
    }
    return 0;
}

/* An object for a disk that the job will make, named after the virtual machine. */
static struct api_disk *new_disk(struct creation *x, size_t number, int64_t size) {
    struct api_disk *d = xcalloc(1, sizeof *d);
    char id[UUID_LEN + 1], now[TIME_TEXT_MAX];
    api_disk_init(d);
    core_new_id(x->c, id);
    str_set(&d->id, id);
    /* The first free name: VM-1, VM-2 … */
    for (size_t n = number + 1;; n++) {
        str_take(&d->name, xasprintf("%s-%zu", x->vm->name, n));
        if (!core_find(x->c, API_KIND_DISK, d->name))
            break;
    }
    str_set(&d->repository, x->repository->id);
    str_set(&d->vm, x->vm->id);
    str_set(&d->created, core_now(x->c, now));
    d->size = size;
    d->made_with_vm = true;
    d->state = API_OBJECT_STATE_CREATING;
    json_object_set_new(x->made, d->id, json_true());
    return d;
}

/* The template's disks come first, in their order. */
static void clone_disks(struct creation *x) {
    struct api_vm *vm = x->vm;
    size_t n = x->template ? x->template->n_disks : 0;
    if (!n)
        return;
    vm->disks = xreallocarray(vm->disks, vm->n_disks + n, sizeof *vm->disks);
    memmove(vm->disks + n, vm->disks, vm->n_disks * sizeof *vm->disks);
    vm->n_disks += n;
    for (size_t i = 0; i < n; i++) {
        struct api_disk *d = new_disk(x, i, x->template->disks[i].size);
        memset(&vm->disks[i], 0, sizeof vm->disks[i]);
        api_vm_disk_init(&vm->disks[i]);
        str_set(&vm->disks[i].disk, d->id);
        vm->disks[i].bus = vm->machine == API_MACHINE_MICROVM ? API_DISK_BUS_VIRTIO_BLK : x->template->disks[i].bus;
        d->template_disk = (int64_t)i;
        if (vm->clone == API_CLONE_MODE_LINKED)
            str_set(&d->template, x->template->id);
        json_object_set_new(x->clones, d->id,
                            json_pack("{s:i, s:s}", "index", (int)i, "mode", api_clone_mode_text(vm->clone)));
        core_put(x->c, API_KIND_DISK, d);
    }
}

static int take_disk(struct core *c, const struct api_vm *vm, const char *id, const char *field, struct error *e) {
    const struct api_disk *d = CORE_GET(c, disk, DISK, id);
    const struct api_repository *rep = d ? CORE_GET(c, repository, REPOSITORY, d->repository) : NULL;
    if (!d)
        return error_set_field(e, ERR_NOT_FOUND, field, "there is no virtual disk \"%.*s\"", 128, id);
    if (d->state != API_OBJECT_STATE_READY)
        return error_set_field(e, ERR_CONFLICT, field, "virtual disk \"%s\" is %s", d->name,
                               api_object_state_text(d->state));
    if (!str_empty(d->vm) && !str_eq(d->vm, vm->id)) {
        const struct api_vm *other = CORE_GET(c, vm, VM, d->vm);
        return error_set_field(e, ERR_IN_USE, field, "virtual machine \"%s\" has the disk \"%s\"",
                               other ? other->name : d->vm, d->name);
    }
    bool reached = !rep;
    for (size_t i = 0; !reached && i < rep->n_presented; i++)
        reached = !vm_unreached(c, vm, rep->presented[i].server);
    if (!reached)
        return error_set_field(e, ERR_CONFLICT, field,
                               "virtual disk \"%s\" is in storage repository \"%s\", which no "
                               "server has together with the rest of the virtual machine's storage",
                               d->name, rep->name);
    if (str_eq(d->vm, vm->id))
        return 0;
    struct api_disk *put = CORE_COPY(disk, DISK, d);
    str_set(&put->vm, vm->id);
    core_put(c, API_KIND_DISK, put);
    return 0;
}

/* The image that a new disk is made from; two cannot be made from one upload, which is thrown away. */
static int image_disk(struct creation *x, const struct api_vm_disk *vd, const char *field, struct error *e) {
    json_t *image, *other;
    const char *key;
    json_object_foreach(
        x->images, key,
        other) if (!str_empty(vd->image.upload) &&
                   str_eq(json_str(other, "upload"),
                          vd->image.upload)) return error_set_field(e, ERR_INVALID, field,
                                                                    "names the same upload as another disk");
    int r = core_image_source(x->c, x->r, &vd->image, field, x->repository->id, &image, e);
    if (r == 0)
        json_object_set_new(x->images, vd->disk, image);
    return r;
}

static int own_disks(struct creation *x, size_t first, struct error *e) {
    struct api_vm *vm = x->vm;
    for (size_t i = first; i < vm->n_disks; i++) {
        struct api_vm_disk *vd = &vm->disks[i];
        char field[48];
        snprintf(field, sizeof field, "disks[%zu]", i - first);
        if (vd->cdrom) {
            int r = core_check_iso(x->c, vm->server, vd->iso, field, e);
            if (r < 0)
                return r;
            continue;
        }
        if (str_empty(vd->disk) == (vd->size == 0 && !vd->has_image))
            return error_set_field(e, ERR_INVALID, field,
                                   "needs one of disk (an existing one), size or image (a new one), and iso (a CD)");
        for (size_t k = 0; k < i; k++)
            if (!str_empty(vd->disk) && str_eq(vd->disk, vm->disks[k].disk))
                return error_set_field(e, ERR_INVALID, field, "names the same disk twice");
        if (!str_empty(vd->disk)) {
            int r = take_disk(x->c, vm, vd->disk, field, e);
            if (r < 0)
                return r;
            continue;
        }
        struct api_disk *d = new_disk(x, i, vd->size);
        str_set(&vd->disk, d->id);
        vd->size = 0;
        core_put(x->c, API_KIND_DISK, d);
        int r = vd->has_image ? image_disk(x, vd, field, e) : 0;
        if (r < 0)
            return r;
    }
    return 0;
}

/* The repository that a server has: where nothing is said, one that is its own before one that others have too. */
static const char *repository_of(const struct core *c, const char *server) {
    const struct table *t = &c->tables[API_KIND_REPOSITORY];
    const struct api_repository *found = NULL;
    for (size_t i = 0; i < t->n; i++) {
        const struct api_repository *r = t->sorted[i]->v->data;
        if (r->state == API_OBJECT_STATE_READY && repository_on(r, server) &&
            (!found || (found->n_presented > 1 && r->n_presented == 1)))
            found = r;
    }
    return found ? found->id : NULL;
}

/* Without a word about it: the repository of its pool, if there is one only. */
static const char *repository_of_pool(const struct core *c, const char *pool) {
    const struct table *t = &c->tables[API_KIND_REPOSITORY];
    const struct api_repository *found = NULL;
    for (size_t i = 0; i < t->n; i++) {
        const struct api_repository *r = t->sorted[i]->v->data;
        if (r->state != API_OBJECT_STATE_READY || !str_eq(repository_pool(c, r), pool))
            continue;
        if (found && str_eq(found->pool, pool) == str_eq(r->pool, pool))
            return NULL;
        if (!found || str_eq(r->pool, pool))
            found = r;
    }
    return found ? found->id : NULL;
}

/* Of the first disk that there is already. */
static const char *repository_of_disks(const struct core *c, const struct api_vm *vm) {
    for (size_t i = 0; i < vm->n_disks; i++) {
        const struct api_disk *d = str_empty(vm->disks[i].disk) ? NULL : CORE_GET(c, disk, DISK, vm->disks[i].disk);
        if (d)
            return d->repository;
    }
    return NULL;
}

/* Repository and pool; which server it is follows when the disks are known. */
static int pick_storage(struct creation *x, struct error *e) {
    struct core *c = x->c;
    struct api_vm *vm = x->vm;
    const struct api_server *s = CORE_GET(c, server, SERVER, vm->server);
    const char *wanted = !str_empty(vm->repository) ? vm->repository : x->template ? x->template->repository : NULL;
    if (!wanted)
        wanted = repository_of_disks(c, vm);
    if (s && !str_empty(vm->pool) && !str_eq(vm->pool, s->pool))
        return error_set_field(e, ERR_CONFLICT, "pool", "server \"%s\" is not in the pool", s->name);
    if (!wanted && s)
        wanted = repository_of(c, s->id);
    if (!wanted && !str_empty(vm->pool))
        wanted = repository_of_pool(c, vm->pool);
    x->repository = core_pick_repository(c, wanted, e);
    if (!x->repository)
        return -ENOENT;
    str_set(&vm->repository, x->repository->id);
    if (s && !repository_on(x->repository, s->id))
        return error_set_field(e, ERR_CONFLICT, "server", "server \"%s\" does not reach the storage repository \"%s\"",
                               s->name, x->repository->name);
    if (x->template && !str_eq(x->template->repository, vm->repository))
        return error_set_field(e, ERR_CONFLICT, "repository",
                               "the template is in another storage repository; clones are made "
                               "where the template is");
    if (str_empty(vm->pool))
        str_set(&vm->pool, s ? s->pool : repository_pool(c, x->repository));
    return core_need_repository(c, x->repository, e);
}

/* One that starts goes to the best server now. One that does not goes to the only one that it can be on, or nowhere
   yet. */
static int pick_place(struct creation *x, struct error *e) {
    struct api_vm *vm = x->vm;
    struct placement p;
    x->asked_for = xstrdup(vm->server);
    place(x->c, vm, &(struct place_options){.only = vm->server, .stopped = !vm->start}, &p);
    int r = p.best ? 0 : placement_error(&p, vm, e);
    bool sole = p.n == 1 || (p.n > 1 && !p.choices[1].ok);
    if (p.best && (vm->start || sole))
        str_set(&vm->server, p.best->id);
    vm->reserved = vm->start;
    x->placement = p;
    return r;
}

static int fill_in(struct creation *x, struct error *e) {
    struct core *c = x->c;
    struct api_vm *vm = x->vm;
    int r = core_resolve_refs(c, API_KIND_VM, vm, e);
    if (r == 0)
        r = core_check_name_free(c, API_KIND_VM, vm->name, NULL, e);
    if (r < 0)
        return r;
    x->template = CORE_GET(c, template, TEMPLATE, vm->template);
    if (x->template)
        from_template(vm, x->template);
    if (!str_empty(vm->cdrom))
        core_add_cdrom(vm, vm->cdrom);
    if ((r = core_shape_cdroms(vm, e)) < 0 || (r = check_shape(vm, e)) < 0 || (r = check_macs(c, vm, e)) < 0 ||
        (r = pick_storage(x, e)) < 0)
        return r;
    char id[UUID_LEN + 1], now[TIME_TEXT_MAX];
    core_new_id(c, id);
    str_set(&vm->id, id);
    str_set(&vm->created, core_now(c, now));
    vm->state = API_VM_STATE_CREATING;
    give_macs(c, vm);
    clone_disks(x);
    r = own_disks(x, x->template ? x->template->n_disks : 0, e);
    if (r == 0)
        r = rules_check_vm(c, NULL, vm, e);
    return r < 0 ? r : pick_place(x, e);
}

static void lock_disks(struct core *c, struct api_job *j, const struct api_vm *vm) {
    for (size_t i = 0; i < vm->n_disks; i++) {
        const struct api_disk *d = CORE_GET(c, disk, DISK, vm->disks[i].disk);
        if (d)
            job_lock(j, API_KIND_DISK, d->id, d->name, false);
    }
}

/* What lies in its CD drives is not deleted meanwhile. */
static void lock_isos(struct core *c, struct api_job *j, const struct api_vm *vm) {
    for (size_t i = 0; i < vm->n_disks; i++) {
        const struct api_iso *iso = CORE_GET(c, iso, ISO, vm->disks[i].iso);
        bool locked = false;
        for (size_t k = 0; k < i && iso && !locked; k++)
            locked = str_eq(vm->disks[k].iso, iso->id);
        if (iso && !locked)
            job_lock(j, API_KIND_ISO, iso->id, iso->name, true);
    }
}

static int submit_create(struct creation *x, struct error *e) {
    struct api_vm *vm = x->vm;
    bool start = vm->start;
    struct job_request q = {.kind = &job_vm_create,
                            .actor = x->r->actor,
                            .request = x->r->id,
                            .object_kind = API_KIND_VM,
                            .object_id = vm->id,
                            .object_name = vm->name,
                            .title = xasprintf("%s virtual machine %s", x->template ? "Deploy" : "Create", vm->name)};
    q.args = json_pack("{s:O, s:O, s:O, s:b, s:s}", "clones", x->clones, "images", x->images, "made", x->made, "start",
                       start, "server", x->asked_for);
    struct api_job *j = job_draft(x->c, &q);
    placement_keep(&x->placement, CORE_GET(x->c, server, SERVER, vm->server), j);
    _cleanup_free_ char *unguarded = vm_unguarded(x->c, vm);
    if (unguarded)
        job_warn(j, xasprintf("it is highly available, but would not start elsewhere when its server is lost: %s",
                              unguarded));
    job_lock(j, API_KIND_VM, vm->id, vm->name, false);
    lock_disks(x->c, j, vm);
    lock_isos(x->c, j, vm);
    if (x->template)
        job_lock(j, API_KIND_TEMPLATE, x->template->id, x->template->name, true);
    job_lock(j, API_KIND_REPOSITORY, x->repository->id, x->repository->name, true);
    for (size_t i = 0; i < vm->n_disks; i++)
        if (json_object_get(x->made, vm->disks[i].disk))
            job_add_step(j, q.kind, "create disk", (int64_t)i);
    job_add_step(j, q.kind, "finish", 0);
    if (start) {
        job_add_step(j, q.kind, "place", 0);
        job_add_step(j, q.kind, "prepare start", 0);
        job_add_step(j, q.kind, "start", 0);
    }
    for (size_t i = 0; i < vm->n_disks; i++)
        job_add_image_steps(x->c, j, q.kind, json_object_get(x->images, vm->disks[i].disk), (int64_t)i);
    core_put(x->c, API_KIND_VM, TAKE_PTR(x->vm));
    return job_submit(x->c, &q, j, e);
}

int op_vm_create(struct core *c, const struct core_request *r, struct error *e) {
    struct api_vm *vm = xcalloc(1, sizeof *vm);
    int result = api_vm_parse(r->body, API_CREATE, vm, e);
    if (result < 0) {
        free(vm);
        return result;
    }
    _cleanup_json_ json_t *clones = json_object(), *made = json_object(), *images = json_object();
    struct creation x = {.c = c, .r = r, .vm = vm, .clones = clones, .images = images, .made = made};
    result = fill_in(&x, e);
    if (result == 0)
        result = submit_create(&x, e);
    placement_done(&x.placement);
    free(x.asked_for);
    if (x.vm) {
        api_vm_done(x.vm);
        free(x.vm);
    }
    return result;
}

/* ---- change ---- */

/* What may change only while it is stopped: everything but these. */
static bool only_light_changes(const json_t *patch, const char **ret_field) {
    static const char *const light[] = {"name", "description", "tags", "restart_policy", "ha", "limits"};
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)patch, key, value) {
        bool found = false;
        for (size_t i = 0; i < ARRAY_LEN(light) && !found; i++)
            found = str_eq(key, light[i]);
        if (!found) {
            *ret_field = key;
            return false;
        }
    }
    return true;
}

static int change_disks(struct core *c, const struct api_vm *old, const struct api_vm *next, struct error *e) {
    for (size_t i = 0; i < next->n_disks; i++) {
        char field[48];
        snprintf(field, sizeof field, "disks[%zu]", i);
        if (next->disks[i].cdrom) {
            int r = core_check_iso(c, next->server, next->disks[i].iso, field, e);
            if (r < 0)
                return r;
            continue;
        }
        if (str_empty(next->disks[i].disk))
            return error_set_field(e, ERR_INVALID, field,
                                   "needs the id of an existing disk; create one first with: tarn disk create");
        for (size_t k = 0; k < i; k++)
            if (str_eq(next->disks[i].disk, next->disks[k].disk))
                return error_set_field(e, ERR_INVALID, field, "names the same disk twice");
        int r = take_disk(c, next, next->disks[i].disk, field, e);
        if (r < 0)
            return r;
    }
    for (size_t i = 0; i < old->n_disks; i++) {
        bool kept = false;
        for (size_t k = 0; k < next->n_disks && !kept; k++)
            kept = str_eq(old->disks[i].disk, next->disks[k].disk);
        const struct api_disk *d = kept ? NULL : CORE_GET(c, disk, DISK, old->disks[i].disk);
        if (d) {
            struct api_disk *put = CORE_COPY(disk, DISK, d);
            str_set(&put->vm, "");
            put->made_with_vm = false; /* from now on it lives by itself */
            core_put(c, API_KIND_DISK, put);
        }
    }
    return 0;
}

/* Those that wait for each other in a circle would never be restarted. */
static bool comes_after_itself(const struct core *c, const struct api_vm *vm, struct map *seen, const char *self) {
    for (size_t i = 0; i < vm->ha.n_after; i++) {
        const struct api_vm *other = CORE_GET(c, vm, VM, vm->ha.after[i]);
        if (str_eq(vm->ha.after[i], self))
            return true;
        if (!other || map_get(seen, other->id))
            continue;
        map_put(seen, other->id, seen);
        if (comes_after_itself(c, other, seen, self))
            return true;
    }
    return false;
}

static int check_after(const struct core *c, const struct api_vm *vm, struct error *e) {
    struct map seen = {0};
    for (size_t i = 0; i < vm->ha.n_after; i++)
        if (str_eq(vm->ha.after[i], vm->id))
            return error_set_field(e, ERR_CONFLICT, "ha.after", "\"%s\" cannot come after itself", vm->name);
    bool circle = comes_after_itself(c, vm, &seen, vm->id);
    map_done(&seen);
    return circle ? error_set_field(e, ERR_CONFLICT, "ha.after",
                                    "\"%s\" would come after itself: one of these comes after it already", vm->name)
                  : 0;
}

static int check_change(struct core *c, const struct core_request *r, struct object *o, struct api_vm *next,
                        struct error *e) {
    const struct api_vm *old = o->v->data;
    const char *field = NULL;
    if (!only_light_changes(r->body, &field)) {
        if (!vm_is_off(old))
            return error_set_field(e, ERR_CONFLICT, field,
                                   "can be changed only while the virtual machine is stopped; it is %s",
                                   api_vm_state_text(old->state));
        if (old->restarting) /* its server, which may be out of reach, starts it as it was */
            return error_set_field(e, ERR_CONFLICT, field,
                                   "cannot be changed while the virtual machine is about to be restarted by its "
                                   "restart policy: kill it first (tarn vm kill %s)",
                                   old->name);
        if (map_get(&c->locks, old->id))
            return error_set_field(e, ERR_CONFLICT, field,
                                   "cannot be changed while a job works on the virtual machine");
    }
    int result = core_check_name_free(c, API_KIND_VM, next->name, o->id, e);
    if (result == 0)
        result = core_resolve_refs(c, API_KIND_VM, next, e);
    if (result == 0 && json_object_get(r->body, "ha"))
        result = check_after(c, next, e);
    if (result == 0)
        result = core_shape_cdroms(next, e);
    if (result == 0)
        result = check_shape(next, e);
    if (result == 0)
        result = check_macs(c, next, e);
    if (result == 0 && (next->memory != old->memory || !vm_same_limits(old, next)) && !str_empty(next->server))
        result = vm_check_server(c, next, e);
    if (result == 0 && json_object_get(r->body, "tags"))
        result = rules_check_vm(c, old, next, e);
    if (result == 0)
        result = change_disks(c, old, next, e);
    return result;
}

int op_vm_change(struct core *c, const struct core_request *r, struct error *e) {
    struct object *o = core_param(c, r, 0, API_KIND_VM, e);
    if (!o)
        return -ENOENT;
    struct api_vm *next = xcalloc(1, sizeof *next);
    int result = core_check_if_match(r, o, e);
    if (result == 0)
        result = api_vm_merge(o->v->data, r->body, next, e);
    if (result < 0) {
        free(next);
        return result;
    }
    result = check_change(c, r, o, next, e);
    if (result < 0) {
        api_vm_done(next);
        free(next);
        return result;
    }
    const struct api_vm *old = o->v->data;
    bool tell = !str_eq(old->name, next->name) || old->restart_policy != next->restart_policy ||
                (old->has_ha && old->ha.enabled) != (next->has_ha && next->ha.enabled);
    bool limit = !vm_same_limits(old, next);
    give_macs(c, next);
    core_event(c, API_SEVERITY_INFO, r->actor, "vm.changed", API_KIND_VM, o->id, next->name, NULL,
               "%s changed virtual machine %s", r->actor, next->name);
    bool ha = next->has_ha && next->ha.enabled;
    core_put(c, API_KIND_VM, next);
    if (!ha)
        recover_call_off(c, o->id, "it is not highly available any more");
    if (tell || limit)
        vm_tell(c, o->id, r->actor, tell, limit);
    core_reply_object(c, r->id, 200, o, r->query.fields);
    return 0;
}

/* ---- the rest ---- */

int op_vm_delete(struct core *c, const struct core_request *r, struct error *e) {
    struct object *o = core_param(c, r, 0, API_KIND_VM, e);
    if (!o)
        return -ENOENT;
    int result = core_check_if_match(r, o, e);
    if (result < 0)
        return result;
    const struct api_vm *vm = o->v->data;
    struct job_request q = {.kind = &job_vm_delete,
                            .actor = r->actor,
                            .request = r->id,
                            .object_kind = API_KIND_VM,
                            .object_id = vm->id,
                            .object_name = vm->name,
                            .title = xasprintf("Delete virtual machine %s", vm->name)};
    struct api_job *j = job_draft(c, &q);
    job_lock(j, API_KIND_VM, vm->id, vm->name, false);
    lock_disks(c, j, vm);
    job_add_step(j, q.kind, "mark", 0);
    job_add_step(j, q.kind, "stop guest", 0);
    job_add_step(j, q.kind, "forget guest", 0);
    for (size_t i = 0; i < vm->n_disks; i++) {
        const struct api_disk *d = CORE_GET(c, disk, DISK, vm->disks[i].disk);
        if (d && d->made_with_vm)
            job_add_step(j, q.kind, "delete disk", (int64_t)i);
    }
    job_add_step(j, q.kind, "remove", 0);
    return job_submit(c, &q, j, e);
}

/* A job on one virtual machine whose steps are all of its kind's. */
static int simple(struct core *c, const struct core_request *r, const struct job_kind *kind, const char *verb,
                  json_t *args, struct error *e) {
    struct object *o = core_param(c, r, 0, API_KIND_VM, e);
    int result = o ? core_check_if_match(r, o, e) : -ENOENT;
    if (result < 0) {
        json_decref(args);
        return result;
    }
    const struct api_vm *vm = o->v->data;
    struct job_request q = {.kind = kind,
                            .actor = r->actor,
                            .request = r->id,
                            .args = args,
                            .object_kind = API_KIND_VM,
                            .object_id = vm->id,
                            .object_name = vm->name,
                            .title = xasprintf("%s virtual machine %s", verb, vm->name)};
    struct api_job *j = job_draft(c, &q);
    job_lock(j, API_KIND_VM, vm->id, vm->name, false);
    for (size_t i = 0; i < kind->n_steps && kind != &job_vm_start; i++) /* a start's follow from where it goes */
        job_add_step(j, kind, kind->steps[i].name, 0);
    return job_submit(c, &q, j, e);
}

static int stop_args(const struct core_request *r, json_t **ret, struct error *e) {
    struct api_vm_stop s;
    _cleanup_json_ json_t *empty = json_object();
    int result = api_vm_stop_parse(r->body ? r->body : empty, API_CREATE, &s, e);
    if (result < 0)
        return result;
    *ret = json_pack("{s:I, s:b}", "timeout", (json_int_t)s.timeout, "force", s.force);
    api_vm_stop_done(&s);
    return 0;
}

int op_vm_start(struct core *c, const struct core_request *r, struct error *e) {
    return simple(c, r, &job_vm_start, "Start", NULL, e);
}

int op_vm_stop(struct core *c, const struct core_request *r, struct error *e) {
    json_t *args;
    int result = stop_args(r, &args, e);
    return result < 0 ? result : simple(c, r, &job_vm_stop, "Stop", args, e);
}

int op_vm_restart(struct core *c, const struct core_request *r, struct error *e) {
    json_t *args;
    int result = stop_args(r, &args, e);
    return result < 0 ? result : simple(c, r, &job_vm_restart, "Restart", args, e);
}

int op_vm_kill(struct core *c, const struct core_request *r, struct error *e) {
    const struct object *o = core_find(c, API_KIND_VM, r->params[0]);
    /* Who kills does not want to wait for a shutdown that may never end: a stop under way is called off. So is a move.
     * But not by a request that is refused. */
    const char *holder = o ? locks_holder(c, o->id) : NULL;
    const struct api_job *j = holder ? CORE_GET(c, job, JOB, holder) : NULL;
    bool yields = j && (str_eq(j->kind, job_vm_stop.name) || str_eq(j->kind, job_vm_restart.name) ||
                        str_eq(j->kind, job_vm_migrate.name));
    _cleanup_free_ char *id = xstrdup(yields ? j->id : NULL);
    int result = simple(c, r, &job_vm_kill, "Kill", NULL, e);
    if (result >= 0 && yields) {
        _cleanup_error_ struct error ignored = ERROR_INIT;
        job_abort(c, id, r->actor, &ignored);
    }
    return result;
}

int op_vm_placement(struct core *c, const struct core_request *r, struct error *e) {
    const struct object *o = core_param(c, r, 0, API_KIND_VM, e);
    if (!o)
        return -ENOENT;
    const struct api_vm *vm = o->v->data;
    bool runs = !vm_is_off(vm) && vm->state != API_VM_STATE_CREATING;
    struct placement p;
    struct api_placement told;
    place(c, vm, &(struct place_options){.moving = runs, .not_on = runs ? vm->server : NULL}, &p);
    placement_tell(&p, &told);
    json_t *j = api_placement_print(&told, API_PUBLIC);
    core_reply(c, r->id, 200, json_text(j), 0, c->tables[API_KIND_VM].dirty);
    json_decref(j);
    api_placement_done(&told);
    placement_done(&p);
    return 0;
}

int op_vm_suspend(struct core *c, const struct core_request *r, struct error *e) {
    return simple(c, r, &job_vm_suspend, "Suspend", NULL, e);
}

int op_vm_resume(struct core *c, const struct core_request *r, struct error *e) {
    return simple(c, r, &job_vm_resume, "Resume", NULL, e);
}

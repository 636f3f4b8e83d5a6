/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moving a virtual machine to another server while it runs (docs/migration.md).
 *
 *     offer      source       its half of the one-time credentials, the machine as it runs
 *     make disk  destination  one for each disk that it does not reach
 *     receive    destination  a process that waits, and does not run
 *     send       source       disks and memory; it ends paused there and whole at the destination
 *     switch     destination  the virtual machine is the destination's: durable with the call that makes it run
 *     release    source       what is left there ends
 *     delete disk source      its copies of the disks
 *
 * Until "switch" everything can be taken back, and the guest goes on at the source. From then on the source's guest is
 * never continued, but for one case: the destination answers that its guest has never run and never will.
 */
#include "core/core_int.h"

#include <errno.h>

static const char *arg(const struct job_ctx *x, const char *name) { return json_str(x->job->args, name); }
static const struct api_vm *vm_of(const struct job_ctx *x) { return CORE_GET(x->c, vm, VM, x->job->object.id); }
static const json_t *local_of(const struct job_ctx *x) { return json_object_get(x->job->args, "local"); }

/* ---- where to ---- */

struct plan {
    struct core *c;
    const struct api_vm *vm;
    const struct api_server *from, *to;
    const struct api_repository *repository; /* for what moves with it; NULL: nothing does */
    bool disks;
    const char *wanted; /* the repository that was named; NULL or "": none */
    json_t *local;      /* ids of the disks that move too */
    bool own;           /* its firmware variables and seed do */
    struct placement found;
};

static bool reaches(const struct core *c, const struct api_server *s, const char *repository) {
    return repository_on(CORE_GET(c, repository, REPOSITORY, repository), s->id) != NULL;
}

static const char *repository_name(const struct core *c, const char *id) {
    const struct api_repository *r = CORE_GET(c, repository, REPOSITORY, id);
    return r ? r->name : id;
}

static const struct api_hypervisor *driver_of(const struct api_server *s, const char *driver) {
    for (size_t i = 0; i < s->n_hypervisors; i++)
        if (str_empty(driver) || str_eq(s->hypervisors[i].driver, driver))
            return &s->hypervisors[i];
    return NULL;
}

static int check_cpu(const struct plan *p, struct error *e) {
    const char *model = p->vm->cpu_model;
    if (!str_empty(model) && !str_eq(model, "host")) {
        if (server_has_cpu_model(p->to, model))
            return 0;
        return error_set_field(e, ERR_NO_CAPACITY, "to",
                               "it was started with the CPU model %s, which the CPU of server \"%s\" cannot be", model,
                               p->to->name);
    }
    if (!p->from->has_hardware || !p->to->has_hardware ||
        str_eq(p->from->hardware.cpu_model, p->to->hardware.cpu_model))
        return 0;
    return error_set_field(
        e, ERR_NO_CAPACITY, "to",
        "it was started with the CPU of server \"%s\" (%s), which \"%s\" (%s) does not have; in a pool "
        "with a CPU baseline it could move",
        p->from->name, p->from->hardware.cpu_model, p->to->name, p->to->hardware.cpu_model);
}

static int check_hypervisor(const struct plan *p, struct error *e) {
    const struct api_hypervisor *a = driver_of(p->from, p->vm->hypervisor), *b = driver_of(p->to, p->vm->hypervisor);
    if (!a)
        return 0; /* not told yet */
    if (!b || !b->usable)
        return error_set_field(e, ERR_NO_CAPACITY, "to", "server \"%s\" cannot run it: %s", p->to->name,
                               b ? b->reason : "it has no such hypervisor driver");
    if (!str_eq(a->accelerator, b->accelerator))
        return error_set_field(
            e, ERR_NO_CAPACITY, "to",
            "server \"%s\" runs guests with %s and \"%s\" with %s; a running guest cannot change over: "
            "stop it, then start it there",
            p->from->name, a->accelerator, p->to->name, b->accelerator);
    if (str_eq(a->accelerator, "tcg") && !str_eq(a->version, b->version))
        return error_set_field(
            e, ERR_NO_CAPACITY, "to",
            "without hardware acceleration a guest's CPU is that of the QEMU version, and \"%s\" has "
            "%s where \"%s\" has %s",
            p->to->name, b->version, p->from->name, a->version);
    return str_eq(a->accelerator, "kvm") ? check_cpu(p, e) : 0;
}

/* The repository on the destination for what moves with the virtual machine. */
static int pick_repository(struct plan *p, struct error *e) {
    struct table *t = &p->c->tables[API_KIND_REPOSITORY];
    p->repository = CORE_GET(p->c, repository, REPOSITORY, str_or(p->wanted, ""));
    if (p->repository) {
        if (!reaches(p->c, p->to, p->repository->id))
            return error_set_field(e, ERR_CONFLICT, "repository",
                                   "server \"%s\" does not reach storage repository \"%s\"", p->to->name,
                                   p->repository->name);
        return 0;
    }
    /* One of its own, before one that both have: there the disks could have been. Of several the one with most room. */
    for (int own = 1; own >= 0 && !p->repository; own--) {
        for (size_t i = 0; i < t->n; i++) {
            const struct api_repository *r = t->sorted[i]->v->data;
            bool fits = reaches(p->c, p->to, r->id) && r->state == API_OBJECT_STATE_READY &&
                        !(own && reaches(p->c, p->from, r->id));
            if (fits && (!p->repository || r->free > p->repository->free))
                p->repository = r;
        }
    }
    if (p->repository)
        return 0;
    return error_set_field(e, ERR_CONFLICT, "repository",
                           "server \"%s\" has no storage repository that its disks could go to", p->to->name);
}

static int check_room(const struct plan *p, struct error *e) {
    int64_t sum = 0;
    size_t i;
    json_t *id;
    json_array_foreach(p->local, i, id) {
        const struct api_disk *d = CORE_GET(p->c, disk, DISK, json_string_value(id));
        sum += d ? d->allocated : 0;
    }
    char want[SIZE_TEXT_MAX], has[SIZE_TEXT_MAX];
    if (!p->repository || !p->repository->free || sum <= p->repository->free)
        return 0;
    return error_set_field(e, ERR_NO_SPACE, "repository",
                           "%s of disks do not fit into storage repository \"%s\" (%s free)", size_format(sum, want),
                           p->repository->name, size_format(p->repository->free, has));
}

static int check_cds(const struct plan *p, struct error *e) {
    for (size_t i = 0; i < p->vm->n_disks; i++) {
        const struct api_iso *iso = CORE_GET(p->c, iso, ISO, p->vm->disks[i].iso);
        if (iso && !reaches(p->c, p->to, iso->repository))
            return error_set_field(e, ERR_CONFLICT, "to",
                                   "ISO image \"%s\" in its CD drive is in storage repository \"%s\", which server "
                                   "\"%s\" does not reach; take it out first",
                                   iso->name, repository_name(p->c, iso->repository), p->to->name);
    }
    return 0;
}

static int check_boot(const struct plan *p, struct error *e) {
    const struct api_template *t = p->vm->direct_boot ? CORE_GET(p->c, template, TEMPLATE, p->vm->template) : NULL;
    if (!t || reaches(p->c, p->to, t->repository))
        return 0;
    return error_set_field(
        e, ERR_CONFLICT, "to",
        "it boots the kernel of template \"%s\", which is in storage repository \"%s\"; server \"%s\" "
        "does not reach it",
        t->name, repository_name(p->c, t->repository), p->to->name);
}

/* What of its storage the destination does not reach, and whether that may and can move with it. */
static int check_storage(struct plan *p, struct error *e) {
    for (size_t i = 0; i < p->vm->n_disks; i++) {
        const struct api_disk *d = CORE_GET(p->c, disk, DISK, p->vm->disks[i].disk);
        if (!d || reaches(p->c, p->to, d->repository))
            continue;
        if (!p->disks)
            return error_set_field(
                e, ERR_CONFLICT, "disks",
                "its virtual disk \"%s\" is in storage repository \"%s\", which server \"%s\" does not "
                "reach; ask for the disks to be moved too (--disks)",
                d->name, repository_name(p->c, d->repository), p->to->name);
        if (p->vm->disks[i].read_only)
            return error_set_field(
                e, ERR_UNSUPPORTED, "disks",
                "its virtual disk \"%s\" is read-only for it and in storage repository \"%s\", which "
                "server \"%s\" does not reach; such a disk is not moved: detach it first",
                d->name, repository_name(p->c, d->repository), p->to->name);
        json_array_append_new(p->local, json_string(d->id));
    }
    int r = check_boot(p, e);
    if (r == 0)
        r = check_cds(p, e);
    p->own = !str_empty(p->vm->repository) && !reaches(p->c, p->to, p->vm->repository);
    if (r == 0 && p->own && !p->disks)
        return error_set_field(
            e, ERR_CONFLICT, "disks",
            "its storage repository \"%s\" is not reached by server \"%s\"; ask for what is in it to be "
            "moved too (--disks)",
            repository_name(p->c, p->vm->repository), p->to->name);
    if (r == 0 && (p->own || json_array_size(p->local)))
        r = pick_repository(p, e);
    return r < 0 ? r : check_room(p, e);
}

static int check_membership(const struct plan *p, struct error *e) {
    const struct api_pool *pool = CORE_GET(p->c, pool, POOL, p->vm->pool);
    if (p->to == p->from)
        return error_set_field(e, ERR_CONFLICT, "to", "virtual machine \"%s\" is on server \"%s\" already", p->vm->name,
                               p->to->name);
    if (p->to->maintenance != API_MAINTENANCE_STATE_OFF)
        return error_set_field(e, ERR_CONFLICT, "to", "server \"%s\" is in maintenance and takes no virtual machines",
                               p->to->name);
    if (pool && !str_eq(p->to->pool, pool->id))
        return error_set_field(e, ERR_CONFLICT, "to",
                               "server \"%s\" is not in the virtual machine's server pool \"%s\"", p->to->name,
                               pool->name);
    const struct api_pool *other = pool ? NULL : CORE_GET(p->c, pool, POOL, p->to->pool);
    if (other)
        return error_set_field(
            e, ERR_CONFLICT, "to",
            "server \"%s\" is in the server pool \"%s\", virtual machine \"%s\" in none: add its own "
            "server to the pool first (tarn pool add), its virtual machines come with it",
            p->to->name, other->name, p->vm->name);
    return 0;
}

/* What placement does not look at. */
static int check_fit(struct plan *p, struct error *e) {
    json_array_clear(p->local);
    p->repository = NULL;
    int r = check_hypervisor(p, e);
    return r < 0 ? r : check_storage(p, e);
}

/* The best server that can take it. Whether its storage can, the plan says for each. */
static int choose(struct plan *p, struct error *e) {
    _cleanup_buf_ struct buf all = {0};
    place(p->c, p->vm, &(struct place_options){.moving = true, .not_on = p->from->id, .takes_storage = true},
          &p->found);
    for (size_t i = 0; i < p->found.n; i++) {
        const struct place_choice *ch = &p->found.choices[i];
        _cleanup_error_ struct error why = ERROR_INIT;
        p->to = ch->server;
        if (ch->ok && check_fit(p, &why) == 0)
            return 0;
        if (p->to == p->from || all.len > 1500)
            continue;
        if (ch->ok)
            buf_addf(&all, "; %s", why.message);
        else
            buf_addf(&all, "; server \"%s\" %s", p->to->name, ch->reason);
    }
    return error_set_field(e, ERR_NO_CAPACITY, "to", "no other server can take virtual machine \"%s\": %s", p->vm->name,
                           all.len ? all.data + 2 : "there is none");
}

static int check_named(struct plan *p, struct error *e) {
    int r = check_membership(p, e);
    if (r == 0)
        r = core_need_agent(p->c, p->to->id, e);
    if (r < 0)
        return r;
    place(p->c, p->vm,
          &(struct place_options){.moving = true, .only = p->to->id, .not_on = p->from->id, .takes_storage = true},
          &p->found);
    return p->found.best ? check_fit(p, e) : placement_error(&p->found, p->vm, e);
}

static int plan_make(struct plan *p, const char *to, struct error *e) {
    p->from = CORE_GET(p->c, server, SERVER, p->vm->server);
    if (!p->from)
        return error_set(e, ERR_CONFLICT, "its server is no longer in the inventory");
    /* Whether anything goes there or not: it was not meant like this. */
    if (!str_empty(p->wanted) && !CORE_GET(p->c, repository, REPOSITORY, p->wanted))
        return error_set_field(e, ERR_NOT_FOUND, "repository", "there is no storage repository \"%.128s\"", p->wanted);
    if (str_empty(to))
        return choose(p, e);
    p->to = CORE_GET(p->c, server, SERVER, to);
    if (!p->to)
        return error_set_field(e, ERR_NOT_FOUND, "to", "there is no server \"%.128s\"", to);
    return check_named(p, e);
}

static void plan_done(struct plan *p) {
    placement_done(&p->found);
    json_decref(p->local);
}

static int check_state(struct core *c, const struct api_vm *vm, struct error *e) {
    if (!vm)
        return error_set(e, ERR_NOT_FOUND, "the virtual machine is gone");
    if (vm_is_off(vm))
        return error_set(e, ERR_CONFLICT,
                         "virtual machine \"%s\" is %s: only one that runs or is suspended is moved, this one starts "
                         "wherever there is room",
                         vm->name, api_vm_state_text(vm->state));
    if (vm->state == API_VM_STATE_UNKNOWN || !core_agent_is_connected(c, vm->server))
        return core_need_agent(c, vm->server, e);
    if (vm->state != API_VM_STATE_RUNNING && vm->state != API_VM_STATE_SUSPENDED)
        return error_set(e, ERR_CONFLICT, "virtual machine \"%s\" is %s; only one that runs or is suspended is moved",
                         vm->name, api_vm_state_text(vm->state));
    return 0;
}

static int migrate_check(struct job_ctx *x, struct error *e) {
    const struct api_vm *vm = vm_of(x);
    int r = check_state(x->c, vm, e);
    if (r < 0)
        return r;
    if (!str_eq(vm->server, arg(x, "from")))
        return error_set(e, ERR_CONFLICT, "virtual machine \"%s\" has been moved by another job meanwhile", vm->name);
    _cleanup_(plan_done) struct plan p = {.c = x->c,
                                          .vm = vm,
                                          .disks = json_bool(x->job->args, "disks", false),
                                          .wanted = arg(x, "repository"),
                                          .local = json_array()};
    r = plan_make(&p, arg(x, "to"), e);
    if (r == 0 && !json_equal(p.local, local_of(x)))
        r = error_set(e, ERR_CONFLICT, "its virtual disks have changed meanwhile; ask again");
    return r;
}

/* ---- calls ---- */

static bool is_local(const struct job_ctx *x, const char *disk) {
    size_t i;
    json_t *id;
    json_array_foreach(local_of(x), i, id) if (str_eq(json_string_value(id), disk)) return true;
    return false;
}

/* The disks that move too, as the agents are told: with their place among the guest's disks. */
static json_t *moved_disks(const struct job_ctx *x, const json_t *start) {
    json_t *list = json_array(), *d;
    size_t i;
    json_array_foreach(json_object_get(start, "disks"), i, d) {
        const char *disk = json_str(d, "disk");
        if (is_local(x, disk))
            json_array_append_new(list, json_pack("{s:s, s:i}", "disk", disk, "index", (int)i));
    }
    return list;
}

static json_t *move_args(const struct job_ctx *x) {
    return json_pack("{s:s, s:s}", "vm", x->job->object.id, "move", x->job->id);
}

static bool uses_tls(const struct job_ctx *x) { return json_bool(x->job->args, "tls", true); }

static const char *local_disk(const struct job_ctx *x) {
    return json_string_value(json_array_get(local_of(x), (size_t)x->param));
}

/* The server to which it is being moved, "" for none: there it counts already. */
static void set_target(struct job_ctx *x, const char *server) {
    const struct api_vm *vm = vm_of(x);
    if (!vm || str_eq(vm->target, server))
        return;
    struct api_vm *v = CORE_COPY(vm, VM, vm);
    str_set(&v->target, server);
    core_put(x->c, API_KIND_VM, v);
}

static bool suspended(const struct job_ctx *x) { return str_eq(json_str(x->job->vars, "prior"), "suspended"); }

static int offer(struct job_ctx *x, struct error *e) {
    json_t *args = move_args(x);
    json_object_set_new(args, "tls", json_boolean(uses_tls(x)));
    int r = job_call(x, arg(x, "from"), API_AGENT_OP_GUEST_OFFER, args, e);
    if (r >= 0) {
        json_set_str(x->job->vars, "prior", api_vm_state_text(vm_of(x)->state));
        core_set_vm_state(x->c, x->job->object.id, API_VM_STATE_MIGRATING, "");
        set_target(x, arg(x, "to"));
    }
    return r;
}

static int keep_result(struct job_ctx *x, const char *name, const json_t *result) {
    json_object_set_new(x->job->vars, name, json_deep_copy(result));
    return 0;
}
static int offered(struct job_ctx *x, const json_t *result, struct error *e) {
    return keep_result(x, "offered", result);
}

static int unsend(struct job_ctx *x, struct error *e) {
    return job_call(x, arg(x, "from"), API_AGENT_OP_GUEST_UNSEND, move_args(x), e);
}

/* It goes on at the source, which says how it is. */
static int unsent(struct job_ctx *x, const json_t *result, struct error *e) {
    enum api_vm_state state;
    bool told = api_vm_state_from_text(json_str(result, "state"), &state) == 0 && state != API_VM_STATE_MIGRATING;
    /* All of it: whether its agent is about to restart it decides where else it may start. */
    return vm_of(x) && told ? vm_take_report(x, result, e) : 0;
}

static int make_disk(struct job_ctx *x, struct error *e) {
    const struct api_disk *d = CORE_GET(x->c, disk, DISK, local_disk(x));
    if (!d)
        return error_set(e, ERR_NOT_FOUND, "a virtual disk is gone");
    return job_call(
        x, arg(x, "to"), API_AGENT_OP_DISK_CREATE,
        json_pack("{s:s, s:s, s:I}", "repository", arg(x, "repository"), "disk", d->id, "size", (json_int_t)d->size),
        e);
}
static int unmake_disk(struct job_ctx *x, struct error *e) {
    return job_call(x, arg(x, "to"), API_AGENT_OP_DISK_DELETE,
                    json_pack("{s:s, s:s}", "repository", arg(x, "repository"), "disk", local_disk(x)), e);
}

/* GuestStart as it is to be at the destination: disks that move are whole there, and in another repository. */
static json_t *start_there(struct job_ctx *x) {
    json_t *start = vm_guest_start(x->c, vm_of(x)), *d;
    size_t i;
    json_array_foreach(json_object_get(start, "disks"), i, d) {
        if (!is_local(x, json_str(d, "disk")))
            continue;
        json_set_str(d, "repository", arg(x, "repository"));
        json_set_str(d, "template", "");
        json_set_int(d, "template_disk", 0);
    }
    if (json_bool(x->job->args, "own", false))
        json_set_str(start, "repository", arg(x, "repository"));
    json_set_str(json_object_get(start, "vm"), "server", arg(x, "to"));
    return start;
}

static int receive(struct job_ctx *x, struct error *e) {
    json_t *args = move_args(x);
    json_t *start = start_there(x);
    json_object_set_new(args, "start", start);
    const json_t *ha = json_object_get(json_object_get(start, "vm"), "ha");
    json_object_set_new(x->job->vars, "watched_there", json_boolean(json_bool(ha, "enabled", false)));
    json_object_set(args, "source", json_object_get(x->job->vars, "offered"));
    json_object_set_new(args, "tls", json_boolean(uses_tls(x)));
    json_set_str(args, "address", arg(x, "address"));
    json_object_set_new(args, "local", moved_disks(x, start));
    json_object_set_new(args, "suspended", json_boolean(suspended(x)));
    json_object_set_new(args, "post_copy", json_boolean(json_bool(x->job->args, "post_copy", false) && !suspended(x)));
    return job_call(x, arg(x, "to"), API_AGENT_OP_GUEST_RECEIVE, args, e);
}
static int received(struct job_ctx *x, const json_t *result, struct error *e) {
    return keep_result(x, "received", result);
}

static json_t *leave_args(const struct job_ctx *x, const char *repository) {
    json_t *args = move_args(x);
    json_set_str(args, "repository", json_bool(x->job->args, "own", false) ? repository : "");
    return args;
}
static int drop(struct job_ctx *x, struct error *e) {
    return job_call(x, arg(x, "to"), API_AGENT_OP_GUEST_DROP, leave_args(x, arg(x, "repository")), e);
}

static int send(struct job_ctx *x, struct error *e) {
    json_t *args = move_args(x);
    json_object_set_new(args, "tls", json_boolean(uses_tls(x)));
    json_object_set(args, "destination", json_object_get(x->job->vars, "received"));
    _cleanup_json_ json_t *start = vm_guest_start(x->c, vm_of(x));
    json_object_set_new(args, "local", moved_disks(x, start));
    json_set_int(args, "bandwidth", json_int(x->job->args, "bandwidth", 0));
    json_object_set_new(args, "auto_converge", json_boolean(json_bool(x->job->args, "auto_converge", true)));
    return job_call(x, arg(x, "from"), API_AGENT_OP_GUEST_SEND, args, e);
}

/*
 * It goes on at the source; the destination, which does not run it, is told when its turn comes. Where it has the
 * images already (with post-copy, and of a suspended guest as soon as its memory has come) it goes first, if it can be
 * asked: the source could not take them again.
 */
static int send_undo(struct job_ctx *x, struct error *e) {
    bool post_copy = json_bool(json_object_get(x->job->vars, "received"), "post_copy", false);
    return post_copy || (suspended(x) && core_agent_ready(x->c, arg(x, "to"))) ? drop(x, e) : unsend(x, e);
}
static int send_undone(struct job_ctx *x, const json_t *result, struct error *e) {
    bool dropped = str_eq(x->job->steps[x->job->current].server, arg(x, "to"));
    return dropped ? 0 : unsent(x, result, e);
}

static int sent(struct job_ctx *x, const json_t *result, struct error *e) {
    const json_t *offered_there = json_object_get(x->job->vars, "offered");
    if (!str_empty(json_str(result, "reason")))
        job_changed(x, API_KIND_VM, x->job->object.id, x->job->object.name, "changed", json_str(result, "reason"));
    if (str_eq(json_str(offered_there, "accelerator"), "tcg") && !suspended(x))
        job_changed(x, API_KIND_VM, x->job->object.id, x->job->object.name, "changed",
                    "paused while its memory moved: without hardware acceleration QEMU cannot move a guest that runs");
    return 0;
}

/* ---- the switch ---- */

/* The virtual machine and the disks that moved with it belong to that server now. */
static void belong(struct job_ctx *x, bool there) {
    const struct api_vm *vm = vm_of(x);
    size_t i;
    json_t *id;
    struct api_vm *v = CORE_COPY(vm, VM, vm);
    str_set(&v->server, arg(x, there ? "to" : "from"));
    if (there) /* it may have been made highly available since it was received there */
        v->watched &= json_bool(x->job->vars, "watched_there", false);
    str_set(&v->target, arg(x, there ? "from" : "to")); /* its room there it keeps until the move has ended */
    if (json_bool(x->job->args, "own", false))
        str_set(&v->repository, arg(x, there ? "repository" : "old_repository"));
    core_put(x->c, API_KIND_VM, v);
    json_array_foreach(local_of(x), i, id) {
        const struct api_disk *old = CORE_GET(x->c, disk, DISK, json_string_value(id));
        const json_t *was = json_object_get(json_object_get(x->job->args, "old"), json_string_value(id));
        if (!old)
            continue;
        struct api_disk *d = CORE_COPY(disk, DISK, old);
        str_set(&d->repository, there ? arg(x, "repository") : json_str(was, "repository"));
        str_set(&d->template, there ? "" : json_str(was, "template"));
        d->template_disk = there ? 0 : json_int(was, "template_disk", 0);
        core_put(x->c, API_KIND_DISK, d);
    }
    /* What the other server has said of it is about another time. */
    core_drop_held_report(x->c, v->id, INT64_MAX);
}

/*
 * The destination does not come back, and with it go the disks it had been given. Those of the source are whole, as of
 * the moment at which it was sent: the source has the guest again, which has crashed with the memory it had.
 */
static void give_back(struct job_ctx *x) {
    belong(x, false);
    struct api_vm *v = CORE_COPY(vm, VM, vm_of(x));
    v->state = API_VM_STATE_CRASHED;
    v->watched = v->restarting = false;
    str_set(&v->state_reason, "the server to which it was being moved was removed; its disks are as they were then");
    core_event(x->c, API_SEVERITY_WARNING, "tarn", "vm.crashed", API_KIND_VM, v->id, v->name, x->job->id,
               "Virtual machine %s ended: %s", v->name, v->state_reason);
    core_put(x->c, API_KIND_VM, v);
    job_drop_changes(x->job);
    job_warn(x->job, xasprintf("It did not arrive: %s", v->state_reason));
    json_object_set_new(x->job->vars, "given_back", json_true());
    json_object_set_new(x->job->vars, "lost", json_true()); /* a highly available one is started anew */
}

static bool given_back(const struct job_ctx *x) { return json_bool(x->job->vars, "given_back", false); }

/*
 * What it was given there nobody else has (on storage of others it is whole, and never older than at the source).
 * Whether it ran there, and so which of two copies of its disks is the right one, only that server knows: it is waited
 * for, as the source is about to delete its own, until it is removed for good.
 */
static bool is_alone_there(const struct core *c, const struct api_job *j) {
    const struct api_repository *r = CORE_GET(c, repository, REPOSITORY, json_str(j->args, "repository"));
    bool carries = json_array_size(json_object_get(j->args, "local")) || json_bool(j->args, "own", false);
    return carries && (!r || repository_is_only_on(r, json_str(j->args, "to")));
}

static int switch_gone(struct job_ctx *x, struct error *e) {
    if (is_alone_there(x->c, x->job) && CORE_GET(x->c, server, SERVER, arg(x, "from")))
        give_back(x);
    return STEP_DONE;
}

static int switch_over(struct job_ctx *x, struct error *e) {
    if (!vm_of(x))
        return STEP_DONE;
    bool told = str_eq(vm_of(x)->server, arg(x, "to"));
    bool removed = !CORE_GET(x->c, server, SERVER, arg(x, "to"));
    if (told && removed)
        return switch_gone(x, e);
    /* Not told yet, it cannot run it: the source goes on. */
    if (!told && (removed || server_is_gone(x->c, arg(x, "to"))))
        return error_set(e, ERR_CONFLICT, "the server to which it was being moved has been lost");
    json_t *args = move_args(x);
    json_object_set_new(args, "suspended", json_boolean(suspended(x)));
    int r = job_call(x, arg(x, "to"), API_AGENT_OP_GUEST_ACTIVATE, args, e);
    if (r >= 0 && !told)
        belong(x, true);
    return r;
}

static int switched(struct job_ctx *x, const json_t *result, struct error *e) {
    const struct api_server *from = CORE_GET(x->c, server, SERVER, arg(x, "from")),
                            *to = CORE_GET(x->c, server, SERVER, arg(x, "to"));
    _cleanup_free_ char *detail = xasprintf("server %s -> %s", from ? from->name : "?", to ? to->name : "?");
    job_changed(x, API_KIND_VM, x->job->object.id, x->job->object.name, "changed", detail);
    return vm_take_report(x, result, e);
}

/* The destination has said that it has never run there. */
static int switch_back(struct job_ctx *x, struct error *e) {
    belong(x, false);
    return STEP_DONE;
}

static int release(struct job_ctx *x, struct error *e) {
    const char *left = given_back(x) ? "" : arg(x, "old_repository");
    return job_call(x, arg(x, "from"), API_AGENT_OP_GUEST_RELEASE, leave_args(x, left), e);
}

/* From here on nobody waits for this job, whose server may never answer: what would be done at its end is done now. */
static void let_go(struct job_ctx *x) {
    const char *vm = x->job->object.id;
    if (json_bool(x->job->vars, "let_go", false))
        return;
    json_object_set_new(x->job->vars, "let_go", json_true());
    job_put_end(x); /* jobs_hold() reads the record */
    core_apply_held_report(x->c, vm);
    failover_vm_free(x, vm);
    agent_vm_free(x->c, vm);
    json_object_del(x->job->vars, "lost");
}

static int delete_disk(struct job_ctx *x, struct error *e) {
    const char *disk = local_disk(x);
    const json_t *was = json_object_get(json_object_get(x->job->args, "old"), disk);
    const struct api_disk *d = CORE_GET(x->c, disk, DISK, disk);
    if (given_back(x))
        return STEP_DONE;
    let_go(x);
    if (d)
        job_changed(x, API_KIND_DISK, disk, d->name, "changed", "moved to another storage repository");
    return job_call(x, arg(x, "from"), API_AGENT_OP_DISK_DELETE,
                    json_pack("{s:s, s:s}", "repository", json_str(was, "repository"), "disk", disk), e);
}

static void migrate_ended(struct job_ctx *x) {
    if (!str_empty(x->job->started)) /* one that was aborted while it waited has no room there: another move has */
        set_target(x, "");
    vm_ended(x);
    maintenance_look(x->c, arg(x, "from"));
}

static bool migrate_needs(const struct api_job *j, const char *server) {
    return str_eq(json_str(j->args, "to"), server) || str_eq(json_str(j->args, "from"), server);
}

static bool is_at(const struct api_job *j, const char *step) {
    return str_eq(j->kind, job_vm_migrate.name) && j->state == API_JOB_STATE_RUNNING && j->current >= 0 &&
           j->current < (int64_t)j->n_steps && str_eq(j->steps[j->current].name, step);
}

bool migrate_has_moved(const struct api_job *j) { return is_at(j, "delete disk"); }

bool migrate_may_go_back(const struct api_job *j, const char *server) {
    return is_at(j, "switch") && str_eq(json_str(j->args, "from"), server);
}

static const struct job_step_def migrate_steps[] = {
    {"offer", 1, false, offer, offered, unsend, unsent, true},
    {"make disk", 1, false, make_disk, NULL, unmake_disk, NULL, false},
    {"receive", 2, false, receive, received, drop, NULL, true},
    {"send", 40, false, send, sent, send_undo, send_undone, false},
    {"switch", 1, true, switch_over, switched, switch_back, NULL, true, 0, switch_gone, is_alone_there},
    {"release", 1, true, release, NULL, NULL, NULL, false},
    {"delete disk", 1, true, delete_disk, NULL, NULL, NULL, false},
};
const struct job_kind job_vm_migrate = {.name = "vm.migrate",
                                        .steps = migrate_steps,
                                        .n_steps = ARRAY_LEN(migrate_steps),
                                        .check = migrate_check,
                                        .ended = migrate_ended,
                                        .needs = migrate_needs};

/* ---- the job ---- */

static json_t *old_places(const struct plan *p) {
    json_t *old = json_object();
    size_t i;
    json_t *id;
    json_array_foreach(p->local, i, id) {
        const struct api_disk *d = CORE_GET(p->c, disk, DISK, json_string_value(id));
        json_object_set_new(old, d->id,
                            json_pack("{s:s, s:s, s:I}", "repository", d->repository, "template", d->template,
                                      "template_disk", (json_int_t)d->template_disk));
    }
    return old;
}

static json_t *job_args(const struct plan *p) {
    const struct api_pool *pool = CORE_GET(p->c, pool, POOL, p->vm->pool);
    struct api_pool_migration policy;
    api_pool_migration_init(&policy);
    if (pool && pool->has_migration)
        policy = pool->migration; /* it has no strings */
    return json_pack("{s:s, s:s, s:b, s:s, s:O, s:o, s:b, s:s, s:s, s:b, s:b, s:b, s:I}", "from", p->from->id, "to",
                     p->to->id, "disks", p->disks, "repository", p->repository ? p->repository->id : "", "local",
                     p->local, "old", old_places(p), "own", p->own, "old_repository", p->vm->repository, "address",
                     server_role_address(p->to, API_NETWORK_ROLE_MIGRATION), "tls", policy.tls, "auto_converge",
                     policy.auto_converge, "post_copy", policy.post_copy, "bandwidth", (json_int_t)policy.bandwidth);
}

static void add_locks(struct api_job *j, const struct plan *p) {
    const struct api_vm *vm = p->vm;
    job_lock(j, API_KIND_VM, vm->id, vm->name, false);
    for (size_t i = 0; i < vm->n_disks; i++) {
        const struct api_disk *d = CORE_GET(p->c, disk, DISK, vm->disks[i].disk);
        const struct api_repository *r = d ? CORE_GET(p->c, repository, REPOSITORY, d->repository) : NULL;
        if (d)
            job_lock(j, API_KIND_DISK, d->id, d->name, false);
        if (r)
            job_lock(j, API_KIND_REPOSITORY, r->id, r->name, true);
        const struct api_template *t = d ? CORE_GET(p->c, template, TEMPLATE, d->template) : NULL;
        if (t) /* until the source's clone is gone it is needed */
            job_lock(j, API_KIND_TEMPLATE, t->id, t->name, true);
    }
    const struct api_repository *own = CORE_GET(p->c, repository, REPOSITORY, vm->repository);
    if (own)
        job_lock(j, API_KIND_REPOSITORY, own->id, own->name, true);
    if (p->repository)
        job_lock(j, API_KIND_REPOSITORY, p->repository->id, p->repository->name, true);
}

static void add_steps(struct api_job *j, const struct plan *p) {
    size_t n = json_array_size(p->local);
    job_add_step(j, &job_vm_migrate, "offer", 0);
    for (size_t i = 0; i < n; i++)
        job_add_step(j, &job_vm_migrate, "make disk", (int64_t)i);
    job_add_step(j, &job_vm_migrate, "receive", 0);
    job_add_step(j, &job_vm_migrate, "send", 0);
    job_add_step(j, &job_vm_migrate, "switch", 0);
    job_add_step(j, &job_vm_migrate, "release", 0);
    for (size_t i = 0; i < n; i++)
        job_add_step(j, &job_vm_migrate, "delete disk", (int64_t)i);
}

int vm_migrate(struct core *c, const struct vm_migrate *m, char *ret_job, struct error *e) {
    const struct api_vm *vm = CORE_GET(c, vm, VM, m->vm);
    _cleanup_(plan_done) struct plan p = {
        .c = c, .vm = vm, .disks = m->disks, .wanted = m->repository, .local = json_array()};
    if (!vm)
        return error_set(e, ERR_NOT_FOUND, "there is no virtual machine \"%.128s\"", m->vm);
    /* One that a job holds may be anything when its turn comes: it is asked again then. */
    int r = jobs_hold(c, vm->id) ? 0 : check_state(c, vm, e);
    if (r == 0)
        r = plan_make(&p, m->to, e);
    if (r < 0)
        return r;
    struct job_request q = {.kind = &job_vm_migrate,
                            .actor = m->actor,
                            .request = m->request,
                            .args = job_args(&p),
                            .object_kind = API_KIND_VM,
                            .object_id = vm->id,
                            .object_name = vm->name,
                            .title = xasprintf("Move virtual machine %s to server %s", vm->name, p.to->name)};
    struct api_job *j = job_draft(c, &q);
    placement_keep(&p.found, p.to, j);
    add_locks(j, &p);
    add_steps(j, &p);
    char id[UUID_LEN + 1];
    memcpy(id, j->id, sizeof id);
    r = job_submit(c, &q, j, e);
    if (r == 0 && ret_job)
        memcpy(ret_job, id, sizeof id);
    return r;
}

int op_vm_migrate(struct core *c, const struct core_request *r, struct error *e) {
    struct object *o = core_param(c, r, 0, API_KIND_VM, e);
    int result = o ? core_check_if_match(r, o, e) : -ENOENT;
    if (result < 0)
        return result;
    struct api_vm_migrate body;
    _cleanup_json_ json_t *empty = json_object();
    result = api_vm_migrate_parse(r->body ? r->body : empty, API_CREATE, &body, e);
    if (result < 0)
        return result;
    struct vm_migrate m = {.vm = o->id,
                           .to = body.to,
                           .repository = body.repository,
                           .disks = body.disks,
                           .actor = r->actor,
                           .request = r->id};
    result = vm_migrate(c, &m, NULL, e);
    api_vm_migrate_done(&body);
    return result;
}

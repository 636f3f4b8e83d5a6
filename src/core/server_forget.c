/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server that is gone for good is removed with what was on it alone: its own storage repositories with their disks,
 * templates and images, and the virtual machines that were kept there. What other servers have as well stays: virtual
 * machines that ran on the server are crashed and may start elsewhere. Jobs that wait for the server end first, as far
 * as they must be undone there not at all. Its certificate is good for nothing afterwards.
 *
 * The administrator says that it is gone; nobody can check. A server that comes back all the same is told so by the
 * manager, and its guests find their disks locked if others use them.
 */
#include "core/core_int.h"

struct forget {
    struct core *c;
    const char *server; /* its id */
    char *name;
    json_t *lost, *crashed;  /* ObjectRefs */
    struct map repositories; /* ids of the lost ones */
};

static bool is_lost(const struct forget *f, const char *repository) {
    return !str_empty(repository) && map_get(&f->repositories, repository);
}

static void note(json_t *list, enum api_kind kind, const char *id, const char *name) {
    json_array_append_new(
        list, json_pack("{s:s, s:s, s:s}", "kind", api_kinds[kind].name, "id", id, "name", str_or(name, "")));
}

static void find_lost(struct forget *f) {
    struct table *t = &f->c->tables[API_KIND_REPOSITORY];
    for (size_t i = 0; i < t->n; i++) {
        const struct api_repository *r = t->sorted[i]->v->data;
        if (repository_is_only_on(r, f->server))
            map_put(&f->repositories, t->sorted[i]->id, (void *)1);
    }
}

/* ---- jobs ---- */

static bool concerns(const struct forget *f, const struct api_object_ref *o) {
    const struct api_vm *vm = CORE_GET(f->c, vm, VM, o->id);
    const struct api_disk *d = CORE_GET(f->c, disk, DISK, o->id);
    return str_eq(o->id, f->server) || is_lost(f, o->id) || (vm && str_eq(vm->server, f->server)) ||
           (d && is_lost(f, d->repository));
}

/* A job that is about what goes, and is under way on another server, has to end first. */
static int check_jobs(struct forget *f, struct error *e) {
    struct job_run *run;
    list_for_each(run, &f->c->jobs, link) {
        const struct api_job *j = CORE_GET(f->c, job, JOB, run->id);
        const json_t *call = j ? job_call_of(j) : NULL;
        if (!call || str_eq(json_str(call, "server"), f->server))
            continue;
        bool back = migrate_may_go_back(j, f->server);
        for (size_t i = 0; i < j->n_locks; i++)
            if (back || concerns(f, &j->locks[i]))
                return error_set(e, ERR_CONFLICT, "the job \"%s\" is under way: wait for its end, or abort it (%s)",
                                 j->title, j->id);
    }
    return 0;
}

/* ---- what was kept there ---- */

/* All of one kind whose repository is lost; from the end, because they go. */
#define DROP(kind_, type, field)                                                                                       \
    do {                                                                                                               \
        struct table *t = &f->c->tables[API_KIND_##kind_];                                                             \
        for (size_t i = t->n; i-- > 0;) {                                                                              \
            const struct api_##type *x = t->sorted[i]->v->data;                                                        \
            if (!is_lost(f, x->field))                                                                                 \
                continue;                                                                                              \
            note(f->lost, API_KIND_##kind_, x->id, x->name);                                                           \
            core_remove(f->c, API_KIND_##kind_, x->id);                                                                \
        }                                                                                                              \
    } while (0)

static void drop_stored(struct forget *f) {
    DROP(DISK, disk, repository);
    DROP(TEMPLATE, template, repository);
    DROP(ISO, iso, repository);
    DROP(UPLOAD, upload, repository);
}

static void drop_repositories(struct forget *f) {
    struct table *t = &f->c->tables[API_KIND_REPOSITORY];
    for (size_t i = t->n; i-- > 0;) {
        const struct api_repository *r = t->sorted[i]->v->data;
        if (is_lost(f, r->id)) {
            note(f->lost, API_KIND_REPOSITORY, r->id, r->name);
            core_remove(f->c, API_KIND_REPOSITORY, r->id);
            continue;
        }
        struct api_repository *put = CORE_COPY(repository, REPOSITORY, r);
        repository_withdrawn(put, f->server);
        if (put->n_presented != r->n_presented || put->n_servers != r->n_servers) {
            if (put->state == API_OBJECT_STATE_READY && !repository_usable(put))
                put->state = API_OBJECT_STATE_UNAVAILABLE;
            core_put(f->c, API_KIND_REPOSITORY, put);
        } else {
            api_repository_done(put);
            free(put);
        }
    }
}

/* ---- virtual machines ---- */

static void vm_drop(struct forget *f, const struct api_vm *vm) {
    for (size_t i = 0; i < vm->n_disks; i++) {
        const struct api_disk *d = CORE_GET(f->c, disk, DISK, vm->disks[i].disk);
        if (!d || is_lost(f, d->repository))
            continue;
        struct api_disk *put = CORE_COPY(disk, DISK, d); /* on storage that is still there: kept, by itself */
        str_set(&put->vm, "");
        put->made_with_vm = false;
        core_put(f->c, API_KIND_DISK, put);
    }
    note(f->lost, API_KIND_VM, vm->id, vm->name);
    vm_remove(f->c, vm->id);
}

static void drop_lost_disks(struct forget *f, struct api_vm *vm) {
    size_t kept = 0;
    for (size_t i = 0; i < vm->n_disks; i++) {
        const struct api_disk *d = CORE_GET(f->c, disk, DISK, vm->disks[i].disk);
        const struct api_iso *iso = CORE_GET(f->c, iso, ISO, vm->disks[i].iso);
        if (iso && is_lost(f, iso->repository))
            str_set(&vm->disks[i].iso, "");
        if (d && is_lost(f, d->repository))
            api_vm_disk_done(&vm->disks[i]);
        else
            vm->disks[kept++] = vm->disks[i];
    }
    vm->n_disks = kept;
}

/* Another server that has its storage; "" for one of a pool, whose place is found when it starts. */
static const char *next_place(struct forget *f, const struct api_vm *vm) {
    const struct api_repository *r = CORE_GET(f->c, repository, REPOSITORY, vm->repository);
    for (size_t i = 0; r && str_empty(vm->pool) && i < r->n_presented; i++)
        if (!str_eq(r->presented[i].server, f->server))
            return r->presented[i].server;
    return "";
}

static void vm_keep(struct forget *f, const struct api_vm *old) {
    struct api_vm *vm = CORE_COPY(vm, VM, old);
    const struct api_template *t = CORE_GET(f->c, template, TEMPLATE, vm->template);
    drop_lost_disks(f, vm);
    if (t && is_lost(f, t->repository))
        str_set(&vm->template, "");
    if (str_eq(vm->target, f->server)) {
        if (vm->state == API_VM_STATE_CRASHED && jobs_hold(f->c, vm->id)) /* its move there has just given it back */
            note(f->crashed, API_KIND_VM, vm->id, vm->name);
        str_set(&vm->target, "");
    }
    if (str_eq(vm->server, f->server)) {
        if (!vm_is_off(vm)) {
            vm->state = API_VM_STATE_CRASHED;
            str_take(&vm->state_reason, xasprintf("its server %s was removed for good", f->name));
            core_event(f->c, API_SEVERITY_WARNING, "tarn", "vm.crashed", API_KIND_VM, vm->id, vm->name, NULL,
                       "Virtual machine %s ended: %s", vm->name, vm->state_reason);
            note(f->crashed, API_KIND_VM, vm->id, vm->name);
        }
        vm->watched = vm->restarting = false;
        str_set(&vm->server, next_place(f, vm));
    }
    core_put(f->c, API_KIND_VM, vm);
}

static bool touches(const struct forget *f, const struct api_vm *vm) {
    const struct api_template *t = CORE_GET(f->c, template, TEMPLATE, vm->template);
    if (str_eq(vm->server, f->server) || str_eq(vm->target, f->server) || (t && is_lost(f, t->repository)))
        return true;
    for (size_t i = 0; i < vm->n_disks; i++) {
        const struct api_disk *d = CORE_GET(f->c, disk, DISK, vm->disks[i].disk);
        const struct api_iso *iso = CORE_GET(f->c, iso, ISO, vm->disks[i].iso);
        if ((d && is_lost(f, d->repository)) || (iso && is_lost(f, iso->repository)))
            return true;
    }
    return false;
}

static void sort_out_vms(struct forget *f) {
    struct table *t = &f->c->tables[API_KIND_VM];
    for (size_t i = t->n; i-- > 0;) {
        const struct api_vm *vm = t->sorted[i]->v->data;
        if (is_lost(f, vm->repository))
            vm_drop(f, vm);
        else if (touches(f, vm))
            vm_keep(f, vm);
    }
}

/* ---- all of it ---- */

static void tell(struct forget *f, const char *actor) {
    struct buf names = {0};
    size_t i, n = json_array_size(f->lost);
    json_t *o;
    json_array_foreach(f->lost, i, o) if (i < 20)
        buf_addf(&names, "%s%s %s", i ? ", " : "", json_str(o, "kind"), json_str(o, "name"));
    if (n > 20)
        buf_addf(&names, " and %zu more", n - 20);
    core_event(f->c, API_SEVERITY_WARNING, actor, "server.forgotten", API_KIND_SERVER, f->server, f->name, NULL,
               "%s removed server %s for good%s%s", actor, f->name, n ? "; lost with it: " : "", n ? names.data : "");
    buf_done(&names);
}

int server_forget(struct core *c, const char *server, const char *actor, json_t **ret, struct error *e) {
    const struct api_server *s = CORE_GET(c, server, SERVER, server);
    _cleanup_free_ char *id = xstrdup(s->id), *pool = xstrdup(s->pool);
    struct forget f = {.c = c, .server = id, .name = xstrdup(s->name), .lost = json_array(), .crashed = json_array()};
    find_lost(&f);
    int r = check_jobs(&f, e);
    _cleanup_free_ char *unguarded = r == 0 ? protection_without(c, id, false) : NULL;
    if (r == 0) {
        core_remove(c, API_KIND_SERVER, id);
        jobs_server_forgotten(c, id, f.name);
        sort_out_vms(&f);
        drop_stored(&f);
        drop_repositories(&f);
        rules_forget_server(c, id);
        tell(&f, actor);
        pool_refresh(c, pool);
        cluster_sync(c, pool);
        *ret = json_pack("{s:O, s:O, s:[]}", "lost", f.lost, "crashed", f.crashed, "warnings");
        if (unguarded)
            json_array_append_new(json_object_get(*ret, "warnings"), json_string(unguarded));
    }
    json_decref(f.lost);
    json_decref(f.crashed);
    map_done(&f.repositories);
    free(f.name);
    return r;
}

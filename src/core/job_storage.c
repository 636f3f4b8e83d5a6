/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Jobs on uploads, virtual disks and templates. An object is in the inventory, as creating, from the
 * moment its job is accepted, which reserves its name; if the job does not end well the object goes with it. Deletions
 * mark first and then only go forward.
 */
#include "core/core_int.h"

static const char *object_id_of(const struct job_ctx *x) { return x->job->object.id; }

/* What a job that creates leaves when it is undone: nothing. */
static void drop_if_undone(struct job_ctx *x, enum api_kind kind) {
    if (x->job->state != API_JOB_STATE_DONE)
        core_remove(x->c, kind, object_id_of(x));
}

static int object_gone(struct job_ctx *x, enum api_kind kind) {
    job_changed(x, kind, object_id_of(x), x->job->object.name, "deleted", NULL);
    core_remove(x->c, kind, object_id_of(x));
    return STEP_DONE;
}

/* ---- upload ---- */

static int upload_call(struct job_ctx *x, const char *upload, enum api_agent_op op, struct error *e) {
    const struct api_upload *u = CORE_GET(x->c, upload, UPLOAD, upload);
    const struct api_repository *r = u ? CORE_GET(x->c, repository, REPOSITORY, u->repository) : NULL;
    if (!r)
        return STEP_DONE;
    return job_call(x, repository_route(x->c, r, NULL), op,
                    json_pack("{s:s, s:s, s:I}", "repository", r->id, "upload", u->id, "size", (json_int_t)u->size), e);
}
static int upload_open(struct job_ctx *x, struct error *e) {
    return upload_call(x, object_id_of(x), API_AGENT_OP_UPLOAD_OPEN, e);
}
int job_upload_delete_call(struct job_ctx *x, const char *upload, struct error *e) {
    return upload_call(x, upload, API_AGENT_OP_UPLOAD_DELETE, e);
}
static int upload_undo(struct job_ctx *x, struct error *e) {
    return upload_call(x, object_id_of(x), API_AGENT_OP_UPLOAD_DELETE, e);
}
static void upload_create_ended(struct job_ctx *x) { drop_if_undone(x, API_KIND_UPLOAD); }
static int upload_gone(struct job_ctx *x, struct error *e) { return object_gone(x, API_KIND_UPLOAD); }

static const struct job_step_def upload_create_steps[] = {
    {"open", 1, false, upload_open, NULL, upload_undo, NULL, false, ANYWHERE_UNDO}};
const struct job_kind job_upload_create = {
    .name = "upload.create", .steps = upload_create_steps, .n_steps = 1, .ended = upload_create_ended};

static const struct job_step_def upload_delete_steps[] = {
    {"delete", 1, true, upload_undo, NULL, NULL, NULL, false, ANYWHERE_DO},
    {"remove", 1, true, upload_gone, NULL, NULL, NULL, false},
};
const struct job_kind job_upload_delete = {.name = "upload.delete", .steps = upload_delete_steps, .n_steps = 2};

/* ---- disk ---- */

static const json_t *disk_image(const struct job_ctx *x) { return json_object_get(x->job->args, "image"); }

static int disk_create(struct job_ctx *x, struct error *e) {
    const struct api_disk *d = CORE_GET(x->c, disk, DISK, object_id_of(x));
    const struct api_repository *r = CORE_GET(x->c, repository, REPOSITORY, d->repository);
    json_t *args = json_pack("{s:s, s:s, s:I}", "repository", r->id, "disk", d->id, "size", (json_int_t)d->size);
    job_image_args(args, disk_image(x));
    return job_call(x, repository_route(x->c, r, NULL), API_AGENT_OP_DISK_CREATE, args, e);
}
static int disk_created(struct job_ctx *x, const json_t *result, struct error *e) {
    struct api_disk *d = CORE_COPY(disk, DISK, CORE_GET(x->c, disk, DISK, object_id_of(x)));
    d->state = API_OBJECT_STATE_READY;
    d->size = json_int(result, "size", d->size);
    d->allocated = json_int(result, "allocated", 0);
    job_changed(x, API_KIND_DISK, d->id, d->name, "created", NULL);
    core_put(x->c, API_KIND_DISK, d);
    return 0;
}
static int disk_delete(struct job_ctx *x, struct error *e) {
    const struct api_disk *d = CORE_GET(x->c, disk, DISK, object_id_of(x));
    const struct api_repository *r = d ? CORE_GET(x->c, repository, REPOSITORY, d->repository) : NULL;
    if (!r)
        return STEP_DONE;
    return job_call(x, repository_route(x->c, r, NULL), API_AGENT_OP_DISK_DELETE,
                    json_pack("{s:s, s:s}", "repository", r->id, "disk", d->id), e);
}
static void disk_create_ended(struct job_ctx *x) { drop_if_undone(x, API_KIND_DISK); }

static int disk_check_free(struct job_ctx *x, struct error *e) {
    const struct api_disk *d = CORE_GET(x->c, disk, DISK, object_id_of(x));
    if (!d)
        return error_set(e, ERR_NOT_FOUND, "the virtual disk is gone");
    if (!str_empty(d->vm)) {
        const struct api_vm *vm = CORE_GET(x->c, vm, VM, d->vm);
        return error_set(e, ERR_IN_USE, "virtual machine \"%s\" has the disk; take it away there first",
                         vm ? vm->name : d->vm);
    }
    const struct api_repository *r = CORE_GET(x->c, repository, REPOSITORY, d->repository);
    return r ? core_need_repository(x->c, r, e) : 0;
}

static int disk_mark(struct job_ctx *x, struct error *e) {
    struct api_disk *d = CORE_COPY(disk, DISK, CORE_GET(x->c, disk, DISK, object_id_of(x)));
    d->state = API_OBJECT_STATE_DELETING;
    core_put(x->c, API_KIND_DISK, d);
    return STEP_DONE;
}
static int disk_gone(struct job_ctx *x, struct error *e) { return object_gone(x, API_KIND_DISK); }

static int disk_tidy(struct job_ctx *x, struct error *e) {
    return job_upload_delete_call(x, json_str(disk_image(x), "upload"), e);
}
static int disk_tidied(struct job_ctx *x, struct error *e) {
    core_remove(x->c, API_KIND_UPLOAD, json_str(disk_image(x), "upload"));
    return STEP_DONE;
}
static int disk_create_check(struct job_ctx *x, struct error *e) {
    return disk_image(x) ? job_check_image(x->c, disk_image(x), e) : 0;
}

static const struct job_step_def disk_create_steps[] = {
    {"create", 1, false, disk_create, disk_created, disk_delete, NULL, false, ANYWHERE_UNDO},
    {"tidy", 1, true, disk_tidy, NULL, NULL, NULL, false, ANYWHERE_DO},
    {"forget upload", 1, true, disk_tidied, NULL, NULL, NULL, false},
};
const struct job_kind job_disk_create = {.name = "disk.create",
                                         .steps = disk_create_steps,
                                         .n_steps = ARRAY_LEN(disk_create_steps),
                                         .check = disk_create_check,
                                         .ended = disk_create_ended};

static const struct job_step_def disk_delete_steps[] = {
    {"mark", 1, true, disk_mark, NULL, NULL, NULL, false},
    {"delete", 1, true, disk_delete, NULL, NULL, NULL, false, ANYWHERE_DO},
    {"remove", 1, true, disk_gone, NULL, NULL, NULL, false},
};
const struct job_kind job_disk_delete = {
    .name = "disk.delete", .steps = disk_delete_steps, .n_steps = 3, .check = disk_check_free};

/* ---- template ---- */

static int template_call(struct job_ctx *x, enum api_agent_op op, json_t *file, struct error *e) {
    const struct api_template *t = CORE_GET(x->c, template, TEMPLATE, object_id_of(x));
    const struct api_repository *r = t ? CORE_GET(x->c, repository, REPOSITORY, t->repository) : NULL;
    if (!r) {
        json_decref(file);
        return STEP_DONE;
    }
    json_t *args = json_pack("{s:s, s:s}", "repository", r->id, "template", t->id);
    if (file)
        json_object_set_new(args, "file", file);
    return job_call(x, repository_route(x->c, r, NULL), op, args, e);
}

/* Step param i makes args.files[i]. */
static const json_t *template_file(const struct job_ctx *x) {
    return json_array_get(json_object_get(x->job->args, "files"), (size_t)x->param);
}

static int template_make(struct job_ctx *x, struct error *e) {
    return template_call(x, API_AGENT_OP_TEMPLATE_MAKE, json_deep_copy(template_file(x)), e);
}

static int template_made(struct job_ctx *x, const json_t *result, struct error *e) {
    const json_t *file = template_file(x);
    struct api_template *t = CORE_COPY(template, TEMPLATE, CORE_GET(x->c, template, TEMPLATE, object_id_of(x)));
    if (str_eq(json_str(file, "role"), "disk")) {
        size_t i = t->n_disks;
        t->disks = xreallocarray(t->disks, ++t->n_disks, sizeof *t->disks);
        memset(&t->disks[i], 0, sizeof t->disks[i]);
        api_template_disk_init(&t->disks[i]);
        t->disks[i].size = json_int(result, "size", 0);
        t->disks[i].allocated = json_int(result, "allocated", 0);
        enum api_disk_bus bus;
        if (api_disk_bus_from_text(json_str(file, "bus"), &bus) == 0)
            t->disks[i].bus = bus;
    } else if (str_eq(json_str(file, "role"), "kernel")) {
        t->kernel = true;
    } else {
        t->initrd = true;
    }
    core_put(x->c, API_KIND_TEMPLATE, t);
    return 0;
}

static int template_undo(struct job_ctx *x, struct error *e) {
    return template_call(x, API_AGENT_OP_TEMPLATE_DELETE, NULL, e);
}
static int template_seal(struct job_ctx *x, struct error *e) {
    return template_call(x, API_AGENT_OP_TEMPLATE_SEAL, NULL, e);
}

static int template_publish(struct job_ctx *x, struct error *e) {
    struct api_template *t = CORE_COPY(template, TEMPLATE, CORE_GET(x->c, template, TEMPLATE, object_id_of(x)));
    t->state = API_OBJECT_STATE_READY;
    job_changed(x, API_KIND_TEMPLATE, t->id, t->name, "created", NULL);
    core_put(x->c, API_KIND_TEMPLATE, t);
    return STEP_DONE;
}

/* The upload that the file came from is not needed any more. Step param i: of args.files[i]. */
static int template_tidy(struct job_ctx *x, struct error *e) {
    return job_upload_delete_call(x, json_str(template_file(x), "upload"), e);
}
static int template_tidied(struct job_ctx *x, struct error *e) {
    core_remove(x->c, API_KIND_UPLOAD, json_str(template_file(x), "upload"));
    return STEP_DONE;
}

static int template_create_check(struct job_ctx *x, struct error *e) {
    size_t i;
    json_t *file;
    json_array_foreach(json_object_get(x->job->args, "files"), i, file) {
        int r = job_check_image(x->c, file, e);
        if (r < 0)
            return r;
    }
    const char *from_vm = json_str(x->job->args, "from_vm");
    const struct api_vm *vm = CORE_GET(x->c, vm, VM, from_vm);
    if (*from_vm && !vm)
        return error_set(e, ERR_NOT_FOUND, "the virtual machine is gone");
    if (vm && vm->state != API_VM_STATE_STOPPED)
        return error_set(e, ERR_CONFLICT, "virtual machine \"%s\" is %s; stop it first", vm->name,
                         api_vm_state_text(vm->state));
    if (vm && vm->restarting)
        return error_set(e, ERR_CONFLICT,
                         "virtual machine \"%s\" is about to be restarted by its policy; kill it first", vm->name);
    const struct api_template *t = CORE_GET(x->c, template, TEMPLATE, object_id_of(x));
    for (size_t k = 0; t && vm && k < vm->n_disks; k++) {
        const struct api_disk *d = CORE_GET(x->c, disk, DISK, vm->disks[k].disk);
        if (d && !str_eq(d->repository, t->repository))
            return error_set(e, ERR_CONFLICT,
                             "virtual disk \"%s\" has been moved to another storage repository meanwhile; ask again",
                             d->name);
    }
    const struct api_repository *r = t ? CORE_GET(x->c, repository, REPOSITORY, t->repository) : NULL;
    return r ? core_need_repository(x->c, r, e) : 0;
}

static void template_create_ended(struct job_ctx *x) {
    drop_if_undone(x, API_KIND_TEMPLATE);
    core_apply_held_report(x->c, json_str(x->job->args, "from_vm"));
}

static const struct job_step_def template_create_steps[] = {
    {"copy", 20, false, template_make, template_made, template_undo, NULL, false, ANYWHERE_UNDO},
    {"seal", 1, false, template_seal, NULL, template_undo, NULL, false, ANYWHERE_DO | ANYWHERE_UNDO},
    {"publish", 1, false, template_publish, NULL, NULL, NULL, false},
    {"tidy", 1, true, template_tidy, NULL, NULL, NULL, false, ANYWHERE_DO},
    {"forget upload", 1, true, template_tidied, NULL, NULL, NULL, false},
};
const struct job_kind job_template_create = {.name = "template.create",
                                             .steps = template_create_steps,
                                             .n_steps = ARRAY_LEN(template_create_steps),
                                             .check = template_create_check,
                                             .ended = template_create_ended};

static int template_check_unused(struct job_ctx *x, struct error *e) {
    const char *id = object_id_of(x);
    struct buf names = {0};
    size_t n = 0;
    struct table *vms = &x->c->tables[API_KIND_VM], *disks = &x->c->tables[API_KIND_DISK];
    const char *last = NULL;
    for (size_t i = 0; i < disks->n; i++) {
        const struct api_disk *d = disks->sorted[i]->v->data;
        if (!str_eq(d->template, id))
            continue;
        const struct api_vm *vm = CORE_GET(x->c, vm, VM, d->vm);
        const char *name = vm ? vm->name : d->name;
        if (str_eq(name, last))
            continue;
        last = name;
        if (n++ < 5)
            buf_addf(&names, "%s\"%s\"", names.len ? ", " : "", name);
    }
    for (size_t i = 0; i < vms->n; i++) {
        const struct api_vm *vm = vms->sorted[i]->v->data;
        if (str_eq(vm->template, id) && vm->direct_boot && n++ < 5)
            buf_addf(&names, "%s\"%s\"", names.len ? ", " : "", vm->name);
    }
    int r = 0;
    if (n > 5)
        buf_addf(&names, " and %zu more", n - 5);
    if (n)
        r = error_set(e, ERR_IN_USE, "the template is in use by its clones: %s; delete them first", names.data);
    buf_done(&names);
    const struct api_template *t = CORE_GET(x->c, template, TEMPLATE, id);
    const struct api_repository *rep = t ? CORE_GET(x->c, repository, REPOSITORY, t->repository) : NULL;
    if (r == 0 && !t)
        r = error_set(e, ERR_NOT_FOUND, "the template is gone");
    return r < 0 || !rep ? r : core_need_repository(x->c, rep, e);
}

static int template_mark(struct job_ctx *x, struct error *e) {
    struct api_template *t = CORE_COPY(template, TEMPLATE, CORE_GET(x->c, template, TEMPLATE, object_id_of(x)));
    t->state = API_OBJECT_STATE_DELETING;
    core_put(x->c, API_KIND_TEMPLATE, t);
    return STEP_DONE;
}

static int template_gone(struct job_ctx *x, struct error *e) {
    struct table *t = &x->c->tables[API_KIND_VM];
    for (size_t i = 0; i < t->n; i++) {
        const struct api_vm *vm = t->sorted[i]->v->data;
        if (!str_eq(vm->template, object_id_of(x)))
            continue;
        struct api_vm *put = CORE_COPY(vm, VM, vm); /* an independent copy that remembers where it came from */
        str_set(&put->template, "");
        core_put(x->c, API_KIND_VM, put);
    }
    return object_gone(x, API_KIND_TEMPLATE);
}

static const struct job_step_def template_delete_steps[] = {
    {"mark", 1, true, template_mark, NULL, NULL, NULL, false},
    {"delete", 1, true, template_undo, NULL, NULL, NULL, false, ANYWHERE_DO},
    {"remove", 1, true, template_gone, NULL, NULL, NULL, false},
};
const struct job_kind job_template_delete = {
    .name = "template.delete", .steps = template_delete_steps, .n_steps = 3, .check = template_check_unused};

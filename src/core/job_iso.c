/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs on ISO images and CD drives, and what jobs that import an image have in common. */
#include "core/core_int.h"

/* ---- images ---- */

int job_check_image(struct core *c, const json_t *image, struct error *e) {
    const char *upload = json_str(image, "upload");
    const struct api_upload *u = CORE_GET(c, upload, UPLOAD, upload);
    if (*upload && !u)
        return error_set(e, ERR_NOT_FOUND, "the upload is gone");
    if (u && u->state != API_UPLOAD_STATE_COMPLETE)
        return error_set(e, ERR_CONFLICT, "the upload \"%s\" is not complete: %lld of %lld bytes have arrived", u->name,
                         (long long)u->received, (long long)u->size);
    return 0;
}

void job_image_args(json_t *args, const json_t *image) {
    static const char *const keys[] = {"upload", "path", "format"};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        if (*json_str(image, keys[i]))
            json_set_str(args, keys[i], json_str(image, keys[i]));
}

/* ---- ISO images ---- */

static const struct api_iso *iso_of(const struct job_ctx *x) { return CORE_GET(x->c, iso, ISO, x->job->object.id); }
static const json_t *image_of(const struct job_ctx *x) { return json_object_get(x->job->args, "image"); }

static int iso_call(struct job_ctx *x, enum api_agent_op op, const json_t *image, struct error *e) {
    const struct api_iso *iso = iso_of(x);
    const struct api_repository *r = iso ? CORE_GET(x->c, repository, REPOSITORY, iso->repository) : NULL;
    if (!r)
        return STEP_DONE;
    json_t *args = json_pack("{s:s, s:s}", "repository", r->id, "iso", iso->id);
    job_image_args(args, image);
    json_object_del(args, "format");
    return job_call(x, repository_route(x->c, r, NULL), op, args, e);
}

static int iso_copy(struct job_ctx *x, struct error *e) { return iso_call(x, API_AGENT_OP_ISO_MAKE, image_of(x), e); }
static int iso_remove(struct job_ctx *x, struct error *e) { return iso_call(x, API_AGENT_OP_ISO_DELETE, NULL, e); }

static int iso_copied(struct job_ctx *x, const json_t *result, struct error *e) {
    struct api_iso *iso = CORE_COPY(iso, ISO, iso_of(x));
    iso->state = API_OBJECT_STATE_READY;
    iso->size = json_int(result, "size", 0);
    str_set(&iso->label, json_str(result, "label"));
    job_changed(x, API_KIND_ISO, iso->id, iso->name, "created", NULL);
    core_put(x->c, API_KIND_ISO, iso);
    return 0;
}

static int iso_tidy(struct job_ctx *x, struct error *e) {
    return job_upload_delete_call(x, json_str(image_of(x), "upload"), e);
}
static int iso_tidied(struct job_ctx *x, struct error *e) {
    core_remove(x->c, API_KIND_UPLOAD, json_str(image_of(x), "upload"));
    return STEP_DONE;
}

static int iso_create_check(struct job_ctx *x, struct error *e) {
    int r = job_check_image(x->c, image_of(x), e);
    const struct api_repository *rep = CORE_GET(x->c, repository, REPOSITORY, iso_of(x)->repository);
    return r < 0 || !rep ? r : core_need_repository(x->c, rep, e);
}

static void iso_create_ended(struct job_ctx *x) {
    if (x->job->state != API_JOB_STATE_DONE)
        core_remove(x->c, API_KIND_ISO, x->job->object.id);
}

static const struct job_step_def iso_create_steps[] = {
    {"copy", 20, false, iso_copy, iso_copied, iso_remove, NULL, false, ANYWHERE_UNDO},
    {"tidy", 1, true, iso_tidy, NULL, NULL, NULL, false, ANYWHERE_DO},
    {"forget upload", 1, true, iso_tidied, NULL, NULL, NULL, false},
};
const struct job_kind job_iso_create = {.name = "iso.create",
                                        .steps = iso_create_steps,
                                        .n_steps = ARRAY_LEN(iso_create_steps),
                                        .check = iso_create_check,
                                        .ended = iso_create_ended};

static int iso_delete_check(struct job_ctx *x, struct error *e) {
    const struct api_iso *iso = iso_of(x);
    const struct table *t = &x->c->tables[API_KIND_VM];
    if (!iso)
        return error_set(e, ERR_NOT_FOUND, "the ISO image is gone");
    for (size_t i = 0; i < t->n; i++) {
        const struct api_vm *vm = t->sorted[i]->v->data;
        for (size_t k = 0; k < vm->n_disks; k++)
            if (str_eq(vm->disks[k].iso, iso->id))
                return error_set(e, ERR_IN_USE,
                                 "virtual machine \"%s\" has the ISO image in its CD drive; take it out first",
                                 vm->name);
    }
    const struct api_repository *r = CORE_GET(x->c, repository, REPOSITORY, iso->repository);
    return r ? core_need_repository(x->c, r, e) : 0;
}

static int iso_mark(struct job_ctx *x, struct error *e) {
    struct api_iso *iso = CORE_COPY(iso, ISO, iso_of(x));
    iso->state = API_OBJECT_STATE_DELETING;
    core_put(x->c, API_KIND_ISO, iso);
    return STEP_DONE;
}

static int iso_gone(struct job_ctx *x, struct error *e) {
    job_changed(x, API_KIND_ISO, x->job->object.id, x->job->object.name, "deleted", NULL);
    core_remove(x->c, API_KIND_ISO, x->job->object.id);
    return STEP_DONE;
}

static const struct job_step_def iso_delete_steps[] = {
    {"mark", 1, true, iso_mark, NULL, NULL, NULL, false},
    {"delete", 1, true, iso_remove, NULL, NULL, NULL, false},
    {"remove", 1, true, iso_gone, NULL, NULL, NULL, false},
};
const struct job_kind job_iso_delete = {
    .name = "iso.delete", .steps = iso_delete_steps, .n_steps = ARRAY_LEN(iso_delete_steps), .check = iso_delete_check};

/* ---- what is in a CD drive ---- */

static const struct api_vm *vm_of(const struct job_ctx *x) { return CORE_GET(x->c, vm, VM, x->job->object.id); }
static size_t index_of(const struct job_ctx *x) { return (size_t)json_int(x->job->args, "index", 0); }

static bool drive_is_there(const struct job_ctx *x) {
    const struct api_vm *vm = vm_of(x);
    return vm && index_of(x) < vm->n_disks && vm->disks[index_of(x)].cdrom;
}

static int cdrom_call(struct job_ctx *x, const char *id, struct error *e) {
    const struct api_vm *vm = vm_of(x);
    const struct api_iso *iso = CORE_GET(x->c, iso, ISO, id);
    return job_call(x, vm->server, API_AGENT_OP_GUEST_CDROM,
                    json_pack("{s:s, s:i, s:s, s:s}", "vm", vm->id, "index", (int)index_of(x), "iso",
                              iso ? iso->id : "", "repository", iso ? iso->repository : ""),
                    e);
}

static void cdrom_put(struct job_ctx *x, const char *iso) {
    struct api_vm *vm = CORE_COPY(vm, VM, vm_of(x));
    str_set(&vm->disks[index_of(x)].iso, iso);
    core_put(x->c, API_KIND_VM, vm);
}

static int cdrom_changed(struct job_ctx *x, const json_t *result, struct error *e) {
    const struct api_iso *iso = CORE_GET(x->c, iso, ISO, json_str(x->job->args, "iso"));
    cdrom_put(x, iso ? iso->id : "");
    job_changed(x, API_KIND_VM, vm_of(x)->id, vm_of(x)->name, "changed", iso ? iso->name : "CD drive empty");
    return 0;
}

/* No server has it that would have to be told: it has not run yet, or its server is gone for good. */
static bool is_nowhere(const struct job_ctx *x) {
    const struct api_vm *vm = vm_of(x);
    return vm_is_off(vm) && !CORE_GET(x->c, server, SERVER, vm->server);
}

static int cdrom_change(struct job_ctx *x, struct error *e) {
    json_set_str(x->job->vars, "before", vm_of(x)->disks[index_of(x)].iso);
    if (is_nowhere(x)) {
        cdrom_changed(x, NULL, e);
        return STEP_DONE;
    }
    return cdrom_call(x, json_str(x->job->args, "iso"), e);
}
static int cdrom_undo(struct job_ctx *x, struct error *e) {
    return drive_is_there(x) ? cdrom_call(x, json_str(x->job->vars, "before"), e) : STEP_DONE;
}
static int cdrom_undone(struct job_ctx *x, const json_t *result, struct error *e) {
    if (drive_is_there(x))
        cdrom_put(x, json_str(x->job->vars, "before"));
    return 0;
}

static int cdrom_check(struct job_ctx *x, struct error *e) {
    const struct api_vm *vm = vm_of(x);
    if (!vm)
        return error_set(e, ERR_NOT_FOUND, "the virtual machine is gone");
    if (!drive_is_there(x))
        return error_set(e, ERR_CONFLICT, "the CD drive of \"%s\" has been taken away meanwhile", vm->name);
    if (vm->state != API_VM_STATE_STOPPED && vm->state != API_VM_STATE_CRASHED && vm->state != API_VM_STATE_RUNNING &&
        vm->state != API_VM_STATE_SUSPENDED)
        return error_set(e, ERR_CONFLICT, "virtual machine \"%s\" is %s", vm->name, api_vm_state_text(vm->state));
    int r = core_check_iso(x->c, vm->server, json_str(x->job->args, "iso"), "iso", e);
    return r < 0 || is_nowhere(x) ? r : core_need_agent(x->c, vm->server, e);
}

static void cdrom_ended(struct job_ctx *x) { core_apply_held_report(x->c, x->job->object.id); }

static const struct job_step_def cdrom_steps[] = {
    {"change", 1, false, cdrom_change, cdrom_changed, cdrom_undo, cdrom_undone, false}};
const struct job_kind job_vm_cdrom = {
    .name = "vm.cdrom", .steps = cdrom_steps, .n_steps = 1, .check = cdrom_check, .ended = cdrom_ended};

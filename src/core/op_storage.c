/* SPDX-License-Identifier: Apache-2.0 */
/* Operations on uploads, virtual disks and templates. */
#include "core/core_int.h"

#include <errno.h>

/* Gives a new object its id, time and state. */
#define FRESH(c, lower, o)                                                                                             \
    ({                                                                                                                 \
        char fresh_id[UUID_LEN + 1], fresh_now[TIME_TEXT_MAX];                                                         \
        core_new_id(c, fresh_id);                                                                                      \
        str_set(&(o)->id, fresh_id);                                                                                   \
        str_set(&(o)->created, core_now(c, fresh_now));                                                                \
    })

static void discard(enum api_kind kind, void *data) {
    api_kinds[kind].done(data);
    free(data);
}

int core_change(struct core *c, const struct core_request *r, enum api_kind kind, core_change_check *check,
                struct object **ret, struct error *e) {
    struct object *o = core_param(c, r, 0, kind, e);
    const struct api_kind_info *k = &api_kinds[kind];
    if (!o)
        return -ENOENT;
    _cleanup_free_ void *next = xcalloc(1, k->size);
    int result = core_check_if_match(r, o, e);
    if (result == 0)
        result = k->merge(o->v->data, r->body, next, e);
    if (result < 0)
        return result;
    const char *name = *api_kind_name(kind, next);
    result = core_check_name_free(c, kind, name, o->id, e);
    if (result == 0 && check)
        result = check(c, r, o, next, e);
    if (result < 0) {
        discard(kind, TAKE_PTR(next));
        return result;
    }
    _cleanup_free_ char *code = xasprintf("%s.changed", k->name);
    core_event(c, API_SEVERITY_INFO, r->actor, code, kind, o->id, name, NULL, "%s changed %s %s", r->actor,
               kind_word(kind), name);
    core_put(c, kind, TAKE_PTR(next));
    *ret = o;
    return 0;
}

int core_change_and_reply(struct core *c, const struct core_request *r, enum api_kind kind, core_change_check *check,
                          struct error *e) {
    struct object *o;
    int result = core_change(c, r, kind, check, &o, e);
    if (result == 0)
        core_reply_object(c, r->id, 200, o, NULL);
    return result;
}

int core_submit_delete(struct core *c, const struct core_request *r, const struct job_kind *kind, struct object *o,
                       struct error *e) {
    int result = core_check_if_match(r, o, e);
    if (result < 0)
        return result;
    struct job_request q = {.kind = kind,
                            .actor = r->actor,
                            .request = r->id,
                            .object_kind = o->kind,
                            .object_id = o->id,
                            .object_name = object_name(o),
                            .title = xasprintf("Delete %s %s", kind_word(o->kind), object_name(o))};
    struct api_job *j = job_draft(c, &q);
    job_lock(j, o->kind, o->id, object_name(o), false);
    for (size_t i = 0; i < kind->n_steps; i++)
        job_add_step(j, kind, kind->steps[i].name, 0);
    return job_submit(c, &q, j, e);
}

/* ---- uploads ---- */

int op_upload_create(struct core *c, const struct core_request *r, struct error *e) {
    struct api_upload *u = xcalloc(1, sizeof *u);
    int result = api_upload_parse(r->body, API_CREATE, u, e);
    if (result < 0) {
        free(u);
        return result;
    }
    const struct api_repository *rep = core_pick_repository(c, u->repository, e);
    result = rep ? core_need_repository(c, rep, e) : -ENOENT;
    if (result == 0 && rep->free && u->size > rep->free) {
        char want[SIZE_TEXT_MAX], has[SIZE_TEXT_MAX];
        result = error_set_field(e, ERR_NO_SPACE, "size", "%s do not fit into storage repository \"%s\" (%s free)",
                                 size_format(u->size, want), rep->name, size_format(rep->free, has));
    }
    if (result < 0) {
        discard(API_KIND_UPLOAD, u);
        return result;
    }
    FRESH(c, upload, u);
    str_set(&u->repository, rep->id);
    str_set(&u->owner, r->user_id);
    u->state = API_UPLOAD_STATE_OPEN;
    struct job_request q = {.kind = &job_upload_create,
                            .actor = r->actor,
                            .request = r->id,
                            .reply_at_end = true,
                            .object_kind = API_KIND_UPLOAD,
                            .object_id = u->id,
                            .object_name = u->name,
                            .title = xasprintf("Begin upload of %s", u->name)};
    struct api_job *j = job_draft(c, &q);
    job_lock(j, API_KIND_UPLOAD, u->id, u->name, false);
    job_lock(j, API_KIND_REPOSITORY, rep->id, rep->name, true);
    job_add_step(j, q.kind, "open", 0);
    core_put(c, API_KIND_UPLOAD, u);
    return job_submit(c, &q, j, e);
}

int op_upload_delete(struct core *c, const struct core_request *r, struct error *e) {
    struct object *o = core_param(c, r, 0, API_KIND_UPLOAD, e);
    if (o && !core_is_admin(r) && !str_eq(((struct api_upload *)o->v->data)->owner, r->user_id))
        return error_set(e, ERR_FORBIDDEN, "the upload is another user's");
    return o ? core_submit_delete(c, r, &job_upload_delete, o, e) : -ENOENT;
}

#define UPLOAD_IDLE_MS (24 * 3600 * 1000LL)

/* In seconds, which fit into a pointer. */
void core_upload_heard(struct core *c, const char *id) {
    map_put(&c->arriving, id, (void *)(intptr_t)(c->wall_ms / 1000 + 1));
}

void core_upload_expire(struct core *c, const struct api_upload *u) {
    int64_t since, heard = (int64_t)(intptr_t)map_get(&c->arriving, u->id) * 1000;
    if (time_parse(u->created, &since) < 0)
        return;
    since = heard > since ? heard : since;
    if (since + UPLOAD_IDLE_MS > c->wall_ms || map_get(&c->locks, u->id))
        return;
    _cleanup_error_ struct error e = ERROR_INIT;
    struct job_request q = {.kind = &job_upload_delete,
                            .actor = "tarn",
                            .object_kind = API_KIND_UPLOAD,
                            .object_id = u->id,
                            .object_name = u->name,
                            .title = xasprintf("Throw away the unused upload %s", u->name)};
    struct api_job *j = job_draft(c, &q);
    job_lock(j, API_KIND_UPLOAD, u->id, u->name, false);
    for (size_t i = 0; i < q.kind->n_steps; i++)
        job_add_step(j, q.kind, q.kind->steps[i].name, 0);
    job_submit(c, &q, j, &e);
}

/* ---- disks ---- */

static int disk_fill_in(struct core *c, const struct core_request *r, struct api_disk *d, json_t **ret_image,
                        struct error *e) {
    int result = core_resolve_refs(c, API_KIND_DISK, d, e);
    if (result == 0)
        result = core_check_name_free(c, API_KIND_DISK, d->name, NULL, e);
    if (result == 0 && !d->size && !d->has_image)
        result = error_set_field(e, ERR_INVALID, "size", "is missing: give a size, or an image to make the disk from");
    if (result < 0)
        return result;
    const char *wanted = !str_empty(d->repository) ? d->repository
                         : d->has_image            ? core_image_repository(c, &d->image)
                                                   : NULL;
    const struct api_repository *rep = core_pick_repository(c, wanted, e);
    result = rep ? core_need_repository(c, rep, e) : -ENOENT;
    if (result < 0)
        return result;
    str_set(&d->repository, rep->id);
    return d->has_image ? core_image_source(c, r, &d->image, "image", rep->id, ret_image, e) : 0;
}

int op_disk_create(struct core *c, const struct core_request *r, struct error *e) {
    struct api_disk *d = xcalloc(1, sizeof *d);
    int result = api_disk_parse(r->body, API_CREATE, d, e);
    if (result < 0) {
        free(d);
        return result;
    }
    json_t *image = NULL;
    result = disk_fill_in(c, r, d, &image, e);
    if (result < 0) {
        discard(API_KIND_DISK, d);
        return result;
    }
    FRESH(c, disk, d);
    const struct api_repository *rep = CORE_GET(c, repository, REPOSITORY, d->repository);
    d->state = API_OBJECT_STATE_CREATING;
    struct job_request q = {.kind = &job_disk_create,
                            .actor = r->actor,
                            .request = r->id,
                            .object_kind = API_KIND_DISK,
                            .object_id = d->id,
                            .object_name = d->name,
                            .title = xasprintf(image ? "Import virtual disk %s" : "Create virtual disk %s", d->name)};
    if (image)
        q.args = json_pack("{s:o}", "image", image);
    struct api_job *j = job_draft(c, &q);
    job_lock(j, API_KIND_DISK, d->id, d->name, false);
    job_lock(j, API_KIND_REPOSITORY, rep->id, rep->name, true);
    job_add_step(j, q.kind, "create", 0);
    if (image)
        job_add_image_steps(c, j, q.kind, image, 0);
    core_put(c, API_KIND_DISK, d);
    return job_submit(c, &q, j, e);
}

int op_disk_change(struct core *c, const struct core_request *r, struct error *e) {
    return core_change_and_reply(c, r, API_KIND_DISK, NULL, e);
}

int op_disk_delete(struct core *c, const struct core_request *r, struct error *e) {
    struct object *o = core_param(c, r, 0, API_KIND_DISK, e);
    return o ? core_submit_delete(c, r, &job_disk_delete, o, e) : -ENOENT;
}

/* ---- templates ---- */

/* Adds {role, index, upload | path, format} to files. */
static int add_source(struct core *c, const struct core_request *r, const struct api_image_source *s, const char *role,
                      const char *repository, json_t *files, struct error *e) {
    json_t *file = NULL;
    int result = core_image_source(c, r, s,
                                   str_eq(role, "disk")     ? "image"
                                   : str_eq(role, "kernel") ? "kernel_image"
                                                            : "initrd_image",
                                   repository, &file, e);
    if (result < 0)
        return result;
    json_set_str(file, "role", role);
    json_set_int(file, "index", 0);
    json_array_append_new(files, file);
    return 0;
}

/* A virtual machine that boots its template's kernel becomes a template with that kernel. */
static int add_vm_kernel(struct core *c, const struct api_vm *vm, struct api_template *t, json_t *files,
                         struct error *e) {
    const struct api_template *from = CORE_GET(c, template, TEMPLATE, vm->template);
    if (!from)
        return 0;
    if (!str_eq(from->repository, t->repository))
        return error_set_field(e, ERR_INVALID, "from_vm",
                               "its kernel is in another storage repository than the template is to be");
    json_array_append_new(files, json_pack("{s:s, s:i, s:s}", "role", "kernel", "index", 0, "from_template", from->id));
    if (from->initrd)
        json_array_append_new(files,
                              json_pack("{s:s, s:i, s:s}", "role", "initrd", "index", 0, "from_template", from->id));
    str_set(&t->cmdline, vm->cmdline);
    return 0;
}

static int add_vm_disks(struct core *c, struct api_template *t, json_t *files, struct error *e) {
    const struct api_vm *vm = CORE_GET(c, vm, VM, t->from_vm);
    int n = 0;
    for (size_t i = 0; i < vm->n_disks; i++) {
        const struct api_disk *d = CORE_GET(c, disk, DISK, vm->disks[i].disk);
        if (!d)
            continue; /* a CD drive */
        if (!str_eq(d->repository, t->repository))
            return error_set_field(e, ERR_INVALID, "from_vm",
                                   "its disks are in another storage repository than the template is to be");
        json_array_append_new(files, json_pack("{s:s, s:i, s:s, s:s}", "role", "disk", "index", n++, "from_disk", d->id,
                                               "bus", api_disk_bus_text(vm->disks[i].bus)));
    }
    if (!n)
        return error_set_field(e, ERR_CONFLICT, "from_vm",
                               "virtual machine \"%s\" has no disks to make a template from", vm->name);
    int r = vm->direct_boot ? add_vm_kernel(c, vm, t, files, e) : 0;
    if (r < 0)
        return r;
    /* It becomes what the virtual machine is. */
    t->cpus = vm->cpus;
    t->memory = vm->memory;
    t->machine = vm->machine;
    t->firmware = vm->firmware;
    return 0;
}

static int template_files(struct core *c, const struct core_request *r, struct api_template *t, json_t *files,
                          struct error *e) {
    int result = 0;
    if (!str_empty(t->from_vm) && (t->has_image || t->has_kernel_image || t->has_initrd_image))
        return error_set_field(e, ERR_INVALID, "from_vm", "goes without image, kernel_image and initrd_image");
    if (str_empty(t->from_vm) && !t->has_image && !t->has_kernel_image)
        return error_set_field(e, ERR_INVALID, "image",
                               "is missing: give an image, a kernel_image (with an initrd_image), or from_vm");
    if (t->has_initrd_image && !t->has_kernel_image)
        return error_set_field(e, ERR_INVALID, "initrd_image", "goes with a kernel_image");
    if (!str_empty(t->from_vm))
        result = add_vm_disks(c, t, files, e);
    if (result == 0 && t->has_image)
        result = add_source(c, r, &t->image, "disk", t->repository, files, e);
    if (result == 0 && t->has_kernel_image)
        result = add_source(c, r, &t->kernel_image, "kernel", t->repository, files, e);
    if (result == 0 && t->has_initrd_image)
        result = add_source(c, r, &t->initrd_image, "initrd", t->repository, files, e);
    return result;
}

static int check_machine(enum api_machine machine, enum api_firmware firmware, struct error *e) {
    if (machine == API_MACHINE_MICROVM && firmware == API_FIRMWARE_UEFI)
        return error_set_field(e, ERR_INVALID, "firmware", "uefi goes with machine q35, not microvm");
    return 0;
}

/* Where it goes: as asked, or where the virtual machine's disks are, or where the upload is, or the only repository. */
static const char *template_repository(struct core *c, const struct api_template *t) {
    const struct api_vm *vm = CORE_GET(c, vm, VM, t->from_vm);
    const struct api_upload *u = CORE_GET(c, upload, UPLOAD, t->has_image ? t->image.upload : t->kernel_image.upload);
    return !str_empty(t->repository) ? t->repository : vm ? vm->repository : u ? u->repository : NULL;
}

static void add_template_steps(struct core *c, struct api_job *j, json_t *files) {
    size_t i;
    json_t *file;
    json_array_foreach(files, i, file) job_add_step(j, &job_template_create, "copy", (int64_t)i);
    job_add_step(j, &job_template_create, "seal", 0);
    job_add_step(j, &job_template_create, "publish", 0);
    json_array_foreach(files, i, file) job_add_image_steps(c, j, &job_template_create, file, (int64_t)i);
}

int op_template_create(struct core *c, const struct core_request *r, struct error *e) {
    struct api_template *t = xcalloc(1, sizeof *t);
    int result = api_template_parse(r->body, API_CREATE, t, e);
    if (result < 0) {
        free(t);
        return result;
    }
    json_t *files = json_array();
    result = core_resolve_refs(c, API_KIND_TEMPLATE, t, e);
    if (result == 0)
        result = core_check_name_free(c, API_KIND_TEMPLATE, t->name, NULL, e);
    if (result == 0)
        result = check_machine(t->machine, t->firmware, e);
    const struct api_repository *rep = result == 0 ? core_pick_repository(c, template_repository(c, t), e) : NULL;
    if (result == 0)
        result = rep ? core_need_repository(c, rep, e) : -ENOENT;
    if (result == 0) {
        str_set(&t->repository, rep->id);
        result = template_files(c, r, t, files, e);
    }
    if (result < 0) {
        json_decref(files);
        discard(API_KIND_TEMPLATE, t);
        return result;
    }
    FRESH(c, template, t);
    t->state = API_OBJECT_STATE_CREATING;
    struct job_request q = {.kind = &job_template_create,
                            .actor = r->actor,
                            .request = r->id,
                            .object_kind = API_KIND_TEMPLATE,
                            .object_id = t->id,
                            .object_name = t->name,
                            .title = xasprintf("Import template %s", t->name)};
    q.args = json_pack("{s:o, s:s}", "files", files, "from_vm", t->from_vm);
    struct api_job *j = job_draft(c, &q);
    job_lock(j, API_KIND_TEMPLATE, t->id, t->name, false);
    job_lock(j, API_KIND_REPOSITORY, rep->id, rep->name, true);
    const struct api_vm *vm = CORE_GET(c, vm, VM, t->from_vm);
    if (vm)
        job_lock(j, API_KIND_VM, vm->id, vm->name, false);
    add_template_steps(c, j, json_object_get(j->args, "files"));
    core_put(c, API_KIND_TEMPLATE, t);
    return job_submit(c, &q, j, e);
}

static int check_template(struct core *c, const struct core_request *r, const struct object *o, const void *next,
                          struct error *e) {
    const struct api_template *t = next;
    return check_machine(t->machine, t->firmware, e);
}

int op_template_change(struct core *c, const struct core_request *r, struct error *e) {
    return core_change_and_reply(c, r, API_KIND_TEMPLATE, check_template, e);
}

int op_template_delete(struct core *c, const struct core_request *r, struct error *e) {
    struct object *o = core_param(c, r, 0, API_KIND_TEMPLATE, e);
    return o ? core_submit_delete(c, r, &job_template_delete, o, e) : -ENOENT;
}

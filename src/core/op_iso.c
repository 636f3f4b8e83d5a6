/* SPDX-License-Identifier: Apache-2.0 */
/* Operations on ISO images, and the CD drives of virtual machines that they lie in. */
#include "core/core_int.h"

#include <errno.h>
#include <stdio.h>

/* ---- images that clients name ---- */

int core_image_source(struct core *c, const struct core_request *r, const struct api_image_source *s, const char *field,
                      const char *repository, json_t **ret, struct error *e) {
    if (str_empty(s->upload) == str_empty(s->path))
        return error_set_field(e, ERR_INVALID, field, "needs either an upload or a path on the server, one of the two");
    if (!str_empty(s->path) && !core_is_admin(r))
        return error_set_field(e, ERR_FORBIDDEN, field,
                               "a path on a server may be given by administrators only; upload the file");
    const struct api_upload *u = CORE_GET(c, upload, UPLOAD, s->upload);
    if (!str_empty(s->upload) && !u)
        return error_set_field(e, ERR_NOT_FOUND, field, "there is no upload \"%.*s\"", 128, s->upload);
    if (u && !core_is_admin(r) && !str_eq(u->owner, r->user_id))
        return error_set_field(e, ERR_FORBIDDEN, field, "the upload is another user's");
    if (u && !str_eq(u->repository, repository))
        return error_set_field(e, ERR_INVALID, field,
                               "the upload is in another storage repository than what is made of it is to be");
    *ret = json_pack("{s:s, s:s, s:s}", "upload", u ? u->id : "", "path", s->path, "format",
                     api_image_format_text(s->format));
    return 0;
}

const char *core_image_repository(struct core *c, const struct api_image_source *s) {
    const struct api_upload *u = CORE_GET(c, upload, UPLOAD, s->upload);
    return u ? u->repository : NULL;
}

void job_add_image_steps(struct core *c, struct api_job *j, const struct job_kind *kind, const json_t *image,
                         int64_t param) {
    const struct api_upload *u = CORE_GET(c, upload, UPLOAD, json_str(image, "upload"));
    if (!u)
        return;
    job_lock(j, API_KIND_UPLOAD, u->id, u->name, false);
    job_add_step(j, kind, "tidy", param);
    job_add_step(j, kind, "forget upload", param);
}

/* ---- ISO images ---- */

static int iso_parse(struct core *c, const struct core_request *r, struct api_iso *iso, json_t **ret_image,
                     struct error *e) {
    int result = core_resolve_refs(c, API_KIND_ISO, iso, e);
    if (result == 0)
        result = core_check_name_free(c, API_KIND_ISO, iso->name, NULL, e);
    if (result < 0)
        return result;
    const char *wanted = !str_empty(iso->repository) ? iso->repository : core_image_repository(c, &iso->image);
    const struct api_repository *rep = core_pick_repository(c, wanted, e);
    result = rep ? core_need_repository(c, rep, e) : -ENOENT;
    if (result < 0)
        return result;
    if (iso->image.format != API_IMAGE_FORMAT_AUTO && iso->image.format != API_IMAGE_FORMAT_RAW)
        return error_set_field(e, ERR_INVALID, "image.format", "an ISO image has no other format than its own");
    str_set(&iso->repository, rep->id);
    return core_image_source(c, r, &iso->image, "image", rep->id, ret_image, e);
}

int op_iso_create(struct core *c, const struct core_request *r, struct error *e) {
    struct api_iso *iso = xcalloc(1, sizeof *iso);
    json_t *image = NULL;
    int result = api_iso_parse(r->body, API_CREATE, iso, e);
    if (result < 0) {
        free(iso);
        return result;
    }
    result = iso_parse(c, r, iso, &image, e);
    if (result < 0) {
        api_iso_done(iso);
        free(iso);
        return result;
    }
    char id[UUID_LEN + 1], now[TIME_TEXT_MAX];
    core_new_id(c, id);
    str_set(&iso->id, id);
    str_set(&iso->created, core_now(c, now));
    iso->state = API_OBJECT_STATE_CREATING;
    const struct api_repository *rep = CORE_GET(c, repository, REPOSITORY, iso->repository);
    struct job_request q = {.kind = &job_iso_create,
                            .actor = r->actor,
                            .request = r->id,
                            .object_kind = API_KIND_ISO,
                            .object_id = iso->id,
                            .object_name = iso->name,
                            .title = xasprintf("Import ISO image %s", iso->name)};
    q.args = json_pack("{s:o}", "image", image);
    struct api_job *j = job_draft(c, &q);
    job_lock(j, API_KIND_ISO, iso->id, iso->name, false);
    job_lock(j, API_KIND_REPOSITORY, rep->id, rep->name, true);
    job_add_step(j, q.kind, "copy", 0);
    job_add_image_steps(c, j, q.kind, image, 0);
    core_put(c, API_KIND_ISO, iso);
    return job_submit(c, &q, j, e);
}

int op_iso_change(struct core *c, const struct core_request *r, struct error *e) {
    return core_change_and_reply(c, r, API_KIND_ISO, NULL, e);
}

int op_iso_delete(struct core *c, const struct core_request *r, struct error *e) {
    struct object *o = core_param(c, r, 0, API_KIND_ISO, e);
    return o ? core_submit_delete(c, r, &job_iso_delete, o, e) : -ENOENT;
}

/* ---- CD drives ---- */

int core_shape_cdroms(struct api_vm *vm, struct error *e) {
    for (size_t i = 0; i < vm->n_disks; i++) {
        struct api_vm_disk *d = &vm->disks[i];
        char field[48];
        snprintf(field, sizeof field, "disks[%zu]", i);
        d->cdrom |= !str_empty(d->iso);
        if (!d->cdrom)
            continue;
        if (!str_empty(d->disk) || d->size || d->has_image)
            return error_set_field(e, ERR_INVALID, field,
                                   "is a CD drive: it goes with iso, or empty, not with disk, size or image");
        if (vm->machine == API_MACHINE_MICROVM)
            return error_set_field(e, ERR_INVALID, field, "a CD drive goes with machine q35, not microvm");
        if (d->bus == API_DISK_BUS_VIRTIO_BLK)
            d->bus = API_DISK_BUS_SATA;
        d->read_only = true;
    }
    return 0;
}

int core_check_iso(struct core *c, const char *server, const char *id, const char *field, struct error *e) {
    const struct api_iso *iso = CORE_GET(c, iso, ISO, id);
    const struct api_repository *rep = iso ? CORE_GET(c, repository, REPOSITORY, iso->repository) : NULL;
    if (str_empty(id))
        return 0;
    if (!iso)
        return error_set_field(e, ERR_NOT_FOUND, field, "there is no ISO image \"%.*s\"", 128, id);
    if (iso->state != API_OBJECT_STATE_READY)
        return error_set_field(e, ERR_CONFLICT, field, "ISO image \"%s\" is %s", iso->name,
                               api_object_state_text(iso->state));
    if (!rep || (!str_empty(server) && !repository_on(rep, server)))
        return error_set_field(e, ERR_CONFLICT, field,
                               "ISO image \"%s\" is in storage repository \"%s\", which the server of the virtual "
                               "machine does not reach",
                               iso->name, rep ? rep->name : "");
    return 0;
}

void core_add_cdrom(struct api_vm *vm, const char *iso) {
    struct api_vm_disk *d;
    vm->disks = xreallocarray(vm->disks, vm->n_disks + 1, sizeof *vm->disks);
    d = &vm->disks[vm->n_disks++];
    memset(d, 0, sizeof *d);
    api_vm_disk_init(d);
    str_set(&d->iso, iso);
}

/* The place in vm->disks of its CD drive number n; -1. */
static int find_drive(const struct api_vm *vm, int64_t n) {
    for (size_t i = 0; i < vm->n_disks; i++)
        if (vm->disks[i].cdrom && n-- == 0)
            return (int)i;
    return -1;
}

static int submit_cdrom(struct core *c, const struct core_request *r, const struct api_vm *vm, int index,
                        const struct api_iso *iso, struct error *e) {
    const struct api_iso *old = CORE_GET(c, iso, ISO, vm->disks[index].iso);
    struct job_request q = {.kind = &job_vm_cdrom,
                            .actor = r->actor,
                            .request = r->id,
                            .object_kind = API_KIND_VM,
                            .object_id = vm->id,
                            .object_name = vm->name,
                            .title = iso ? xasprintf("Put %s into the CD drive of %s", iso->name, vm->name)
                                         : xasprintf("Empty the CD drive of %s", vm->name)};
    q.args = json_pack("{s:i, s:s}", "index", index, "iso", iso ? iso->id : "");
    struct api_job *j = job_draft(c, &q);
    job_lock(j, API_KIND_VM, vm->id, vm->name, false);
    if (iso)
        job_lock(j, API_KIND_ISO, iso->id, iso->name, true);
    if (old && old != iso) /* which may have to go in again */
        job_lock(j, API_KIND_ISO, old->id, old->name, true);
    job_add_step(j, q.kind, "change", 0);
    return job_submit(c, &q, j, e);
}

int op_vm_cdrom(struct core *c, const struct core_request *r, struct error *e) {
    struct object *o = core_param(c, r, 0, API_KIND_VM, e);
    _cleanup_json_ json_t *empty = json_object();
    struct api_vm_cdrom a;
    int result = o ? core_check_if_match(r, o, e) : -ENOENT;
    if (result == 0)
        result = api_vm_cdrom_parse(r->body ? r->body : empty, API_CREATE, &a, e);
    if (result < 0)
        return result;
    const struct api_vm *vm = o->v->data;
    const struct api_iso *iso = CORE_GET(c, iso, ISO, a.iso);
    int index = find_drive(vm, a.drive);
    if (index < 0)
        result = error_set_field(e, ERR_CONFLICT, "drive",
                                 "virtual machine \"%s\" has no CD drive %lld; while it is stopped one can be added to "
                                 "its disks",
                                 vm->name, (long long)a.drive);
    else
        result = core_check_iso(c, vm->server, iso ? iso->id : a.iso, "iso", e);
    api_vm_cdrom_done(&a);
    return result < 0 ? result : submit_cdrom(c, r, vm, index, iso, e);
}

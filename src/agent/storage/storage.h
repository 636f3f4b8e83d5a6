/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Storage on a server: the repositories that are open, and what is done in them. Files are named by ids, opened
 * relative to the repository's directory descriptor with no symlink followed out of it (openat2 RESOLVE_BENEATH |
 * NO_SYMLINKS).
 *
 *     tarn-repository.json              {"id", "version"}: two repositories can't be one
 *     templates/ID/disk-N.qcow2 kernel initrd    sealed: mode 0444; templates/.ID while it is made
 *     disks/ID.qcow2                    a linked clone names ../templates/T/disk-N.qcow2 as its backing file
 *     isos/ID.iso                       ISO images
 *     guests/VM/vars.fd seed.iso        firmware variables, cloud-init seed
 *     uploads/ID                        partial or whole
 *
 * Functions with a `call` return at once and end in exactly one done(call); they are idempotent, and what a crash
 * leaves half made is replaced by the next call or removed by the delete. What takes time runs
 * on a worker thread (task.h) or in a child (qemu-img under rlimits, as the guest user when root; tarn-seed for ISOs).
 * Of a foreign image the agent itself reads only what image.h describes; its data go through qemu-img.
 */
#pragma once

#include "agent/hypervisor/hypervisor.h"
#include "api/api.h"

struct storage;
struct storage_config {
    uv_loop_t *loop;
    const char *guest_user;
    void (*done)(void *ctx, uint64_t call, const struct error *error, const json_t *result);
    void (*progress)(void *ctx, uint64_t call, int percent, const char *message);
    void (*repository)(void *ctx, const struct api_repository_report *r); /* space or usability changed */
    void *ctx;
};
struct storage *storage_new(const struct storage_config *config); /* copies it */
/* No callback follows; what runs is cancelled, and its memory goes when the loop has run until nothing is active. */
void storage_free(struct storage *s);

/* repository.open also creates an absent or empty directory. The agent calls it again for each known one at its start,
   with existing set: then nothing is made, and one that is absent stays known, unusable, and is looked for again. */
void storage_repository_open(struct storage *s, uint64_t call, const struct api_repository_op *a);
void storage_repository_close(struct storage *s, uint64_t call, const struct api_repository_op *a);
/* Shows another server that this one has the same storage: see api/agent.yaml. */
void storage_repository_prove(struct storage *s, uint64_t call, const struct api_repository_proof *a);
void storage_disk_create(struct storage *s, uint64_t call, const struct api_disk_create *a);
void storage_disk_delete(struct storage *s, uint64_t call, const struct api_disk_op *a);
void storage_template_make(struct storage *s, uint64_t call, const struct api_template_make *a);
void storage_template_seal(struct storage *s, uint64_t call, const struct api_template_op *a);
void storage_template_delete(struct storage *s, uint64_t call, const struct api_template_op *a);
void storage_iso_make(struct storage *s, uint64_t call, const struct api_iso_make *a);
void storage_iso_delete(struct storage *s, uint64_t call, const struct api_iso_op *a);
void storage_upload_open(struct storage *s, uint64_t call, const struct api_upload_open *a);
void storage_upload_delete(struct storage *s, uint64_t call, const struct api_upload_op *a);
void storage_guest_forget(struct storage *s, uint64_t call, const struct api_guest_forget *a);
void storage_cancel(struct storage *s, uint64_t call);

/* Opens everything for a start (making vars and seed when they are needed): ready(ctx, error or NULL, files) once.
   *files is there during the call only; the descriptors in it are the callee's from then on (copy the struct,
   guest_files_done() it). */
void storage_guest_open(struct storage *s, const struct api_guest_start *a,
                        void (*ready)(void *ctx, const struct error *e, struct guest_files *files), void *ctx);

/* An ISO image for reading: ready(ctx, error or NULL, its descriptor, then the callee's) once, perhaps from inside. */
void storage_iso_open(struct storage *s, const char *repository, const char *iso,
                      void (*ready)(void *ctx, const struct error *e, int fd), void *ctx);

/* A descriptor for writing an upload at any offset up to its size, and how much it holds now. Refused (ERR_CONFLICT)
   while the upload is imported or deleted, as an import is while somebody writes: each descriptor goes back to
   storage_upload_done, which closes it. */
int storage_upload_fd(struct storage *s, const char *repository, const char *upload, int64_t *ret_received,
                      struct error *e);
void storage_upload_done(struct storage *s, const char *repository, const char *upload, int fd);

/* SPDX-License-Identifier: Apache-2.0 */
/* The kinds of jobs; and a job's record before it is submitted: its steps, what it locks, what it says it has changed.
 */
#include "core/core_int.h"

static const struct job_kind *const kinds[] = {
    &job_repository_create,
    &job_repository_delete,
    &job_upload_create,
    &job_upload_delete,
    &job_disk_create,
    &job_disk_delete,
    &job_template_create,
    &job_template_delete,
    &job_vm_create,
    &job_vm_delete,
    &job_vm_start,
    &job_vm_stop,
    &job_vm_kill,
    &job_vm_restart,
    &job_vm_suspend,
    &job_vm_resume,
    &job_vm_policy,
    &job_pool_add,
    &job_pool_remove,
    &job_repository_present,
    &job_repository_withdraw,
    &job_vm_migrate,
    &job_iso_create,
    &job_iso_delete,
    &job_vm_cdrom,
    &job_pool_cluster,
    &job_vm_recover,
    &job_server_maintenance,
    &job_server_fence,
};

const struct job_kind *job_kind_by_name(const char *name) {
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (strcmp(kinds[i]->name, name) == 0)
            return kinds[i];
    return NULL;
}

struct api_job *job_draft(struct core *c, const struct job_request *q) {
    char id[UUID_LEN + 1], now[TIME_TEXT_MAX];
    struct api_job *j = xcalloc(1, sizeof *j);
    api_job_init(j);
    core_new_id(c, id);
    str_set(&j->id, id);
    str_set(&j->kind, q->kind->name);
    str_take(&j->title, q->title);
    str_set(&j->actor, q->actor);
    str_set(&j->created, core_now(c, now));
    j->state = API_JOB_STATE_QUEUED;
    if (c->undoing) {
        str_set(&j->undoes, c->undoing);
        memcpy(c->undone_by, id, sizeof c->undone_by);
    }
    j->has_object = true;
    str_set(&j->object.kind, api_kinds[q->object_kind].name);
    str_set(&j->object.id, q->object_id);
    str_set(&j->object.name, q->object_name);
    j->args = q->args ? q->args : json_object();
    j->vars = json_pack("{s:[]}", "plan");
    return j;
}

void job_add_step(struct api_job *j, const struct job_kind *kind, const char *step, int64_t param) {
    j->steps = xreallocarray(j->steps, j->n_steps + 1, sizeof *j->steps);
    struct api_job_step *s = &j->steps[j->n_steps++];
    memset(s, 0, sizeof *s);
    api_job_step_init(s);
    str_set(&s->name, step);
    json_array_append_new(json_object_get(j->vars, "plan"), json_integer(param));
}

void job_lock(struct api_job *j, enum api_kind kind, const char *id, const char *name, bool shared) {
    struct api_object_ref **list = shared ? &j->shared_locks : &j->locks;
    size_t *n = shared ? &j->n_shared_locks : &j->n_locks;
    for (size_t i = 0; i < *n; i++)
        if (str_eq((*list)[i].id, id))
            return;
    *list = xreallocarray(*list, *n + 1, sizeof **list);
    struct api_object_ref *r = &(*list)[(*n)++];
    memset(r, 0, sizeof *r);
    api_object_ref_init(r);
    str_set(&r->kind, api_kinds[kind].name);
    str_set(&r->id, id);
    str_set(&r->name, name);
}

void job_warn(struct api_job *j, char *text) {
    j->warnings = xreallocarray(j->warnings, j->n_warnings + 1, sizeof *j->warnings);
    j->warnings[j->n_warnings++] = text;
}

void job_drop_changes(struct api_job *j) {
    for (size_t i = 0; i < j->n_changes; i++)
        api_change_done(&j->changes[i]);
    j->n_changes = 0;
}

void job_changed(struct job_ctx *x, enum api_kind kind, const char *id, const char *name, const char *action,
                 const char *detail) {
    struct api_job *j = x->job;
    j->changes = xreallocarray(j->changes, j->n_changes + 1, sizeof *j->changes);
    struct api_change *ch = &j->changes[j->n_changes++];
    memset(ch, 0, sizeof *ch);
    api_change_init(ch);
    ch->has_object = true;
    str_set(&ch->object.kind, api_kinds[kind].name);
    str_set(&ch->object.id, id);
    str_set(&ch->object.name, name);
    str_set(&ch->action, action);
    str_set(&ch->detail, str_or(detail, ""));
}

/* ---- servers that it needs ---- */

void job_note_server(struct api_job *j, const char *list, const char *server) {
    json_t *servers = json_object_get(j->vars, list), *known;
    size_t i;
    if (!servers)
        json_object_set_new(j->vars, list, servers = json_array());
    json_array_foreach(servers, i, known) if (str_eq(json_string_value(known), server)) return;
    json_array_append_new(servers, json_string(server));
}

const json_t *job_call_of(const struct api_job *j) {
    const json_t *call = json_object_get(j->vars, "call");
    return call ? call : json_object_get(j->vars, "tried");
}

char *job_wait_text(const struct api_server *s, bool aborting) {
    return xasprintf("%swaits for server %s to connect. If that is gone for good: tarn server delete %s --force",
                     aborting ? "aborting: " : "", s->name, s->name);
}

/* ---- who waits for its end ---- */

void job_reply_at_end(struct job_ctx *x) {
    struct api_job *j = x->job;
    uint64_t request = x->run->request;
    if (!request)
        return;
    x->run->request = 0;
    if (j->state == API_JOB_STATE_DONE) {
        int kind = api_kind_from_text(j->object.kind);
        struct object *o = kind >= 0 ? core_find(x->c, (enum api_kind)kind, j->object.id) : NULL;
        if (o) {
            core_reply_object(x->c, request, 201, o, NULL);
            return;
        }
    }
    _cleanup_error_ struct error e = ERROR_INIT;
    error_set(&e, str_empty(j->error_code) ? ERR_CANCELLED : error_code_parse(j->error_code), "%s",
              str_or(j->error, "the job was aborted"));
    core_reply_error(x->c, request, &e);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Calls of the brain to the drivers. What an op needs of both (a start, a forget) is done one after the other here. */
#include "agent/agent.h"
#include "agent/cluster.h"
#include "agent/fence.h"

#include "os/file.h"
#include "os/log.h"

struct note {
    struct list link; /* agent.notes */
    uint64_t call;
    bool quiet;    /* a look at what is there */
    json_t *args;  /* guest.forget: the driver is done first, then the storage; NULL else */
    bool leaves;   /* guest.release, guest.drop: it is killed before that */
};

struct cdrom {
    struct agent *a;
    uint64_t call;
    struct api_guest_cdrom args;
};

struct start {
    struct agent *a;
    uint64_t call;
    struct api_guest_start args;
};

struct receive {
    struct agent *a;
    uint64_t call;
    struct api_guest_receive args;
};

static struct note *note_find(const struct agent *a, uint64_t call) {
    struct note *n;
    list_for_each(n, &a->notes, link) {
        if (n->call == call)
            return n;
    }
    return NULL;
}

static struct note *note_new(struct agent *a, uint64_t call) {
    struct note *n = xcalloc(1, sizeof(*n));
    n->call = call;
    list_append(&a->notes, &n->link);
    return n;
}

static void note_free(struct note *n) {
    list_remove(&n->link);
    json_decref(n->args);
    free(n);
}

struct fencing {
    struct list link; /* agent.fencings */
    struct fence *fence;
    struct agent *a;
};

static void fencing_free(struct fencing *f) {
    list_remove(&f->link);
    fence_free(f->fence);
    free(f);
}

void dispatch_close(struct agent *a) {
    struct note *n, *next;
    list_for_each_safe(n, next, &a->notes, link) note_free(n);
    struct fencing *f, *after;
    list_for_each_safe(f, after, &a->fencings, link) fencing_free(f);
}

bool dispatch_counts(const struct agent *a, uint64_t call) {
    const struct note *n = note_find(a, call);
    return !n || !n->quiet;
}

static void fail(struct agent *a, uint64_t call, enum error_code code, const char *message) {
    struct error e = {.code = code, .message = (char *)message};
    agent_call_done(a, call, &e, NULL);
}

/* ---- guests ---- */

static void on_files(void *ctx, const struct error *e, struct guest_files *files) {
    struct start *s = ctx;
    struct agent *a = s->a;
    if (e)
        agent_call_done(a, s->call, e, NULL);
    else if (a->closing)
        guest_files_done(files);
    else
        a->config.driver->start(a->hypervisor, s->call, &s->args, files);
    api_guest_start_done(&s->args);
    free(s);
}

static void guest_start(struct agent *a, uint64_t call, const json_t *args) {
    struct start *s = xcalloc(1, sizeof(*s));
    _cleanup_error_ struct error e = ERROR_INIT;
    s->a = a;
    s->call = call;
    if (api_guest_start_parse(args, API_PEER, &s->args, &e) < 0) {
        free(s);
        agent_call_done(a, call, &e, NULL);
        return;
    }
    if (!str_empty(s->args.hypervisor) && !str_eq(s->args.hypervisor, a->config.driver->name)) {
        error_set(&e, ERR_UNSUPPORTED, "this server has no hypervisor driver \"%s\", only \"%s\"", s->args.hypervisor,
                  a->config.driver->name);
        on_files(s, &e, NULL);
    } else if (a->storage) {
        storage_guest_open(a->storage, &s->args, on_files, s);
    } else {
        struct guest_files files;
        guest_files_init(&files);
        on_files(s, NULL, &files);
    }
}

static void guest_forget(struct agent *a, uint64_t call, const json_t *args) {
    note_new(a, call)->args = json_deep_copy(args);
    a->config.driver->forget(a->hypervisor, call, json_str(args, "vm"));
}

static void storage_forget(struct agent *a, uint64_t call, const json_t *args) {
    struct api_guest_forget forget;
    _cleanup_error_ struct error e = ERROR_INIT;
    if (!a->storage || str_empty(json_str(args, "repository"))) {
        agent_call_done(a, call, NULL, NULL);
    } else if (api_guest_forget_parse(args, API_PEER, &forget, &e) < 0) {
        agent_call_done(a, call, &e, NULL);
    } else {
        storage_guest_forget(a->storage, call, &forget);
        api_guest_forget_done(&forget);
    }
}

bool dispatch_continue(struct agent *a, uint64_t call, const struct error *error) {
    struct note *n = note_find(a, call);
    if (!n)
        return false;
    if (n->leaves && (!error || error->code == ERR_OK)) {
        n->leaves = false;
        a->config.driver->forget(a->hypervisor, call, json_str(n->args, "vm"));
        return true;
    }
    _cleanup_json_ json_t *args = TAKE_PTR(n->args);
    note_free(n);
    if (!args || (error && error->code != ERR_OK))
        return false;
    storage_forget(a, call, args);
    return true;
}

/* ---- live migration ---- */

static void on_receive_files(void *ctx, const struct error *e, struct guest_files *files) {
    struct receive *r = ctx;
    struct agent *a = r->a;
    if (e)
        agent_call_done(a, r->call, e, NULL);
    else if (a->closing)
        guest_files_done(files);
    else
        a->config.driver->receive(a->hypervisor, r->call, &r->args, files);
    api_guest_receive_done(&r->args);
    free(r);
}

static void guest_receive(struct agent *a, uint64_t call, const json_t *args) {
    struct receive *r = xcalloc(1, sizeof(*r));
    _cleanup_error_ struct error e = ERROR_INIT;
    r->a = a;
    r->call = call;
    if (api_guest_receive_parse(args, API_PEER, &r->args, &e) < 0) {
        free(r);
        agent_call_done(a, call, &e, NULL);
        return;
    }
    if (str_empty(r->args.address))
        str_set(&r->args.address, a->address);
    if (a->storage) {
        storage_guest_open(a->storage, &r->args.start, on_receive_files, r);
    } else {
        struct guest_files files;
        guest_files_init(&files);
        on_receive_files(r, NULL, &files);
    }
}

/* A case of a call whose arguments have a struct of their own. */
#define MOVE_CALL(OP, type, function)                                       \
    case API_AGENT_OP_GUEST_##OP: {                                         \
        struct api_##type typed;                                            \
        if (api_##type##_parse(args, API_PEER, &typed, &e) < 0)             \
            break;                                                          \
        a->config.driver->function(a->hypervisor, call, &typed);            \
        api_##type##_done(&typed);                                          \
        return;                                                             \
    }

static void guest_move(struct agent *a, uint64_t call, int op, const json_t *args) {
    _cleanup_error_ struct error e = ERROR_INIT;
    struct note *n;
    if (!(a->config.driver->capabilities & HYPERVISOR_MIGRATE)) {
        fail(a, call, ERR_UNSUPPORTED, "this server's hypervisor driver cannot move guests");
        return;
    }
    switch (op) {
        MOVE_CALL(OFFER, guest_offer, offer)
        MOVE_CALL(SEND, guest_send, send)
        MOVE_CALL(UNSEND, guest_move, unsend)
        MOVE_CALL(ACTIVATE, guest_activate, activate)
    case API_AGENT_OP_GUEST_RECEIVE:
        guest_receive(a, call, args);
        return;
    case API_AGENT_OP_GUEST_RELEASE:
    case API_AGENT_OP_GUEST_DROP:
        n = note_new(a, call);
        n->args = json_deep_copy(args);
        n->leaves = true;
        if (op == API_AGENT_OP_GUEST_RELEASE)
            a->config.driver->release(a->hypervisor, call, json_str(args, "vm"));
        else
            a->config.driver->kill(a->hypervisor, call, json_str(args, "vm"));
        return;
    default:
        error_set(&e, ERR_INTERNAL, "the agent has no such call");
    }
    agent_call_done(a, call, &e, NULL);
}

static void on_iso(void *ctx, const struct error *e, int fd) {
    struct cdrom *c = ctx;
    struct agent *a = c->a;
    if (e)
        agent_call_done(a, c->call, e, NULL);
    else if (a->closing)
        close_fd(&fd);
    else
        a->config.driver->cdrom(a->hypervisor, c->call, c->args.vm, (int)c->args.index, fd);
    api_guest_cdrom_done(&c->args);
    free(c);
}

static void guest_cdrom(struct agent *a, uint64_t call, const json_t *args) {
    struct cdrom *c = xcalloc(1, sizeof(*c));
    _cleanup_error_ struct error e = ERROR_INIT;
    c->a = a;
    c->call = call;
    if (api_guest_cdrom_parse(args, API_PEER, &c->args, &e) < 0) {
        free(c);
        agent_call_done(a, call, &e, NULL);
        return;
    }
    if (a->storage && !str_empty(c->args.iso))
        storage_iso_open(a->storage, c->args.repository, c->args.iso, on_iso, c);
    else
        on_iso(c, NULL, -1);
}

static void guest_call(struct agent *a, uint64_t call, int op, const json_t *args) {
    const struct hypervisor_driver *d = a->config.driver;
    const char *vm = json_str(args, "vm");
    switch (op) {
    case API_AGENT_OP_GUEST_START:
        guest_start(a, call, args);
        return;
    case API_AGENT_OP_GUEST_KILL:
        d->kill(a->hypervisor, call, vm);
        return;
    case API_AGENT_OP_GUEST_SUSPEND:
        d->suspend(a->hypervisor, call, vm);
        return;
    case API_AGENT_OP_GUEST_RESUME:
        d->resume(a->hypervisor, call, vm);
        return;
    case API_AGENT_OP_GUEST_FORGET:
        guest_forget(a, call, args);
        return;
    case API_AGENT_OP_GUEST_CDROM:
        guest_cdrom(a, call, args);
        return;
    case HOST_CALL_GUEST_FIND:
        note_new(a, call)->quiet = true;
        d->find(a->hypervisor, call, vm);
        return;
    case HOST_CALL_GUEST_SHUTDOWN:
        d->shutdown(a->hypervisor, call, vm);
        return;
    case API_AGENT_OP_GUEST_LIMITS:
        limits_call(a, call, args);
        return;
    case API_AGENT_OP_GUEST_POLICY:
        if (a->cluster)
            cluster_call(a->cluster, call, op, args);
        else
            agent_call_done(a, call, NULL, NULL);
        return;
    default:
        guest_move(a, call, op, args);
    }
}

static void on_fenced(void *ctx, uint64_t call, const struct error *error, const json_t *result) {
    struct fencing *f = ctx;
    agent_effect_done(f->a, call, error, result);
    fencing_free(f);
}

static void server_fence(struct agent *a, uint64_t call, const json_t *args) {
    struct api_fence_run run;
    _cleanup_error_ struct error e = ERROR_INIT;
    if (api_fence_run_parse(args, API_PEER, &run, &e) < 0) {
        agent_call_done(a, call, &e, NULL);
        return;
    }
    struct fencing *f = xcalloc(1, sizeof(*f));
    f->a = a;
    list_append(&a->fencings, &f->link);
    if (fence_run(a->config.loop, &run, call, on_fenced, f, &f->fence, &e) < 0) {
        agent_call_done(a, call, &e, NULL);
        fencing_free(f);
    }
    api_fence_run_done(&run);
}

static void server_call(struct agent *a, uint64_t call, int op, const json_t *args) {
    if (!a->cluster)
        fail(a, call, ERR_UNSUPPORTED, "a simulated server is in no cluster and has no power switch");
    else if (op == API_AGENT_OP_FENCE_RUN)
        server_fence(a, call, args);
    else
        cluster_call(a->cluster, call, op, args);
}

/* ---- storage ---- */

/* A case of a call whose arguments have a struct of their own. */
#define STORAGE_CALL(OP, type, function)                                                                               \
    case API_AGENT_OP_##OP: {                                                                                          \
        struct api_##type typed;                                                                                       \
        if (api_##type##_parse(args, API_PEER, &typed, &e) < 0)                                                        \
            break;                                                                                                     \
        function(a->storage, call, &typed);                                                                            \
        api_##type##_done(&typed);                                                                                     \
        return;                                                                                                        \
    }

static void storage_call(struct agent *a, uint64_t call, int op, const json_t *args) {
    _cleanup_error_ struct error e = ERROR_INIT;
    switch (op) {
        STORAGE_CALL(REPOSITORY_OPEN, repository_op, storage_repository_open)
        STORAGE_CALL(REPOSITORY_CLOSE, repository_op, storage_repository_close)
        STORAGE_CALL(REPOSITORY_PROVE, repository_proof, storage_repository_prove)
        STORAGE_CALL(DISK_CREATE, disk_create, storage_disk_create)
        STORAGE_CALL(DISK_DELETE, disk_op, storage_disk_delete)
        STORAGE_CALL(TEMPLATE_MAKE, template_make, storage_template_make)
        STORAGE_CALL(TEMPLATE_SEAL, template_op, storage_template_seal)
        STORAGE_CALL(TEMPLATE_DELETE, template_op, storage_template_delete)
        STORAGE_CALL(ISO_MAKE, iso_make, storage_iso_make)
        STORAGE_CALL(ISO_DELETE, iso_op, storage_iso_delete)
        STORAGE_CALL(UPLOAD_OPEN, upload_open, storage_upload_open)
        STORAGE_CALL(UPLOAD_DELETE, upload_op, storage_upload_delete)
    default:
        error_set(&e, ERR_INTERNAL, "the agent has no such call");
    }
    agent_call_done(a, call, &e, NULL);
}

void dispatch_call(struct agent *a, uint64_t call, int op, const json_t *args) {
    if (op <= API_AGENT_OP_GUEST_POLICY || op >= API_AGENT_OP_COUNT) {
        guest_call(a, call, op, args);
        return;
    }
    if (op >= API_AGENT_OP_CLUSTER_CONFIGURE) {
        server_call(a, call, op, args);
        return;
    }
    if (op == API_AGENT_OP_REPOSITORY_OPEN && json_bool(args, "existing", false))
        note_new(a, call)->quiet = true;
    if (a->storage)
        storage_call(a, call, op, args);
    else
        sim_storage_call(a->sim_storage, call, op, args);
}

void dispatch_cancel(struct agent *a, uint64_t call) {
    if (a->storage)
        storage_cancel(a->storage, call);
    if (a->config.driver->cancel)
        a->config.driver->cancel(a->hypervisor, call);
}

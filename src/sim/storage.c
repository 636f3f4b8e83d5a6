/* SPDX-License-Identifier: Apache-2.0 */
/* What is in the repositories: every server sees in one what every other sees. */
#include "sim/sim.h"

#include <stdio.h>

/* "disk/ID/REPOSITORY": a disk that is being moved is in two. */
static void file_key(char *key, size_t size, const char *repository, const char *kind, const char *id) {
    snprintf(key, size, "%s/%.40s/%.40s", kind, id, repository);
}

struct sim_file *sim_file_find(struct sim *s, const char *repository, const char *kind, const char *id) {
    char key[128];
    file_key(key, sizeof key, repository, kind, id);
    return map_get(&s->storage, key);
}

static struct sim_file *file_make(struct sim *s, const char *repository, const char *kind, const char *id) {
    char key[128];
    struct sim_file *f = sim_file_find(s, repository, kind, id);
    if (f)
        return f;
    file_key(key, sizeof key, repository, kind, id);
    f = xcalloc(1, sizeof *f);
    map_put(&s->storage, key, f);
    return f;
}

static void file_remove(struct sim *s, const char *repository, const char *kind, const char *id) {
    char key[128];
    file_key(key, sizeof key, repository, kind, id);
    free(map_remove(&s->storage, key));
}
/* ---- what each call does; NULL: it refuses, with the reason in *why ---- */

static bool upload_is_whole(struct sim *s, const struct sim_file *u, const char *id) {
    if (u && u->received == u->size)
        return true;
    sim_broken(s, "an import has its upload", "%s", id);
    return false;
}

static json_t *do_disk_create(struct sim *s, const json_t *args, const char **why) {
    const char *in = json_str(args, "repository");
    const char *base = json_str(args, "template");
    const struct sim_file *t = *base ? sim_file_find(s, in, "template", base) : NULL;
    if (*base && (!t || !t->sealed)) {
        *why = "the template is not there";
        sim_broken(s, "a disk that is cloned has its template", "%s", base);
        return NULL;
    }
    const char *upload = json_str(args, "upload");
    const struct sim_file *u = *upload ? sim_file_find(s, in, "upload", upload) : NULL;
    if (*upload && !upload_is_whole(s, u, upload)) {
        *why = "the upload is not whole";
        return NULL;
    }
    struct sim_file *f = file_make(s, in, "disk", json_str(args, "disk"));
    f->size = json_int(args, "size", 0);
    if (!f->size)
        f->size = 1 << 20; /* the image's */
    f->whole = true;
    if (str_eq(json_str(args, "clone"), "linked"))
        snprintf(f->base, sizeof f->base, "%s", base);
    return json_pack("{s:I, s:i}", "size", (json_int_t)f->size, "allocated", 4096);
}

/*
 * The guest that has the disk. One that waits for a move has never run, and one that has been sent never runs again
 * when it goes on elsewhere (QEMU has given its images away); of both the server may have been given up.
 */
static struct sim_guest *disk_user(struct sim *s, const char *in, const char *disk) {
    for (int i = 0; i < s->config.servers; i++) {
        struct sim_guest *g;
        list_for_each(g, &s->servers[i].guests, link) {
            for (size_t k = 0; k < g->n_disks && !g->over && !g->incoming && !g->passed; k++)
                if (str_eq(g->disks[k], disk) && str_eq(g->in[k], in))
                    return g;
        }
    }
    return NULL;
}

static bool disk_in_use(struct sim *s, const json_t *args) {
    const char *disk = json_str(args, "disk");
    struct sim_guest *g = disk_user(s, json_str(args, "repository"), disk);
    if (g)
        sim_broken(s, "a disk that a guest uses is not deleted", "%s of %s", disk, g->vm);
    return g != NULL;
}

static bool template_in_use(struct sim *s, const char *template) {
    size_t pos = 0;
    const char *key;
    void *value;
    while (map_next(&s->storage, &pos, &key, &value)) {
        const struct sim_file *f = value;
        if (strncmp(key, "disk/", 5) == 0 && str_eq(f->base, template)) {
            sim_broken(s, "a template with clones is not deleted", "%s: clone %s", template, key);
            return true;
        }
    }
    return false;
}

static json_t *do_template_make(struct sim *s, const json_t *args, const char **why) {
    const char *in = json_str(args, "repository");
    const json_t *file = json_object_get(args, "file");
    const char *upload = json_str(file, "upload"), *from = json_str(file, "from_disk");
    const struct sim_file *u = *upload ? sim_file_find(s, in, "upload", upload) : NULL;
    if (*upload && !upload_is_whole(s, u, upload)) {
        *why = "the upload is not whole";
        return NULL;
    }
    if (*from && !sim_file_find(s, in, "disk", from)) {
        *why = "the disk is not there";
        sim_broken(s, "a golden image has its disk", "%s", from);
        return NULL;
    }
    if (*from && disk_user(s, in, from))
        sim_broken(s, "a disk is not copied while a guest writes it", "%s", from);
    struct sim_file *t = file_make(s, in, "template", json_str(args, "template"));
    if (t->sealed)
        sim_broken(s, "a sealed template does not change", "%s", json_str(args, "template"));
    return json_pack("{s:i, s:i}", "size", 1 << 20, "allocated", 4096);
}

static json_t *do_seal(struct sim *s, const json_t *args, const char **why) {
    const char *in = json_str(args, "repository"), *id = json_str(args, "template");
    struct sim_file *t = sim_file_find(s, in, "template", id);
    if (!t) {
        *why = "there is no template to seal";
        return NULL;
    }
    t->sealed = true;
    return json_object();
}

static json_t *do_iso_make(struct sim *s, const json_t *args, const char **why) {
    const char *in = json_str(args, "repository");
    const char *upload = json_str(args, "upload");
    const struct sim_file *made = sim_file_find(s, in, "iso", json_str(args, "iso"));
    if (*upload && (!made || !made->whole) && !upload_is_whole(s, sim_file_find(s, in, "upload", upload), upload)) {
        *why = "the upload is not whole";
        return NULL;
    }
    file_make(s, in, "iso", json_str(args, "iso"))->whole = true;
    return json_pack("{s:i, s:s}", "size", 1 << 20, "label", "CD");
}

static json_t *do_open(struct sim *s, struct sim_server *v, const json_t *args, const char **why) {
    const char *id = json_str(args, "repository"), *proof = json_str(args, "proof");
    if (*proof && !sim_file_find(s, id, "proof", proof)) {
        *why = "it is another storage";
        return NULL;
    }
    if (!json_bool(args, "existing", false))
        map_put(&v->opened, id, v);
    if (v->repositories_lost || !map_get(&v->opened, id)) {
        *why = "the directory is gone";
        return NULL;
    }
    return json_pack("{s:s, s:b, s:I, s:I}", "repository", id, "usable", 1, "capacity", (json_int_t)1 << 40, "free",
                     (json_int_t)1 << 39);
}
json_t *storage_do(struct sim *s, struct sim_server *v, int op, const json_t *args, const char **why) {
    struct sim_file *f;
    const char *in = json_str(args, "repository");
    bool about = op == API_AGENT_OP_REPOSITORY_OPEN || op == API_AGENT_OP_REPOSITORY_CLOSE;
    if (!about && !map_get(&v->opened, in)) {
        *why = "the repository is not open here";
        return NULL;
    }
    switch (op) {
    case API_AGENT_OP_REPOSITORY_OPEN:
        return do_open(s, v, args, why);
    case API_AGENT_OP_REPOSITORY_PROVE:
        if (json_bool(args, "remove", false))
            file_remove(s, in, "proof", json_str(args, "proof"));
        else
            file_make(s, in, "proof", json_str(args, "proof"));
        return json_object();
    case API_AGENT_OP_REPOSITORY_CLOSE:
        map_remove(&v->opened, in);
        return json_object();
    case API_AGENT_OP_DISK_CREATE:
        return do_disk_create(s, args, why);
    case API_AGENT_OP_DISK_DELETE:
        if (!disk_in_use(s, args))
            file_remove(s, in, "disk", json_str(args, "disk"));
        return json_object();
    case API_AGENT_OP_TEMPLATE_MAKE:
        return do_template_make(s, args, why);
    case API_AGENT_OP_TEMPLATE_SEAL:
        return do_seal(s, args, why);
    case API_AGENT_OP_TEMPLATE_DELETE:
        if (!template_in_use(s, json_str(args, "template")))
            file_remove(s, in, "template", json_str(args, "template"));
        return json_object();
    case API_AGENT_OP_ISO_MAKE:
        return do_iso_make(s, args, why);
    case API_AGENT_OP_ISO_DELETE:
        file_remove(s, in, "iso", json_str(args, "iso"));
        return json_object();
    case API_AGENT_OP_UPLOAD_OPEN:
        f = file_make(s, in, "upload", json_str(args, "upload"));
        f->size = json_int(args, "size", 0);
        return json_pack("{s:s, s:I}", "upload", json_str(args, "upload"), "received", (json_int_t)f->received);
    case API_AGENT_OP_UPLOAD_DELETE:
        file_remove(s, in, "upload", json_str(args, "upload"));
        return json_object();
    default:
        return json_object();
    }
}

/* What a call that dies half-way leaves: a partial file under the name that the next try replaces. */
void storage_half(struct sim *s, int op, const json_t *args) {
    const char *in = json_str(args, "repository");
    if (op == API_AGENT_OP_DISK_CREATE && !sim_file_find(s, in, "disk", json_str(args, "disk")))
        file_make(s, in, "disk", json_str(args, "disk"));
    if (op == API_AGENT_OP_TEMPLATE_MAKE)
        file_make(s, in, "template", json_str(args, "template"));
    if (op == API_AGENT_OP_ISO_MAKE)
        file_make(s, in, "iso", json_str(args, "iso"));
}

void storage_done(struct sim *s) {
    size_t pos = 0;
    void *value;
    while (map_next(&s->storage, &pos, NULL, &value))
        free(value);
    map_done(&s->storage);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* tarn template, disk and iso import: uploads what is local, then one POST, then the job. */
#include "api/api.h"
#include "base/id.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/job.h"
#include "cli/text.h"
#include "cli/upload.h"

#include <stdio.h>

#define SERVER_PREFIX "server:"

struct source {
    const char *option; /* --disk */
    const char *field;  /* image */
    const char *path;   /* as given; NULL: not given */
    char *upload;       /* its id, once there is one */
};

static const struct api_cli_flag *format_flag(void) {
    static const char *choices[16];
    const struct api_schema *image = NULL;
    for (size_t i = 0; i < api_ops[API_OP_TEMPLATE_CREATE].body->n_fields; i++)
        if (str_eq(api_ops[API_OP_TEMPLATE_CREATE].body->fields[i].name, "image"))
            image = api_ops[API_OP_TEMPLATE_CREATE].body->fields[i].schema;
    static struct api_cli_flag flag = {.name = "format", .path = "format", .type = API_CLI_ENUM, .choices = choices};
    for (size_t i = 0; image && i < image->n_fields; i++)
        for (size_t k = 0; str_eq(image->fields[i].name, "format") && k < image->fields[i].choices->n && k < 15; k++)
            choices[k] = image->fields[i].choices->texts[k];
    return &flag;
}

static int sources_check(const struct args *a, const struct source *sources, struct error *e) {
    bool disk = sources[0].path, kernel = sources[1].path, initrd = sources[2].path;
    bool from_vm = json_object_get(a->body, "from_vm") != NULL;
    if (from_vm && (disk || kernel || initrd))
        return error_set(
            e, ERR_INVALID,
            "--from-vm takes everything from the virtual machine: leave out --disk, --kernel and --initrd");
    if (!disk && !kernel && !from_vm)
        return error_set(e, ERR_INVALID, "give --disk FILE, or --kernel FILE and --initrd FILE, or --from-vm VM");
    if (initrd && !kernel)
        return error_set(e, ERR_INVALID, "--initrd needs --kernel");
    if (args_has(a, "format") && !disk)
        return error_set(e, ERR_INVALID, "--format is about --disk");
    return 0;
}

/* Puts the source into the body: a path on the server as it is, a local file by its upload. */
static int source_place(struct cli *cli, struct source *s, struct error *e) {
    json_t *image = json_object(), *format = NULL;
    json_object_set_new(cli->args.body, s->field, image);
    if (str_eq(s->option, "disk") && args_has(&cli->args, "format")) {
        int r = flag_value(format_flag(), args_option(&cli->args, "format"), &format, e);
        if (r < 0)
            return r;
        json_object_set_new(image, "format", format);
    }
    if (strncmp(s->path, SERVER_PREFIX, strlen(SERVER_PREFIX)) == 0) {
        json_set_str(image, "path", s->path + strlen(SERVER_PREFIX));
        return 0;
    }
    if (cli->dry_run) {
        json_set_str(image, "upload", s->path);
        return 0;
    }
    const char *repository = json_string_value(json_object_get(cli->args.body, "repository"));
    int r = upload_send(cli, s->path, repository, json_object_get(cli->args.options, "resume"), &s->upload, e);
    if (r >= 0)
        json_set_str(image, "upload", s->upload);
    return r;
}

/* What stays behind after a failure, and what to do about it. */
static void leftovers(struct cli *cli, const struct source *sources, size_t n, bool interrupted) {
    bool keep = interrupted || args_has(&cli->args, "keep-uploads");
    struct buf resume = {0};
    for (size_t i = 0; i < n; i++) {
        if (!sources[i].upload)
            continue;
        if (!keep) {
            upload_discard(cli, sources[i].upload);
            continue;
        }
        fprintf(stderr, "tarn: the upload %s of %s is left; throw it away with: tarn upload delete %s\n",
                sources[i].upload, sources[i].path, sources[i].upload);
        buf_addf(&resume, " --resume %s", sources[i].upload);
    }
    if (keep)
        fprintf(stderr, "tarn: nothing was made%s%s\n",
                resume.len ? "; to go on where it stopped, give the same command with" : "",
                resume.len ? resume.data : "");
    buf_done(&resume);
}

/* Whether the job has ended with nothing made is told too: then its uploads are still there. */
static int import_follow(struct cli *cli, json_t *job, bool *ret_undone, struct error *e) {
    if (args_has(&cli->args, "no-wait"))
        return engine_job(cli, job, e);
    _cleanup_json_ json_t *ended = NULL;
    int r = job_follow(cli, job, &ended, e);
    if (r != 0)
        return r;
    *ret_undone = !str_eq(json_str(ended, "state"), "done");
    return job_print_ended(cli, ended, e);
}

/* Before anything is sent: a file of many GiB in vain is a bad way to learn that a name is taken. */
static int name_check(struct cli *cli, const char *path, struct error *e) {
    const char *name = json_str(cli->args.body, "name");
    const char *problem = name_problem(name);
    if (problem)
        return error_set_field(e, ERR_INVALID, "name", "%s", problem);
    if (cli->dry_run)
        return 0;
    struct buf one = {0};
    _cleanup_json_ json_t *found = NULL;
    _cleanup_error_ struct error absent = ERROR_INIT;
    buf_addf(&one, "%s/", path);
    url_encode(&one, name);
    int r = http_get(cli->http, one.data, &found, &absent);
    buf_done(&one);
    if (r >= 0)
        return error_set_field(e, ERR_EXISTS, "name", "there is a %.*s with the name \"%s\" already",
                               (int)strlen(path) - 2, path + 1, name);
    return 0; /* free, or something that the import will meet itself */
}

/* Uploads, asks, follows the job. */
static int import_sources(struct cli *cli, struct source *sources, size_t n, const char *path, struct error *e) {
    int r = name_check(cli, path, e);
    if (r < 0)
        return r;
    upload_catch_interrupts(true);
    for (size_t i = 0; i < n && r >= 0; i++)
        if (sources[i].path)
            r = source_place(cli, &sources[i], e);
    if (r >= 0 && cli->dry_run) {
        cli_print_request(cli, "POST", path, cli->args.body);
        return 0;
    }
    _cleanup_reply_ struct http_reply reply = {0};
    if (r >= 0 && upload_interrupted)
        r = error_set(e, ERR_CANCELLED, "interrupted");
    if (r >= 0)
        r = http_do(cli->http, &(struct http_request){.method = "POST", .path = path, .body = cli->args.body, .fd = -1},
                    &reply, e);
    upload_catch_interrupts(false);
    bool interrupted = upload_interrupted != 0, undone = r < 0;
    int result = interrupted && r < 0 ? EXIT_INTERRUPTED : r < 0 ? r : import_follow(cli, reply.body, &undone, e);
    if (undone)
        leftovers(cli, sources, n, interrupted);
    for (size_t i = 0; i < n; i++)
        free(sources[i].upload);
    return result;
}

int import_run(struct cli *cli, struct error *e) {
    const struct args *a = &cli->args;
    struct source sources[] = {{"disk", "image", args_option(a, "disk"), NULL},
                               {"kernel", "kernel_image", args_option(a, "kernel"), NULL},
                               {"initrd", "initrd_image", args_option(a, "initrd"), NULL}};
    int r = sources_check(a, sources, e);
    return r < 0 ? r : import_sources(cli, sources, ARRAY_LEN(sources), "/templates", e);
}

/* FILE [NAME]: the name is the file's without its ending, unless it is given. */
static int name_place(struct cli *cli, struct error *e) {
    const struct args *a = &cli->args;
    const char *slash = strrchr(a->values[0], '/');
    _cleanup_free_ char *name = xstrdup(a->n_values > 1 ? a->values[1] : slash ? slash + 1 : a->values[0]);
    char *dot = a->n_values > 1 ? NULL : strrchr(name, '.');
    if (dot && dot > name)
        *dot = 0;
    if (a->n_values < 2 && name_problem(name))
        return error_set(e, ERR_INVALID, "\"%.100s\" cannot be its name: it %s; give one behind the file", name,
                         name_problem(name));
    json_set_str(a->body, "name", name);
    return 0;
}

static int import_one(struct cli *cli, const char *option, const char *path, struct error *e) {
    struct source source = {option, "image", cli->args.values[0], NULL};
    int r = name_place(cli, e);
    return r < 0 ? r : import_sources(cli, &source, 1, path, e);
}

int import_disk_run(struct cli *cli, struct error *e) { return import_one(cli, "disk", "/disks", e); }
int import_iso_run(struct cli *cli, struct error *e) { return import_one(cli, "iso", "/isos", e); }

/* SPDX-License-Identifier: Apache-2.0 */
/* The commands that are one request: a row of the table says everything that is needed. */
#include "api/api.h"
#include "api/said.h"
#include "base/id.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/job.h"
#include "cli/show.h"
#include "cli/text.h"

#include <stdio.h>
#include <time.h>

#define PAGE            1000
#define HISTORY_DEFAULT 100 /* of jobs, which are never forgotten */
#define WATCH_LOOK_MS   100
#define WATCH_LOOKS     30

char *engine_path(const struct cli *cli) {
    const struct api_cli_command *row = cli->args.command->row;
    const char *values[API_CLI_ARGS];
    size_t n = 0;
    for (int i = 0; i < API_CLI_ARGS && row->args[i] && i < cli->args.n_values; i++)
        if (command_arg_in_path(row, i))
            values[n++] = cli->args.values[i];
    return url_path(row->path, values, n);
}

/* ---- ids by their beginning ---- */

#define ID_PREFIX_MIN 4

static bool is_id_prefix(const char *s) {
    size_t n = strlen(s);
    return n >= ID_PREFIX_MIN && n < UUID_LEN && strspn(s, "0123456789abcdef-") == n;
}

/* The one id of the kind that begins so, malloc'd; NULL where there is none. */
static int id_find(struct cli *cli, const char *kind, const char *prefix, char **ret, struct error *e) {
    struct buf path = {0};
    _cleanup_json_ json_t *found = NULL;
    _cleanup_free_ char *id = NULL;
    buf_adds(&path, "/search");
    url_query(&path, "q", prefix);
    url_query(&path, "limit", "100");
    int r = http_get(cli->http, path.data, &found, e);
    buf_done(&path);
    size_t i, n = 0;
    json_t *item;
    json_array_foreach(json_object_get(found, "items"), i, item) {
        if (!str_eq(json_str(item, "kind"), kind) || strncmp(json_str(item, "id"), prefix, strlen(prefix)) != 0)
            continue;
        n++;
        str_set(&id, json_str(item, "id"));
    }
    if (r >= 0 && n > 1)
        return error_set(e, ERR_INVALID, "%zu ids of the kind %s begin with %s: give more of it", n, kind, prefix);
    if (r >= 0 && n == 1)
        *ret = TAKE_PTR(id);
    return r < 0 ? r : 0;
}

static int resolve_one(struct cli *cli, int i, const char *kind, struct error *e) {
    const char *text = cli->args.values[i];
    int k = api_kind_from_text(kind);
    if (k < 0 || !is_id_prefix(text))
        return 0;
    struct buf path = {0};
    _cleanup_json_ json_t *object = NULL;
    _cleanup_error_ struct error absent = ERROR_INIT;
    buf_addf(&path, "/%s/", api_kinds[k].plural);
    url_encode(&path, text);
    int r = http_get(cli->http, path.data, &object, &absent);
    buf_done(&path);
    if (r >= 0 || absent.code != ERR_NOT_FOUND)
        return 0; /* a name, or what the request itself will meet */
    r = id_find(cli, kind, text, &cli->ids[i], e);
    if (r >= 0 && cli->ids[i])
        cli->args.values[i] = cli->ids[i];
    return r;
}

int engine_resolve(struct cli *cli, struct error *e) {
    const struct command *c = cli->args.command;
    for (int i = 0; i < API_CLI_ARGS && i < cli->args.n_values; i++) {
        const char *kind = c->row && c->row->args[i] && command_arg_in_path(c->row, i) ? c->row->args[i]
                           : !c->row && i == 0                                         ? c->object
                                                                                       : NULL;
        int r = kind ? resolve_one(cli, i, kind, e) : 0;
        if (r < 0)
            return r;
    }
    return 0;
}

/* ---- requests ---- */

/* The same with what the arguments gave as query parameters. */
static char *query_path(const struct cli *cli) {
    struct buf path = {0};
    const char *name;
    json_t *value;
    _cleanup_free_ char *begin = engine_path(cli);
    buf_adds(&path, begin);
    json_object_foreach(cli->args.body, name, value) {
        _cleanup_free_ char *text = json_is_string(value) ? xstrdup(json_string_value(value)) : json_text(value);
        url_query(&path, name, text);
    }
    return buf_take(&path);
}

/* ---- lists ---- */

static char *page_path(const char *plural, const char *filter, const char *sort, const char *fields, int64_t limit,
                       const char *after) {
    struct buf path = {0};
    char number[24];
    buf_addf(&path, "/%s", plural);
    snprintf(number, sizeof number, "%lld", (long long)limit);
    url_query(&path, "limit", number);
    if (filter)
        url_query(&path, "filter", filter);
    if (sort)
        url_query(&path, "sort", sort);
    if (fields)
        url_query(&path, "fields", fields);
    if (after)
        url_query(&path, "after", after);
    return buf_take(&path);
}

int engine_list(struct cli *cli, const char *plural, const char *filter, const char *sort, const char *fields,
                int64_t limit, json_t **ret, struct error *e) {
    _cleanup_json_ json_t *all = json_array();
    _cleanup_free_ char *after = NULL;
    for (;;) {
        int64_t left = limit ? limit - (int64_t)json_array_size(all) : PAGE;
        _cleanup_free_ char *path = page_path(plural, filter, sort, fields, left < PAGE ? left : PAGE, after);
        _cleanup_json_ json_t *page = NULL;
        int r = http_get(cli->http, path, &page, e);
        if (r < 0)
            return r;
        json_t *items = json_object_get(page, "items");
        if (!json_is_array(items))
            return error_set(e, ERR_INTERNAL, "the manager's answer holds no list (GET %s)", path);
        json_array_extend(all, items);
        const char *next = json_string_value(json_object_get(page, "next"));
        /* A page may be empty and not the last: the manager looks at so many events at a time. */
        if (str_empty(next) || (limit && (int64_t)json_array_size(all) >= limit))
            break;
        if (str_eq(next, after))
            return error_set(e, ERR_INTERNAL, "the manager's list does not move on (GET %s)", path);
        str_set(&after, next);
    }
    *ret = TAKE_PTR(all);
    return 0;
}

static bool has_name(const struct api_cli_view *view) {
    for (const struct api_cli_field *f = view->fields; f->name; f++)
        if (str_eq(f->name, "name"))
            return true;
    return false;
}

/* The top-level fields that the columns need; malloc'd. */
static char *fields_of(const struct api_cli_view *view, const struct column *columns) {
    struct buf b = {0};
    bool name = has_name(view);
    buf_adds(&b, name ? "id,name" : "id");
    for (const struct column *c = columns; c && c->path; c++) {
        _cleanup_free_ char *top = xstrndup(c->path, strcspn(c->path, "."));
        if (!str_eq(top, "id") && !(name && str_eq(top, "name")))
            buf_addf(&b, ",%s", top);
    }
    return buf_take(&b);
}

int engine_list_run(struct cli *cli, const char *also, struct error *e) {
    const struct args *a = &cli->args;
    const struct api_cli_command *row = a->command->row;
    const char *names = args_option(a, "fields"), *given = args_option(a, "filter"), *sort = args_option(a, "sort");
    _cleanup_free_ char *both = also && !str_empty(given) ? xasprintf("%s,%s", given, also) : NULL;
    const char *filter = both ? both : also ? also : given;
    _cleanup_columns_ struct column *columns = NULL;
    int64_t limit;
    bool history = str_eq(row->path, "/jobs");
    int r = args_number(a, "limit", 1, INT32_MAX, history ? HISTORY_DEFAULT : 0, &limit, e);
    if (r >= 0)
        r = columns_make(row->result, names, &columns, e);
    if (r < 0)
        return r;
    /* Programs that want JSON get whole objects unless they choose fields. */
    bool all = !names && (cli->output == OUTPUT_JSON || cli->output == OUTPUT_YAML);
    _cleanup_free_ char *fields = all ? NULL : fields_of(row->result, cli->output == OUTPUT_NAME ? NULL : columns);
    if (cli->dry_run) {
        _cleanup_free_ char *path =
            page_path(row->path + 1, filter, sort, fields, limit && limit < PAGE ? limit : PAGE, NULL);
        cli_print_request(cli, "GET", path, NULL);
        return 0;
    }
    _cleanup_json_ json_t *list = NULL;
    r = engine_list(cli, row->path + 1, filter, sort, fields, limit, &list, e);
    bool pools = str_eq(row->path, "/pools") && cli->output == OUTPUT_TABLE && !names;
    if (r >= 0)
        r = pools ? pools_show(cli, list, e) : show_list(cli, list, columns);
    if (r >= 0 && history && !args_has(a, "limit") && json_array_size(list) == HISTORY_DEFAULT)
        cli_note(cli, "these are the last %d; --limit N shows more", HISTORY_DEFAULT);
    return r;
}

/* ---- everything else ---- */

/* "user bob created": what happened, where there is nothing to show. */
static void say_done(const struct cli *cli, const json_t *object) {
    const struct command *c = cli->args.command;
    const char *verb = c->verb, *name = json_str(object, "name");
    const char *what = str_eq(verb, "create")   ? "created"
                       : str_eq(verb, "set")    ? "changed"
                       : str_eq(verb, "delete") ? "deleted"
                       : str_eq(verb, "ack")    ? "acknowledged"
                       : str_eq(verb, "abort")  ? "is being aborted"
                                                : "done";
    _cleanup_free_ char *safe = text_safe(*name ? name : cli->args.n_values ? cli->args.values[0] : "");
    _cleanup_free_ char *line = xasprintf("%s %s: %s\n", c->object, safe, what);
    cli_write(line, strlen(line));
}

/* What went with an object that was deleted, if anything did. */
static int say_deleted(struct cli *cli, const json_t *object, const struct api_cli_view *view) {
    const json_t *value;
    const char *field;
    bool more = false;
    say_done(cli, object);
    json_object_foreach((json_t *)object, field, value) more |= json_array_size(value) > 0;
    return more ? show_object(cli, object, view) : 0;
}

/* Its server is told that it is to watch it, and answers in a moment: a new reference to the virtual machine then. */
static json_t *watched_soon(struct cli *cli, const json_t *vm) {
    const struct timespec moment = {.tv_nsec = WATCH_LOOK_MS * 1000000L};
    _cleanup_json_ json_t *now = json_deep_copy(vm);
    struct buf path = {0};
    buf_adds(&path, "/vms/");
    url_encode(&path, json_str(vm, "id"));
    for (int i = 0; i < WATCH_LOOKS && str_eq(json_str(now, "guarded_reason"), SAID_NOT_WATCHED_YET); i++) {
        json_t *next = NULL;
        nanosleep(&moment, NULL);
        if (http_get(cli->http, path.data, &next, NULL) < 0)
            break;
        json_decref(now);
        now = next;
    }
    buf_done(&path);
    return TAKE_PTR(now);
}

static void warn_not_elsewhere(struct cli *cli, const json_t *vm, const char *why) {
    _cleanup_free_ char *line =
        xasprintf("%s: it is highly available, but would not start elsewhere when its server is lost: %s",
                  json_str(vm, "name"), why);
    cli_warn(line);
}

/* Made highly available where that does nothing. */
static void warn_unguarded(struct cli *cli, const json_t *changed) {
    if (str_empty(json_str(changed, "guarded_reason")) || !json_object_get(cli->args.body, "ha"))
        return;
    _cleanup_json_ json_t *vm = watched_soon(cli, changed);
    const char *why = json_str(vm, "guarded_reason");
    if (!*why)
        return;
    warn_not_elsewhere(cli, vm, why);
}

/* Those that a rule ties to one server. */
static void warn_tied(struct cli *cli, const json_t *rule) {
    _cleanup_json_ json_t *page = NULL;
    _cleanup_free_ char *filter =
        xasprintf("ha.enabled=true,guarded_reason~placement rule \"%s\"", json_str(rule, "name"));
    struct buf path = {0};
    const json_t *vm;
    size_t i;
    buf_adds(&path, "/vms?fields=name,guarded_reason&filter=");
    url_encode(&path, filter);
    int r = json_is_true(json_object_get(rule, "must")) ? http_get(cli->http, path.data, &page, NULL) : -1;
    buf_done(&path);
    json_array_foreach(r < 0 ? NULL : json_object_get(page, "items"), i, vm)
        warn_not_elsewhere(cli, vm, json_str(vm, "guarded_reason"));
}

/* Of a server that is away people would take for true of now what it saw last; programs get it as it is. */
static void forget_what_it_saw(json_t *server) {
    json_t *cluster = json_object_get(server, "cluster");
    if (!str_eq(json_str(server, "state"), "offline") || str_empty(json_str(cluster, "pool")))
        return;
    json_object_del(cluster, "quorate");
    json_object_del(cluster, "members");
    if (str_empty(json_str(cluster, "reason")))
        json_set_str(cluster, "reason", "it is offline: what it sees now is not known");
}

static int answer(struct cli *cli, json_t *object, struct error *e) {
    const struct command *c = cli->args.command;
    bool change = c->row->change || str_eq(c->verb, "create") || str_eq(c->verb, "ack") || str_eq(c->verb, "abort");
    const struct api_cli_view *view = c->row->result;
    if (cli->output == OUTPUT_TABLE && object && *json_str(object, "ca_fingerprint") &&
        str_eq(json_str(json_object_get(object, "token"), "kind"), "join"))
        cli_note(cli, "on the server that joins: TARN_JOIN_TOKEN=%s.%s tarn-agent join --manager %s",
                 json_str(object, "secret"), json_str(object, "ca_fingerprint"), cli->url.base);
    if (cli->output == OUTPUT_TABLE && object && *json_str(object, "ca_fingerprint") && url_is_loopback(&cli->url))
        cli_note(cli,
                 "that address is this machine's alone: another server needs one by which it reaches the manager, "
                 "which the manager must listen on and have in its certificate (tarn-manager --listen :8443 --name "
                 "NAME)");
    if (change && object)
        warn_unguarded(cli, object);
    if (change && object && str_eq(c->object, "rule"))
        warn_tied(cli, object);
    if (!object || !view || (change && view->kind && cli->output == OUTPUT_TABLE)) {
        if (cli->output == OUTPUT_TABLE)
            say_done(cli, object);
        return 0;
    }
    if (str_eq(c->verb, "delete") && cli->output == OUTPUT_TABLE)
        return say_deleted(cli, object, view);
    if (str_eq(c->object, "server") && cli->output == OUTPUT_TABLE)
        forget_what_it_saw(object);
    int r = show_object(cli, object, view);
    bool pool = str_eq(c->object, "pool") && str_eq(c->verb, "show") && cli->output == OUTPUT_TABLE;
    return r >= 0 && pool ? pool_members_show(cli, object, e) : r;
}

/* Who asks for an end while the beginning is still under way gets the job that is aborted for that. */
static bool asked_to_end(const struct cli *cli, const json_t *job) {
    const struct api_cli_command *row = cli->args.command->row;
    return row && row->on_off && json_is_false(json_object_get(cli->args.body, row->args[0])) &&
           json_is_true(json_object_get(job, "abort_requested"));
}

int engine_job(struct cli *cli, json_t *job, struct error *e) {
    if (args_has(&cli->args, "no-wait"))
        return job_print_started(cli, job, e);
    json_t *ended = NULL;
    int r = job_follow(cli, job, &ended, e);
    if (r == 0 && asked_to_end(cli, job) && str_eq(json_str(ended, "state"), "aborted") && cli->output == OUTPUT_TABLE)
        say_done(cli, json_object_get(ended, "object"));
    else if (r == 0)
        r = job_print_ended(cli, ended, e);
    json_decref(ended);
    return r;
}

int engine_run(struct cli *cli, struct error *e) {
    const struct args *a = &cli->args;
    const struct api_cli_command *row = a->command->row;
    if (row->list)
        return engine_list_run(cli, NULL, e);
    _cleanup_free_ char *path = row->query ? query_path(cli) : engine_path(cli);
    const json_t *body = row->query ? NULL : a->body;
    if (cli->dry_run) {
        cli_print_request(cli, row->method, path, body);
        return 0;
    }
    _cleanup_reply_ struct http_reply reply = {0};
    struct http_request request = {
        .method = row->method, .path = path, .body = body, .fd = -1, .if_match = args_option(a, "if-match")};
    int r = http_do(cli->http, &request, &reply, e);
    if (r < 0)
        return r;
    if (row->job && json_is_object(reply.body))
        return engine_job(cli, reply.body, e);
    return answer(cli, reply.body, e);
}

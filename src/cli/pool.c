/* SPDX-License-Identifier: Apache-2.0 */
/* Pools with what is in them: their servers and figures are no fields of theirs, and are asked for. */
#include "base/mem.h"
#include "base/units.h"
#include "cli/cli.h"
#include "cli/show.h"
#include "cli/text.h"

#include <stdio.h>

static int64_t count_all(const json_t *states) {
    int64_t n = 0;
    size_t i;
    json_t *item;
    json_array_foreach((json_t *)states, i, item) n += json_int(item, "count", 0);
    return n;
}

/* "3", "3, 1 offline" */
static char *servers_text(const json_t *states) {
    size_t i;
    json_t *item;
    int64_t online = 0, all = count_all(states);
    json_array_foreach((json_t *)states, i, item) if (str_eq(json_str(item, "state"), "online")) online =
        json_int(item, "count", 0);
    return online == all ? xasprintf("%lld", (long long)all)
                         : xasprintf("%lld, %lld offline", (long long)all, (long long)(all - online));
}

static char *size_of(int64_t used, int64_t all) {
    char a[SIZE_TEXT_MAX], b[SIZE_TEXT_MAX];
    return all ? xasprintf("%s of %s", size_format(used, a), size_format(all, b)) : xstrdup("");
}

static void set(json_t *row, const char *name, char *text) {
    json_set_str(row, name, text);
    free(text);
}

/* Best effort: a figure that cannot be had is left out. */
static void figures_add(struct cli *cli, json_t *row) {
    _cleanup_buf_ struct buf path = {0};
    _cleanup_json_ json_t *sum = NULL;
    _cleanup_error_ struct error ignored = ERROR_INIT;
    buf_adds(&path, "/summary");
    url_query(&path, "pool", json_str(row, "id"));
    if (http_get(cli->http, path.data, &sum, &ignored) < 0)
        return;
    const json_t *c = json_object_get(sum, "capacity");
    int64_t cpus = json_int(c, "cpus", 0), storage = json_int(c, "storage", 0);
    set(row, "servers", servers_text(json_object_get(sum, "servers")));
    json_set_int(row, "vms", count_all(json_object_get(sum, "vms")));
    if (cpus)
        set(row, "cpus",
            xasprintf("%.2f of %lld", json_number_value(json_object_get(c, "cpus_used")), (long long)cpus));
    set(row, "memory", size_of(json_int(c, "memory_allocated", 0), json_int(c, "memory", 0)));
    set(row, "storage", size_of(storage - json_int(c, "storage_free", 0), storage));
}

int pools_show(struct cli *cli, const json_t *pools, struct error *e) {
    static const struct column columns[] = {
        {.path = "name", .title = "NAME"},
        {.path = "servers", .title = "SERVERS"},
        {.path = "vms", .title = "VMS", .type = API_CLI_INTEGER},
        {.path = "cpus", .title = "CPUS USED"},
        {.path = "memory", .title = "MEMORY GIVEN"},
        {.path = "storage", .title = "STORAGE USED"},
        {.path = "clustered", .title = "CLUSTERED"},
        {.path = "placement", .title = "PLACEMENT"},
        {.path = "cpu_model", .title = "CPU MODEL"},
        {0},
    };
    size_t i;
    json_t *row;
    _cleanup_json_ json_t *rows = json_deep_copy(pools);
    json_array_foreach(rows, i, row) figures_add(cli, row);
    return show_list(cli, rows, columns);
}

int pool_members_show(struct cli *cli, const json_t *pool, struct error *e) {
    struct command servers;
    _cleanup_columns_ struct column *columns = NULL;
    _cleanup_json_ json_t *list = NULL;
    _cleanup_free_ char *filter = xasprintf("pool=%s", json_str(pool, "id"));
    if (!command_find("server", "list", &servers))
        return 0;
    int r = engine_list(cli, "servers", filter, NULL, NULL, 0, &list, e);
    if (r >= 0)
        r = columns_make(servers.row->result, NULL, &columns, e);
    if (r < 0)
        return r;
    if (!json_array_size(list))
        cli_note(cli, "no server is in the pool: tarn pool add %s SERVER", json_str(pool, "name"));
    else
        cli_write("\n", 1);
    return json_array_size(list) ? show_list(cli, list, columns) : 0;
}

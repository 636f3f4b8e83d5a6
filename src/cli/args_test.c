/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/args.h"

#include "base/mem.h"
#include "cli/cli.h"
#include "cli/completion.h"
#include "cli/show.h"
#include "cli/text.h"
#include "cli/trust.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#define WORDS_MAX 32

/* "vm create x --cpus 2" split at spaces; ~ stands for a space inside a word. */
static int words_of(char *text, char *words[WORDS_MAX]) {
    int n = 0;
    for (char *word; (word = strsep(&text, " ")) && n < WORDS_MAX;) {
        for (char *p = word; *p; p++)
            *p = *p == '~' ? ' ' : *p;
        words[n++] = word;
    }
    return n;
}

static int parse(const char *line, struct args *ret, struct error *e) {
    static struct command command;
    static char text[4096];
    char *words[WORDS_MAX];
    snprintf(text, sizeof text, "%s", line);
    int n = words_of(text, words), skip = 2;
    if (!command_find(words[0], n > 1 ? words[1] : "", &command)) {
        assert_true(command_find(words[0], "", &command));
        skip = 1;
    }
    int r = args_parse(&command, n - skip, words + skip, ret, e);
    return r < 0 ? r : args_check(ret, e);
}

static void expect_body(const char *line, const char *json) {
    _cleanup_args_ struct args a = {0};
    _cleanup_error_ struct error e = ERROR_INIT;
    if (parse(line, &a, &e) < 0)
        fail_msg("%s: %s", line, e.message);
    json_t *want = json_loads(json, 0, NULL);
    assert_non_null(want);
    if (!json_equal(want, a.body)) {
        char *got = json_text(a.body);
        fail_msg("%s: %s", line, got);
    }
    json_decref(want);
}

static void expect_error(const char *line, const char *part) {
    _cleanup_args_ struct args a = {0};
    _cleanup_error_ struct error e = ERROR_INIT;
    if (parse(line, &a, &e) >= 0)
        fail_msg("%s was taken", line);
    if (!strstr(e.message, part))
        fail_msg("%s: \"%s\" has no \"%s\"", line, e.message, part);
    assert_int_equal(error_exit_code(e.code), 2);
}

static void bodies(void **state) {
    expect_body("vm create x", "{\"name\":\"x\"}");
    expect_body("vm create --cpus 2 x --memory=256MiB", "{\"name\":\"x\",\"cpus\":2,\"memory\":268435456}");
    expect_body("vm create x --memory 1.5G --start", "{\"name\":\"x\",\"memory\":1610612736,\"start\":true}");
    expect_body("vm create x --no-start", "{\"name\":\"x\",\"start\":false}");
    expect_body("vm create x --start=false", "{\"name\":\"x\",\"start\":false}");
    expect_body("vm create x --disk size=10GiB,bus=virtio-scsi --disk disk=d1,read-only",
                "{\"name\":\"x\",\"disks\":[{\"size\":10737418240,\"bus\":\"virtio-scsi\"},{\"disk\":\"d1\",\"read_"
                "only\":true}]}");
    expect_body("vm create x --nic model=e1000", "{\"name\":\"x\",\"nics\":[{\"model\":\"e1000\"}]}");
    expect_body("vm create x --nic= --nic model=virtio", "{\"name\":\"x\",\"nics\":[{},{\"model\":\"virtio\"}]}");
    expect_body("vm create x --no-nic", "{\"name\":\"x\",\"nics\":[]}");
    expect_body("vm create x --tag a --tag b,c", "{\"name\":\"x\",\"tags\":[\"a\",\"b\",\"c\"]}");
    expect_body("vm create x --boot-order cdrom,disk", "{\"name\":\"x\",\"boot_order\":[\"cdrom\",\"disk\"]}");
    expect_body("vm create my~vm --description --cpus", "{\"name\":\"my vm\",\"description\":\"--cpus\"}");
    expect_body("vm create -- -x", "{\"name\":\"-x\"}");
    expect_body("vm set web --memory 1GiB --no-tag", "{\"memory\":1073741824,\"tags\":[]}");
    expect_body("vm set web --name new --if-match 7", "{\"name\":\"new\"}");
    expect_body("vm stop web --force --timeout 3", "{\"force\":true,\"timeout\":3}");
    expect_body("vm stop web", "{}");
    expect_body("repository create r --path /srv/r", "{\"name\":\"r\",\"path\":\"/srv/r\"}");
}

static void refusals(void **state) {
    expect_error("vm create", "name is missing");
    expect_error("vm create a b", "too much");
    expect_error("vm list a", "takes no names");
    expect_error("vm create x --memroy 1", "did you mean --memory?");
    expect_error("vm create x --cpus", "needs a value");
    expect_error("vm create x --cpus two", "whole number");
    expect_error("vm create x --cpus 99999999999999999999", "too large");
    expect_error("vm create x --memory 12Q", "such as 256MiB");
    expect_error("vm create x --memory 99999999999T", "too large");
    expect_error("vm create x --machine q36", "did you mean q35?");
    expect_error("vm create x --machine vax", "q35, microvm");
    expect_error("vm create x --disk 10GiB", "size");
    expect_error("vm create x --disk siz=1", "did you mean size?");
    expect_error("vm create x --disk size", "size=SIZE");
    expect_error("vm create x --start=perhaps", "true or false");
    expect_error("vm create x -o xml", "table, json, yaml or name");
    expect_error("vm create x -z", "no option -z");
    expect_error("vm create x --no-wait=3", "takes no value");
    expect_error("vm create x --description \xff", "not valid UTF-8");
    expect_error("vm create \xff", "not valid UTF-8");
    expect_error("vm set web", "nothing to change");
    expect_error("vm show web --template x", "no option --template");
    expect_error("repository create r", "--path");
    expect_error("job watch", "missing");
    expect_error("server fence x", "--action CHOICE is missing: one of status, off, on, reboot, confirm");
    expect_error("rule create r --pool p", "--type CHOICE is missing: one of together, ");
    expect_error("vm set web --machine", "--machine CHOICE: one of q35, microvm");
}

/* Mostly a shell variable that was not set: what would be done is not what was meant. */
static void empty_names(void **state) {
    expect_error("vm migrate x --to ", "--to is empty: write --to NAME, or leave it out");
    expect_error("vm migrate x --to=", "--to is empty");
    expect_error("vm create x --pool= --start", "--pool is empty");
    expect_error("vm cdrom x --iso=", "--iso is empty");
    expect_error("vm set x --ha-after=", "leave it out; none at all is --no-ha-after");
    expect_error("vm set x --ha-after a,,b", "--ha-after has an empty name in it: \"a,,b\"");
    expect_error("vm create x --disk disk=,bus=sata", "disk: disk= is empty: write disk=NAME");
    expect_error("vm create x --disk size=1GiB --profile=", "--profile is empty: write --profile PROFILE");
    expect_error("vm list -o ", "--output is empty");
    expect_error("vm set x --if-match= --cpus 2", "--if-match is empty");
    expect_error("login --user=", "--user is empty");
    expect_body("vm set x --description=", "{\"description\":\"\"}");
    expect_body("vm set x --no-ha-after", "{\"ha\":{\"after\":[]}}");
    expect_body("server set x --fence-agent=", "{\"fence\":{\"agent\":\"\"}}");
    expect_body("vm set x --pinning=", "{\"limits\":{\"pinning\":\"\"}}");
    _cleanup_args_ struct args a = {0};
    assert_int_equal(parse("vm list --filter=", &a, NULL), 0);
}

/* An error's field as it was typed. */
static void expect_field(const char *line, const char *field, const char *want, bool given) {
    _cleanup_args_ struct args a = {0};
    assert_int_equal(parse(line, &a, NULL), 0);
    bool is_given;
    char *name = args_field_name(&a, a.command, field, &is_given);
    assert_string_equal(name, want);
    assert_int_equal(is_given, given);
    free(name);
}

static void fields(void **state) {
    expect_field("vm set x --ha-after y", "ha.after[0]", "--ha-after", true);
    expect_field("vm set x --cpus 2", "ha.after[12]", "--ha-after", true);
    expect_field("vm create x", "disks[0].size", "--disk size", true);
    expect_field("vm create x", "disks.1.size", "--disk size", true);
    expect_field("vm create x", "memory", "--memory", true);
    expect_field("vm create x", "memoryless", "memoryless", true);
    expect_field("vm create x", "name", "NAME", true);
    expect_field("server set x --address address=1.2.3.4", "addresses[0].address", "--address address", true);
    expect_field("pool add p s", "server", "SERVER", true);
    expect_field("pool set p --no-clustered", "force", "--force", false);
    expect_field("pool set p --no-clustered", "clustered", "--clustered", true);
    expect_field("pool set p --no-clustered --force", "force", "--force", true);
    expect_field("server delete x", "force", "--force", false);
    expect_field("vm list", "filter", "--filter", true);
    expect_field("vm list", "", "", true);
}

static void options(void **state) {
    _cleanup_args_ struct args a = {0};
    assert_int_equal(parse("vm list -ojson --filter state=running --limit 5 -q", &a, NULL), 0);
    assert_int_equal(args_output(&a), OUTPUT_JSON);
    assert_string_equal(args_option(&a, "filter"), "state=running");
    assert_true(args_has(&a, "quiet"));
    int64_t n = 0;
    assert_int_equal(args_number(&a, "limit", 1, 100, 0, &n, NULL), 0);
    assert_int_equal(n, 5);
    assert_true(args_number(&a, "limit", 6, 100, 0, &n, NULL) < 0);
    _cleanup_args_ struct args help = {0};
    static struct command c;
    assert_true(command_find("vm", "create", &c));
    char *words[] = {"--help", "--nonsense"};
    assert_int_equal(args_parse(&c, 2, words, &help, NULL), 0);
    assert_true(help.help);
}

/* Every command of the table can be asked for, and its help names every flag. */
static void whole_table(void **state) {
    struct command c, found;
    size_t n = 0;
    for (size_t i = 0; command_at(i, &c); i++, n++) {
        if (!command_find(c.object, c.verb, &found))
            fail_msg("%s %s needs code of its own", c.object, c.verb);
        struct buf help = {0};
        help_command(&found, &help, 80);
        for (const struct api_cli_flag *f = command_has_flags(&found) ? found.row->flags : NULL; f && f->name; f++)
            assert_non_null(strstr(help.data, f->name));
        buf_done(&help);
        if (found.row)
            assert_string_equal(object_find(c.object), c.object);
    }
    assert_true(n > 50);
    assert_string_equal(object_find("vms"), "vm");
    assert_string_equal(object_find("repositories"), "repository");
    assert_null(object_find("vmss"));
}

static void paths(void **state) {
    const char *args[] = {"a/b ..%中?#", ".."};
    char *path = url_path("/vms/{vm}/x/{y}", args, 2);
    assert_string_equal(path, "/vms/a%2Fb%20..%25%E4%B8%AD%3F%23/x/%2E%2E");
    free(path);
    struct buf b = {0};
    buf_adds(&b, "/vms");
    url_query(&b, "filter", "a=b,c~d&e");
    url_query(&b, "limit", "5");
    assert_string_equal(b.data, "/vms?filter=a%3Db%2Cc~d%26e&limit=5");
    buf_done(&b);
}

static void urls(void **state) {
    static const struct {
        const char *text, *base; /* NULL: refused */
    } cases[] = {
        {"https://h:1", "https://h:1"},
        {"h", "https://h:8443"},
        {"HTTPS://127.0.0.1:9/", "https://127.0.0.1:9"},
        {"[::1]:7", "https://[::1]:7"},
        {"https://[::1]", "https://[::1]:8443"},
        {"http://h", NULL},
        {"::1", NULL},
        {"h:0", NULL},
        {"h:65536", NULL},
        {"h:", NULL},
        {"h/path", NULL},
        {"user@h", NULL},
        {"h?x", NULL},
        {"", NULL},
        {"https://", NULL},
        {"h:1x", NULL},
        {"[::1", NULL},
        {"h\nx", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_url_ struct url u = {0};
        int r = url_parse(cases[i].text, &u, NULL);
        if ((r == 0) != (cases[i].base != NULL))
            fail_msg("%s gives %d", cases[i].text, r);
        if (r == 0)
            assert_string_equal(u.base, cases[i].base);
    }
    _cleanup_url_ struct url u = {0};
    assert_int_equal(url_parse("127.8.9.1:5", &u, NULL), 0);
    assert_true(url_is_loopback(&u));
}

static void fingerprints(void **state) {
    static const char f[] = "00ff17";
    assert_true(trust_fingerprint_is(f, "00:FF:17"));
    assert_true(trust_fingerprint_is(f, "SHA256:00ff17"));
    assert_true(trust_fingerprint_is(f, "00 ff 17"));
    assert_false(trust_fingerprint_is(f, "00ff"));
    assert_false(trust_fingerprint_is(f, "00ff1718"));
    assert_false(trust_fingerprint_is(f, ""));
    char *s = trust_fingerprint_show(f);
    assert_string_equal(s, "00:FF:17");
    free(s);
}

static void cells(void **state) {
    struct command c;
    assert_true(command_find("vm", "list", &c));
    json_t *vm = json_loads(
        "{\"name\":\"x\",\"memory\":268435456,\"tags\":[\"a\",\"b\"],\"started\":\"2026-11-21T02:30:00.123Z\","
        "\"disks\":[{\"disk\":\"d1\",\"bus\":\"sata\"}],\"template\":\"id1\",\"direct_boot\":true}",
        0, NULL);
    json_t *names = json_pack("{s:s}", "id1", "debian");
    static const struct {
        const char *path, *title, *text;
    } cases[] = {
        {"memory", "MEMORY", "256 MiB"},
        {"tags", "TAGS", "a, b"},
        {"started", "STARTED", "2026-11-21T02:30:00Z"},
        {"disks.0.bus", "BUS", "sata"},
        {"disks.1.bus", "BUS", ""},
        {"template", "TEMPLATE", "debian"},
        {"direct_boot", "DIRECT BOOT", "yes"},
        {"cpus", "CPUS", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_columns_ struct column *columns = NULL;
        assert_int_equal(columns_make(c.row->result, cases[i].path, &columns, NULL), 0);
        char *text = show_cell(columns, json_at(vm, columns->path), names);
        assert_string_equal(text, cases[i].text);
        assert_string_equal(columns->title, cases[i].title);
        free(text);
    }
    json_decref(vm);
    json_decref(names);
    _cleanup_error_ struct error e = ERROR_INIT;
    struct column *none = NULL;
    assert_true(columns_make(c.row->result, "memroy", &none, &e) < 0);
    assert_non_null(strstr(e.message, "did you mean memory?"));
    assert_true(columns_make(c.row->result, ",", &none, NULL) < 0);
    assert_true(columns_make(c.row->result, "name.x", &none, NULL) < 0);
}

static void expect_completion(const char *line, const char *has, const char *has_not) {
    static char text[1024];
    char *words[WORDS_MAX];
    snprintf(text, sizeof text, "%s", line);
    int n = words_of(text, words);
    json_t *out = complete_words(NULL, n, words);
    if (has && !json_object_get(out, has))
        fail_msg("\"%s\" does not offer %s", line, has);
    if (has_not && json_object_get(out, has_not))
        fail_msg("\"%s\" offers %s", line, has_not);
    json_decref(out);
}

static void completions(void **state) {
    expect_completion("v", "vm", "job");
    expect_completion("", "login", "__manual");
    expect_completion("vm c", "create", "start");
    expect_completion("vms ", "start", NULL);
    expect_completion("vm create x --me", "--memory", "--cpus");
    expect_completion("vm create x --no-", "--no-start", NULL);
    expect_completion("vm create x --machine ", "microvm", "--memory");
    expect_completion("vm create x --machine = m", "microvm", "q35");
    expect_completion("vm create x --disk ", "size=", NULL);
    expect_completion("vm list -o ", "yaml", NULL);
    expect_completion("vm list --output = j", "json", "yaml");
    expect_completion("vm list --f", "--filter", NULL);
    expect_completion("template import x --ke", "--kernel", NULL);
    expect_completion("help vm c", "console", NULL);
    expect_completion("completion ", "bash", NULL);
    expect_completion("nonsense x ", NULL, "--help");
}

int main(void) {
    text_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bodies),      cmocka_unit_test(refusals),     cmocka_unit_test(options),
        cmocka_unit_test(whole_table), cmocka_unit_test(paths),        cmocka_unit_test(urls),
        cmocka_unit_test(cells),       cmocka_unit_test(fingerprints), cmocka_unit_test(completions),
        cmocka_unit_test(empty_names), cmocka_unit_test(fields),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

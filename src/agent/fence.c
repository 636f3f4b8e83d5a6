/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/fence.h"

#include "base/buf.h"
#include "base/fence_rules.h"
#include "base/json.h"
#include "base/mem.h"
#include "os/child.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PROGRAM_MS 30000
#define WORDS_MAX  300

/* What the fence agents' status ends with. */
enum { STATUS_ON = 0, STATUS_OFF = 2 };

/* The way of each action: what is run, and the state that its status must show then. */
struct leg {
    const char *action;
    int wanted; /* a status; -1: any */
};
static const struct leg legs_status[] = {{"status", -1}, {NULL, 0}};
static const struct leg legs_off[] = {{"off", -1}, {"status", STATUS_OFF}, {NULL, 0}};
static const struct leg legs_on[] = {{"on", -1}, {"status", STATUS_ON}, {NULL, 0}};
static const struct leg legs_reboot[] = {
    {"off", -1}, {"status", STATUS_OFF}, {"on", -1}, {"status", STATUS_ON}, {NULL, 0}};
static const struct {
    const char *action;
    const struct leg *legs;
} ways[] = {{"status", legs_status}, {"off", legs_off}, {"on", legs_on}, {"reboot", legs_reboot}};

struct fence {
    uv_loop_t *loop;
    struct api_fence fence;
    const struct leg *leg;
    struct child *child;
    char *input;
    bool was_off;
    uint64_t call;
    fence_done *done;
    void *ctx;
};

/* ---- what it is told ---- */

static int add(struct buf *b, const char *name, const char *value, struct error *e) {
    if (str_empty(value))
        return 0;
    if (strpbrk(value, "\n\r"))
        return error_set(e, ERR_INVALID, "the fence agent's parameter %s has a line break", name);
    buf_addf(b, "%s=%s\n", name, value);
    return 0;
}

/* fence_dummy switches nothing and writes a file of one's choice: for tests only. */
static bool is_test(void) { return str_eq(getenv("TARN_TEST"), "1"); }

static int add_option(struct buf *b, const char *option, struct error *e) {
    const char *problem = fence_option_problem(option), *value = strchr(option, '=');
    bool dummy = is_test() && strncmp(option, "status_file=", 12) == 0 && !strpbrk(option, "\n\r");
    if (problem && !dummy)
        return error_set(e, ERR_INVALID, "the fence agent's option \"%.60s\" %s", option, problem);
    _cleanup_free_ char *name = xstrndup(option, (size_t)(value - option));
    return add(b, name, value + 1, e);
}

static int check_words(const struct api_fence *f, struct error *e) {
    const char *problem = fence_agent_problem(f->agent);
    if (!problem && str_eq(f->agent, "fence_dummy") && !is_test())
        problem = "switches no power";
    if (problem)
        return error_set(e, ERR_INVALID, "\"%.64s\" %s", f->agent, problem);
    if ((problem = fence_word_problem(f->address)))
        return error_set(e, ERR_INVALID, "the management controller's address %s", problem);
    if ((problem = fence_word_problem(f->user)))
        return error_set(e, ERR_INVALID, "the management controller's user %s", problem);
    return 0;
}

int fence_input(const struct api_fence *fence, const char *action, char **ret, struct error *e) {
    _cleanup_buf_ struct buf b = {0};
    char port[24] = "";
    if (fence->port)
        snprintf(port, sizeof port, "%lld", (long long)fence->port);
    int r = 0;
    if ((r = add(&b, "action", action, e)) < 0 || (r = add(&b, "ip", fence->address, e)) < 0 ||
        (r = add(&b, "ipport", port, e)) < 0 || (r = add(&b, "username", fence->user, e)) < 0 ||
        (r = add(&b, "password", fence->password, e)) < 0)
        return r;
    for (size_t i = 0; i < fence->n_options; i++)
        if ((r = add_option(&b, fence->options[i], e)) < 0)
            return r;
    *ret = buf_take(&b);
    return 0;
}

/* ---- running ---- */

void fence_free(struct fence *f) {
    if (!f)
        return;
    child_free(f->child);
    api_fence_done(&f->fence);
    if (f->input)
        explicit_bzero(f->input, strlen(f->input));
    free(f->input);
    free(f);
}

static void finish(struct fence *f, const struct error *e, const char *power) {
    _cleanup_json_ json_t *result = e ? NULL : json_pack("{s:s, s:b}", "power", power, "was_off", f->was_off);
    f->done(f->ctx, f->call, e, result); /* it frees us */
}

/* What it says went wrong, without the password, should it repeat that. */
static char *words_of(const struct fence *f, struct child *c) {
    const struct buf *said = child_error(c)->len ? child_error(c) : child_output(c);
    const char *text = said->len ? said->data : "", *at = strstr(text, "ERROR: ");
    if (at)
        text = at + strlen("ERROR: ");
    char *words = xstrndup(text, strcspn(text, "\n"));
    const char *secret = f->fence.password;
    /* Before it is cut: half a password is one too. What has been covered is passed over, or "*" would have no end. */
    for (char *p = words; !str_empty(secret) && (p = strstr(p, secret)); p += strlen(secret))
        memset(p, '*', strlen(secret));
    if (strlen(words) > WORDS_MAX)
        words[WORDS_MAX] = 0;
    for (char *p = words; *p; p++)
        if ((unsigned char)*p < ' ' || (unsigned char)*p > '~')
            *p = '?';
    return words;
}

/* How long a fence agent may take; a test cannot wait so long. */
static int64_t program_ms(void) {
    const char *ms = str_eq(getenv("TARN_TEST"), "1") ? getenv("TARN_FENCE_MS") : NULL;
    return ms ? strtoll(ms, NULL, 10) : PROGRAM_MS;
}

static int next(struct fence *f, struct error *e);

/* By what it says: the whole of it, for the words that are shown are cut. */
static bool is_certificate(struct child *c) {
    static const char *const words[] = {"CERTIFICATE_VERIFY_FAILED", "certificate verify failed",
                                        "SSL certificate problem", "SSL: no alternative certificate"};
    const struct buf *said = child_error(c)->len ? child_error(c) : child_output(c);
    bool found = false;
    for (size_t i = 0; i < ARRAY_LEN(words) && said->len; i++)
        found |= strcasestr(said->data, words[i]) != NULL;
    return found;
}

static void on_exit_child(void *ctx, struct child *c, struct child_exit how) {
    struct fence *f = ctx;
    _cleanup_error_ struct error e = ERROR_INIT;
    _cleanup_free_ char *words = words_of(f, c);
    bool certificate = is_certificate(c);
    const struct leg *leg = f->leg;
    bool status = str_eq(leg->action, "status");
    bool good = !how.signalled && (how.value == STATUS_ON || (status && how.value == STATUS_OFF));
    f->child = NULL;
    child_free(c);
    if (how.signalled)
        error_set(&e, ERR_TIMEOUT, "%s did not end in time: does the management controller answer?", f->fence.agent);
    else if (!good && certificate)
        error_set(
            &e, ERR_IO,
            "%s failed at \"%s\": %s; the management controller's certificate cannot be verified; if it is one of "
            "its own, add --fence-option ssl_insecure=1 to the server's fence settings",
            f->fence.agent, leg->action, str_or(words, "it says nothing"));
    else if (!good)
        error_set(&e, ERR_IO, "%s failed at \"%s\": %s; are address, user and password right?", f->fence.agent,
                  leg->action, str_or(words, "it says nothing"));
    else if (status && leg->wanted >= 0 && how.value != leg->wanted)
        error_set(&e, ERR_IO, "%s says that it has switched the power %s, but its status is %s", f->fence.agent,
                  leg->wanted == STATUS_OFF ? "off" : "on", how.value == STATUS_OFF ? "off" : "on");
    if (e.code != ERR_OK) {
        finish(f, &e, NULL);
        return;
    }
    f->was_off |= status && how.value == STATUS_OFF;
    f->leg++;
    if (!f->leg->action)
        finish(f, NULL, how.value == STATUS_OFF ? "off" : "on");
    else if (next(f, &e) < 0)
        finish(f, &e, NULL);
}

static size_t count_agents(const char *directory) {
    DIR *d = opendir(directory);
    size_t n = 0;
    for (const struct dirent *entry = d ? readdir(d) : NULL; entry; entry = readdir(d))
        n += !fence_agent_problem(entry->d_name);
    if (d)
        closedir(d);
    return n;
}

/* Its name is wrong, or its package is not there. A name is set long before, when nobody may know who will run it. */
static int no_such_agent(const char *agent, struct error *e) {
    static const char *const directories[] = {"/usr/sbin", "/usr/bin"};
    char host[256] = "";
    gethostname(host, sizeof host - 1);
    for (size_t i = 0; i < ARRAY_LEN(directories); i++) {
        size_t n = count_agents(directories[i]);
        if (n)
            return error_set(e, ERR_UNSUPPORTED,
                             "there is no fence agent %s on server %s, which was asked to run it: is the name right, "
                             "and its package installed? It has %zu other%s (%s/fence_*)",
                             agent, host, n, n == 1 ? "" : "s", directories[i]);
    }
    return error_set(e, ERR_UNSUPPORTED,
                     "there is no fence agent at all on server %s, which was asked to run %s: install the package "
                     "fence-agents there, or in Debian 13 the one for it",
                     host, agent);
}

static int next(struct fence *f, struct error *e) {
    _cleanup_free_ char *path = xasprintf("PATH=%s:/usr/sbin:/sbin:/usr/bin:/bin", str_or(getenv("PATH"), "/usr/sbin"));
    const char *const environment[] = {path, "LANG=C.UTF-8", "HOME=/", NULL};
    const char *argv[] = {f->fence.agent, NULL};
    free(TAKE_PTR(f->input));
    int r = fence_input(&f->fence, f->leg->action, &f->input, e);
    if (r < 0)
        return r;
    struct child_spec spec = {.argv = argv,
                              .env = environment,
                              .input = f->input,
                              .input_len = strlen(f->input),
                              .output_max = 4096,
                              .error_max = 4096,
                              .timeout_ms = program_ms(),
                              .on_exit = on_exit_child,
                              .ctx = f};
    r = child_spawn(f->loop, &spec, &f->child);
    if (r == -ENOENT)
        return no_such_agent(f->fence.agent, e);
    if (r < 0)
        return error_set(e, ERR_UNSUPPORTED, "%s cannot be run on this server: %s", f->fence.agent, strerror(-r));
    return 0;
}

int fence_run(uv_loop_t *loop, const struct api_fence_run *run, uint64_t call, fence_done *done, void *ctx,
              struct fence **ret, struct error *e) {
    int r = check_words(&run->fence, e);
    if (r < 0)
        return r;
    const struct leg *legs = NULL;
    for (size_t i = 0; i < ARRAY_LEN(ways); i++)
        if (str_eq(run->action, ways[i].action))
            legs = ways[i].legs;
    if (!legs)
        return error_set(e, ERR_INVALID, "a fence agent does status, off, on or reboot");
    struct fence *f = xcalloc(1, sizeof *f);
    *f = (struct fence){.loop = loop, .leg = legs, .call = call, .done = done, .ctx = ctx};
    api_fence_copy(&f->fence, &run->fence);
    r = next(f, e);
    if (r < 0)
        fence_free(f);
    else
        *ret = f;
    return r;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/config.h"

#include "base/id.h"
#include "base/json.h"
#include "base/mem.h"
#include "os/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#define CONFIG_MAX (1024 * 1024)

void profile_done(struct profile *p) {
    free(p->name);
    free(p->url);
    free(p->ca);
    free(p->user);
    if (p->token)
        explicit_bzero(p->token, strlen(p->token));
    free(p->token);
    *p = (struct profile){0};
}

static int config_dir(char **ret, struct error *e) {
    const char *xdg = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    if (!str_empty(xdg) && *xdg == '/')
        *ret = xasprintf("%s/tarn", xdg);
    else if (!str_empty(home) && *home == '/')
        *ret = xasprintf("%s/.config/tarn", home);
    else
        return error_set(e, ERR_INVALID, "neither XDG_CONFIG_HOME nor HOME names a directory for the configuration");
    return 0;
}

/* *ret_fd: the directory, or -1 where there is none yet. */
static int config_open(char **ret_dir, int *ret_fd, struct error *e) {
    int r = config_dir(ret_dir, e);
    if (r < 0)
        return r;
    *ret_fd = open(*ret_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*ret_fd < 0 && errno != ENOENT)
        return error_set(e, ERR_IO, "cannot open %s: %s", *ret_dir, strerror(errno));
    return 0;
}

static int config_read(json_t **ret, struct error *e) {
    _cleanup_free_ char *dir = NULL, *text = NULL;
    _cleanup_close_ int fd = -1;
    size_t len;
    int r = config_open(&dir, &fd, e);
    if (r < 0)
        return r;
    r = fd < 0 ? -ENOENT : read_file_at(fd, "config.json", CONFIG_MAX, &text, &len);
    if (r == -ENOENT) {
        *ret = json_object();
        return 0;
    }
    if (r < 0)
        return error_set(e, ERR_IO, "cannot read %s/config.json: %s", dir, strerror(-r));
    _cleanup_error_ struct error bad = ERROR_INIT;
    _cleanup_json_ json_t *j = NULL;
    if (json_parse(text, len, &j, &bad) < 0 || !json_is_object(j))
        return error_set(e, ERR_INVALID, "%s/config.json is damaged (%s): repair or remove it, then sign in again", dir,
                         bad.message ? bad.message : "it is not an object");
    *ret = TAKE_PTR(j);
    return 0;
}

static int config_write(const json_t *config, struct error *e) {
    _cleanup_free_ char *dir = NULL;
    _cleanup_close_ int fd = -1;
    int r = config_dir(&dir, e);
    if (r < 0)
        return r;
    char *text = json_dumps(config, JSON_INDENT(2));
    r = make_dirs(dir, 0700);
    if (r >= 0 && (fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
        r = -errno;
    if (r >= 0)
        r = write_file_at(fd, "config.json", text, strlen(text), 0600);
    explicit_bzero(text, strlen(text));
    free(text);
    return r < 0 ? error_set(e, ERR_IO, "cannot write %s/config.json: %s", dir, strerror(-r)) : 0;
}

static int profile_name(const char *name, char **ret, struct error *e) {
    const char *s = str_or(name, str_or(getenv("TARN_PROFILE"), "default"));
    const char *problem = name_problem(s);
    if (problem)
        return error_set(e, ERR_INVALID, "the profile's name %s", problem);
    *ret = xstrdup(s);
    return 0;
}

int profile_load_stored(const char *name, struct profile *ret, struct error *e) {
    _cleanup_json_ json_t *config = NULL;
    _cleanup_free_ char *chosen = NULL;
    int r = profile_name(name, &chosen, e);
    if (r >= 0)
        r = config_read(&config, e);
    if (r < 0)
        return r;
    const json_t *p = json_object_get(json_object_get(config, "profiles"), chosen);
    *ret = (struct profile){.name = TAKE_PTR(chosen),
                            .url = xstrdup(json_str(p, "url")),
                            .ca = xstrdup(json_str(p, "ca")),
                            .user = xstrdup(json_str(p, "user")),
                            .token = xstrdup(json_str(p, "token"))};
    return 0;
}

int profile_load(const char *name, struct profile *ret, struct error *e) {
    int r = profile_load_stored(name, ret, e);
    if (r < 0)
        return r;
    const char *url = getenv("TARN_URL"), *ca = getenv("TARN_CA"), *token = getenv("TARN_TOKEN");
    /* A token belongs to one manager: it never goes to another that the environment names. */
    if (!str_empty(url) && !str_eq(url, ret->url))
        str_set(&ret->token, "");
    if (!str_empty(url))
        str_set(&ret->url, url);
    if (!str_empty(ca))
        str_set(&ret->ca, ca);
    if (!str_empty(token))
        str_set(&ret->token, token);
    return 0;
}

int profile_save(const struct profile *p, struct error *e) {
    _cleanup_json_ json_t *config = NULL;
    int r = config_read(&config, e);
    if (r < 0)
        return r;
    json_t *profiles = json_object_get(config, "profiles");
    if (!json_is_object(profiles)) {
        profiles = json_object();
        json_object_set_new(config, "profiles", profiles);
    }
    json_t *j = json_object();
    json_set_str(j, "url", p->url);
    json_set_str(j, "ca", p->ca);
    json_set_str(j, "user", p->user);
    json_set_str(j, "token", p->token);
    json_object_set_new(profiles, p->name, j);
    return config_write(config, e);
}

int profile_save_ca(struct profile *p, const char *pem, struct error *e) {
    _cleanup_free_ char *dir = NULL, *file = xasprintf("%s.ca.pem", p->name);
    _cleanup_close_ int fd = -1;
    int r = config_dir(&dir, e);
    if (r < 0)
        return r;
    r = make_dirs(dir, 0700);
    if (r >= 0 && (fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
        r = -errno;
    if (r >= 0)
        r = write_file_at(fd, file, pem, strlen(pem), 0644);
    if (r < 0)
        return error_set(e, ERR_IO, "cannot write %s/%s: %s", dir, file, strerror(-r));
    str_take(&p->ca, xasprintf("%s/%s", dir, file));
    return 0;
}

int profile_names(char ***ret, struct error *e) {
    _cleanup_json_ json_t *config = NULL;
    int r = config_read(&config, e);
    if (r < 0)
        return r;
    const json_t *profiles = json_object_get(config, "profiles");
    char **names = xcalloc(json_object_size(profiles) + 1, sizeof *names);
    size_t n = 0;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)profiles, key, value) names[n++] = xstrdup(key);
    *ret = names;
    return 0;
}

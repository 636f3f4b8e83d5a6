/* SPDX-License-Identifier: Apache-2.0 */
/* Who this server is and where its manager is: what tarn-agent join leaves in the state directory. */
#include "agent/agent.h"

#include "os/file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX     65536
#define KEY_FILE     "agent.key"
#define NEW_KEY_FILE "agent.key.new"
/* More than certificate, authority and agent.json take. */
#define ROOM      (256 * 1024)
#define ROOM_FILE "agent.room"

int manager_url_parse(const char *url, char **ret_host, int *ret_port, struct error *e) {
    static const char scheme[] = "https://";
    const char *what = "the manager's URL must be https://HOST[:PORT]";
    if (strncmp(url, scheme, sizeof(scheme) - 1) != 0)
        return error_set_field(e, ERR_INVALID, "manager", "%s", what);
    const char *host = url + sizeof(scheme) - 1, *end;
    bool brackets = *host == '[';
    if (brackets) {
        host++;
        end = strchr(host, ']');
    } else {
        end = host + strcspn(host, ":/");
    }
    if (!end || end == host || end - host > 253)
        return error_set_field(e, ERR_INVALID, "manager", "%s", what);
    const char *rest = end + brackets;
    long port = MANAGER_PORT;
    if (*rest == ':') {
        char *after;
        port = strtol(rest + 1, &after, 10);
        if (after == rest + 1 || port < 1 || port > 65535)
            return error_set_field(e, ERR_INVALID, "manager", "%s", what);
        rest = after;
    }
    if (!str_eq(rest, "") && !str_eq(rest, "/"))
        return error_set_field(e, ERR_INVALID, "manager", "%s", what);
    *ret_host = xstrndup(host, (size_t)(end - host));
    *ret_port = (int)port;
    return 0;
}

void identity_done(struct identity *i) {
    free(i->name);
    free(i->server);
    free(i->host);
    free(i->ca_path);
    free(i->certificate_path);
    free(i->key_path);
    *i = (struct identity){0};
}

static int read_identity(const char *state_dir, json_t **ret, struct error *e) {
    _cleanup_close_ int dir = open_dir(state_dir);
    _cleanup_free_ char *text = NULL;
    size_t len = 0;
    int r = dir < 0 ? dir : read_file_at(dir, "agent.json", FILE_MAX, &text, &len);
    if (r == -ENOENT)
        return error_set(e, ERR_NOT_FOUND,
                         "%s holds no identity: join this server first (tarn-agent join --manager URL --token TOKEN)",
                         state_dir);
    if (r < 0)
        return error_set(e, ERR_IO, "cannot read %s/agent.json: %s", state_dir, strerror(-r));
    return json_parse(text, len, ret, e);
}

int identity_load(const char *state_dir, struct identity *ret, struct error *e) {
    _cleanup_json_ json_t *j = NULL;
    int r = read_identity(state_dir, &j, e);
    if (r < 0)
        return r;
    struct identity i = {.name = xstrdup(json_str(j, "name")), .server = xstrdup(json_str(j, "server"))};
    r = manager_url_parse(json_str(j, "manager"), &i.host, &i.port, e);
    if (r < 0) {
        identity_done(&i);
        return r;
    }
    i.ca_path = xasprintf("%s/ca.crt", state_dir);
    i.certificate_path = xasprintf("%s/agent.crt", state_dir);
    i.key_path = xasprintf("%s/agent.key", state_dir);
    *ret = i;
    return 0;
}

static int cannot_write(const char *state_dir, int r, struct error *e) {
    return error_set(e, r == -ENOSPC || r == -EDQUOT ? ERR_NO_SPACE : ERR_IO, "cannot write to %s: %s", state_dir,
                     strerror(-r));
}

/* The files are put in place by renaming, which fails over a directory. */
static int check_replaceable(int dir) {
    static const char *const names[] = {KEY_FILE, "agent.crt", "ca.crt", "agent.json"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct stat st;
        if (fstatat(dir, names[i], &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode))
            return -EISDIR;
    }
    return 0;
}

int identity_prepare(const char *state_dir, const char *key_pem, struct error *e) {
    if (state_dir[0] != '/')
        return error_set(e, ERR_INVALID, "the state directory must be an absolute path, not \"%s\"", state_dir);
    int r = make_dirs(state_dir, 0711);
    _cleanup_close_ int dir = r < 0 ? r : open_dir(state_dir);
    r = dir < 0 ? dir : check_replaceable(dir);
    if (r == 0)
        r = write_file_at(dir, NEW_KEY_FILE, key_pem, strlen(key_pem), 0600);
    if (r == 0) {
        /* Written and not only reserved: a quota or a full disk must show now. */
        _cleanup_free_ char *room = xcalloc(1, ROOM);
        r = write_file_at(dir, ROOM_FILE, room, ROOM, 0600);
    }
    if (r == 0)
        return 0;
    if (dir >= 0)
        identity_abandon(state_dir);
    return cannot_write(state_dir, r, e);
}

void identity_abandon(const char *state_dir) {
    _cleanup_close_ int dir = open_dir(state_dir);
    if (dir < 0)
        return;
    unlinkat(dir, ROOM_FILE, 0);
    unlinkat(dir, NEW_KEY_FILE, 0);
}

int identity_save(const char *state_dir, const char *manager_url, const char *name, const char *server,
                  const char *certificate_pem, const char *ca_pem, struct error *e) {
    _cleanup_json_ json_t *j = json_object();
    json_set_str(j, "manager", manager_url);
    json_set_str(j, "name", name);
    json_set_str(j, "server", server);
    _cleanup_free_ char *text = json_text(j);
    _cleanup_close_ int dir = open_dir(state_dir);
    /* agent.json comes last: with it the identity is complete. */
    const struct {
        const char *name, *data;
    } files[] = {{"agent.crt", certificate_pem}, {"ca.crt", ca_pem}, {"agent.json", text}};
    int r = dir < 0 ? dir : 0;
    if (r == 0)
        unlinkat(dir, ROOM_FILE, 0);
    if (r == 0 && renameat(dir, NEW_KEY_FILE, dir, KEY_FILE) < 0)
        r = -errno;
    /* Each makes the directory durable, and with it the key's new name. */
    for (size_t i = 0; i < ARRAY_LEN(files) && r == 0; i++)
        r = write_file_at(dir, files[i].name, files[i].data, strlen(files[i].data), 0644);
    return r < 0 ? cannot_write(state_dir, r, e) : 0;
}

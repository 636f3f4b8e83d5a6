/* SPDX-License-Identifier: Apache-2.0 */
/* Who this server is and where its manager is: what tarn-agent join leaves in the state directory. */
#include "agent/agent.h"

#include "os/file.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define FILE_MAX 65536

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

int identity_save(const char *state_dir, const char *manager_url, const char *name, const char *server,
                  const char *key_pem, const char *certificate_pem, const char *ca_pem, struct error *e) {
    _cleanup_json_ json_t *j = json_object();
    json_set_str(j, "manager", manager_url);
    json_set_str(j, "name", name);
    json_set_str(j, "server", server);
    _cleanup_free_ char *text = json_text(j);
    int r = make_dirs(state_dir, 0711);
    _cleanup_close_ int dir = r < 0 ? r : open_dir(state_dir);
    /* agent.json comes last: with it the identity is complete. */
    const struct {
        const char *name, *data;
        mode_t mode;
    } files[] = {{"agent.key", key_pem, 0600},
                 {"agent.crt", certificate_pem, 0644},
                 {"ca.crt", ca_pem, 0644},
                 {"agent.json", text, 0644}};
    r = dir < 0 ? dir : 0;
    for (size_t i = 0; i < ARRAY_LEN(files) && r == 0; i++)
        r = write_file_at(dir, files[i].name, files[i].data, strlen(files[i].data), files[i].mode);
    if (r < 0)
        return error_set(e, ERR_IO, "cannot write to %s: %s", state_dir, strerror(-r));
    return 0;
}

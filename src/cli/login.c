/* SPDX-License-Identifier: Apache-2.0 */
/* Signing in and out. The password is read from the terminal or a file, never from the arguments. */
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/show.h"
#include "cli/table.h"
#include "cli/terminal.h"
#include "cli/text.h"
#include "cli/trust.h"

#include <stdio.h>
#include <unistd.h>

/* First contact: shows the fingerprint and asks, unless it was given. */
static int first_contact(struct cli *cli, const char *given, char **ret_pem, struct error *e) {
    _cleanup_free_ char *pem = NULL;
    char fingerprint[65];
    int r = trust_fetch_ca(cli->url.base, &pem, e);
    if (r >= 0)
        r = trust_fingerprint(pem, fingerprint, e);
    if (r < 0)
        return r;
    _cleanup_free_ char *shown = trust_fingerprint_show(fingerprint);
    if (given && !trust_fingerprint_is(fingerprint, given))
        return error_set(e, ERR_FORBIDDEN,
                         "the CA of %s has the fingerprint %s, not the one given: do not sign in there", cli->url.base,
                         shown);
    if (!given) {
        if (!terminal_can_ask())
            return error_set(
                e, ERR_INVALID,
                "the CA of %s is not known yet: give its file with --ca, or its fingerprint with --fingerprint",
                cli->url.base);
        fprintf(stderr,
                "The manager at %s is not known yet. The SHA-256 fingerprint of its CA certificate is\n  %s\n"
                "Compare it with the manager's own, on its machine:\n"
                "  openssl x509 -noout -fingerprint -sha256 -in ca.pem    (in tarn-manager's state directory)\n",
                cli->url.base, shown);
        if (!terminal_ask_yes("Trust this manager from now on?"))
            return error_set(e, ERR_CANCELLED, "not trusted; nothing was sent");
    }
    *ret_pem = TAKE_PTR(pem);
    return 0;
}

/* Leaves in the profile a CA file against which the manager passes verification. */
static int trust_establish(struct cli *cli, struct profile *p, struct error *e) {
    const char *ca = args_option(&cli->args, "ca"), *fingerprint = args_option(&cli->args, "fingerprint");
    _cleanup_free_ char *pem = NULL;
    int r;
    if (ca) {
        if ((r = trust_read_ca(ca, &pem, e)) < 0)
            return r;
        return profile_save_ca(p, pem, e);
    }
    if (!fingerprint && !str_empty(getenv("TARN_CA"))) {
        if ((r = trust_read_ca(getenv("TARN_CA"), &pem, e)) < 0)
            return r;
        return profile_save_ca(p, pem, e);
    }
    if (!fingerprint && *p->ca && str_eq(p->url, cli->url.base)) {
        if (trust_verifies(cli->url.base, p->ca))
            return 0;
        /* Unreachable, or another CA than before? Only the second must frighten anybody. */
        if ((r = trust_fetch_ca(cli->url.base, &pem, e)) < 0)
            return r;
        return error_set(e, ERR_FORBIDDEN,
                         "%s does not present a certificate of the CA that was trusted before (%s). Somebody may be in "
                         "between, or the manager was made anew: then sign in with --fingerprint or --ca",
                         cli->url.base, p->ca);
    }
    const char *bundle = trust_system_ca();
    if (!fingerprint && bundle && access(bundle, R_OK) == 0 && trust_verifies(cli->url.base, bundle)) {
        str_set(&p->ca, bundle);
        return 0;
    }
    if ((r = first_contact(cli, fingerprint, &pem, e)) < 0)
        return r;
    return profile_save_ca(p, pem, e);
}

static int user_and_password(struct cli *cli, const struct profile *p, char **ret_user, char **ret_password,
                             struct error *e) {
    const char *user = args_option(&cli->args, "user"), *file = args_option(&cli->args, "password-file");
    int r = 0;
    if (user)
        *ret_user = xstrdup(user);
    else if (terminal_can_ask())
        r = terminal_ask_text("User", *p->user ? p->user : "admin", ret_user, e);
    else
        return error_set(e, ERR_INVALID, "--user is missing (there is no terminal to ask on)");
    if (r < 0)
        return r;
    if (file)
        return input_read_secret(file, ret_password, e);
    if (!terminal_can_ask())
        return error_set(e, ERR_INVALID,
                         "--password-file is missing (there is no terminal to ask on); - is the standard input");
    return terminal_ask_secret("Password", ret_password, e);
}

/* p->token becomes a new session's. */
static int sign_in(struct cli *cli, struct profile *p, json_t **ret_session, struct error *e) {
    _cleanup_free_ char *user = NULL, *password = NULL;
    int r = user_and_password(cli, p, &user, &password, e);
    if (r < 0)
        return r;
    struct http *http = http_new(cli->url.base, p->ca, NULL, cli->verbose);
    _cleanup_json_ json_t *body = json_pack("{s:s, s:s}", "name", user, "password", password);
    explicit_bzero(password, strlen(password));
    _cleanup_reply_ struct http_reply reply = {0};
    r = http_do(http, &(struct http_request){.method = "POST", .path = "/sessions", .body = body, .fd = -1}, &reply, e);
    http_free(http);
    if (r < 0)
        return r;
    if (!*json_str(reply.body, "secret"))
        return error_set(e, ERR_INTERNAL, "the manager's answer to the sign-in holds no token");
    str_set(&p->token, json_str(reply.body, "secret"));
    str_set(&p->user, user);
    *ret_session = TAKE_PTR(reply.body);
    return 0;
}

/* An API token instead of a password. */
static int use_token(struct cli *cli, struct profile *p, const char *file, json_t **ret_session, struct error *e) {
    _cleanup_free_ char *token = NULL;
    int r = input_read_secret(file, &token, e);
    if (r < 0)
        return r;
    struct http *http = http_new(cli->url.base, p->ca, token, cli->verbose);
    r = http_get(http, "/sessions/current", ret_session, e);
    http_free(http);
    if (r < 0)
        return r;
    str_take(&p->token, TAKE_PTR(token));
    str_set(&p->user, json_str(*ret_session, "user"));
    return 0;
}

int login_run(struct cli *cli, struct error *e) {
    const struct args *a = &cli->args;
    _cleanup_profile_ struct profile p = {0};
    _cleanup_json_ json_t *session = NULL;
    int r = profile_load_stored(args_option(a, "profile"), &p, e);
    if (r < 0)
        return r;
    const char *url = a->n_values ? a->values[0] : str_or(getenv("TARN_URL"), p.url);
    if (str_empty(url))
        return error_set(e, ERR_INVALID, "the manager's address is missing: tarn login https://HOST:PORT");
    if ((r = url_parse(url, &cli->url, e)) < 0)
        return r;
    if (cli->dry_run) {
        cli_print_request(cli, "POST", "/sessions", NULL);
        return 0;
    }
    const char *token_file = args_option(a, "token-file");
    r = trust_establish(cli, &p, e);
    if (r >= 0)
        r = token_file ? use_token(cli, &p, token_file, &session, e) : sign_in(cli, &p, &session, e);
    if (r >= 0) {
        str_set(&p.url, cli->url.base);
        r = profile_save(&p, e);
    }
    if (r < 0)
        return r;
    /* The secret is the profile's now and nobody else's. */
    json_object_del(session, "secret");
    json_object_del(session, "csrf");
    if (cli->output != OUTPUT_TABLE) {
        show_value(cli, session);
        return 0;
    }
    _cleanup_free_ char *user = text_safe(p.user), *role = text_safe(json_str(session, "role"));
    _cleanup_free_ char *line = xasprintf("Signed in to %s as %s (%s).\n", p.url, user, role);
    cli_write(line, strlen(line));
    return 0;
}

int logout_run(struct cli *cli, struct error *e) {
    _cleanup_profile_ struct profile p = {0};
    int r = profile_load_stored(args_option(&cli->args, "profile"), &p, e);
    if (r < 0)
        return r;
    if (!*p.token) {
        cli_note(cli, "not signed in");
        return 0;
    }
    if ((r = url_parse(p.url, &cli->url, e)) < 0)
        return r;
    if (cli->dry_run) {
        cli_print_request(cli, "DELETE", "/sessions/current", NULL);
        return 0;
    }
    _cleanup_error_ struct error remote = ERROR_INIT;
    struct http *http = http_new(cli->url.base, p.ca, p.token, cli->verbose);
    http_do(http, &(struct http_request){.method = "DELETE", .path = "/sessions/current", .fd = -1}, NULL, &remote);
    http_free(http);
    str_set(&p.token, "");
    if ((r = profile_save(&p, e)) < 0)
        return r;
    if (remote.code && remote.code != ERR_UNAUTHENTICATED)
        cli_note(cli, "the manager could not be told (%s); its session ends by itself", remote.message);
    cli_note(cli, "signed out of %s", p.url);
    return 0;
}

int profile_list_run(struct cli *cli, struct error *e) {
    char **names = NULL;
    int r = profile_names(&names, e);
    if (r < 0)
        return r;
    static const struct column columns[] = {{.path = "name", .title = "NAME"},
                                            {.path = "url", .title = "URL"},
                                            {.path = "user", .title = "USER"},
                                            {.path = "signed_in", .title = "SIGNED IN"},
                                            {0}};
    _cleanup_json_ json_t *list = json_array();
    for (char **name = names; *name; name++) {
        _cleanup_profile_ struct profile p = {0};
        if (profile_load_stored(*name, &p, NULL) >= 0)
            json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:b}", "name", p.name, "url", p.url, "user", p.user,
                                                  "signed_in", *p.token != 0));
        free(*name);
    }
    free(names);
    return show_list(cli, list, columns);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

#include "base/mem.h"
#include "cli/text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

void cli_write(const char *data, size_t len) {
    if (fwrite(data, 1, len, stdout) == len)
        return;
    if (errno == EPIPE)
        exit(0); /* the reader (head, less) has seen enough */
    fprintf(stderr, "tarn: cannot write the output: %s\n", strerror(errno));
    exit(1);
}

void cli_flush(void) {
    if (fflush(stdout) == 0)
        return;
    if (errno != EPIPE)
        fprintf(stderr, "tarn: cannot write the output: %s\n", strerror(errno));
    _exit(errno == EPIPE ? 0 : 1);
}

void cli_note(const struct cli *cli, const char *fmt, ...) {
    if (cli->quiet)
        return;
    va_list ap;
    va_start(ap, fmt);
    _cleanup_free_ char *text = xvasprintf(fmt, ap);
    va_end(ap);
    _cleanup_free_ char *safe = text_safe(text);
    fprintf(stderr, "tarn: %s\n", safe);
}

void cli_warn(const char *text) {
    _cleanup_free_ char *safe = text_safe(text);
    fprintf(stderr, "tarn: warning: %s\n", safe);
}

void cli_print_request(const struct cli *cli, const char *method, const char *path, const json_t *body) {
    struct buf out = {0};
    if (cli->output == OUTPUT_JSON || cli->output == OUTPUT_YAML) {
        _cleanup_json_ json_t *j =
            json_pack("{s:s, s:s+, s:O?}", "method", method, "path", "/api/v1", path, "body", body);
        char *text = json_dumps(j, JSON_INDENT(2));
        text_escape_json(&out, text, strlen(text));
        free(text);
    } else {
        buf_addf(&out, "%s %s/api/v1%s", method, cli->url.base ? cli->url.base : "", path);
        char *text = body ? json_dumps(body, JSON_INDENT(2)) : NULL;
        if (text) {
            buf_addc(&out, '\n');
            text_escape_json(&out, text, strlen(text));
        }
        free(text);
    }
    buf_addc(&out, '\n');
    cli_write(out.data, out.len);
    buf_done(&out);
}

int cli_connect(struct cli *cli, struct error *e) {
    int r = profile_load(args_option(&cli->args, "profile"), &cli->profile, e);
    if (r < 0)
        return r;
    if (!*cli->profile.url) {
        if (cli->dry_run)
            return 0;
        return error_set(e, ERR_UNAUTHENTICATED,
                         str_eq(cli->profile.name, "default") ? "no manager is known yet"
                                                              : "the profile \"%s\" names no manager",
                         cli->profile.name);
    }
    if ((r = url_parse(cli->profile.url, &cli->url, e)) < 0)
        return r;
    if (!*cli->profile.ca)
        return error_set(e, ERR_UNAUTHENTICATED, "no CA certificate is known for %s: sign in, or set TARN_CA",
                         cli->url.base);
    cli->http = http_new(cli->url.base, cli->profile.ca, *cli->profile.token ? cli->profile.token : NULL, cli->verbose);
    return 0;
}

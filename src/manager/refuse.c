/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that are refused before they become one: their head is not well-formed, too long, or of another protocol. */
#include "manager/conn.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

/* Of a handshake with a client's certificates, and of the records' own heads. */
#define TLS_ALLOWANCE 8192

static const struct {
    int status;
    const char *reason, *code, *message;
} refusals[] = {
    [HEAD_MALFORMED] = {400, "Bad Request", "invalid", "the request line is not well-formed"},
    [HEAD_TOO_LONG] = {431, "Request Header Fields Too Large", "too-large", "the request's head is longer than 16 KiB"},
    [HEAD_VERSION] = {505, "HTTP Version Not Supported", "invalid", "this is HTTP/1.1"},
    [HEAD_NO_HOST] = {400, "Bad Request", "invalid", "the request has no header Host"},
    [HEAD_BLANK] = {400, "Bad Request", "invalid", "a header's name has a blank before its colon"},
};

int conn_refuse_head(struct lws *wsi, enum head_problem problem) {
    char text[LWS_PRE + 512], body[256];
    int len = snprintf(body, sizeof body, "{\"error\":{\"code\":\"%s\",\"message\":\"%s\"}}", refusals[problem].code,
                       refusals[problem].message);
    int n = snprintf(
        text + LWS_PRE, 512,
        "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
        refusals[problem].status, refusals[problem].reason, len, body);
    lws_write(wsi, (unsigned char *)text + LWS_PRE, (size_t)n, LWS_WRITE_HTTP);
    return -1;
}

/*
 * Takes the place of the library's own function of this name, which it calls when it refuses a request line itself (bad
 * percent-encoding, an unknown method): the answer is an error as all others are, instead of a page of HTML.
 */
int lws_return_http_status(struct lws *wsi, unsigned int code, const char *html_body) {
    return conn_refuse_head(wsi, HEAD_MALFORMED) < 0;
}

/* The library counts only the fields it knows; what came in with them tells of the others. A body may have come too. */
static bool is_too_long(struct lws *wsi, uint64_t brought) {
    char text[32] = "";
    size_t sum = 0;
    for (int i = 0; i < WSI_TOKEN_COUNT; i++) {
        int n = lws_hdr_total_length(wsi, (enum lws_token_indexes)i);
        sum += n > 0 ? (size_t)n : 0;
    }
    uint64_t body = 0, most = HTTP_HEAD_MAX + TLS_ALLOWANCE;
    if (lws_hdr_copy(wsi, text, sizeof text, WSI_TOKEN_HTTP_CONTENT_LENGTH) > 0)
        body = strtoull(text, NULL, 10);
    return sum > HTTP_HEAD_MAX || (brought > most && brought - most > body);
}

/*
 * "Content-Length : 5" is another header to the library than "Content-Length: 5", and none that it knows: what somebody
 * before us took for the body would be our next request (RFC 9112, 5.1). It keeps such headers under the name as it
 * came, which can be asked for, not listed; so it is asked for those by which a message is framed, with as many blanks
 * as anybody writes. Whoever writes more has sent no Host either, or is not HTTP/1.1 and gets no second request.
 */
static bool has_blank_name(struct lws *wsi) {
    static const char *const names[] = {"content-length", "transfer-encoding"};
    static const char *const blanks[] = {" :", "\t:", "  :", " \t:", "\t :", "\t\t:", "   :"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        for (size_t k = 0; k < ARRAY_LEN(blanks); k++) {
            char name[32];
            int n = snprintf(name, sizeof name, "%s%s", names[i], blanks[k]);
            if (lws_hdr_custom_length(wsi, name, n) >= 0)
                return true;
        }
    return false;
}

bool conn_head_problem(struct lws *wsi, uint64_t brought, enum head_problem *ret) {
    char version[16] = "";
    *ret = HEAD_TOO_LONG;
    if (is_too_long(wsi, brought))
        return true;
    *ret = HEAD_VERSION;
    if (lws_hdr_copy(wsi, version, sizeof version, WSI_TOKEN_HTTP) < 0 ||
        (strcmp(version, "HTTP/1.1") != 0 && strcmp(version, "HTTP/1.0") != 0))
        return true;
    *ret = HEAD_BLANK;
    if (has_blank_name(wsi))
        return true;
    *ret = HEAD_NO_HOST;
    return strcmp(version, "HTTP/1.1") == 0 && lws_hdr_total_length(wsi, WSI_TOKEN_HOST) <= 0;
}

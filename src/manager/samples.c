/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Samples on their way in. A thousand servers send one every two seconds, perhaps all at the same moment; taking one
 * apart costs more than answering a request. So they are kept as text, the newest of each server, and taken apart
 * between the requests (work.h).
 *
 * A large fleet sends more than anybody looks at: each server's is then taken less often than it comes, so that it is
 * some hundred in a second. Which one is whose turn is told by the server's place, so that they do not come together.
 */
#include "manager/samples.h"

#include "manager/agents.h"
#include "manager/samples_due.h"
#include "manager/stats.h"
#include "manager/work.h"

struct sample {
    struct list link; /* in the queue, while there is a text */
    char server[UUID_LEN + 1];
    char *text;
    size_t len;
    int64_t due; /* ms: what comes before is not taken */
};

struct samples {
    struct work work;
    struct list queue;
    struct map by_server;
    uint64_t n_seen; /* servers that have come */
};

bool samples_are(const char *text, size_t len) {
    static const char begin[] = "{\"event\":\"stats\",";
    return len > sizeof begin && memcmp(text, begin, sizeof begin - 1) == 0;
}

/* The tree that the text becomes is dropped before anything else is made: see json_scratch_begin(). */
static void take(struct manager *m, const struct sample *p) {
    struct api_stats_sample sample;
    json_t *message = NULL;
    json_scratch_begin();
    int parsed = json_parse(p->text, p->len, &message, NULL);
    if (parsed == 0)
        json_tame(message);
    int r = parsed < 0 ? parsed : api_stats_sample_parse(json_object_get(message, "args"), API_PEER, &sample, NULL);
    json_decref(message);
    json_scratch_end();
    if (parsed < 0)
        agents_malformed(m, p->server);
    if (r < 0)
        return;
    stats_sample(m, p->server, &sample);
    api_stats_sample_done(&sample);
}

static bool go(struct manager *m, struct work *w) {
    struct samples *s = m->samples;
    struct sample *p = list_first(&s->queue, struct sample, link);
    if (!p)
        return false;
    list_remove(&p->link);
    struct sample taken = *p; /* which may be the server's end */
    p->text = NULL;
    take(m, &taken);
    free(taken.text);
    return !list_empty(&s->queue);
}

void samples_init(struct manager *m) {
    m->samples = xcalloc(1, sizeof *m->samples);
    m->samples->work.what = "samples";
    m->samples->work.go = go;
    list_init(&m->samples->queue);
}

static void sample_free(struct samples *s, struct sample *p) {
    map_remove(&s->by_server, p->server);
    list_remove(&p->link);
    free(p->text);
    free(p);
}

void samples_done(struct manager *m) {
    size_t pos = 0;
    void *value;
    if (!m->samples)
        return;
    while (map_next(&m->samples->by_server, &pos, NULL, &value))
        sample_free(m->samples, value);
    map_done(&m->samples->by_server);
    work_remove(&m->samples->work);
    free(m->samples);
    m->samples = NULL;
}

void samples_forget(struct manager *m, const char *server) {
    struct sample *p = map_get(&m->samples->by_server, server);
    if (p)
        sample_free(m->samples, p);
}

static struct sample *sample_of(struct samples *s, const char *server) {
    struct sample *p = map_get(&s->by_server, server);
    if (p)
        return p;
    p = xcalloc(1, sizeof *p);
    list_init(&p->link);
    snprintf(p->server, sizeof p->server, "%s", server);
    map_put(&s->by_server, p->server, p);
    return p;
}

void samples_add(struct manager *m, const char *server, const char *text, size_t len) {
    struct samples *s = m->samples;
    struct sample *p = sample_of(s, server);
    bool waits = p->text != NULL; /* the newer one is as good */
    if (!waits && !sample_is_due(&p->due, manager_now(m), map_count(&m->agents), &s->n_seen))
        return;
    if (!waits)
        list_append(&s->queue, &p->link);
    str_take(&p->text, xmemdup(text, len));
    p->len = len;
    work_add(m, &s->work);
}

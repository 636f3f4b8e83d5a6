/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Samples on their way in. A thousand servers send one every two seconds, perhaps all at the same moment; taking one
 * apart costs more than answering a request. So they are kept as text, the newest of each server, and taken apart
 * between the requests (work.h).
 */
#include "manager/samples.h"

#include "manager/agents.h"
#include "manager/stats.h"
#include "manager/work.h"

struct sample {
    struct list link;
    char server[UUID_LEN + 1];
    char *text;
    size_t len;
};

struct samples {
    struct work work;
    struct list queue;
    struct map by_server;
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
    map_remove(&s->by_server, p->server);
    take(m, p);
    free(p->text);
    free(p);
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
    struct sample *p, *next;
    if (!m->samples)
        return;
    list_for_each_safe(p, next, &m->samples->queue, link) { sample_free(m->samples, p); }
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

void samples_add(struct manager *m, const char *server, const char *text, size_t len) {
    struct samples *s = m->samples;
    struct sample *p = map_get(&s->by_server, server);
    if (!p) {
        p = xcalloc(1, sizeof *p);
        snprintf(p->server, sizeof p->server, "%s", server);
        map_put(&s->by_server, p->server, p);
        list_append(&s->queue, &p->link);
    }
    str_take(&p->text, xmemdup(text, len));
    p->len = len;
    work_add(m, &s->work);
}

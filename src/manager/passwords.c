/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/passwords.h"

#include "base/list.h"
#include "base/mem.h"

#include <argon2.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <sys/random.h>

/* OWASP's first choice for Argon2id: 19 MiB, two passes, one lane. */
#define MEMORY_KIB  19456
#define PASSES      2
#define LANES       1
#define SALT_LEN    16
#define HASH_LEN    32
#define ENCODED_MAX 160
#define AT_ONCE     2
#define QUEUE_MAX   64

struct work {
    struct list link;
    uv_work_t uv;
    struct passwords *p;
    char *password, *hash; /* hash: to verify against, or NULL */
    bool verify, good, failed;
    char encoded[ENCODED_MAX];
    passwords_hashed *hashed;
    passwords_verified *verified;
    void *ctx;
};

struct passwords {
    uv_loop_t *loop;
    struct list queue;
    size_t queued, running;
    bool stopping;
    char *decoy; /* the hash of nothing anybody knows, for users who don't exist */
};

static int encode(const char *password, char encoded[ENCODED_MAX]) {
    unsigned char salt[SALT_LEN];
    if (getrandom(salt, sizeof salt, 0) != sizeof salt)
        return -EIO;
    return argon2id_hash_encoded(PASSES, MEMORY_KIB, LANES, password, strlen(password), salt, sizeof salt, HASH_LEN,
                                 encoded, ENCODED_MAX) == ARGON2_OK
               ? 0
               : -ENOMEM;
}

char *password_hash_now(const char *password) {
    char encoded[ENCODED_MAX];
    return encode(password, encoded) == 0 ? xstrdup(encoded) : NULL;
}

struct passwords *passwords_new(uv_loop_t *loop) {
    struct passwords *p = xcalloc(1, sizeof *p);
    p->loop = loop;
    list_init(&p->queue);
    unsigned char random[SALT_LEN];
    char text[2 * SALT_LEN + 1];
    if (getrandom(random, sizeof random, 0) != sizeof random)
        abort();
    for (size_t i = 0; i < sizeof random; i++)
        snprintf(text + 2 * i, 3, "%02x", random[i]);
    p->decoy = password_hash_now(text);
    if (!p->decoy)
        abort(); /* without it who does not exist would be told sooner */
    return p;
}

static void work_free(struct work *w) {
    OPENSSL_cleanse(w->password, strlen(w->password));
    free(w->password);
    free(w->hash);
    free(w);
}

void passwords_free(struct passwords *p) {
    if (!p)
        return;
    p->stopping = true;
    struct work *w, *tmp;
    list_for_each_safe(w, tmp, &p->queue, link) {
        list_remove(&w->link);
        work_free(w);
    }
    while (p->running)
        uv_run(p->loop, UV_RUN_ONCE);
    free(p->decoy);
    free(p);
}

static void work_run(uv_work_t *uv) {
    struct work *w = container_of(uv, struct work, uv);
    if (w->verify)
        w->good =
            argon2id_verify(w->hash ? w->hash : w->p->decoy, w->password, strlen(w->password)) == ARGON2_OK && w->hash;
    else
        w->failed = encode(w->password, w->encoded) < 0;
}

static void start_next(struct passwords *p);

static void work_done(uv_work_t *uv, int status) {
    struct work *w = container_of(uv, struct work, uv);
    struct passwords *p = w->p;
    p->running--;
    if (!p->stopping) {
        start_next(p);
        if (w->verify)
            w->verified(w->ctx, w->good);
        else
            w->hashed(w->ctx, w->failed ? NULL : w->encoded);
    }
    work_free(w);
}

static void start_next(struct passwords *p) {
    while (p->running < AT_ONCE && !list_empty(&p->queue)) {
        struct work *w = list_first(&p->queue, struct work, link);
        list_remove(&w->link);
        p->queued--;
        p->running++;
        uv_queue_work(p->loop, &w->uv, work_run, work_done);
    }
}

static struct work *work_add(struct passwords *p, const char *password, void *ctx) {
    if (p->queued >= QUEUE_MAX)
        return NULL;
    struct work *w = xcalloc(1, sizeof *w);
    w->p = p;
    w->password = xstrdup(password);
    w->ctx = ctx;
    list_append(&p->queue, &w->link);
    p->queued++;
    return w;
}

int passwords_hash(struct passwords *p, const char *password, passwords_hashed *done, void *ctx) {
    struct work *w = work_add(p, password, ctx);
    if (!w)
        return -EAGAIN;
    w->hashed = done;
    start_next(p);
    return 0;
}

int passwords_verify(struct passwords *p, const char *password, const char *hash, passwords_verified *done, void *ctx) {
    struct work *w = work_add(p, password, ctx);
    if (!w)
        return -EAGAIN;
    w->verify = true;
    w->hash = xstrdup(hash);
    w->verified = done;
    start_next(p);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clients: requests of every operation that the core handles, their bodies made at random from the description's own
 * tables, so that a new operation or field is exercised without anyone remembering to add it here. Names and references
 * come from small pools, so that requests meet and race.
 */
#include "sim/sim.h"

#include <stdio.h>

struct asked {
    enum api_op_id op;
    char *param;
};

static void asked_free(struct asked *a) {
    if (!a)
        return;
    free(a->param);
    free(a);
}

static bool maybe(struct sim *s, unsigned percent) { return sim_random(s, 100) < percent; }

/* The id of a random object of that kind, or a name that nobody has. */
static char *some_object(struct sim *s, const char *kind_name) {
    int kind = api_kind_from_text(kind_name);
    if (kind < 0 || maybe(s, 3))
        return xstrdup("nobody");
    size_t n = 0;
    const char *found = NULL;
    /* The store is what a client could have read. */
    char prefix[40];
    int len = snprintf(prefix, sizeof prefix, "%s/", kind_name);
    size_t pos = 0;
    const char *key;
    void *value;
    while (map_next(&s->m.p.disk.live, &pos, &key, &value))
        if (strncmp(key, prefix, (size_t)len) == 0 && sim_random(s, ++n) == 0)
            found = key + len;
    return xstrdup(found ? found : "nobody");
}

/* The id of a virtual machine that could be moved; NULL if there is none. */
static char *some_guest(struct sim *s) {
    size_t n = 0, pos = 0;
    const char *key, *found = NULL;
    void *value;
    while (map_next(&s->m.p.disk.live, &pos, &key, &value)) {
        bool alive = strncmp(key, "vm/", 3) == 0 &&
                     (strstr(value, "\"state\":\"running\"") || strstr(value, "\"state\":\"suspended\""));
        if (alive && sim_random(s, ++n) == 0)
            found = key + 3;
    }
    return xstrdup(found);
}

static json_t *random_object(struct sim *s, const struct api_schema *schema, bool change, int depth);

static json_t *random_string(struct sim *s, const struct api_field *f) {
    if (f->ref) {
        _cleanup_free_ char *id = some_object(s, f->ref);
        return json_string(id);
    }
    if (f->choices)
        return json_string(f->choices->texts[sim_random(s, f->choices->n)]);
    switch (f->format) {
    case API_FORMAT_NAME:
        return json_sprintf("n%d", (int)sim_random(s, 12));
    case API_FORMAT_PATH:
        return json_sprintf("/r/%d", (int)sim_random(s, 6));
    case API_FORMAT_MAC:
        return json_sprintf("52:54:00:00:00:%02x", (unsigned)sim_random(s, 256));
    default:
        return json_sprintf("text %d and some more", (int)sim_random(s, 1000));
    }
}

static json_t *random_integer(struct sim *s, const struct api_field *f) {
    if (maybe(s, 2))
        return json_integer(f->max > f->min ? f->max : (json_int_t)1 << 62);
    if (f->min >= 1 << 20)
        return json_integer(f->min + ((json_int_t)sim_random(s, 8) << 20));
    int64_t span = f->max > f->min && f->max - f->min < 4 ? f->max - f->min + 1 : 4;
    return json_integer(f->min + (json_int_t)sim_random(s, (uint64_t)span));
}

static json_t *random_value(struct sim *s, const struct api_field *f, int depth) {
    switch (f->type) {
    case API_TYPE_STRING:
        return random_string(s, f);
    case API_TYPE_INTEGER:
        return random_integer(s, f);
    case API_TYPE_NUMBER:
        return json_real(1.5);
    case API_TYPE_BOOLEAN:
        return json_boolean(maybe(s, 60));
    case API_TYPE_ENUM:
        return json_string(f->choices->texts[sim_random(s, f->choices->n)]);
    case API_TYPE_OBJECT:
        return random_object(s, f->schema, false, depth + 1);
    default:
        return json_object();
    }
}

static bool may_send(const struct api_field *f, bool change) {
    if (f->flags & (API_F_READ_ONLY | API_F_INTERNAL))
        return false;
    return !change || !(f->flags & (API_F_IMMUTABLE | API_F_INPUT)) || f->flags & API_F_CHANGEABLE;
}

/* How likely an optional field is sent: what makes things connect more often than what makes them differ. */
static unsigned weight_of(const struct api_field *f, bool change, int depth) {
    if (depth && f->ref)
        return 60;
    bool likely = str_eq(f->name, "disks") || str_eq(f->name, "start") || str_eq(f->name, "restart_policy");
    if (!change && likely && (f->type != API_TYPE_BOOLEAN || str_eq(f->name, "start")))
        return 50;
    if (!change && depth && str_eq(f->name, "size"))
        return 70;
    if (str_eq(f->name, "template") || (str_eq(f->name, "image") && !depth) ||
        (!change && str_eq(f->name, "repository")))
        return 60;
    if (f->type == API_TYPE_BOOLEAN && str_eq(f->name, "disks"))
        return 80; /* of a migration: else hardly any can go anywhere */
    if (str_eq(f->name, "cdrom") && depth)
        return 4; /* else few disks are disks */
    if (str_eq(f->name, "iso") && depth)
        return 10;
    return change ? 20 : 12;
}

static json_t *random_object(struct sim *s, const struct api_schema *schema, bool change, int depth) {
    json_t *o = json_object();
    for (size_t i = 0; i < schema->n_fields; i++) {
        const struct api_field *f = &schema->fields[i];
        if (!may_send(f, change) || (!(f->flags & API_F_REQUIRED && !change) && !maybe(s, weight_of(f, change, depth))))
            continue;
        if (str_eq(f->name, "path") && depth)
            continue; /* an image on a server: there are none */
        json_t *v;
        if (f->flags & API_F_ARRAY) {
            v = json_array();
            for (size_t n = sim_random(s, 3); n-- > 0;)
                json_array_append_new(v, random_value(s, f, depth));
        } else {
            v = random_value(s, f, depth);
        }
        json_object_set_new(o, f->name, v);
    }
    return o;
}

static const struct api_op *pick_op(struct sim *s) {
    if (s->config.servers > 1 && maybe(s, 12)) { /* a move is the longest way through two servers; it needs guests */
        _cleanup_free_ char *guest = some_guest(s);
        static const enum api_op_id others[] = {API_OP_VM_CREATE, API_OP_VM_START};
        return &api_ops[guest ? API_OP_VM_MIGRATE : others[sim_random(s, 2)]];
    }
    for (;;) {
        const struct api_op *op = &api_ops[sim_random(s, API_OP_COUNT)];
        if (op->shell || (strcmp(op->method, "GET") == 0 && !maybe(s, 20)))
            continue;
        if (str_eq(op->name, "job_abort"))
            continue; /* a fault of its own */
        if (maybe(s, 50) && !str_eq(op->tag, "vm"))
            continue;
        if ((str_eq(op->tag, "pool") || str_eq(op->tag, "rule")) && maybe(s, 60))
            continue;
        if (strstr(op->name, "_delete") && maybe(s, 50))
            continue; /* else nothing lives long */
        return op;
    }
}

static void remember(struct sim *s, uint64_t request, enum api_op_id op, const char *param) {
    char key[24];
    struct asked *a = xcalloc(1, sizeof *a);
    a->op = op;
    a->param = xstrdup(param ? param : "");
    snprintf(key, sizeof key, "%llu", (unsigned long long)request);
    asked_free(map_put(&s->waiting, key, a));
}

static void ask_with(struct sim *s, const struct api_op *op, const char *param, json_t *body /* stolen */) {
    struct core_request r = {.id = ++s->request,
                             .op = op->id,
                             .actor = "admin",
                             .user_id = "admin",
                             .role = API_ROLE_ADMINISTRATOR,
                             .params = {param},
                             .body = body,
                             .password_hash = "hash"};
    if (body)
        json_object_del(body, "password");
    /* Nobody says that he has seen a power off that is on. */
    if (op->id == API_OP_SERVER_FENCE && str_eq(json_str(body, "action"), "confirm"))
        json_set_str(body, "action", "status");
    if (s->trace_all || s->trace_keep) {
        _cleanup_free_ char *text = body ? json_text(body) : NULL;
        sim_trace(s, "client: %llu %s %s %s", (unsigned long long)r.id, op->name, param ? param : "", text ? text : "");
    }
    remember(s, r.id, op->id, param);
    pool_policy_asked(s, op->name, body);
    manager_enter(s);
    int64_t before = core_revision(s->m.c);
    core_request(s->m.c, &r);
    s->asked_before = before;
    s->asked_after = core_revision(s->m.c);
    s->asked_now = r.id;
    json_decref(body);
    manager_drain(s);
    s->asked_now = 0;
}

static void ask(struct sim *s, const struct api_op *op, const char *param) {
    ask_with(s, op, param, op->body ? random_object(s, op->body, op->body_is_change, 0) : NULL);
}

/* At moments when nobody would: its server is away, it is on its way, it has just been lost. */
void client_changes_ha(struct sim *s) {
    const struct api_op *op = &api_ops[API_OP_VM_CHANGE];
    if (!s->config.ha_changes || !maybe(s, 12) || !s->m.p.up || s->now < s->m.p.paused_until)
        return;
    _cleanup_free_ char *vm = some_object(s, op->tag);
    if (vm)
        ask_with(s, op, vm, json_pack("{s:{s:b}}", "ha", "enabled", maybe(s, 60)));
}

void client_moves(struct sim *s, const char *vm) { ask_with(s, &api_ops[API_OP_VM_MIGRATE], vm, json_object()); }

/* The shell makes tokens, not the core's table of operations. */
static void make_token(struct sim *s) {
    struct api_token t;
    api_token_init(&t);
    t.kind = maybe(s, 50) ? API_TOKEN_KIND_SESSION : API_TOKEN_KIND_JOIN;
    t.uses = 1;
    t.lifetime = sim_between(s, 10, 1000);
    str_set(&t.name, "of a client");
    str_take(&t.hash, xasprintf("token-%llu", (unsigned long long)++s->request));
    remember(s, s->request, API_OP_TOKEN_CREATE, "");
    manager_enter(s);
    core_token_add(s->m.c, s->request, "admin", &t);
    api_token_done(&t);
    manager_drain(s);
}

static void ask_at_random(struct sim *s) {
    if (maybe(s, 2)) {
        make_token(s);
        return;
    }
    const struct api_op *op = pick_op(s);
    _cleanup_free_ char *param = NULL;
    if (strchr(op->path, '{'))
        param = op->id == API_OP_VM_MIGRATE ? some_guest(s) : NULL;
    if (strchr(op->path, '{') && !param)
        param = some_object(s, op->tag);
    size_t n = s->request_n++;
    if (n < s->config.n_drop_request && s->config.drop_request[n])
        return;
    ask(s, op, param);
}

static void abort_something(struct sim *s) {
    size_t pos = 0;
    const char *key;
    void *value;
    while (map_next(&s->m.p.disk.live, &pos, &key, &value)) {
        const char *state = strncmp(key, "job/", 4) == 0 ? strstr(value, "\"state\":\"") : NULL;
        bool active = state && (strncmp(state + 9, "running", 7) == 0 || strncmp(state + 9, "queued", 6) == 0);
        if (active && maybe(s, 50)) {
            ask(s, &api_ops[API_OP_JOB_ABORT], key + 4);
            return;
        }
    }
}

/* A server that cannot be emptied is waited for until somebody gives up, and so is room for a guest: when the world is
   to come to rest, they do; those who wait for room only when it is late. */
void client_gives_up(struct sim *s, bool late) {
    size_t pos = 0;
    const char *key;
    void *value;
    char kind[40];
    while (s->m.p.up && s->now >= s->m.p.paused_until && map_next(&s->m.p.disk.live, &pos, &key, &value)) {
        if (strncmp(key, "job/", 4) || sim_job_has_ended(value) || strstr(value, "\"abort_requested\":true") ||
            !sim_text_after(value, "\"kind\":\"", kind, sizeof kind))
            continue;
        if (str_eq(kind, "server.maintenance") || (late && str_eq(kind, "vm.recover"))) {
            ask(s, &api_ops[API_OP_JOB_ABORT], key + 4);
            return;
        }
    }
}

static void send_upload(struct sim *s, struct sim_event *e) {
    _cleanup_free_ char *id = e->p;
    for (int i = 0; i < s->config.servers; i++)
        driver_upload(s, i, id);
}
static void drop_text(struct sim_event *e) { free(e->p); }

static void next_request(struct sim *s, struct sim_event *e) {
    int client = e->server;
    if (s->requests_left <= 0)
        return;
    if (s->m.p.up && s->now >= s->m.p.paused_until) {
        s->requests_left--;
        if (sim_fault(s, FAULT_ABORT))
            abort_something(s);
        else
            ask_at_random(s);
    }
    struct sim_event *next =
        sim_at(s, s->now + sim_between(s, 1, s->config.pool ? 4000 : 400) * US_PER_MS, next_request);
    next->server = client;
}

void client_start(struct sim *s) {
    s->requests_left = s->config.requests;
    for (int i = 0; i < s->config.clients; i++)
        sim_at(s, s->now + sim_between(s, 1, 500) * US_PER_MS, next_request)->server = i;
}

void client_reply(struct sim *s, uint64_t request, int status, const char *text) {
    char key[24];
    snprintf(key, sizeof key, "%llu", (unsigned long long)request);
    struct asked *a = map_remove(&s->waiting, key);
    if (!a) {
        if (request > 1000) /* those below are the schedule's own */
            sim_broken(s, "a request is answered once", "request %llu: %d", (unsigned long long)request, status);
        return;
    }
    const struct api_op *op = &api_ops[a->op];
    _cleanup_free_ char *param = TAKE_PTR(a->param);
    asked_free(a);
    sim_trace(s, "client: reply to %llu: %d %.200s", (unsigned long long)request, status, text ? text : "");
    char what[64];
    snprintf(what, sizeof what, "%s %dxx", op->name, status / 100);
    cover_hit(s->cover, "operation", what);
    if (request == s->asked_now && status >= 400 &&
        op->id != API_OP_UPLOAD_CREATE) /* its refusal may be its job's end */
        check_refused(s, op->name, s->asked_before, s->asked_after);
    check_reply(s, op->name, param, status, text);
    if (op->id == API_OP_UPLOAD_CREATE && status == 201) {
        _cleanup_json_ json_t *j = json_loads(text, 0, NULL);
        struct sim_event *e = sim_at(s, s->now + sim_between(s, 1, 300) * US_PER_MS, send_upload);
        e->p = xstrdup(json_str(j, "id"));
        e->drop = drop_text;
    }
}

void client_forget_all(struct sim *s) {
    size_t pos = 0;
    void *value;
    while (map_next(&s->waiting, &pos, NULL, &value))
        asked_free(value);
    map_done(&s->waiting);
}

void client_done(struct sim *s) { client_forget_all(s); }

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The manager's decisions. Pure: no system call, no clock, no randomness. The shell (src/manager, src/sim) feeds events
 * in and carries effects out:
 *
 *     events in                                   effects out (core_next_effect)
 *     core_load*, core_start                      COMMIT   make this batch durable, then call core_stored(seq)
 *     core_request                                REPLY    answer that request
 *     core_agent_connected/_message/_disconnected SEND     text frame to that server's agent
 *     core_stored                                 PUBLISH  a change, for the stream
 *     core_tick                                   HISTORY  answer a list of jobs or events from the store
 *     core_work                                   DROP     close that server's connection
 *
 * Write ahead: the inventory in memory changes at once, but an effect that tells anybody about a change (REPLY, SEND,
 * PUBLISH) comes out only when the batch that records it, and every batch before it, is durable. When a commit fails
 * the inventory goes back to what is durable, the requests waiting for it are refused with read-only, and core_tick()
 * tries again until the store takes changes; running jobs then go on exactly as after a restart.
 *
 * One core is used by one thread. core_set_time() is called before every event. Strings given in are borrowed for the
 * call.
 */
#pragma once

#include "api/api.h"
#include "base/batch.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/list.h"

struct core;

struct core_config {
    uint64_t seed[4];    /* for ids; from the shell's random source */
    const char *version; /* of this manager, "MAJOR.MINOR" */
    size_t history;      /* ended jobs, and events, kept in memory; the store has all; 0: 2000 */
    size_t slice;        /* objects that a read looks at in one go; 0: so many as take a fraction of a millisecond */
};

struct core *core_new(const struct core_config *config);
void core_free(struct core *c);

/* ---- events ---- */

void core_set_time(struct core *c, int64_t wall_ms, int64_t mono_ms);
/* The address of the client whose request is the next event, for the log; NULL when it has been handled. */
void core_set_client(struct core *c, const char *address);

/* One stored item, before core_start(). A value that does not parse is an error: the store is corrupt or newer. */
int core_load(struct core *c, const char *key, const char *value, size_t len, struct error *e);
/* All is loaded; revision is the store's. Jobs that were under way go on when their agents connect. */
void core_start(struct core *c, int64_t revision);

struct core_query {
    const char *filter, *sort, *after, *fields; /* NULL if not given */
    int64_t limit;                              /* 0: the default */
};
struct core_request {
    uint64_t id; /* the shell's; not 0 */
    enum api_op_id op;
    const char *actor;   /* the user's name */
    const char *user_id; /* the user's id */
    enum api_role role;
    const char *params[2];     /* path parameters, in order */
    const json_t *body;        /* NULL if none */
    const json_t *args;        /* the operation's own query parameters, an object; NULL if it has none */
    const char *if_match;      /* NULL if none; the revision in decimal */
    const char *password_hash; /* user_create, user_change: of body.password, which the shell has taken out */
    struct core_query query;
};
/* Exactly one REPLY (or HISTORY) follows, at once or when the change is durable. The permission is checked here. */
void core_request(struct core *c, const struct core_request *r);

/* Tokens and joins: the shell makes the secret, hashes it, and wraps the REPLY, whose body is the Token or the Server.
 */
void core_token_add(struct core *c, uint64_t request, const char *actor, const struct api_token *t);
void core_token_remove(struct core *c, uint64_t request, const char *actor, const char *id);
/* Consumes one use of the join token whose hash is given, and adds the server (or gives a known name a new certificate
   if the server is offline and the token was made for it). */
void core_server_join(struct core *c, uint64_t request, const char *token_hash, const char *name, const char *version,
                      const char *certificate_sha256);

/* server: its id. The hello has been checked for version by the shell. A second connection replaces the first. */
void core_agent_connected(struct core *c, const char *server, const struct api_agent_hello *hello);
/* Its load as measured, for placement: CPUs in use and bytes in a second through its network. */
void core_server_load(struct core *c, const char *server, double cpus, double bytes_per_s);
void core_agent_disconnected(struct core *c, const char *server, const char *why);
/* One text frame, parsed, other than stats (which never come here). Anything malformed is dropped and counted. */
void core_agent_message(struct core *c, const char *server, const json_t *message);

/* The commit numbered seq, in order, is durable (0) or failed (negative errno). After a failure every later commit that
   was already handed out must be reported failed too, without being tried. */
void core_stored(struct core *c, uint64_t seq, int result);

/* Writes an event for something that happened in the shell (a refused sign-in, say). */
void core_note(struct core *c, enum api_severity severity, const char *actor, const char *code, const char *message);
/* The same about an object, which may be gone by now: then it writes nothing. */
void core_note_object(struct core *c, enum api_severity severity, const char *actor, const char *code,
                      enum api_kind kind, const char *id, const char *message);

/* Raises an alarm of an object for what only the shell can know, or ends it (message NULL). */
void core_condition(struct core *c, enum api_severity severity, enum api_kind kind, const char *id, const char *code,
                    const char *message);

/* History that is old enough: keys of events, and of jobs, of which those that have not ended stay. */
void core_forget(struct core *c, const char *const *keys, size_t n);

/* A read that would keep everybody else waiting is done in pieces: whether one is under way, and its next piece. */
bool core_has_work(const struct core *c);
void core_work(struct core *c);

void core_tick(struct core *c);
/* When core_tick() is next needed, in mono_ms; INT64_MAX for never. */
int64_t core_next_deadline(struct core *c);

/* ---- effects ---- */

enum core_effect_kind { CORE_COMMIT, CORE_REPLY, CORE_SEND, CORE_PUBLISH, CORE_HISTORY, CORE_DROP };
struct core_effect {
    struct list link;
    enum core_effect_kind kind;
    uint64_t seq;            /* COMMIT */
    struct batch *batch;     /* COMMIT; TAKE_PTR it or it is freed with the effect */
    uint64_t request;        /* REPLY, HISTORY */
    int status;              /* REPLY: HTTP status */
    int64_t revision;        /* REPLY: the ETag, 0 for none; PUBLISH */
    char *text;              /* REPLY: body (JSON) or NULL; SEND: frame; PUBLISH: the StreamMessage as JSON */
    char *server;            /* SEND, DROP */
    const char *object_kind; /* PUBLISH, HISTORY: "vm", …; static */
    char *object_id;         /* PUBLISH; HISTORY: answer with just this object (or ERR_NOT_FOUND), not with a list */
    char *before;            /* HISTORY: items with a key below KIND/before, or NULL for the newest */
    char *filter;            /* HISTORY: as in the request; NULL if none */
    int64_t limit;           /* HISTORY */
    char *fields;            /* HISTORY */
    char *items;             /* HISTORY: those from memory that go first, with commas between them; before starts
                                after them */
    int64_t n_items;         /* HISTORY: how many they are */
};
/* The next effect to carry out, in order, or NULL. The caller frees it. */
struct core_effect *core_next_effect(struct core *c);
void core_effect_free(struct core_effect *e);

/* For HISTORY: what of the stored objects of a kind (job or event) is asked for. */
struct core_filter;
int core_filter_new(enum api_kind kind, const char *text, struct core_filter **ret, struct error *e);
void core_filter_free(struct core_filter *f);
/* Whether an object that is stored as this text may pass: a look at its bytes, before it is parsed. */
bool core_filter_may_match(const struct core_filter *f, const char *stored, size_t len);
bool core_filter_matches(const struct core_filter *f, const void *data);
/* An object's public JSON, with the fields chosen (NULL or "": all) and a comma before it unless it is the first. */
void core_add_item(struct buf *out, bool first, const char *text, size_t len, const char *fields);

/* ---- questions that the shell may ask at any time; results are borrowed until the next event ---- */

const struct api_token *core_token_by_hash(const struct core *c, const char *sha256_hex);
const struct api_user *core_user(const struct core *c, const char *id_or_name);
const struct api_server *core_server(const struct core *c, const char *id_or_name);
/* An agent's error as it is told: "this server", the one where something broke, and objects by their names. */
int core_agent_error(const struct core *c, const char *server, const json_t *said, struct error *e);
const struct api_server *core_server_by_certificate(const struct core *c, const char *sha256_hex);
const struct api_vm *core_vm(const struct core *c, const char *id_or_name);
const struct api_upload *core_upload(const struct core *c, const char *id_or_name);
/* The server that does what is to be done in the repository now; NULL if there is none. */
const struct api_server *core_repository_server(const struct core *c, const char *repository);
/* Bits (1 << enum api_kind) of the kinds whose objects the role may list. */
unsigned core_role_kinds(enum api_role role);
bool core_agent_is_connected(const struct core *c, const char *server);
#define CORE_SILENCE_MS 15000 /* a server from which nothing at all has come for so long is not connected any more */
/* Whether a job, running or queued, has asked for this object. */
bool core_locked(const struct core *c, const char *id);
bool core_read_only(const struct core *c);
int64_t core_revision(const struct core *c);
#define CORE_STATES 16
struct core_counts {
    size_t objects[API_KIND_COUNT];
    size_t by_state[API_KIND_COUNT][CORE_STATES]; /* of the kinds that have a state */
    int64_t vm_cpus, vm_memory;                   /* of the virtual machines that run, or may */
    size_t alarms[API_SEVERITY_COUNT];            /* active */
    size_t jobs_active, jobs_queued;
    uint64_t requests, commits, commit_failures, agent_messages, agent_errors;
};
void core_counts(const struct core *c, struct core_counts *ret);
/* States and capacity of everything, or of a pool (its id; else NULL); what is in use, and by whom, the shell knows.
   ret has been initialized. */
void core_summary(struct core *c, const char *pool, struct api_summary *ret);
const struct api_pool *core_pool(const struct core *c, const char *id_or_name);

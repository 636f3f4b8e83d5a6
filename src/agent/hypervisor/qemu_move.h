/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Live migration by QEMU (docs/migration.md has the whole of it).
 *
 *     qemu_move.c      scripts of monitor commands, one-time credentials, what both sides set
 *     qemu_move_out.c  the source: offer, send, unsend
 *     qemu_move_in.c   the destination: receive, activate
 *
 * Where the accelerator is TCG a guest that runs is paused while its memory moves: QEMU's pre-copy misses some of what
 * an emulated CPU writes. Disks are mirrored before that, while it runs.
 *
 * With post-copy the guest goes on at the destination as soon as that has its devices; its memory follows, asked for
 * page by page where it is wanted at once. The source is ended when all has gone. What breaks in between ends the
 * guest.
 *
 * A source that has sent everything is left by QEMU in the status "postmigrate", which nothing but "cont" ends: that
 * is how a send that is called again after a crash of the agent knows that it was done. A destination never runs before
 * "cont" (-S), and does not lock images that both sides have before that (late-block-activate).
 */
#pragma once

#include "agent/hypervisor/qemu_guest.h"

#define MOVE_DIR         "move" /* in the guest's directory */
#define MOVE_CREDENTIALS "move-tls"
#define MOVE_TIMEOUT_MS  20000 /* of a command */
#define MOVE_CHANNELS    2
#define MOVE_PORT_FIRST  49152
#define MOVE_PORTS       128

struct qemu_move;
/* All of a script has been done, or error says why its first failing command did. */
typedef void move_then(struct qemu_move *m, const struct error *error);
typedef void move_reply(struct qemu_move *m, const struct error *error, const json_t *result);

enum move_role {
    MOVE_NOTHING,
    MOVE_OFFERING,
    MOVE_SENDING,
    MOVE_UNSENDING,
    MOVE_RECEIVING,
    MOVE_ACTIVATING,
    MOVE_RELEASING
};

struct qemu_move {
    struct guest *g;
    uv_timer_t timer;
    void (*on_time)(struct qemu_move *m);
    struct list script; /* struct move_step */
    struct move_step *current;
    move_then *then;
    int dir_fd; /* of the credentials, while they are handed over; -1 */

    enum move_role role; /* what the call is; MOVE_NOTHING: there is none */
    uint64_t call;

    /* What QEMU has said. */
    char *status;          /* query-status */
    char *migration;       /* query-migrate: its status, "" if there is none */
    char *migration_error; /* its words; NULL */
    bool kvm, told;        /* told: query-migrate was answered */
    int64_t total, remaining, rounds, transferred, expected_ms, downtime_ms, total_ms;
    double mbps;

    /* sending, unsending */
    struct api_guest_send send;
    bool has_send, running, paused, cancelled, finishing, switched, deciding;
    int polls;
    size_t mirrors_left;
    int64_t mirrored;   /* bytes of disks that have been copied */
    int64_t went;       /* how far it had come when it last came further … */
    uint64_t went_at;   /* … at this loop time … */
    int still;          /* … so many looks ago */
    bool stalled;       /* nothing goes through any more */
    struct qmp *rescue; /* a second monitor, for when the first waits for the network with QEMU; NULL: none */
    bool rescue_ready;
    uint64_t paused_at; /* loop time */
    bool news;          /* its status has changed since it was asked for */
    move_then *back;    /* when it has been taken back */
    struct error why;   /* it failed; what is under way takes back what it did */
    char *machine, *version;

    /* receiving, activating */
    struct api_guest_receive receive;
    bool has_receive, suspended, continued; /* continued: it may run */
    bool arriving;                          /* it is, or was, the destination of one */
    bool post_copy;                         /* is asked for, or (receiving) possible */
    int port, disk_port, tries;
    char *certificate;
    uint64_t heard; /* loop time when something last came */
    int64_t written;
};

/* The guest's, made if it has none. */
struct qemu_move *qemu_move_get(struct guest *g);
void qemu_move_free(struct qemu_move *m); /* NULL is allowed */
bool qemu_move_busy(const struct qemu_move *m);
/* The MIGRATION event: its status has changed to this. */
void qemu_move_event(struct qemu_move *m, const char *status);
/* The destination of a post-copy has lost its source: it is ended. */
void qemu_move_stranded(struct qemu_move *m);
/* Its process has ended. */
void qemu_move_ended(struct qemu_move *m, const char *why);
/* The process that guest_receive() made waits. */
void qemu_move_ready(struct guest *g, uint64_t call);
/* Such a process was found after our start: it is ended when nothing comes. */
void qemu_move_watch(struct guest *g);
/* A guest that runs was found: should it still get memory from elsewhere, the end of that is watched. */
void qemu_move_arriving(struct guest *g);

/* ---- the driver's functions ---- */
void qemu_move_offer(struct guest *g, uint64_t call, const struct api_guest_offer *a);
void qemu_move_send(struct guest *g, uint64_t call, const struct api_guest_send *a);
void qemu_move_unsend(struct guest *g, uint64_t call, const struct api_guest_move *a);
void qemu_move_cancel(struct guest *g);
void qemu_move_receive(struct guest *g, uint64_t call, const struct api_guest_receive *a, struct guest_files *files);
void qemu_move_release(struct guest *g, uint64_t call);
void qemu_move_activate(struct guest *g, uint64_t call, const struct api_guest_activate *a);

/* ---- qemu_rescue.c ---- */
/* Made ready before anything can hang; without it a move that hangs waits for TCP. Closed with the move. */
void qemu_rescue_open(struct qemu_move *m);
void qemu_rescue_close(struct qemu_move *m);
/* How long a command may take. */
int64_t qemu_rescue_patience(const struct qemu_move *m);
/* The monitor has not answered for so long: breaks what QEMU waits for, and has the move fail. */
void qemu_rescue(struct qemu_move *m);

/* ---- qemu_move.c, for the others ---- */
/* One command at the end of the script; args is stolen. A tolerant one may fail. */
void move_do(struct qemu_move *m, const char *command, json_t *args);
void move_try(struct qemu_move *m, const char *command, json_t *args);
void move_ask(struct qemu_move *m, const char *command, json_t *args, move_reply *reply);
void move_run(struct qemu_move *m, move_then *then);
void move_later(struct qemu_move *m, int64_t ms, void (*on_time)(struct qemu_move *m));
/* query-status, query-migrate (and query-kvm) into m. */
void move_look(struct qemu_move *m);
bool move_under_way(const struct qemu_move *m); /* by m->migration */
bool move_post_copies(const struct qemu_move *m);
void move_finish(struct qemu_move *m, const struct error *error, json_t *result /* stolen */);
void move_begin(struct qemu_move *m, enum move_role role, uint64_t call);
/* New credentials in the guest's directory; *ret_certificate: the authority that has signed them, PEM. */
int move_credentials_make(struct guest *g, const char *move, bool server, char **ret_certificate, struct error *e);
/* Adds them to the script, with the authorities of both sides. */
int move_credentials_add(struct qemu_move *m, const char *peer, bool server, struct error *e);
void move_credentials_forget(struct guest *g);
/* The name that the i-th disk that is mirrored has at the source. */
char *move_node(const struct qemu_move *m, size_t i);
/* Capabilities and parameters, every one that this driver ever sets: QEMU keeps those of an earlier try. */
void move_settings(struct qemu_move *m, bool tls, const char *name, bool post_copy, const struct api_guest_send *send,
                   bool late);

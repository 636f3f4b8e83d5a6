/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What machine this is, from the files of the kernel: CPUs and their topology, memory, NUMA nodes, network interfaces,
 * disks, accelerators.
 *
 * The files are read through a struct hardware_tree, so that the tests and the fuzzer can put recorded ones in their
 * place; hardware_of_system() reads the machine's own. What a file says is not believed further than its type: numbers
 * are checked, texts cut and made printable, and of everything there is at most a fixed number, because it goes to the
 * manager and is kept there.
 */
#pragma once

#include "api/api.h"

#include <uv.h>

struct hardware_address {
    char *nic, *text; /* "eth0", "192.0.2.7/24" */
};

struct hardware_tree {
    /* A file's text, NULL if it cannot be read; the caller's. Paths are relative to the root: "proc/meminfo". */
    char *(*read)(void *ctx, const char *path);
    /* The names in a directory in any order, 0 if there is none; the caller's. */
    size_t (*list)(void *ctx, const char *path, char ***ret_names);
    size_t (*addresses)(void *ctx, struct hardware_address **ret);
    void *ctx;
};

/* ret must be initialized; what is not found stays empty. */
void hardware_collect(const struct hardware_tree *tree, struct api_hardware *ret);

/* Of hardware_devices.c, called by hardware_collect(). */
void hardware_nics(const struct hardware_tree *tree, struct api_hardware *h);
void hardware_disks(const struct hardware_tree *tree, struct api_hardware *h);
void hardware_accelerators(const struct hardware_tree *tree, struct api_hardware *h);
/* Shared by both: a file's first line, printable and not long ("" if there is none); its number, or -1. */
char *hardware_text(const struct hardware_tree *tree, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int64_t hardware_number(const struct hardware_tree *tree, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The directory's names, sorted, at most max. */
size_t hardware_list(const struct hardware_tree *tree, const char *path, size_t max, char ***ret);
void hardware_names_free(char **names, size_t n);

/* The machine's own: with kernel and architecture, and whether /dev/kvm may be opened. */
void hardware_of_system(struct api_hardware *ret);

/* Calls back when something may have been plugged in or out, an address has come or gone, and each minute. */
struct hardware_watch;
int hardware_watch_new(uv_loop_t *loop, void (*changed)(void *ctx), void *ctx, struct hardware_watch **ret);
void hardware_watch_free(struct hardware_watch *w); /* NULL is allowed */

/* SPDX-License-Identifier: Apache-2.0 */
/* cloud-init's NoCloud seed: its contents here, the ISO 9660 file made by tarn-seed. */
#pragma once

#include "agent/storage/task.h"

/* Whether the VM has anything for cloud-init. */
bool seed_wanted(const struct api_vm *vm);
/* What tarn-seed reads: {user_data, meta_data, network_config}; meta_data are made where the user gave none. */
char *seed_document(const struct api_vm *vm);
#define HOSTNAME_MAX 63
/* A host name from the VM's name: letters, digits and hyphens; "vm-" and part of the id where nothing is left. */
void seed_hostname(const struct api_vm *vm, char ret[static HOSTNAME_MAX + 1]);
/* Starts tarn-seed for a task, writing to fd. */
int seed_spawn(struct task *t, const char *document, int fd);
int seed_ended(struct task *t, struct child_exit how);

/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of placement: place.c and place_rules.c. What others use is in core_int.h. */
#pragma once

#include "core/core_int.h"

struct rule_use {
    const struct api_rule *rule;
    struct map at; /* size_t *: how many of its other virtual machines are on that server */
    size_t n_fellows;
};
struct rule_uses {
    struct rule_use *uses;
    size_t n;
};
void rules_gather(const struct core *c, const struct api_vm *vm, struct rule_uses *ret);
void rules_done(struct rule_uses *uses);
size_t rule_fellows_at(const struct rule_use *u, const char *server);
char *rule_broken_by(const struct rule_use *u, const struct api_server *s, size_t fewest);

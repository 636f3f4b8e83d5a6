/* SPDX-License-Identifier: Apache-2.0 */
/*
 * $XDG_CONFIG_HOME/tarn/config.json, mode 0600: {"profiles": {NAME: {url, ca, user, token}}}. The CA stands in a PEM
 * file beside it. TARN_URL, TARN_CA and TARN_TOKEN override a profile, TARN_PROFILE chooses one.
 */
#pragma once

#include "base/error.h"

#include <stdbool.h>

struct profile {
    char *name;
    char *url; /* "" if none */
    char *ca;  /* path of a PEM file */
    char *user;
    char *token; /* "" if signed out */
};
void profile_done(struct profile *p);
#define _cleanup_profile_ __attribute__((cleanup(profile_done)))

/* name: from --profile or NULL. A profile that does not exist is empty, not an error. */
int profile_load(const char *name, struct profile *ret, struct error *e);
/* As stored, without the environment's overrides: for what is going to be saved. */
int profile_load_stored(const char *name, struct profile *ret, struct error *e);
int profile_save(const struct profile *p, struct error *e);
/* Writes the PEM text to the profile's own file and names it in p->ca. */
int profile_save_ca(struct profile *p, const char *pem, struct error *e);
/* All the names, NULL-terminated; free each and the array. */
int profile_names(char ***ret, struct error *e);

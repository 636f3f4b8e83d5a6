/* SPDX-License-Identifier: Apache-2.0 */
/* Between sqlite.c (reading, committing) and sqlite_open.c (opening, checking, migrating). */
#pragma once

#include "base/error.h"

#include <sqlite3.h>

#define SQLITE_STORE_VERSION 1

/* Opens path's database for this process alone: locked, checked, and of the present version. */
int sqlite_store_open(const char *path, int *ret_lock_fd, sqlite3 **ret_db, struct error *e);
/* One more connection to a database that is open, only for reading. */
int sqlite_store_open_reader(const char *path, sqlite3 **ret_db, struct error *e);
/* Negative errno for the connection's last failure. */
int sqlite_store_errno(sqlite3 *db, int rc);
/* The same as an error that says what to do. */
int sqlite_store_error(sqlite3 *db, int rc, const char *path, struct error *e);

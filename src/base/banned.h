/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Included in front of every translation unit by the build. Functions that know no length, or that hand a string to a
 * shell, become compile errors that say what to use. The headers that declare them come first, so that only uses are
 * hit.
 */
#pragma once

#ifndef __ASSEMBLER__

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BANNED(name, use) name##_is_banned__##use

#undef strcpy
#undef strcat
#undef strncpy
#undef strncat
#undef sprintf
#undef vsprintf
#undef gets
#undef strtok
#undef tmpnam
#undef mktemp
#undef system
#undef popen
#undef alloca

#define strcpy(...)   BANNED(strcpy, use_snprintf_or_xstrdup)
#define strcat(...)   BANNED(strcat, use_buf)
#define strncpy(...)  BANNED(strncpy, use_snprintf) /* leaves no NUL behind */
#define strncat(...)  BANNED(strncat, use_buf)
#define sprintf(...)  BANNED(sprintf, use_snprintf_or_xasprintf)
#define vsprintf(...) BANNED(vsprintf, use_vsnprintf_or_xvasprintf)
#define gets(...)     BANNED(gets, use_fgets)
#define strtok(...)   BANNED(strtok, use_strtok_r)
#define tmpnam(...)   BANNED(tmpnam, use_mkstemp)
#define mktemp(...)   BANNED(mktemp, use_mkstemp)
#define system(...)   BANNED(system, use_child_spawn)
#define popen(...)    BANNED(popen, use_child_spawn)
#define alloca(...)   BANNED(alloca, use_xmalloc)

#endif

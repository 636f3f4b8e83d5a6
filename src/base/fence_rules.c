/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fence_rules.h"

#include "base/mem.h"

#include <stdbool.h>
#include <string.h>

#define NAME_CHARACTERS "abcdefghijklmnopqrstuvwxyz0123456789_"

const char *fence_agent_problem(const char *agent) {
    /* "Off" of these says nothing of a power: believed, it would let guests run twice. */
    static const char *const no_power[] = {"fence_ack_manual", "fence_evacuate", "fence_heuristics_ping",
                                           "fence_kdump"};
    if (strncmp(agent, "fence_", 6) != 0 || !agent[6] || strlen(agent) >= 64 ||
        strspn(agent, NAME_CHARACTERS) != strlen(agent))
        return "is no fence agent's name, such as fence_ipmilan";
    for (size_t i = 0; i < ARRAY_LEN(no_power); i++)
        if (strcmp(agent, no_power[i]) == 0)
            return "switches no power; take one that does, such as fence_ipmilan";
    return NULL;
}

const char *fence_word_problem(const char *word) {
    if (*word == '-')
        return "must not begin with a hyphen: fence agents would take it for an option";
    for (const unsigned char *c = (const unsigned char *)word; *c; c++)
        if (*c <= ' ' || *c == 0x7f || strchr("\"'`$;|&<>", *c))
            return "must be one word, without blanks, quotes and characters of a shell";
    return NULL;
}

/* Names as the fence agents take them: a hyphen is an underscore. */
static bool is_name(const char *name, size_t n, const char *wanted) {
    if (n != strlen(wanted))
        return false;
    for (size_t i = 0; i < n; i++)
        if ((name[i] == '-' ? '_' : name[i]) != wanted[i])
            return false;
    return true;
}

static bool has_end(const char *name, size_t n, const char *end) {
    size_t len = strlen(end);
    return n > len && is_name(name + n - len, len, end);
}

/*
 * Many agents put what they are told into one command line, without quotes: "cipher=3 sel save /etc/x" would be another
 * command of ipmitool, which writes a file. A name of an outlet or of a virtual machine may have blanks; a secret and
 * what a device greets with may have anything.
 */
static const char *value_problem(const char *name, size_t n, const char *value) {
    static const char *const names[] = {"plug", "port", "nodename"};
    static const char *const free_ends[] = {"_passwd", "_password", "_prompt"};
    for (size_t i = 0; i < ARRAY_LEN(free_ends); i++)
        if (has_end(name, n, free_ends[i]))
            return NULL;
    bool blanks = is_name(name, n, "community");
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        blanks |= is_name(name, n, names[i]);
    _cleanup_free_ char *word = xstrdup(value);
    for (char *c = word; blanks && *c; c++)
        if (*c == ' ')
            *c = '_';
    return fence_word_problem(word);
}

const char *fence_option_problem(const char *option) {
    static const char *const own[] = {"action",   "option", "ip",       "ipaddr", "ipport",
                                      "username", "login",  "password", "passwd"};
    static const char *const harmful[] = {"debug",       "exec",    "kubeconfig",   "logfile",
                                          "ssh_options", "verbose", "verbose_level"};
    static const char *const harmful_ends[] = {"_path", "_script", "_file"};
    const char *equals = strchr(option, '=');
    size_t n = equals ? (size_t)(equals - option) : 0;
    if (!n || n > 60 || strspn(option, NAME_CHARACTERS "-") < n)
        return "is not NAME=VALUE";
    if (strpbrk(equals, "\n\r"))
        return "has a line break";
    for (size_t i = 0; i < ARRAY_LEN(own); i++)
        if (is_name(option, n, own[i]))
            return "has a setting of its own";
    if (is_name(option, n, "identity_file"))
        return equals[1] == '/' ? fence_word_problem(equals + 1) : "must be an absolute path";
    for (size_t i = 0; i < ARRAY_LEN(harmful); i++)
        if (is_name(option, n, harmful[i]))
            return "would let the fence agent run programs, or write files or passwords into a log";
    for (size_t i = 0; i < ARRAY_LEN(harmful_ends); i++)
        if (has_end(option, n, harmful_ends[i]))
            return "would let the fence agent run programs or write files of one's choice";
    return value_problem(option, n, equals + 1);
}

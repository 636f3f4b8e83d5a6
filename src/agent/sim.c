/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/sim.h"

#include "agent/agent.h"

#include "base/mem.h"

#include <errno.h>
#include <limits.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

int sim_parse(const char *text, int *ret_servers, struct error *e) {
    static const char key[] = "servers=";
    char *end = NULL;
    long n = strncmp(text, key, sizeof(key) - 1) == 0 ? strtol(text + sizeof(key) - 1, &end, 10) : 0;
    if (n < 1 || n > 1000 || (end && *end))
        return error_set_field(e, ERR_INVALID, "sim", "--sim takes servers=N with N from 1 to 1000, not \"%s\"", text);
    *ret_servers = (int)n;
    return 0;
}

char *agent_program(const char *name) {
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (n > 0) {
        self[n] = '\0';
        *strrchr(self, '/') = '\0';
        char *beside = xasprintf("%s/%s", self, name);
        if (access(beside, X_OK) == 0)
            return beside;
        free(beside);
    }
    return xasprintf("%s/%s", LIBEXECDIR, name);
}

int sim_exec_join(int argc, char **argv) {
    _cleanup_free_ char *program = agent_program("tarn-agent-join");
    execv(program, argv);
    fprintf(stderr, "tarn-agent: cannot run %s: %s\n", program, strerror(errno));
    return 1;
}

int sim_join(const char *state_dir, const char *name, const char *manager, const char *token, struct error *e) {
    _cleanup_free_ char *identity = xasprintf("%s/agent.json", state_dir);
    if (access(identity, F_OK) == 0)
        return 0;
    if (!manager || !token)
        return error_set(e, ERR_INVALID, "%s has not joined: give --manager and --token", name);
    _cleanup_free_ char *program = agent_program("tarn-agent-join");
    const char *argv[] = {"tarn-agent-join", "--manager", manager,   "--name", name,
                          "--state-dir",     state_dir,   "--quiet", NULL};
    setenv("TARN_JOIN_TOKEN", token, 1); /* not on a command line, which others can read */
    pid_t pid;
    int status = 0;
    int r = posix_spawn(&pid, program, NULL, NULL, (char *const *)argv, environ);
    unsetenv("TARN_JOIN_TOKEN");
    if (r != 0)
        return error_set(e, ERR_INTERNAL, "cannot run %s: %s", program, strerror(r));
    if (waitpid(pid, &status, 0) < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return error_set(e, ERR_UNAVAILABLE, "server %s could not join", name);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What may be a server's fence settings. A fence agent is a program that root runs on another server of the pool, and
 * some of its parameters name further programs and files, or become words of a command line. Whoever may set them in
 * Tarn is no root there, so those are refused, where they are set and where they are used.
 */
#pragma once

/* Each: NULL if it is good, else what is wrong with it ("is …"), static. */
const char *fence_agent_problem(const char *agent);
const char *fence_word_problem(const char *word);     /* its address, its user: no second word, no option */
const char *fence_option_problem(const char *option); /* NAME=VALUE */

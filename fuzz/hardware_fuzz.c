/* SPDX-License-Identifier: Apache-2.0 */
/* Any files in place of the kernel's: what is made of them can be printed and read again, and is not endless. */
#include "fuzz.h"

#include "agent/cgroup.h"
#include "agent/hardware_recorded.h"
#include "base/cpulist.h"
#include "base/json.h"
#include "base/mem.h"

#define INPUT_MAX 12288

static void as_cpulist(const char *text) {
    struct cpulist c, again;
    if (cpulist_parse(text, &c) < 0)
        return;
    _cleanup_free_ char *out = cpulist_text(&c);
    if (cpulist_parse(out, &again) < 0 || memcmp(&c, &again, sizeof c) != 0)
        abort();
}

static void as_mounts(const char *text) {
    struct cgroup_mounts m;
    cgroup_mounts_parse(text, &m);
    for (int i = 0; i < CGROUP_CONTROLLERS; i++)
        if (m.v1[i] && m.v1[i][0] != '/')
            abort();
    cgroup_mounts_done(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct api_hardware h, again;
    if (size > INPUT_MAX)
        return 0;
    _cleanup_free_ char *text = xstrndup((const char *)data, size);
    as_cpulist(text);
    as_mounts(text);
    struct hardware_tree tree = hardware_recorded(text);
    api_hardware_init(&h);
    hardware_collect(&tree, &h);
    _cleanup_json_ json_t *j = api_hardware_print(&h, API_PUBLIC);
    _cleanup_free_ char *printed = j ? json_text(j) : NULL;
    if (!printed || strlen(printed) > (1 << 20) || api_hardware_parse(j, API_PEER, &again, NULL) < 0)
        abort();
    api_hardware_done(&again);
    api_hardware_done(&h);
    return 0;
}

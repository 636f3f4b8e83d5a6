/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The CPU that a pool's guests are given. A guest can move only where its CPU's features are, so a pool gives all its
 * guests one of QEMU's named models, of which each of its servers has said that it has all features. QEMU knows no
 * order among its models: this one is by age and instruction set, across makers, and the last common one is taken.
 *
 * Features are not all: with KVM a guest sees its CPU's maker, works round that maker's errata and enters its kernel
 * the way that only this maker has, so one that runs does not go over to another maker's. The two oldest models are
 * neutral: QEMU is told which maker to show for them (qemu_args.c), and KVM emulates the rest. Where makers are mixed
 * the pool's model is one of these.
 */
#include "core/core_int.h"

static const char *const models[] = {
    "qemu64",
    "kvm64",
    "Conroe",
    "Penryn",
    "Opteron_G1",
    "Opteron_G2",
    "Opteron_G3",
    "Nehalem",
    "Nehalem-IBRS",
    "Westmere",
    "Westmere-IBRS",
    "Opteron_G4",
    "SandyBridge",
    "SandyBridge-IBRS",
    "Opteron_G5",
    "IvyBridge",
    "IvyBridge-IBRS",
    "Haswell-noTSX",
    "Haswell-noTSX-IBRS",
    "Haswell",
    "Haswell-IBRS",
    "Broadwell-noTSX",
    "Broadwell-noTSX-IBRS",
    "Broadwell",
    "Broadwell-IBRS",
    "Skylake-Client-noTSX-IBRS",
    "Skylake-Client",
    "Skylake-Client-IBRS",
    "Dhyana",
    "EPYC",
    "EPYC-IBPB",
    "EPYC-Rome",
    "EPYC-Milan",
    "EPYC-Genoa",
    "Skylake-Server-noTSX-IBRS",
    "Skylake-Server",
    "Skylake-Server-IBRS",
    "Cascadelake-Server-noTSX",
    "Cascadelake-Server",
    "Cooperlake",
    "Icelake-Server-noTSX",
    "Icelake-Server",
    "SapphireRapids",
    "GraniteRapids",
};

/* Those that qemu_args.c gives a maker. */
bool cpu_model_is_neutral(const char *model) { return str_eq(model, "qemu64") || str_eq(model, "kvm64"); }

static bool has_kvm(const struct api_server *s) {
    for (size_t i = 0; i < s->n_hypervisors; i++)
        if (str_eq(s->hypervisors[i].accelerator, "kvm"))
            return true;
    return false;
}

bool servers_differ_in_cpu(const struct api_server *a, const struct api_server *b) {
    const char *x = a->hardware.cpu_vendor, *y = b->hardware.cpu_vendor;
    return !str_empty(x) && !str_empty(y) && !str_eq(x, y) && has_kvm(a) && has_kvm(b);
}

/* Servers of several makers, by which it matters. */
static bool is_mixed(const struct core *c, const struct api_pool *p) {
    const struct table *t = &c->tables[API_KIND_SERVER];
    const struct api_server *first = NULL;
    for (size_t i = 0; i < t->n; i++) {
        const struct api_server *s = t->sorted[i]->v->data;
        if (!str_eq(s->pool, p->id) || str_empty(s->hardware.cpu_vendor) || !has_kvm(s))
            continue;
        if (first && servers_differ_in_cpu(first, s))
            return true;
        first = first ? first : s;
    }
    return false;
}

bool server_has_cpu_model(const struct api_server *s, const char *model) {
    if (str_empty(model) || str_eq(model, "host"))
        return true;
    if (!s->hardware.n_cpu_models)
        return true; /* it has not told */
    for (size_t i = 0; i < s->hardware.n_cpu_models; i++)
        if (str_eq(s->hardware.cpu_models[i], model))
            return true;
    return false;
}

bool cpu_model_known(const char *model) {
    for (size_t i = 0; i < ARRAY_LEN(models); i++)
        if (str_eq(models[i], model))
            return true;
    return false;
}

char *pool_cpu_model(const struct core *c, const struct api_pool *p) {
    if (!str_eq(p->cpu_baseline, "auto"))
        return xstrdup(p->cpu_baseline);
    const struct table *t = &c->tables[API_KIND_SERVER];
    bool told = false;
    for (size_t i = 0; i < t->n && !told; i++) {
        const struct api_server *s = t->sorted[i]->v->data;
        told = str_eq(s->pool, p->id) && s->hardware.n_cpu_models;
    }
    bool mixed = is_mixed(c, p);
    for (size_t m = ARRAY_LEN(models); told && m-- > 0;) {
        bool common = !mixed || cpu_model_is_neutral(models[m]);
        for (size_t i = 0; i < t->n && common; i++) {
            const struct api_server *s = t->sorted[i]->v->data;
            common = !str_eq(s->pool, p->id) || server_has_cpu_model(s, models[m]);
        }
        if (common)
            return xstrdup(models[m]);
    }
    return xstrdup(told ? models[0] : "");
}

#include "backend/cpu/choices.h"

#include <string.h>

#include "backend/cpu/problem.h"
#include "kernels/deconv.h"

static bool find_problem(const hone_node *n, const hone_type *x, const hone_type *y, hone_conv *p) {
    bool is_deconv = hone_is_lowered(n, "ConvTranspose");
    if (!is_deconv && !hone_is_lowered(n, "Conv") && !hone_is_lowered(n, "Gemm"))
        return false;
    if (!hone_type_is_static(x) || !hone_type_is_static(y) ||
        hone_problem(n, x, y, p, NULL) != HONE_OK)
        return false;
    if (is_deconv)
        *p = hone_deconv_gemm(p);
    return hone_conv_check(p, NULL) == HONE_OK;
}

/* Why the kernel may not run the problem where kernels of level `isa` do; NULL: it may. */
static const char *refusal(const hone_conv_kernel *k, const hone_conv *p, hone_isa isa,
                           bool is_exact) {
    const char *reason = hone_conv_refusal(k, p);
    if (k->isa > hone_cpu_isa())
        return "this CPU lacks the instruction set";
    if (!reason && k->wastes)
        reason = k->wastes(p);
    if (reason)
        return reason;
    if (hone_isa_family(k->isa) < hone_isa_family(isa))
        return "lower instruction set";
    return is_exact && !k->is_exact ? "not exact" : NULL;
}

void hone_cpu_choices(const hone_node *n, const hone_type *x, const hone_type *y, bool is_exact,
                      hone_choices *out) {
    *out = (hone_choices){.chosen = -1};
    if (!find_problem(n, x, y, &out->p))
        return;
    int count;
    const hone_conv_kernel *const *all = hone_conv_kernels(&count);
    const hone_conv_kernel *chosen = hone_conv_kernel_find(hone_attr_string(n, "kernel_name", ""));
    for (int i = 0; chosen && i < count && out->n < HONE_TIMING_MAX; ++i) {
        bool is_chosen = all[i] == chosen;
        if (is_chosen)
            out->chosen = out->n;
        out->list[out->n++] = (hone_choice){
            .kernel = all[i],
            .refusal = is_chosen ? NULL : refusal(all[i], &out->p, chosen->isa, is_exact),
            .is_chosen = is_chosen,
        };
    }
}

bool hone_cpu_time_choices(hone_choices *c, hone_pool *pool, const hone_timing_budget *budget) {
    const hone_conv_kernel *kernels[HONE_TIMING_MAX];
    hone_timing timings[HONE_TIMING_MAX];
    int at[HONE_TIMING_MAX], n = 0;
    for (int i = 0; i < c->n; ++i) {
        if (c->list[i].refusal)
            continue;
        kernels[n] = c->list[i].kernel;
        at[n++] = i;
    }
    if (n == 0 || !hone_time_kernels(pool, &c->p, kernels, n, budget, timings))
        return n == 0;
    for (int i = 0; i < n; ++i) {
        c->list[at[i]].min_ms = timings[i].min_ms;
        c->list[at[i]].median_ms = timings[i].median_ms;
    }
    return true;
}

int hone_cpu_fastest_choice(const hone_choices *c) {
    int best = -1;
    for (int i = 0; i < c->n; ++i) {
        bool was_timed = c->list[i].min_ms > 0;
        if (was_timed && (best < 0 || c->list[i].min_ms < c->list[best].min_ms))
            best = i;
    }
    return best;
}

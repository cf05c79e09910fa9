#include "backend/cpu/lower.h"

#include "backend/cpu/fuse.h"
#include "backend/cpu/impls.h"
#include "backend/cpu/layout.h"
#include "backend/cpu/problem.h"
#include "backend/cpu/tune.h"

/* Every node gets the kernel that may stand in for its reference; whether it really does is up to
 * the kernel's prepare(), which knows the shapes. */
static void choose_kernels(hone_graph *g) {
    for (int i = 0; i < g->n_nodes; ++i) {
        hone_node *n = g->nodes[i];
        n->impl = hone_impl_for(n);
        for (int k = 0; k < n->n_attrs; ++k) {
            if (n->attrs[k].kind == HONE_ATTR_GRAPH)
                choose_kernels(n->attrs[k].g);
        }
    }
}

static void expect_problems(const hone_graph *g, hone_tuner *tuner) {
    for (int i = 0; i < g->n_nodes; ++i) {
        hone_conv p;
        if (hone_is_dense(g->nodes[i]) && hone_dense_problem(g->nodes[i], &p, NULL) == HONE_OK)
            hone_tuner_expect(tuner, &p);
    }
}

static hone_status lower_graph(hone_graph *g, const hone_lower_options *options, hone_tuner *tuner,
                               hone_error *err) {
    for (int i = 0; i < g->n_nodes; ++i) {
        const hone_node *n = g->nodes[i];
        for (int k = 0; k < n->n_attrs; ++k) {
            if (n->attrs[k].kind == HONE_ATTR_GRAPH)
                HONE_TRY(lower_graph(n->attrs[k].g, options, tuner, err));
        }
    }
    HONE_TRY(hone_cpu_lower_attention(g, err));
    HONE_TRY(hone_cpu_layout(g, err));
    HONE_TRY(hone_cpu_lower_moves(g, err));
    HONE_TRY(hone_cpu_lower_gemm(g, err));
    HONE_TRY(hone_cpu_lower_rnn(g, options, err));
    HONE_TRY(hone_cpu_fuse_epilogues(g, err));
    HONE_TRY(hone_cpu_fuse_eltwise(g, err));
    expect_problems(g, tuner);
    HONE_TRY(hone_cpu_store_bf16(g, options, tuner, err));
    return hone_cpu_pack(g, tuner, err);
}

hone_isa hone_cpu_needed_isa(const hone_graph *g) {
    hone_isa isa = HONE_ISA_REF;
    for (int i = 0; i < g->n_nodes; ++i) {
        const hone_node *n = g->nodes[i];
        const hone_conv_kernel *kernel =
            hone_conv_kernel_find(hone_attr_string(n, "kernel_name", ""));
        isa = kernel && kernel->isa > isa ? kernel->isa : isa;
        for (int k = 0; k < n->n_attrs; ++k) {
            hone_isa inner =
                n->attrs[k].kind == HONE_ATTR_GRAPH ? hone_cpu_needed_isa(n->attrs[k].g) : isa;
            isa = inner > isa ? inner : isa;
        }
    }
    return isa;
}

hone_status hone_cpu_lower(hone_graph *g, const hone_lower_options *options, hone_error *err) {
    hone_tuner *tuner = hone_tuner_create(options);
    if (!tuner)
        return hone_fail(err, HONE_E_NOMEM, "no memory for tuning");
    hone_status status = lower_graph(g, options, tuner, err);
    hone_tuner_destroy(tuner);
    if (status == HONE_OK)
        choose_kernels(g);
    return status;
}

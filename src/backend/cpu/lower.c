#include "backend/cpu/lower.h"

#include "backend/cpu/fuse.h"
#include "backend/cpu/impls.h"
#include "backend/cpu/layout.h"

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

static hone_status lower_graph(hone_graph *g, const hone_lower_options *options, hone_error *err) {
    for (int i = 0; i < g->n_nodes; ++i) {
        const hone_node *n = g->nodes[i];
        for (int k = 0; k < n->n_attrs; ++k) {
            if (n->attrs[k].kind == HONE_ATTR_GRAPH)
                HONE_TRY(lower_graph(n->attrs[k].g, options, err));
        }
    }
    HONE_TRY(hone_cpu_layout(g, err));
    HONE_TRY(hone_cpu_lower_gemm(g, err));
    HONE_TRY(hone_cpu_fuse_epilogues(g, err));
    return hone_cpu_pack(g, options, err);
}

hone_status hone_cpu_lower(hone_graph *g, const hone_lower_options *options, hone_error *err) {
    HONE_TRY(lower_graph(g, options, err));
    choose_kernels(g);
    return HONE_OK;
}

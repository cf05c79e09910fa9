#include "backend/cpu/lower.h"

#include "backend/cpu/impls.h"

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

hone_status hone_cpu_lower(hone_graph *g, bool is_exact, hone_error *err) {
    (void)is_exact, (void)err;
    choose_kernels(g);
    return HONE_OK;
}

#include <stdint.h>
#include <string.h>

#include "backend/cpu/fuse.h"
#include "backend/cpu/problem.h"

/* Where the kernels find weight (o, i, ky, kx) in ONNX's layouts. */
static hone_conv_weights weights_of(const hone_node *n, const hone_conv *p) {
    const hone_tensor *w = n->in[HONE_IN_WEIGHT]->constant;
    hone_conv_weights v = {.data = w->data};
    if (hone_is_lowered(n, "Gemm")) {
        bool trans_b = hone_attr_int(n, "trans_b", 0) != 0;
        v.so = trans_b ? p->ic : 1;
        v.si = trans_b ? 1 : p->oc;
    } else { /* [oc, ic / groups, kh, kw] */
        int64_t taps = p->kh * p->kw;
        v.so = p->ic / p->groups * taps;
        v.si = taps;
        v.sky = p->kw;
        v.skx = 1;
    }
    v.bias = n->in[HONE_IN_BIAS] ? n->in[HONE_IN_BIAS]->constant->data : NULL;
    return v;
}

static hone_status pack_node(hone_graph *g, hone_node *n, bool is_exact, hone_error *err) {
    hone_conv p;
    const hone_conv_kernel *kernel;
    HONE_TRY(hone_nominal_problem(n, &n->in[HONE_IN_X]->type, &p, err));
    if (hone_conv_candidates(&p, hone_cpu_isa(), is_exact, &kernel, 1) < 1)
        return hone_fail(err, HONE_E_UNSUPPORTED, "no kernel takes this convolution");
    hone_conv_weights w = weights_of(n, &p);
    int64_t count = (int64_t)(kernel->packed_bytes(&p) / sizeof(float));
    hone_tensor *t = HONE_NEW(g->arena, hone_tensor);
    char *memory = hone_arena_alloc(g->arena, (size_t)count * sizeof(float) + 64);
    if (!t || !memory)
        return hone_fail(err, HONE_E_NOMEM, "no memory to pack weights");
    memory += (64 - (uintptr_t)memory % 64) % 64;
    kernel->pack(&p, &w, (float *)(void *)memory);
    *t = hone_tensor_view(HONE_DTYPE_F32, 1, &count, memory);
    n->in[HONE_IN_WEIGHT] = hone_graph_constant(g, "packed", t);
    n->in[HONE_IN_BIAS] = NULL;
    if (!n->in[HONE_IN_WEIGHT] || !hone_attr_set_string(g, n, "kernel_name", kernel->name))
        return hone_fail(err, HONE_E_NOMEM, "no memory to pack weights");
    return HONE_OK;
}

hone_status hone_cpu_pack(hone_graph *g, bool is_exact, hone_error *err) {
    for (int i = 0; i < g->n_nodes; ++i) {
        hone_node *n = g->nodes[i];
        if (!hone_is_lowered(n, "Conv") && !hone_is_lowered(n, "Gemm"))
            continue;
        hone_status status = pack_node(g, n, is_exact, err);
        if (status != HONE_OK)
            return hone_fail_node(err, status, n->name, n->op_name);
    }
    return hone_graph_index(g) == HONE_OK ? HONE_OK
                                          : hone_fail(err, HONE_E_NOMEM, "no memory to index");
}

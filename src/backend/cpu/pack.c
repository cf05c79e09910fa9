#include <string.h>

#include "backend/cpu/fuse.h"
#include "backend/cpu/problem.h"
#include "backend/cpu/tune.h"
#include "ir/weights.h"
#include "kernels/deconv.h"

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

/* A transposed convolution is a product with [ic][kh][kw][oc]; ONNX has [ic][oc][kh][kw]. */
static hone_status reorder_deconv(hone_graph *g, const hone_node *n, const hone_conv *p,
                                  hone_conv_weights *v, hone_error *err) {
    const float *w = n->in[HONE_IN_WEIGHT]->constant->data;
    int64_t taps = p->kh * p->kw;
    float *copy = hone_graph_data(g, (size_t)(p->ic * p->oc * taps) * sizeof(float));
    if (!copy)
        return hone_fail(err, HONE_E_NOMEM, "no memory to pack weights");
    for (int64_t i = 0; i < p->ic; ++i) {
        for (int64_t o = 0; o < p->oc; ++o) {
            for (int64_t t = 0; t < taps; ++t)
                copy[(i * taps + t) * p->oc + o] = w[(i * p->oc + o) * taps + t];
        }
    }
    *v = (hone_conv_weights){.data = copy, .so = 1, .si = p->oc * taps};
    return HONE_OK;
}

static hone_status pack_node(hone_graph *g, hone_node *n, hone_tuner *tuner, hone_error *err) {
    hone_conv p;
    hone_conv_weights w;
    bool is_deconv = hone_is_lowered(n, "ConvTranspose");
    HONE_TRY(hone_nominal_problem(n, &n->in[HONE_IN_X]->type, &p, err));
    if (is_deconv) {
        HONE_TRY(reorder_deconv(g, n, &p, &w, err));
        HONE_TRY(hone_dense_problem(n, &p, err));
    } else {
        w = weights_of(n, &p);
    }
    const hone_conv_kernel *kernel = hone_tune_conv(tuner, &p);
    if (!kernel)
        return hone_fail(err, HONE_E_UNSUPPORTED, "no kernel takes this convolution");
    int64_t count = (int64_t)(kernel->packed_bytes(&p) / sizeof(float));
    hone_tensor *t = HONE_NEW(g->arena, hone_tensor);
    void *memory = hone_graph_data(g, (size_t)count * sizeof(float));
    if (!t || !memory)
        return hone_fail(err, HONE_E_NOMEM, "no memory to pack weights");
    kernel->pack(&p, &w, memory);
    *t = hone_tensor_view(HONE_DTYPE_F32, 1, &count, memory);
    n->in[HONE_IN_WEIGHT] = hone_graph_constant(g, "packed", t);
    if (!is_deconv)
        n->in[HONE_IN_BIAS] = NULL; /* it is packed along */
    if (!n->in[HONE_IN_WEIGHT] || !hone_attr_set_string(g, n, "kernel_name", kernel->name))
        return hone_fail(err, HONE_E_NOMEM, "no memory to pack weights");
    return hone_cpu_fuse_concat(g, n, &p, kernel, err);
}

hone_status hone_cpu_pack(hone_graph *g, hone_tuner *tuner, hone_error *err) {
    for (int i = 0; i < g->n_nodes; ++i) {
        hone_node *n = g->nodes[i];
        if (!hone_is_dense(n))
            continue;
        hone_status status = pack_node(g, n, tuner, err);
        if (status != HONE_OK)
            return hone_fail_node(err, status, n->name, n->op_name);
        hone_graph_sweep(g);
    }
    return hone_cpu_drop_unread(g, err);
}

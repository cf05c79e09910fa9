#include "quant/decompose.h"

#include <math.h>

#include "ir/infer.h"
#include "passes/rewrite.h"

static hone_value *number(hone_rewriter *r, float v) {
    hone_value *made = hone_graph_const_f32(r->g, "number", v);
    r->no_memory |= !made;
    return made;
}

static hone_value *insert(hone_rewriter *r, const char *op, hone_value *a, hone_value *b) {
    hone_value *in[2] = {a, b};
    hone_node *n = r->no_memory ? NULL : hone_rewrite_insert(r, op, in, b ? 2 : 1);
    return n ? n->out[0] : NULL;
}

static bool replace(hone_rewriter *r, const char *op, hone_value *a, hone_value *b) {
    hone_value *in[2] = {a, b};
    return !r->no_memory && hone_rewrite_replace(r, op, in, 2);
}

static bool is_float(const hone_value *v) {
    return v && v->type.kind == HONE_KIND_TENSOR && v->type.dtype == HONE_DTYPE_F32;
}

/* x / c as x * (1 / c) */
static bool divide(hone_rewriter *r) {
    const hone_node *n = r->node;
    const hone_tensor *c =
        hone_is(n, "Div") && is_float(n->in[0]) && is_float(n->in[1]) ? n->in[1]->constant : NULL;
    hone_tensor *t = c ? hone_rewrite_tensor(r, HONE_DTYPE_F32, c->rank, c->dims) : NULL;
    for (int64_t i = 0; t && i < hone_tensor_count(c); ++i) {
        float v = 1 / ((const float *)c->data)[i];
        if (!isfinite(v))
            return false;
        ((float *)t->data)[i] = v;
    }
    return t && replace(r, "Mul", n->in[0], hone_rewrite_constant(r, "reciprocal", t));
}

/* x * sigmoid(alpha x) */
static bool swish(hone_rewriter *r) {
    hone_value *x = r->node->in[0];
    float alpha = hone_attr_float(r->node, "alpha", 1);
    if (!hone_is(r->node, "Swish") || !is_float(x))
        return false;
    hone_value *scaled = alpha == 1 ? x : insert(r, "Mul", x, number(r, alpha));
    hone_value *gate = insert(r, "Sigmoid", scaled, NULL);
    return replace(r, "Mul", x, gate);
}

/* max(0, min(1, alpha x + beta)) */
static bool hard_sigmoid(hone_rewriter *r) {
    const hone_node *n = r->node;
    if (!hone_is(n, "HardSigmoid") || !is_float(n->in[0]))
        return false;
    float alpha = hone_attr_float(n, "alpha", 0.2F), beta = hone_attr_float(n, "beta", 0.5F);
    hone_value *scaled = insert(r, "Mul", n->in[0], number(r, alpha));
    hone_value *in[3] = {insert(r, "Add", scaled, number(r, beta)), number(r, 0), number(r, 1)};
    return !r->no_memory && hone_rewrite_replace(r, "Clip", in, 3);
}

/* A batch normalisation that no layer takes, as a factor and an addend for each channel. */
static bool batch_norm(hone_rewriter *r) {
    const hone_node *n = r->node;
    if (!hone_is(n, "BatchNormalization") || n->n_out != 1 || !is_float(n->in[0]) ||
        n->in[0]->type.rank < 2 || hone_attr_int(n, "training_mode", 0))
        return false;
    const float *of[5];
    for (int i = 1; i < 5; ++i) {
        if (!is_float(n->in[i]) || !n->in[i]->constant)
            return false;
        if (hone_tensor_count(n->in[i]->constant) != hone_tensor_count(n->in[1]->constant))
            return false;
        of[i] = n->in[i]->constant->data;
    }
    int64_t channels = hone_tensor_count(n->in[1]->constant), dims[HONE_MAX_RANK];
    int rank = n->in[0]->type.rank - 1;
    for (int i = 0; i < rank; ++i)
        dims[i] = i == 0 ? channels : 1;
    hone_tensor *factor = hone_rewrite_tensor(r, HONE_DTYPE_F32, rank, dims);
    hone_tensor *addend = hone_rewrite_tensor(r, HONE_DTYPE_F32, rank, dims);
    for (int64_t c = 0; factor && addend && c < channels; ++c) {
        float f = of[1][c] / sqrtf(of[4][c] + hone_attr_float(n, "epsilon", 1e-5F));
        ((float *)factor->data)[c] = f;
        ((float *)addend->data)[c] = of[2][c] - of[3][c] * f;
    }
    hone_value *scaled = insert(r, "Mul", n->in[0], hone_rewrite_constant(r, "factor", factor));
    return replace(r, "Add", scaled, hone_rewrite_constant(r, "addend", addend));
}

hone_status hone_quant_decompose(hone_graph *g, hone_error *err) {
    const hone_rule rules[] = {divide, swish, hard_sigmoid, batch_norm};
    int n_changes = 0;
    HONE_TRY(hone_rewrite(g, rules, (int)(sizeof rules / sizeof rules[0]), &n_changes, err));
    if (hone_graph_index(g) != HONE_OK)
        return hone_fail(err, HONE_E_NOMEM, "no memory to index the graph");
    return hone_graph_infer(g, err);
}

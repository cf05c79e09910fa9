#include "tflite/qoperator.h"

#include "ir/infer.h"
#include "passes/rewrite.h"

/* Inputs by position; operands are triples of value, scale, zero point. Sources: the operators'
 * definitions in ONNX (QLinearConv, QLinearMatMul) and in ONNX Runtime's ContribOperators.md. */
static const struct form {
    const char *name, *op;
    int operands, n_operands; /* the first; -1: all from there on */
    int bias;                 /* int32 on the product of the first two scales; -1: none */
    int scale;                /* of the result, its zero point behind it */
} forms[] = {
    {"QLinearConv", "Conv", 0, 2, 8, 6},
    {"QLinearMatMul", "MatMul", 0, 2, -1, 6},
    {"QGemm", "Gemm", 0, 2, 6, 7},
    {"QLinearConcat", "Concat", 2, -1, -1, 0},
    {"QLinearAveragePool", "AveragePool", 0, 1, -1, 3},
    {"QLinearGlobalAveragePool", "GlobalAveragePool", 0, 1, -1, 3},
};

static hone_value *input(const hone_node *n, int at) {
    return at >= 0 && at < n->n_in ? n->in[at] : NULL;
}

/* The dim that scales of an operand count: outputs of the weights. */
static int64_t axis_of(const hone_node *n, const hone_value *v) {
    if (strcmp(n->op_name, "QLinearConv") == 0)
        return 0;
    if (strcmp(n->op_name, "QGemm") == 0)
        return hone_attr_int(n, "transB", 0) ? 0 : 1;
    return v->type.rank > 0 ? v->type.rank - 1 : 0;
}

static hone_value *dequantised(hone_rewriter *r, hone_value *const *in, int n_in, int64_t axis) {
    hone_node *n = r->no_memory ? NULL : hone_rewrite_insert(r, "DequantizeLinear", in, n_in);
    if (n && in[1]->type.rank == 1)
        r->no_memory |= !hone_attr_set_int(r->g, n, "axis", axis);
    return n ? n->out[0] : NULL;
}

static hone_value *bias(hone_rewriter *r, hone_value *b, const hone_value *x, const hone_value *w) {
    if (r->no_memory)
        return NULL;
    hone_tensor *t = hone_rewrite_tensor(r, HONE_DTYPE_F32, w->constant->rank, w->constant->dims);
    for (int64_t i = 0; t && i < hone_tensor_count(w->constant); ++i)
        ((float *)t->data)[i] = (float)hone_load_f64(x->constant->dtype, x->constant->data, 0) *
                                (float)hone_load_f64(w->constant->dtype, w->constant->data, i);
    hone_value *scale = t ? hone_rewrite_constant(r, "scale", t) : NULL;
    r->no_memory |= !scale;
    return dequantised(r, (hone_value *[]){b, scale}, 2, 0);
}

/* Scales and zero points are constant, the input has one. */
static bool has_all(const hone_node *n, const struct form *f, int n_operands) {
    for (int i = 0; i < n_operands; ++i) {
        for (int k = 0; k < 3; ++k) {
            const hone_value *v = input(n, f->operands + 3 * i + k);
            if (!v || (k > 0 && !v->constant))
                return false;
        }
    }
    if (n_operands < 1 || hone_tensor_count(n->in[f->operands + 1]->constant) != 1)
        return false;
    return n->n_out == 1 && input(n, f->scale) && input(n, f->scale + 1) &&
           !hone_attr_int(n, "channels_last", 0) && hone_attr_float(n, "alpha", 1) == 1;
}

static bool rewrite(hone_rewriter *r, const struct form *f) {
    const hone_node *n = r->node;
    int n_operands = f->n_operands < 0 ? (n->n_in - f->operands) / 3 : f->n_operands;
    hone_value *b = input(n, f->bias);
    if (!has_all(n, f, n_operands))
        return false;
    hone_value **in = HONE_NEW_ARRAY(r->g->arena, hone_value *, n_operands + 1);
    r->no_memory |= !in;
    for (int i = 0; in && i < n_operands; ++i) {
        hone_value *const *operand = n->in + f->operands + 3 * i;
        in[i] = dequantised(r, operand, 3, axis_of(n, operand[0]));
    }
    if (in && b)
        in[n_operands] = bias(r, b, n->in[f->operands + 1], n->in[f->operands + 4]);
    hone_node *made =
        r->no_memory ? NULL : hone_rewrite_insert(r, f->op, in, n_operands + (b != NULL));
    if (!made || !hone_rewrite_attrs(r, made, n))
        return false;
    hone_value *out[3] = {made->out[0], n->in[f->scale], n->in[f->scale + 1]};
    return hone_rewrite_replace(r, "QuantizeLinear", out, 3) != NULL;
}

static bool expand(hone_rewriter *r) {
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; ++i) {
        if (strcmp(r->node->op_name, forms[i].name) == 0)
            return rewrite(r, &forms[i]);
    }
    return false;
}

hone_status hone_tflite_expand_qoperators(hone_graph *g, hone_error *err) {
    const hone_rule rules[] = {expand};
    int n_changes = 0;
    HONE_TRY(hone_rewrite(g, rules, 1, &n_changes, err));
    if (n_changes == 0)
        return HONE_OK;
    if (hone_graph_index(g) != HONE_OK)
        return hone_fail(err, HONE_E_NOMEM, "no memory to index the graph");
    return hone_graph_infer(g, err);
}

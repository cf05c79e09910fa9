#include "tflite/qdq.h"

#include "ops/tfl_fixed.h"
#include "passes/rewrite.h"

static const char PASSES_BEFORE[] =
    "fold_constants,remove_noop,merge_common,cancel_transposes,remove_dead";
/* fold_constants would turn the weights into floats. */
static const char PASSES_AFTER[] = "remove_noop,merge_common,cancel_transposes,remove_dead";
static const char DOMAIN[] = "ai.hone";

enum { MAX_DEPTH = 8 }; /* of the search for images */

static const int64_t to_first[4] = {0, 3, 1, 2}, to_last[4] = {0, 2, 3, 1};

/* Scales of a tensor: one, or one for each index of `axis`. */
typedef struct quant {
    hone_dtype dtype;
    const float *scale;
    int n, axis;
    int64_t zero;
} quant;

static bool is_own(const hone_node *n, const char *op) {
    return n && strcmp(n->domain, DOMAIN) == 0 && strcmp(n->op_name, op) == 0;
}

static bool is_hybrid(const hone_node *n) {
    return n->in[0]->type.dtype == HONE_DTYPE_F32;
}

/* ---- building ---------------------------------------------------------------------------------
 */

static hone_value *checked(hone_rewriter *r, hone_value *v) {
    r->no_memory |= v == NULL;
    return v;
}

static hone_value *insert(hone_rewriter *r, const char *op, hone_value *const *in, int n_in) {
    hone_node *n = r->no_memory ? NULL : hone_rewrite_insert(r, op, in, n_in);
    return n ? n->out[0] : NULL;
}

static void set_int(hone_rewriter *r, hone_value *v, const char *name, int64_t i) {
    if (!r->no_memory)
        r->no_memory = !hone_attr_set_int(r->g, v->producer, name, i);
}

static void set_ints(hone_rewriter *r, hone_value *v, const char *name, const int64_t *list,
                     int n) {
    if (!r->no_memory)
        r->no_memory = !hone_attr_set_ints(r->g, v->producer, name, list, n);
}

/* A constant in another order. */
static hone_value *permuted(hone_rewriter *r, const hone_value *v, const int64_t *perm) {
    const hone_tensor *from = v->constant;
    int rank = from->rank;
    int64_t dims[HONE_MAX_RANK], step[HONE_MAX_RANK], at[HONE_MAX_RANK] = {0}, n = 1;
    for (int d = 0; d < rank; ++d) {
        dims[d] = from->dims[perm[d]];
        step[d] = 1;
        for (int k = (int)perm[d] + 1; k < rank; ++k)
            step[d] *= from->dims[k];
        n *= dims[d];
    }
    hone_tensor *t = r->no_memory ? NULL : hone_rewrite_tensor(r, from->dtype, rank, dims);
    if (!t)
        return NULL;
    for (int64_t i = 0; i < n; ++i) {
        int64_t source = 0;
        for (int d = 0; d < rank; ++d)
            source += at[d] * step[d];
        hone_store_i64(t->dtype, t->data, i, hone_load_i64(from->dtype, from->data, source));
        for (int d = rank - 1; d >= 0 && ++at[d] == dims[d]; --d)
            at[d] = 0;
    }
    return checked(r, hone_rewrite_constant(r, v->name, t));
}

/* v with its dims in another order; constants of integers at once. */
static hone_value *transposed(hone_rewriter *r, hone_value *v, const int64_t *perm, int rank) {
    if (v->constant && v->constant->dtype != HONE_DTYPE_F32 && v->constant->rank == rank)
        return permuted(r, v, perm);
    hone_value *y = insert(r, "Transpose", &v, 1);
    set_ints(r, y, "perm", perm, rank);
    return y;
}

static hone_value *scales(hone_rewriter *r, const quant *q) {
    if (r->no_memory)
        return NULL;
    hone_tensor *t = hone_rewrite_tensor(r, HONE_DTYPE_F32, q->n > 1, (int64_t[]){q->n});
    if (!t)
        return NULL;
    memcpy(t->data, q->scale, (size_t)q->n * sizeof(float));
    return checked(r, hone_rewrite_constant(r, "scale", t));
}

static hone_value *zeros(hone_rewriter *r, const quant *q) {
    if (r->no_memory)
        return NULL;
    hone_tensor *t = hone_rewrite_tensor(r, q->dtype, q->n > 1, (int64_t[]){q->n});
    if (!t)
        return NULL;
    for (int i = 0; i < q->n; ++i)
        hone_store_i64(q->dtype, t->data, i, q->zero);
    return checked(r, hone_rewrite_constant(r, "zero_point", t));
}

static hone_value *dequantised(hone_rewriter *r, hone_value *v, const quant *q) {
    hone_value *in[3] = {v, scales(r, q)};
    bool has_zero = q->dtype != HONE_DTYPE_I32 || q->zero != 0;
    if (has_zero)
        in[2] = zeros(r, q);
    hone_value *y = insert(r, "DequantizeLinear", in, has_zero ? 3 : 2);
    if (q->n > 1)
        set_int(r, y, "axis", q->axis);
    return y;
}

/* ---- the quantisations of a node --------------------------------------------------------------
 */

static int64_t zero_of(const hone_node *n, const char *name) {
    return tfl_clamp(hone_attr_int(n, name, 0), -65535, 65535);
}

/* From <name>_scale and <name>_zero; false: the node does not have them. */
static bool param(const hone_node *n, const char *scale, const char *zero, hone_dtype d, quant *q) {
    const hone_attr *a = hone_attr_find(n, scale);
    if (!a || a->kind != HONE_ATTR_FLOAT)
        return false;
    *q = (quant){.dtype = d, .scale = &a->f, .n = 1, .zero = zero_of(n, zero)};
    return true;
}

static bool x_of(const hone_node *n, quant *q) {
    return param(n, "x_scale", "x_zero", n->in[0]->type.dtype, q);
}

/* ONNX quantises to 8 and 16 bits. */
static bool y_of(const hone_node *n, quant *q) {
    int64_t to_int = hone_attr_int(n, "to", n->in[0]->type.dtype);
    hone_dtype to = to_int > 0 && to_int < HONE_DTYPE_COUNT ? (hone_dtype)to_int : HONE_DTYPE_NONE;
    return hone_dtype_in(to, HONE_T(I8) | HONE_T(U8) | HONE_T(I16)) &&
           param(n, "y_scale", "y_zero", to, q);
}

/* ---- images -----------------------------------------------------------------------------------
 */

/* v comes from a convolution or pooling, by way of operators that may have any order. */
static bool is_image(const hone_value *v, int depth) {
    static const char *const sources[] = {"QConv", "QDepthwiseConv", "QAveragePool", "QMaxPool"};
    static const char *const followers[] = {"QAdd", "QSub", "QMul", "QDiv", "QRescale", "QTable"};
    const hone_node *n = v ? v->producer : NULL;
    if (!n || v->type.rank != 4 || depth > MAX_DEPTH)
        return false;
    for (size_t i = 0; i < sizeof sources / sizeof sources[0]; ++i) {
        if (is_own(n, sources[i]))
            return true;
    }
    for (size_t i = 0; i < sizeof followers / sizeof followers[0]; ++i) {
        if (is_own(n, followers[i]))
            return is_image(n->in[0], depth + 1) || (n->n_in > 1 && is_image(n->in[1], depth + 1));
    }
    return false;
}

static hone_value *taken(hone_rewriter *r, hone_value *v, bool is_first) {
    return is_first ? transposed(r, v, to_first, 4) : v;
}

/* The last node: writes what r->node wrote. `op` reads `in`; a channels-first result is turned. */
static bool finished(hone_rewriter *r, const char *op, hone_value *const *in, int n_in,
                     bool is_first) {
    if (r->no_memory)
        return false;
    if (!is_first)
        return hone_rewrite_replace(r, op, in, n_in) != NULL;
    hone_value *v = insert(r, op, in, n_in);
    hone_node *last = v ? hone_rewrite_replace(r, "Transpose", &v, 1) : NULL;
    if (last)
        set_ints(r, last->out[0], "perm", to_last, 4);
    return last != NULL;
}

static bool quantised(hone_rewriter *r, hone_value *v, const quant *q, bool is_first) {
    hone_value *in[3] = {v, scales(r, q), zeros(r, q)};
    return finished(r, "QuantizeLinear", in, 3, is_first);
}

/* The range of a fused activation, where the type alone does not give it. */
static hone_value *limited(hone_rewriter *r, hone_value *v, const quant *q) {
    const hone_node *n = r->node;
    int bits = hone_dtype_bits(q->dtype);
    int64_t least = q->dtype == HONE_DTYPE_U8 ? 0 : -((int64_t)1 << (bits - 1));
    int64_t most = least + ((int64_t)1 << bits) - 1;
    int64_t low = tfl_clamp(hone_attr_int(n, "low", least), least, most);
    int64_t high = tfl_clamp(hone_attr_int(n, "high", most), least, most);
    if ((low <= least && high >= most) || r->no_memory)
        return v;
    if (low == q->zero && high >= most)
        return insert(r, "Relu", &v, 1);
    hone_value *in[3] = {v};
    if (low > least)
        in[1] = checked(r, hone_graph_const_f32(r->g, "low", (float)(low - q->zero) * q->scale[0]));
    if (high < most)
        in[2] =
            checked(r, hone_graph_const_f32(r->g, "high", (float)(high - q->zero) * q->scale[0]));
    return insert(r, "Clip", in, in[2] ? 3 : 2);
}

/* ---- layers -----------------------------------------------------------------------------------
 */

/* What layers have in common: scales of input, weights and output. */
typedef struct layer {
    quant x, w, y;
    bool is_hybrid;
} layer;

static bool layer_of(const hone_node *n, layer *l) {
    const hone_attr *a = hone_attr_find(n, "w_scale");
    if (!a || a->kind != HONE_ATTR_FLOATS || a->n < 1)
        return false;
    l->is_hybrid = is_hybrid(n);
    l->w = (quant){
        .dtype = n->in[1]->type.dtype, .scale = a->floats, .n = a->n, .zero = zero_of(n, "w_zero")};
    return l->is_hybrid || (x_of(n, &l->x) && y_of(n, &l->y));
}

/* Biases of 64 bits, which DequantizeLinear does not take, become floats. */
static hone_value *float_bias(hone_rewriter *r, const hone_tensor *b, const quant *q) {
    hone_tensor *t = r->no_memory ? NULL : hone_rewrite_tensor(r, HONE_DTYPE_F32, b->rank, b->dims);
    if (!t)
        return NULL;
    for (int64_t i = 0; i < hone_dims_count(b->dims, 0, b->rank); ++i)
        ((float *)t->data)[i] =
            (float)hone_load_i64(b->dtype, b->data, i) * q->scale[q->n > 1 && i < q->n ? i : 0];
    return checked(r, hone_rewrite_constant(r, "bias", t));
}

/* Its scales are the products of the input's and the weights'. */
static hone_value *bias(hone_rewriter *r, const layer *l) {
    hone_value *b = r->node->in[2];
    if (l->is_hybrid)
        return b;
    float *product = hone_arena_alloc(r->g->arena, (size_t)l->w.n * sizeof *product);
    if (!product) {
        r->no_memory = true;
        return NULL;
    }
    for (int i = 0; i < l->w.n; ++i)
        product[i] = l->x.scale[0] * l->w.scale[i];
    quant q = {.dtype = HONE_DTYPE_I32, .scale = product, .n = l->w.n};
    return b->type.dtype == HONE_DTYPE_I64 ? float_bias(r, b->constant, &q) : dequantised(r, b, &q);
}

static bool has_bias(const hone_node *n) {
    return n->n_in > 2 && n->in[2];
}

/* The bias is of a kind that can be written. */
static bool fits_bias(const hone_node *n) {
    return !has_bias(n) || n->in[2]->type.dtype != HONE_DTYPE_I64 || n->in[2]->constant;
}

static void copy_window(hone_rewriter *r, hone_value *to, const hone_node *from) {
    static const char *const names[] = {"strides", "dilations", "auto_pad", "kernel_shape"};
    for (size_t i = 0; i < sizeof names / sizeof names[0] && !r->no_memory; ++i) {
        const hone_attr *a = hone_attr_find(from, names[i]);
        if (a)
            r->no_memory = !hone_attr_set(r->g, to->producer, a);
    }
}

/* Weights [o, kh, kw, i], depthwise [1, kh, kw, o], to [o, i, kh, kw]. */
static bool conv(hone_rewriter *r, const char *op) {
    static const int64_t from_depthwise[4] = {3, 0, 1, 2};
    (void)op;
    const hone_node *n = r->node;
    const hone_type *x = &n->in[0]->type, *w = &n->in[1]->type;
    bool is_depthwise = strcmp(n->op_name, "QDepthwiseConv") == 0;
    layer l;
    if (!layer_of(n, &l) || !fits_bias(n) || x->rank != 4 || w->rank != 4 || x->dims[3] < 1 ||
        w->dims[3] < 1)
        return false;
    hone_value *in[3] = {taken(r, n->in[0], true),
                         transposed(r, n->in[1], is_depthwise ? from_depthwise : to_first, 4)};
    if (!l.is_hybrid)
        in[0] = dequantised(r, in[0], &l.x);
    in[1] = dequantised(r, in[1], &l.w);
    if (has_bias(n))
        in[2] = bias(r, &l);
    hone_value *y = insert(r, "Conv", in, has_bias(n) ? 3 : 2);
    copy_window(r, y, n);
    set_int(r, y, "group", is_depthwise ? x->dims[3] : x->dims[3] / w->dims[3]);
    if (!l.is_hybrid)
        return quantised(r, limited(r, y, &l.y), &l.y, true);
    hone_node *last = r->no_memory ? NULL : hone_rewrite_replace(r, "Transpose", &y, 1);
    if (last)
        set_ints(r, last->out[0], "perm", to_last, 4);
    return last != NULL;
}

/* Weights [o, i]: Gemm of matrices; of more dims MatMul, and the bias added. */
static bool dense(hone_rewriter *r, const char *op) {
    (void)op;
    const hone_node *n = r->node;
    layer l;
    if (!layer_of(n, &l) || !fits_bias(n) || n->in[0]->type.rank < 2 || n->in[1]->type.rank != 2)
        return false;
    bool is_gemm = n->in[0]->type.rank == 2;
    hone_value *in[3] = {n->in[0], n->in[1]};
    if (!is_gemm) {
        in[1] = transposed(r, in[1], (int64_t[]){1, 0}, 2);
        l.w.axis = 1;
    }
    if (!l.is_hybrid)
        in[0] = dequantised(r, in[0], &l.x);
    in[1] = dequantised(r, in[1], &l.w);
    if (has_bias(n))
        in[2] = bias(r, &l);
    hone_value *y = insert(r, is_gemm ? "Gemm" : "MatMul", in, is_gemm && in[2] ? 3 : 2);
    if (is_gemm)
        set_int(r, y, "transB", 1);
    else if (in[2])
        y = insert(r, "Add", (hone_value *[]){y, in[2]}, 2);
    if (!l.is_hybrid)
        return quantised(r, limited(r, y, &l.y), &l.y, false);
    return !r->no_memory && hone_rewrite_replace(r, "Identity", &y, 1) != NULL;
}

static bool pool(hone_rewriter *r, const char *op) {
    const hone_node *n = r->node;
    quant x;
    if (!x_of(n, &x) || n->in[0]->type.rank != 4)
        return false;
    hone_value *v = dequantised(r, taken(r, n->in[0], true), &x);
    v = insert(r, op, &v, 1);
    copy_window(r, v, n);
    return quantised(r, limited(r, v, &x), &x, true);
}

static bool binary(hone_rewriter *r, const char *op) {
    const hone_node *n = r->node;
    quant a, b, y;
    if (!param(n, "a_scale", "a_zero", n->in[0]->type.dtype, &a) ||
        !param(n, "b_scale", "b_zero", n->in[1]->type.dtype, &b) || !y_of(n, &y))
        return false;
    bool is_first = n->in[0]->type.rank == 4 && n->in[1]->type.rank == 4 &&
                    strcmp(op, "MatMul") != 0 && (is_image(n->in[0], 0) || is_image(n->in[1], 0));
    hone_value *in[2] = {taken(r, n->in[0], is_first), taken(r, n->in[1], is_first)};
    in[0] = dequantised(r, in[0], &a);
    in[1] = dequantised(r, in[1], &b);
    return quantised(r, limited(r, insert(r, op, in, 2), &y), &y, is_first);
}

static bool reduce(hone_rewriter *r, const char *op) {
    const hone_node *n = r->node;
    const int64_t *list;
    int64_t axes[HONE_MAX_RANK], keeps = hone_attr_int(n, "keepdims", 1);
    int n_axes = hone_attr_ints(n, "axes", &list), rank = n->in[0]->type.rank;
    bool is_first = is_image(n->in[0], 0);
    quant x, y;
    if (!x_of(n, &x) || !y_of(n, &y) || n_axes > HONE_MAX_RANK)
        return false;
    for (int i = 0; i < n_axes; ++i) {
        int64_t axis = list[i] < 0 ? list[i] + rank : list[i];
        if (axis < 0 || axis >= rank)
            return false;
        axes[i] = is_first ? (axis == 3 ? 1 : axis ? axis + 1 : 0) : axis;
    }
    /* The order of the dims that stay must not matter. */
    bool keeps_one =
        !is_first || keeps || n_axes >= 3 || (n_axes == 2 && axes[0] >= 2 && axes[1] >= 2);
    if (!keeps_one)
        return false;
    hone_value *in[2] = {dequantised(r, taken(r, n->in[0], is_first), &x)};
    in[1] = checked(r, hone_graph_const_i64(r->g, "axes", axes, n_axes));
    hone_value *v = insert(r, op, in, 2);
    set_int(r, v, "keepdims", keeps);
    set_int(r, v, "noop_with_empty_axes", 1);
    return quantised(r, v, &y, is_first && keeps);
}

/* The format fixes the output's quantisation: 256 or 32768 steps to 1. */
static bool softmax(hone_rewriter *r, const char *op) {
    static const float step8 = 1.0f / 256, step16 = 1.0f / 32768;
    const hone_node *n = r->node;
    quant x;
    if (!x_of(n, &x))
        return false;
    quant y = {.dtype = x.dtype,
               .scale = x.dtype == HONE_DTYPE_I16 ? &step16 : &step8,
               .n = 1,
               .zero = x.dtype == HONE_DTYPE_I8 ? -128 : 0};
    hone_value *v = dequantised(r, n->in[0], &x);
    v = insert(r, op, &v, 1);
    set_int(r, v, "axis", -1);
    return quantised(r, v, &y, false);
}

static bool rescale(hone_rewriter *r, const char *op) {
    (void)op;
    const hone_node *n = r->node;
    bool is_first = is_image(n->in[0], 0);
    quant x, y;
    if (!x_of(n, &x) || !y_of(n, &y))
        return false;
    hone_value *v = dequantised(r, taken(r, n->in[0], is_first), &x);
    return quantised(r, limited(r, v, &y), &y, is_first);
}

static bool quantize(hone_rewriter *r, const char *op) {
    (void)op;
    quant y;
    return y_of(r->node, &y) && quantised(r, r->node->in[0], &y, false);
}

/* The table begins with the result of the least value; Gather counts negative indices from its end.
 */
static bool table(hone_rewriter *r, const char *op) {
    const hone_node *n = r->node;
    const hone_tensor *from = n->in[1]->constant;
    if (!from || hone_dims_count(from->dims, 0, from->rank) != 256 || r->no_memory)
        return false;
    bool is_first = is_image(n->in[0], 0);
    int64_t shift = n->in[0]->type.dtype == HONE_DTYPE_I8 ? 128 : 0;
    hone_tensor *t = hone_rewrite_tensor(r, from->dtype, 1, (int64_t[]){256});
    for (int64_t i = 0; t && i < 256; ++i)
        hone_store_i64(t->dtype, t->data, i,
                       hone_load_i64(from->dtype, from->data, (i + shift) % 256));
    hone_value *v = taken(r, n->in[0], is_first);
    hone_value *in[2] = {t ? checked(r, hone_rewrite_constant(r, "table", t)) : NULL,
                         insert(r, "Cast", &v, 1)};
    set_int(r, in[1], "to", HONE_DTYPE_I32);
    return finished(r, op, in, 2, is_first);
}

/* ---- the walk ---------------------------------------------------------------------------------
 */

static const struct {
    const char *own;
    bool (*rewrite)(hone_rewriter *r, const char *op);
    const char *onnx;
} rules[] = {
    {"QConv", conv, "Conv"},
    {"QDepthwiseConv", conv, "Conv"},
    {"QFullyConnected", dense, "Gemm"},
    {"QAveragePool", pool, "AveragePool"},
    {"QMaxPool", pool, "MaxPool"},
    {"QAdd", binary, "Add"},
    {"QSub", binary, "Sub"},
    {"QMul", binary, "Mul"},
    {"QDiv", binary, "Div"},
    {"QPrelu", binary, "PRelu"},
    {"QBatchMatMul", binary, "MatMul"},
    {"QMean", reduce, "ReduceMean"},
    {"QSum", reduce, "ReduceSum"},
    {"QProd", reduce, "ReduceProd"},
    {"QSoftmax", softmax, "Softmax"},
    {"QRescale", rescale, NULL},
    {"QQuantize", quantize, NULL},
    {"QTable", table, "Gather"},
};

static bool to_standard(hone_rewriter *r) {
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; ++i) {
        if (is_own(r->node, rules[i].own))
            return rules[i].rewrite(r, rules[i].onnx);
    }
    return false;
}

/* False: out of memory. */
static bool refuse(const hone_node *n, hone_findings *findings) {
    bool is_extreme = hone_is(n, "ReduceMax") || hone_is(n, "ReduceMin");
    if (is_extreme && n->in[0]->type.dtype == HONE_DTYPE_I16)
        return hone_findings_add(findings, HONE_ERROR, "unsupported-type", hone_node_label(n),
                                 n->op_name, "quantise the model to 8 bits",
                                 "standard ONNX does not have it in int16");
    if (strcmp(n->domain, DOMAIN) != 0)
        return true;
    return hone_findings_add(
        findings, HONE_ERROR, "no-equivalent", hone_node_label(n), n->op_name,
        "keep this part of the model in float, or run the .tflite with hone",
        "the integer arithmetic of this operator has no form in standard ONNX that "
        "hone knows how to write");
}

static hone_status rewrite(hone_graph *g, hone_findings *findings, hone_error *err) {
    const hone_rule list[] = {to_standard};
    int n_changes = 0;
    HONE_TRY(hone_rewrite(g, list, 1, &n_changes, err));
    for (int i = 0; i < g->n_nodes; ++i) {
        const hone_node *n = g->nodes[i];
        if (!refuse(n, findings))
            return hone_fail(err, HONE_E_NOMEM, "no memory for the list of findings");
        for (int k = 0; k < n->n_attrs; ++k) {
            if (n->attrs[k].kind == HONE_ATTR_GRAPH)
                HONE_TRY(rewrite(n->attrs[k].g, findings, err));
        }
    }
    return HONE_OK;
}

hone_status hone_tflite_to_qdq(hone_graph *g, hone_findings *findings, hone_error *err) {
    HONE_TRY(hone_passes_run(g, &(hone_pass_options){.only = PASSES_BEFORE, .stop_at = -1}, err));
    HONE_TRY(rewrite(g, findings, err));
    if (findings->n_errors)
        return hone_fail(err, HONE_E_UNSUPPORTED,
                         "the model cannot be converted; obstacles, which the list names: %d",
                         findings->n_errors);
    if (hone_graph_index(g) != HONE_OK)
        return hone_fail(err, HONE_E_NOMEM, "no memory to index the graph");
    return hone_passes_run(g, &(hone_pass_options){.only = PASSES_AFTER, .stop_at = -1}, err);
}

/* com.microsoft operators that are combinations of ONNX operators (public operator documentation,
 * ContribOperators.md): they become those, so that passes and kernels need not know them. */
#include <string.h>

#include "onnx/adapt.h"

static hone_value *in(const hone_adapt *a, int i) {
    return i < a->n->n_in ? a->n->in[i] : NULL;
}

static hone_status need(hone_adapt *a, int n_in) {
    for (int i = 0; i < n_in; ++i)
        if (!in(a, i))
            return adapt_fail(a, HONE_E_FORMAT, "input %d is needed", i);
    return a->n->n_out > 0 && a->n->out[0] ? HONE_OK
                                           : adapt_fail(a, HONE_E_FORMAT, "output 0 is needed");
}

static hone_status failure(const hone_adapt *a) {
    return a->err && a->err->code != HONE_OK ? a->err->code : HONE_E_NOMEM;
}

/* The node at hand becomes op(list...) of ONNX with its attributes as they are. */
static hone_status become(hone_adapt *a, const char *op, hone_value *const *list, int n_in) {
    hone_value **copy = HONE_NEW_ARRAY(a->g->arena, hone_value *, n_in);
    if (!copy)
        return adapt_no_memory(a);
    for (int i = 0; i < n_in; ++i)
        copy[i] = list[i];
    a->n->in = copy;
    a->n->n_in = n_in;
    a->n->domain = "";
    return adapt_rename(a, op);
}

static hone_status renamed(hone_adapt *a, const char *op) {
    a->n->domain = "";
    return adapt_rename(a, op);
}

/* A node op(list...) before the one at hand, not emitted yet: attributes may be set. */
static hone_node *before(hone_adapt *a, const char *op, hone_value *const *list, int n_in,
                         hone_value **out) {
    *out = hone_graph_fresh(a->g, a->n->name[0] ? a->n->name : op);
    hone_node *n =
        *out ? hone_node_create(a->g, hone_op_find("", op), a->n->name, list, n_in, out, 1) : NULL;
    if (!n) {
        adapt_no_memory(a);
        return NULL;
    }
    n->op_name = op;
    n->origin = a->n->origin;
    return n;
}

/* ---- activations ------------------------------------------------------------------------------
 */

/* The node at hand becomes op of `x`, its outputs as they are. */
static hone_status finish_unary(hone_adapt *a, const char *op, hone_value *x) {
    return x ? become(a, op, &x, 1) : failure(a);
}

static hone_status gelu(hone_adapt *a) {
    HONE_TRY(need(a, 1));
    return renamed(a, "Gelu");
}

/* BiasGelu, and FastGelu, whose bias may be absent. */
static hone_status bias_gelu(hone_adapt *a) {
    bool is_fast = strcmp(a->n->op_name, "FastGelu") == 0;
    HONE_TRY(need(a, is_fast ? 1 : 2));
    hone_value *list[2] = {in(a, 0), in(a, 1)};
    if (is_fast && !hone_attr_set_string(a->g, a->n, "approximate", "tanh"))
        return adapt_no_memory(a);
    return finish_unary(a, "Gelu", list[1] ? adapt_op(a, "Add", list, 2) : list[0]);
}

static hone_status quick_gelu(hone_adapt *a) {
    HONE_TRY(need(a, 1));
    float alpha = hone_attr_float(a->n, "alpha", 1.702f);
    return hone_attr_set_float(a->g, a->n, "alpha", alpha) ? renamed(a, "Swish")
                                                           : adapt_no_memory(a);
}

/* (left half of x + bias) * Gelu(right half). */
static hone_status bias_split_gelu(hone_adapt *a) {
    HONE_TRY(need(a, 2));
    hone_value *sum = adapt_op(a, "Add", a->n->in, 2), *half[2], *list[2];
    if (!sum)
        return failure(a);
    half[0] = hone_graph_fresh(a->g, "left");
    half[1] = hone_graph_fresh(a->g, "right");
    hone_node *split = half[0] && half[1] ? hone_node_create(a->g, hone_op_find("", "Split"),
                                                             a->n->name, &sum, 1, half, 2)
                                          : NULL;
    if (!split || !hone_attr_set_int(a->g, split, "axis", -1) ||
        !hone_attr_set_int(a->g, split, "num_outputs", 2))
        return adapt_no_memory(a);
    split->op_name = "Split";
    split->origin = a->n->origin;
    HONE_TRY(adapt_emit(a, split));
    list[0] = half[0];
    list[1] = adapt_op(a, "Gelu", &half[1], 1);
    return list[1] ? become(a, "Mul", list, 2) : failure(a);
}

static hone_status bias_add(hone_adapt *a) {
    HONE_TRY(need(a, 3));
    hone_value *list[2] = {adapt_op(a, "Add", a->n->in, 2), a->n->in[2]};
    return list[0] ? become(a, "Add", list, 2) : failure(a);
}

/* What FusedConv and FusedGemm may end with, and the names of its parameters. */
static const struct {
    const char *op, *parameter[2];
} activations[] = {
    {"Relu", {NULL, NULL}},
    {"LeakyRelu", {"alpha", NULL}},
    {"Sigmoid", {NULL, NULL}},
    {"Tanh", {NULL, NULL}},
    {"HardSigmoid", {"alpha", "beta"}},
    {"Elu", {"alpha", NULL}},
    {"ThresholdedRelu", {"alpha", NULL}},
    {"Selu", {"alpha", "gamma"}},
    {"Softplus", {NULL, NULL}},
    {"Softsign", {NULL, NULL}},
    {"HardSwish", {NULL, NULL}},
    {"Clip", {NULL, NULL}},
};

static int find_activation(const char *name) {
    int n = (int)(sizeof activations / sizeof activations[0]);
    for (int i = 0; i < n; ++i)
        if (strcmp(activations[i].op, name) == 0)
            return i;
    return -1;
}

/* Parameters of the activation, which FusedConv has in a list and FusedGemm by name. */
static hone_status set_parameters(hone_adapt *a, const hone_node *fused, int which) {
    const float *list;
    int n = hone_attr_floats(fused, "activation_params", &list);
    for (int i = 0; i < 2 && activations[which].parameter[i]; ++i) {
        char key[32] = "activation_";
        strcat(key, activations[which].parameter[i]);
        const hone_attr *own = hone_attr_find(fused, key);
        bool named = own && own->kind == HONE_ATTR_FLOAT;
        if ((named || i < n) && !hone_attr_set_float(a->g, a->n, activations[which].parameter[i],
                                                     named ? own->f : list[i]))
            return adapt_no_memory(a);
    }
    return HONE_OK;
}

static hone_status clip_limits(hone_adapt *a, const hone_node *fused, hone_value **min_max) {
    const float *list;
    if (hone_attr_floats(fused, "activation_params", &list) != 2)
        return adapt_fail(a, HONE_E_FORMAT, "Clip needs two activation_params");
    for (int i = 0; i < 2; ++i) {
        min_max[i] = hone_graph_const_f32(a->g, "limit", list[i]);
        if (!min_max[i])
            return adapt_no_memory(a);
    }
    return HONE_OK;
}

/* activation(product(inputs) + add): the attributes go to the product, and the node at hand becomes
 * the activation. */
static hone_status split_activation(hone_adapt *a, const char *product, int n_in, hone_value *add) {
    static const char *const gone[] = {"activation", "activation_params", "activation_alpha",
                                       "activation_beta", "activation_gamma"};
    const char *name = hone_attr_string(a->n, "activation", "");
    int which = name[0] ? find_activation(name) : -1;
    if (name[0] && which < 0)
        return adapt_fail(a, HONE_E_UNSUPPORTED, "unknown activation \"%.40s\"", name);
    hone_value *list[3] = {NULL, NULL, NULL};
    hone_node *n = before(a, product, a->n->in, n_in, &list[0]);
    if (!n)
        return failure(a);
    n->attrs = a->n->attrs;
    n->n_attrs = a->n->n_attrs;
    a->n->attrs = NULL;
    a->n->n_attrs = 0;
    if (which >= 0)
        HONE_TRY(set_parameters(a, n, which));
    if (which >= 0 && strcmp(name, "Clip") == 0)
        HONE_TRY(clip_limits(a, n, &list[1]));
    for (size_t i = 0; i < sizeof gone / sizeof gone[0]; ++i)
        hone_attr_remove(n, gone[i]);
    HONE_TRY(adapt_emit(a, n));
    if (add) {
        hone_value *two[2] = {list[0], add};
        list[0] = adapt_op(a, "Add", two, 2);
        if (!list[0])
            return failure(a);
    }
    return become(a, which >= 0 ? activations[which].op : "Identity", list, list[1] ? 3 : 1);
}

static hone_status fused_conv(hone_adapt *a) {
    HONE_TRY(need(a, 2));
    return split_activation(a, "Conv", in(a, 2) ? 3 : 2, in(a, 3));
}

static hone_status fused_gemm(hone_adapt *a) {
    HONE_TRY(need(a, 2));
    return split_activation(a, "Gemm", in(a, 2) ? 3 : 2, NULL);
}

/* ---- quantised --------------------------------------------------------------------------------
 */

static hone_value *dequantised(hone_adapt *a, int x, int scale, int zero) {
    hone_value *list[3] = {in(a, x), in(a, scale), in(a, zero)};
    if (!list[0] || !list[1]) {
        adapt_fail(a, HONE_E_FORMAT, "inputs %d and %d are needed", x, scale);
        return NULL;
    }
    return adapt_op(a, "DequantizeLinear", list, list[2] ? 3 : 2);
}

/* The node at hand quantises v with the scale at input `scale` and the zero point at `zero`;
 * without one the type is that of input `like`. */
static hone_status quantised(hone_adapt *a, hone_value *v, int scale, int zero, int like) {
    if (!v)
        return failure(a);
    if (!in(a, scale))
        return adapt_fail(a, HONE_E_FORMAT, "input %d is needed", scale);
    if (!in(a, zero)) {
        if (!in(a, like)->type.dtype)
            return adapt_fail(a, HONE_E_UNSUPPORTED, "an input of unknown type");
        HONE_TRY(adapt_scalar_input(a, zero, 0, in(a, like)));
    }
    hone_value *list[3] = {v, in(a, scale), in(a, zero)};
    a->n->n_attrs = 0;
    return become(a, "QuantizeLinear", list, 3);
}

/* QLinearAdd, QLinearMul: A and B with scale and zero point each, then those of the result. */
static hone_status qlinear_binary(hone_adapt *a) {
    HONE_TRY(need(a, 2));
    const char *op = strcmp(a->n->op_name, "QLinearAdd") == 0 ? "Add" : "Mul";
    hone_value *list[2] = {dequantised(a, 0, 1, 2), NULL};
    list[1] = list[0] ? dequantised(a, 3, 4, 5) : NULL;
    return list[1] ? quantised(a, adapt_op(a, op, list, 2), 6, 7, 0) : failure(a);
}

static hone_status qlinear_sigmoid(hone_adapt *a) {
    HONE_TRY(need(a, 2));
    hone_value *x = dequantised(a, 0, 1, 2);
    return x ? quantised(a, adapt_op(a, "Sigmoid", &x, 1), 3, 4, 0) : failure(a);
}

static hone_status qlinear_leaky(hone_adapt *a) {
    HONE_TRY(need(a, 2));
    hone_value *x = dequantised(a, 0, 1, 2), *y;
    hone_node *n = x ? before(a, "LeakyRelu", &x, 1, &y) : NULL;
    if (!n || !hone_attr_set_float(a->g, n, "alpha", hone_attr_float(a->n, "alpha", 0.01f)))
        return n ? adapt_no_memory(a) : failure(a);
    HONE_TRY(adapt_emit(a, n));
    return quantised(a, y, 3, 4, 0);
}

/* `opset` says which Softmax is meant: up to 12 it works on a matrix whose columns begin at axis.
 */
static hone_status qlinear_softmax(hone_adapt *a) {
    HONE_TRY(need(a, 2));
    int64_t axis = hone_attr_int(a->n, "axis", -1);
    bool flattens = hone_attr_int(a->n, "opset", 13) < 13;
    hone_value *x = dequantised(a, 0, 1, 2), *y;
    hone_node *n = x ? before(a, "Softmax", &x, 1, &y) : NULL;
    if (!n || !hone_attr_set_int(a->g, n, "axis", axis) ||
        (flattens && axis != -1 && !hone_attr_set_int(a->g, n, "hone_flatten", 1)))
        return n ? adapt_no_memory(a) : failure(a);
    HONE_TRY(adapt_emit(a, n));
    return quantised(a, y, 3, 4, 0);
}

static hone_status qlinear_mean(hone_adapt *a) {
    HONE_TRY(need(a, 2));
    const int64_t *axes;
    int n_axes = hone_attr_ints(a->n, "axes", &axes);
    hone_value *list[2] = {dequantised(a, 0, 1, 2),
                           n_axes ? hone_graph_const_i64(a->g, "axes", axes, n_axes) : NULL};
    hone_value *y;
    hone_node *n = list[0] ? before(a, "ReduceMean", list, list[1] ? 2 : 1, &y) : NULL;
    if (!n || !hone_attr_set_int(a->g, n, "keepdims", hone_attr_int(a->n, "keepdims", 1)))
        return n ? adapt_no_memory(a) : failure(a);
    HONE_TRY(adapt_emit(a, n));
    return quantised(a, y, 3, 4, 0);
}

static hone_status qlinear_where(hone_adapt *a) {
    HONE_TRY(need(a, 8));
    hone_value *list[3] = {in(a, 0), dequantised(a, 1, 2, 3), NULL};
    list[2] = list[1] ? dequantised(a, 4, 5, 6) : NULL;
    return list[2] ? quantised(a, adapt_op(a, "Where", list, 3), 7, 8, 1) : failure(a);
}

static hone_status quantize_linear(hone_adapt *a) {
    HONE_TRY(need(a, 2));
    return renamed(a, a->n->op_name);
}

/* v with its axis `from` moved to `to`. */
static hone_value *move_axis(hone_adapt *a, hone_value *v, int rank, int from, int to) {
    int64_t perm[HONE_MAX_RANK];
    hone_value *y;
    for (int i = 0, k = 0; i < rank; ++i) {
        k += k == from;
        perm[i] = i == to ? from : k++;
    }
    hone_node *n = v ? before(a, "Transpose", &v, 1, &y) : NULL;
    if (n && !hone_attr_set_ints(a->g, n, "perm", perm, rank)) {
        adapt_no_memory(a);
        return NULL;
    }
    return n && adapt_emit(a, n) == HONE_OK ? y : NULL;
}

/* An operator on channels-last data becomes `op` between two transposes. */
static hone_status channels_last(hone_adapt *a, const char *op) {
    int rank = adapt_rank(a, 0);
    if (rank < 3)
        return adapt_fail(a, HONE_E_UNSUPPORTED, "an input of unknown or too small rank");
    hone_value **list = HONE_NEW_ARRAY(a->g->arena, hone_value *, a->n->n_in), *y;
    if (!list)
        return adapt_no_memory(a);
    for (int i = 0; i < a->n->n_in; ++i)
        list[i] = a->n->in[i];
    list[0] = move_axis(a, list[0], rank, rank - 1, 1);
    hone_node *n = list[0] ? before(a, op, list, a->n->n_in, &y) : NULL;
    if (!n)
        return failure(a);
    n->attrs = a->n->attrs;
    n->n_attrs = a->n->n_attrs;
    a->n->attrs = NULL;
    a->n->n_attrs = 0;
    HONE_TRY(adapt_emit(a, n));
    int64_t perm[HONE_MAX_RANK];
    for (int i = 0; i < rank; ++i)
        perm[i] = i == rank - 1 ? 1 : i == 0 ? 0 : i + 1;
    return hone_attr_set_ints(a->g, a->n, "perm", perm, rank) ? become(a, "Transpose", &y, 1)
                                                              : adapt_no_memory(a);
}

static hone_status qlinear_conv(hone_adapt *a) {
    HONE_TRY(need(a, 8));
    bool last = hone_attr_int(a->n, "channels_last", 0) != 0;
    hone_attr_remove(a->n, "channels_last");
    return last ? channels_last(a, "QLinearConv") : renamed(a, "QLinearConv");
}

static hone_status nhwc_max_pool(hone_adapt *a) {
    HONE_TRY(need(a, 1));
    return channels_last(a, "MaxPool");
}

/* Attention on the dequantised input and weights. */
static hone_status qattention(hone_adapt *a) {
    HONE_TRY(need(a, 5));
    hone_value *weights[3] = {in(a, 1), in(a, 4), in(a, 7)};
    hone_value *x = dequantised(a, 0, 3, 6); /* a scale a column: axis 1, the default */
    hone_value *w = x ? adapt_op(a, "DequantizeLinear", weights, weights[2] ? 3 : 2) : NULL;
    hone_value *list[5] = {x, w, in(a, 2), in(a, 5), in(a, 8)};
    if (!w)
        return failure(a);
    HONE_TRY(become(a, "Attention", list, list[4] ? 5 : list[3] ? 4 : 3));
    a->n->domain = "com.microsoft";
    a->n->op = hone_op_find("com.microsoft", "Attention");
    return HONE_OK;
}

/* EmbedLayerNormalization on dequantised tables. */
static hone_status qembed(hone_adapt *a) {
    HONE_TRY(need(a, 1));
    hone_value *list[8] = {in(a, 0), in(a, 1), NULL, NULL, NULL, NULL, NULL, in(a, 7)};
    for (int i = 2; i < 7; ++i) {
        list[i] = in(a, i) ? dequantised(a, i, i + 6, i + 11) : NULL;
        if (in(a, i) && !list[i])
            return failure(a);
    }
    HONE_TRY(become(a, "EmbedLayerNormalization", list, 8));
    a->n->domain = "com.microsoft";
    a->n->op = hone_op_find("com.microsoft", "EmbedLayerNormalization");
    return HONE_OK;
}

/* A scale or zero point [directions] or [directions, columns] of weights [directions, rows,
 * columns] gets the weights' rank, as blocks that span the rows have it. */
static hone_value *per_column(hone_adapt *a, int i) {
    int64_t axes[2] = {1, 2};
    int rank = adapt_rank(a, i);
    if (rank != 1 && rank != 2) {
        adapt_fail(a, HONE_E_UNSUPPORTED, "scales of unknown rank");
        return NULL;
    }
    if (rank == 1 || !in(a, i))
        return in(a, i);
    hone_value *list[2] = {in(a, i), hone_graph_const_i64(a->g, "axes", axes, 1)};
    return list[1] ? adapt_op(a, "Unsqueeze", list, 2) : NULL;
}

/* Weights [directions, rows, columns] of DynamicQuantizeLSTM as LSTM has them, dequantised. */
static hone_value *lstm_weights(hone_adapt *a, int w, int scale) {
    hone_value *list[3] = {in(a, w), per_column(a, scale), NULL}, *y;
    list[2] = list[1] ? per_column(a, scale + 1) : NULL;
    if (!list[2] || adapt_rank(a, w) != 3)
        return NULL;
    bool blocks = adapt_rank(a, scale) == 2;
    int64_t rows = in(a, w)->type.dims[1];
    hone_node *n = before(a, "DequantizeLinear", list, 3, &y);
    if (!n || !hone_attr_set_int(a->g, n, "axis", blocks ? 1 : 0) ||
        (blocks && rows > 0 && !hone_attr_set_int(a->g, n, "block_size", rows)))
        return NULL;
    return adapt_emit(a, n) == HONE_OK ? move_axis(a, y, 3, 2, 1) : NULL;
}

static hone_status dynamic_lstm(hone_adapt *a) {
    for (int i = 0; i < 12; ++i)
        if ((i < 3 || i >= 8) && !in(a, i))
            return adapt_fail(a, HONE_E_FORMAT, "input %d is needed", i);
    hone_value *list[8] = {NULL};
    for (int i = 0; i < 8; ++i)
        list[i] = in(a, i);
    list[1] = lstm_weights(a, 1, 8);
    list[2] = list[1] ? lstm_weights(a, 2, 10) : NULL;
    if (!list[2])
        return a->err && a->err->code != HONE_OK
                   ? a->err->code
                   : adapt_fail(a, HONE_E_UNSUPPORTED, "weights that are not of rank 3");
    return become(a, "LSTM", list, 8);
}

/* ---- the same operator under another name ----------------------------------------------------
 */

static hone_status grid_sample(hone_adapt *a) {
    HONE_TRY(adapt_grid_sample(a));
    return renamed(a, "GridSample");
}

static hone_status expand_dims(hone_adapt *a) {
    HONE_TRY(need(a, 2));
    return renamed(a, "Unsqueeze");
}

static hone_status same_name(hone_adapt *a) {
    return renamed(a, a->n->op_name);
}

static hone_status transpose_matmul(hone_adapt *a) {
    a->n->op_name = "FusedMatMul";
    a->n->op = hone_op_find("com.microsoft", "FusedMatMul");
    return HONE_OK;
}

static const hone_contrib_row rows[] = {
    {"BiasAdd", bias_add, "Add", 14},
    {"BiasGelu", bias_gelu, "Add, Gelu", 20},
    {"BiasSplitGelu", bias_split_gelu, "Add, Split, Gelu, Mul", 20},
    {"DequantizeLinear", quantize_linear, "DequantizeLinear", 21},
    {"DynamicQuantizeLSTM", dynamic_lstm, "DequantizeLinear, Transpose, LSTM", 21},
    {"ExpandDims", expand_dims, "Unsqueeze", 13},
    {"FastGelu", bias_gelu, "Add, Gelu", 20},
    {"FusedConv", fused_conv, "Conv, Add, activation", 14},
    {"FusedGemm", fused_gemm, "Gemm, activation", 14},
    {"GatherND", same_name, "GatherND", 13},
    {"Gelu", gelu, "Gelu", 20},
    {"GridSample", grid_sample, "GridSample", 20},
    {"NhwcMaxPool", nhwc_max_pool, "Transpose, MaxPool", 13},
    {"Pad", same_name, "Pad", 18},
    {"QAttention", qattention, "DequantizeLinear, Attention", 13},
    {"QEmbedLayerNormalization", qembed, "DequantizeLinear, EmbedLayerNormalization", 13},
    {"QLinearAdd", qlinear_binary, "DequantizeLinear, Add, QuantizeLinear", 14},
    {"QLinearConv", qlinear_conv, "QLinearConv", 13},
    {"QLinearLeakyRelu", qlinear_leaky, "DequantizeLinear, LeakyRelu, QuantizeLinear", 13},
    {"QLinearMul", qlinear_binary, "DequantizeLinear, Mul, QuantizeLinear", 14},
    {"QLinearReduceMean", qlinear_mean, "DequantizeLinear, ReduceMean, QuantizeLinear", 18},
    {"QLinearSigmoid", qlinear_sigmoid, "DequantizeLinear, Sigmoid, QuantizeLinear", 13},
    {"QLinearSoftmax", qlinear_softmax, "DequantizeLinear, Softmax, QuantizeLinear", 13},
    {"QLinearWhere", qlinear_where, "DequantizeLinear, Where, QuantizeLinear", 16},
    {"QuantizeLinear", quantize_linear, "QuantizeLinear", 21},
    {"QuickGelu", quick_gelu, "Swish", 24},
    {"Range", same_name, "Range", 11},
    {"TransposeMatMul", transpose_matmul, "FusedMatMul", 1},
    {"Trilu", same_name, "Trilu", 14},
    {"Unique", same_name, "Unique", 11},
};

const hone_contrib_row *hone_contrib_rows(int *n) {
    *n = (int)(sizeof rows / sizeof rows[0]);
    return rows;
}

#include "tflite/quant.h"

#include <math.h>
#include <string.h>

#include "ir/eval.h"
#include "quant/form.h"

/* ---- parameters -------------------------------------------------------------------------------
 */

static bool is_op(const hone_node *n, const char *name) {
    return n && n->domain[0] == '\0' && strcmp(n->op_name, name) == 0;
}

static const hone_tensor *constant_input(const hone_node *n, int at) {
    return n->n_in > at && n->in[at] ? n->in[at]->constant : NULL;
}

const char *tfl_quant_of(tfl_legal *l, const hone_node *n, tfl_stored *s) {
    const hone_tensor *scale = constant_input(n, 1), *zero = constant_input(n, 2);
    const hone_value *v = is_op(n, "DequantizeLinear") ? n->in[0] : n->out[0];
    int64_t count = scale ? hone_tensor_count(scale) : 0;
    int64_t axis = hone_attr_int(n, "axis", 1);
    if (!scale || (n->n_in > 2 && n->in[2] && !zero))
        return "the scale or zero point is no constant";
    if (hone_attr_int(n, "block_size", 0) || scale->rank > 1 || count < 1)
        return "blocks of a tensor have scales of their own";
    axis = axis < 0 ? axis + v->type.rank : axis;
    if (zero && hone_tensor_count(zero) != count)
        return "the number of zero points is not that of scales";
    float *scales = tfl_alloc(l, (size_t)count, sizeof *scales);
    int64_t *zeros = tfl_alloc(l, (size_t)count, sizeof *zeros);
    for (int64_t i = 0; scales && zeros && i < count; ++i) {
        scales[i] = (float)hone_load_f64(scale->dtype, scale->data, i);
        zeros[i] = zero ? hone_load_i64(zero->dtype, zero->data, i) : 0;
        if (!(scales[i] > 0 && scales[i] < TFL_SCALE_LIMIT))
            return "a scale is not above 0, or beyond all measure";
        if (v->type.dtype == HONE_DTYPE_I16 && zeros[i])
            return "int16 has a zero point of 0";
    }
    *s = (tfl_stored){.in = v,
                      .type = (tfl_type)tfl_type_of(v->type.dtype),
                      .quant = {.scale = scales,
                                .zero_point = zeros,
                                .n = (int)count,
                                .axis = count > 1 ? (int)axis : 0}};
    return NULL;
}

/* ---- integers of the model --------------------------------------------------------------------
 */

static bool moves(const hone_node *n) {
    static const char *const names[] = {"Reshape", "Flatten", "Squeeze",      "Unsqueeze",
                                        "Slice",   "Tile",    "Transpose",    "Gather",
                                        "Expand",  "Split",   "Identity",     "Concat",
                                        "MaxPool", "Pad",     "DepthToSpace", "SpaceToDepth"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; ++i) {
        if (is_op(n, names[i]))
            return true;
    }
    return false;
}

static bool is_small_integer(const hone_value *v) {
    return hone_dtype_in(v->type.dtype, HONE_T(I8) | HONE_T(U8) | HONE_T(I16));
}

/* Integers that are moved stay what they are. */
static void spread(tfl_legal *l, const hone_value *from, const hone_value *to) {
    tfl_stored *a = &l->stored[from->id], *b = &l->stored[to->id];
    if (!a->in || b->in || a->quant.n != 1 || from->type.dtype != to->type.dtype)
        return;
    *b = *a;
    b->in = to;
}

static void spread_over(tfl_legal *l, const hone_node *n, bool backwards) {
    if (!moves(n) || !n->in[0] || !is_small_integer(n->in[0]))
        return;
    int n_data = is_op(n, "Concat") ? n->n_in : 1;
    for (int i = 0; i < n_data; ++i) {
        for (int k = 0; k < n->n_out; ++k) {
            if (n->out[k] && n->in[i])
                spread(l, backwards ? n->out[k] : n->in[i], backwards ? n->in[i] : n->out[k]);
        }
    }
}

void tfl_quant_find(tfl_legal *l) {
    static const char *const kinds[2] = {"QuantizeLinear", "DequantizeLinear"};
    const hone_graph *g = l->graph;
    tfl_stored s;
    for (int i = 0; i < g->n_nodes; ++i) {
        for (int k = 0; k < g->nodes[i]->n_in; ++k) {
            if (g->nodes[i]->in[k])
                l->reader[g->nodes[i]->in[k]->id] = g->nodes[i];
        }
    }
    for (int kind = 0; kind < 2; ++kind) { /* who makes the integers knows best */
        for (int i = 0; i < g->n_nodes; ++i) {
            const hone_node *n = g->nodes[i];
            if (!is_op(n, kinds[kind]) || tfl_quant_of(l, n, &s) || s.in->constant ||
                s.quant.n != 1 || !is_small_integer(s.in) || l->stored[s.in->id].in)
                continue;
            l->stored[s.in->id] = s;
        }
    }
    for (int i = 0; i < g->n_nodes; ++i)
        spread_over(l, g->nodes[i], false);
    for (int i = g->n_nodes - 1; i >= 0; --i)
        spread_over(l, g->nodes[i], true);
}

/* ---- operators --------------------------------------------------------------------------------
 */

static const tfl_stored *stored(const tfl_legal *l, const hone_value *v) {
    return v && l->stored[v->id].in ? &l->stored[v->id] : NULL;
}

/* A float value that is stored, with one scale. */
static const tfl_stored *activation(const tfl_legal *l, const hone_value *v) {
    const tfl_stored *s = v && tfl_type_of(v->type.dtype) == TFL_F32 ? stored(l, v) : NULL;
    return s && s->quant.n == 1 ? s : NULL;
}

static bool is_constant_quantised(const hone_value *v) {
    return is_op(v->producer, "DequantizeLinear") && v->producer->in[0]->constant;
}

/* x * W + b: the addition behind the product of more dims. */
static bool adds_bias(const hone_node *n, const hone_value *product) {
    if (!is_op(n, "Add") || !is_op(product->producer, "MatMul"))
        return false;
    const hone_value *b = n->in[0] == product ? n->in[1] : n->in[0];
    const hone_tensor *t = b->constant;
    if (is_constant_quantised(b) && b->producer->in[0]->type.dtype == HONE_DTYPE_I32)
        t = b->producer->in[0]->constant;
    const hone_value *w = product->producer->in[1];
    int rank = product->type.rank;
    return t && b->type.rank == 1 && rank > 1 && t->dims[0] == product->type.dims[rank - 1] &&
           w->type.rank == 2 && is_constant_quantised(w);
}

/* Follow the one use of v through limits to a QuantizeLinear. */
static const hone_node *quantizer(const tfl_legal *l, const hone_value *v) {
    for (;;) {
        const hone_node *n = v->n_uses == 1 ? l->reader[v->id] : NULL;
        if (!n || is_op(n, "QuantizeLinear"))
            return n && n->in[0] == v ? n : NULL;
        bool is_limit = (is_op(n, "Relu") || is_op(n, "Clip")) && n->in[0] == v;
        if (!is_limit && !adds_bias(n, v))
            return NULL;
        v = n->out[0];
    }
}

static const char *const CURE_TYPES =
    "quantise with int8 activations and symmetric int8 weights (onnxruntime.quantization: "
    "activation_type=QuantType.QInt8, weight_type=QuantType.QInt8)";

/* NULL: the layer's weights are such as LiteRT's kernels take beside inputs of this type. */
static const char *weights_obstacle(const hone_node *n, const tfl_stored *x, const tfl_stored *w) {
    bool is_symmetric = true;
    for (int i = 0; i < w->quant.n; ++i)
        is_symmetric &= w->quant.zero_point[i] == 0;
    if (x->type == TFL_U8 && (w->type != TFL_U8 || w->quant.n > 1))
        return "beside inputs of uint8 weights are of uint8, with one scale";
    if (x->type != TFL_U8 && (w->type != TFL_I8 || !is_symmetric))
        return "beside inputs of int8 and int16 weights are of int8, with zero points of 0";
    if (w->quant.n > 1 && (w->quant.axis != hone_quant_output_axis(n) ||
                           n->in[1]->type.dims[w->quant.axis] != w->quant.n))
        return "the weights' scales must be those of the outputs";
    return NULL;
}

/* None, or one constant number for each output. */
static bool has_plain_bias(const hone_node *n) {
    const hone_value *b = n->n_in > 2 ? n->in[2] : NULL;
    return !b || hone_quant_is_bias(n, is_constant_quantised(b) ? b->producer->in[0]->constant
                                                                : b->constant);
}

/* False: refused. */
static bool enter_layer(tfl_legal *l, const hone_node *n, const tfl_stored *target) {
    const tfl_stored *x = activation(l, n->in[0]), *w = stored(l, n->in[1]);
    bool is_product =
        is_op(n, "MatMul") && activation(l, n->in[1]) && !is_constant_quantised(n->in[1]);
    if (!x || !w || !target || !has_plain_bias(n) ||
        (!is_product && !is_constant_quantised(n->in[1])))
        return true;
    const char *obstacle = NULL;
    if (!is_product)
        obstacle = is_op(n, "MatMul") && n->in[1]->type.rank != 2 ? "the constant must be a matrix"
                                                                  : weights_obstacle(n, x, w);
    else if (x->type != w->type)
        obstacle = "the operands must be of one type";
    if (!obstacle && x->type != target->type)
        obstacle = "input and output must be of one type";
    if (obstacle) {
        tfl_refuse(l, n, "quantised", CURE_TYPES, "%s", obstacle);
        return false;
    }
    l->is_integer = true;
    l->target = *target;
    return true;
}

static bool has_one_type(const tfl_legal *l, const hone_node *n, int n_data, tfl_type type) {
    for (int i = 0; i < n_data; ++i) {
        const tfl_stored *s = activation(l, n->in[i]);
        if (!s || s->type != type)
            return false;
    }
    return true;
}

static hone_dtype stored_dtype(tfl_type t) {
    return t == TFL_I8 ? HONE_DTYPE_I8 : t == TFL_U8 ? HONE_DTYPE_U8 : HONE_DTYPE_I16;
}

static void enter(tfl_legal *l, const hone_node *n, hone_quant_form form,
                  const tfl_stored *target) {
    hone_quant_kind kind = form.kind;
    const tfl_stored *x = activation(l, n->in[0]);
    if (!x || !has_one_type(l, n, form.n_data, x->type) ||
        (kind != HONE_QUANT_AS_INPUT && (!target || target->type != x->type)))
        return;
    if (x->type == TFL_I16 && is_op(n, "Gelu"))
        return;
    bool is_free = kind == HONE_QUANT_FREE || kind == HONE_QUANT_JOINED;
    tfl_stored result = is_free ? *target : *x;
    if (kind == HONE_QUANT_FIXED &&
        !hone_quant_fixed(n, stored_dtype(x->type), &result.quant.scale, &result.quant.zero_point))
        return;
    l->is_integer = true;
    l->rescales = kind == HONE_QUANT_JOINED;
    l->target = result;
}

/* What is computed on floats takes constants as floats. */
static void dequantise_constants(tfl_legal *l, const hone_node *n) {
    for (int i = 0; i < n->n_in; ++i) {
        hone_value *v = n->in[i];
        if (!v || v->constant || !is_constant_quantised(v))
            continue;
        const hone_node *d = v->producer;
        const hone_tensor *in[3] = {d->in[0]->constant, constant_input(d, 1), constant_input(d, 2)};
        hone_tensor made = {0}, *kept = HONE_NEW(l->model.arena, hone_tensor);
        if (!kept || hone_eval_node(d, in, &made, NULL, NULL) != HONE_OK) {
            l->is_out_of_memory = true;
            return;
        }
        void *data = tfl_alloc(l, hone_tensor_bytes(&made) + 1, 1);
        if (data) {
            memcpy(data, made.data, hone_tensor_bytes(&made));
            *kept = hone_tensor_view(made.dtype, made.rank, made.dims, data);
            v->constant = kept;
        }
        hone_tensor_release(&made);
    }
}

bool tfl_quant_enter(tfl_legal *l, const hone_node *n) {
    hone_quant_form form = hone_quant_form_of(n);
    bool is_kept = true;
    if (form.kind != HONE_QUANT_NONE) {
        tfl_stored target;
        const hone_node *q = n->n_out == 1 ? quantizer(l, n->out[0]) : NULL;
        bool has_target =
            q && !tfl_quant_of(l, q, &target) && target.quant.n == 1 && is_small_integer(target.in);
        if (form.kind == HONE_QUANT_LAYER)
            is_kept = enter_layer(l, n, has_target ? &target : NULL);
        else
            enter(l, n, form, has_target ? &target : NULL);
    }
    if (!l->is_integer && is_kept && !is_op(n, "DequantizeLinear"))
        dequantise_constants(l, n);
    return is_kept;
}

void tfl_quant_leave(tfl_legal *l) {
    l->is_integer = l->rescales = false;
}

/* ---- weights and biases -----------------------------------------------------------------------
 */

int tfl_quant_weights(tfl_legal *l, const hone_value *w, const int32_t *dims, int rank, int axis,
                      const void *data) {
    const tfl_stored *s = &l->stored[w->id];
    int t = tfl_const(l, s->type, rank, dims, data);
    if (t >= 0) {
        l->model.tensors[t].quant = s->quant;
        l->model.tensors[t].quant.axis = s->quant.n > 1 ? axis : 0;
    }
    return t;
}

/* The integers of a bias and their scales: what a DequantizeLinear reads. */
typedef struct bias {
    const hone_tensor *stored; /* NULL: the numbers are floats */
    tfl_quant quant;
    const float *real;
} bias;

static bool read_bias(tfl_legal *l, const hone_value *v, int64_t channels, bias *b) {
    const tfl_stored *s = stored(l, v);
    *b = (bias){.quant = {.n = 0}};
    if (s && is_constant_quantised(v)) {
        b->stored = v->producer->in[0]->constant;
        b->quant = s->quant;
    } else {
        b->real = tfl_floats(l, v);
    }
    const hone_tensor *t = b->stored ? b->stored : v->constant;
    int64_t n = t ? hone_tensor_count(t) : 0;
    return (b->stored || b->real) && n == channels && (b->quant.n <= 1 || b->quant.n == n);
}

static double bias_at(const bias *b, int64_t i, float scale) {
    if (!b->stored)
        return round((double)b->real[i] / (double)scale);
    int k = b->quant.n > 1 ? (int)i : 0;
    double v =
        (double)(hone_load_i64(b->stored->dtype, b->stored->data, i) - b->quant.zero_point[k]);
    double ratio = (double)b->quant.scale[k] / (double)scale;
    return fabs(ratio - 1) < 1e-5 ? v : round(v * ratio); /* products of scales, rounded to float */
}

static void store_bias(void *to, tfl_type type, int64_t i, double v) {
    double most = type == TFL_I32 ? INT32_MAX : 0x1p+39;
    v = v > most ? most : v < -most ? -most : v;
    if (type == TFL_I32)
        ((int32_t *)to)[i] = (int32_t)v;
    else
        ((int64_t *)to)[i] = (int64_t)v;
}

/* Layers on int16 sum in 64 bits. */
int tfl_quant_bias(tfl_legal *l, const hone_value *v, int64_t channels, int x, int w) {
    if (x < 0 || w < 0)
        return -1;
    float x_scale = l->model.tensors[x].quant.scale[0];
    tfl_quant wq = l->model.tensors[w].quant;
    tfl_type type = l->model.tensors[x].type == TFL_I16 ? TFL_I64 : TFL_I32;
    int32_t dim = (int32_t)channels;
    bias b = {.quant = {.n = 0}};
    void *data = tfl_alloc(l, (size_t)channels, tfl_type_bytes(type));
    float *scale = tfl_alloc(l, (size_t)wq.n, sizeof *scale);
    int64_t *zero = tfl_alloc(l, (size_t)wq.n, sizeof *zero);
    if (!data || !scale || !zero || (wq.n > 1 && wq.n != channels) ||
        (v && !read_bias(l, v, channels, &b)))
        return -1;
    for (int i = 0; i < wq.n; ++i)
        scale[i] = x_scale * wq.scale[i];
    for (int64_t i = 0; v && i < channels; ++i)
        store_bias(data, type, i, bias_at(&b, i, scale[wq.n > 1 ? i : 0]));
    int t = tfl_const(l, type, 1, &dim, data);
    if (t >= 0)
        l->model.tensors[t].quant = (tfl_quant){.scale = scale, .zero_point = zero, .n = wq.n};
    return t;
}

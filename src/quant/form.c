#include "quant/form.h"

#include <string.h>

#include "passes/match.h"

static const struct {
    const char *name;
    hone_quant_kind kind;
    int n_data; /* -1: all */
} forms[] = {
    {"Reshape", HONE_QUANT_AS_INPUT, 1},
    {"Flatten", HONE_QUANT_AS_INPUT, 1},
    {"Squeeze", HONE_QUANT_AS_INPUT, 1},
    {"Unsqueeze", HONE_QUANT_AS_INPUT, 1},
    {"Transpose", HONE_QUANT_AS_INPUT, 1},
    {"Slice", HONE_QUANT_AS_INPUT, 1},
    {"Split", HONE_QUANT_AS_INPUT, 1},
    {"Gather", HONE_QUANT_AS_INPUT, 1},
    {"Tile", HONE_QUANT_AS_INPUT, 1},
    {"Expand", HONE_QUANT_AS_INPUT, 1},
    {"Pad", HONE_QUANT_AS_INPUT, 1},
    {"DepthToSpace", HONE_QUANT_AS_INPUT, 1},
    {"SpaceToDepth", HONE_QUANT_AS_INPUT, 1},
    {"Identity", HONE_QUANT_AS_INPUT, 1},
    {"Dropout", HONE_QUANT_AS_INPUT, 1},
    {"MaxPool", HONE_QUANT_AS_INPUT, 1},
    {"GlobalMaxPool", HONE_QUANT_AS_INPUT, 1},
    {"ReduceMax", HONE_QUANT_AS_INPUT, 1},
    {"ReduceMin", HONE_QUANT_AS_INPUT, 1},
    {"AveragePool", HONE_QUANT_ROUNDED, 1},
    {"Resize", HONE_QUANT_ROUNDED, 1},
    {"Add", HONE_QUANT_FREE, -1},
    {"Sub", HONE_QUANT_FREE, -1},
    {"Mul", HONE_QUANT_FREE, -1},
    {"PRelu", HONE_QUANT_FREE, -1},
    {"ReduceMean", HONE_QUANT_FREE, 1},
    {"GlobalAveragePool", HONE_QUANT_FREE, 1},
    {"Relu", HONE_QUANT_FREE, 1},
    {"Clip", HONE_QUANT_FREE, 1},
    {"HardSwish", HONE_QUANT_FREE, 1},
    {"LeakyRelu", HONE_QUANT_FREE, 1},
    {"Gelu", HONE_QUANT_FREE, 1},
    {"Concat", HONE_QUANT_JOINED, -1},
    {"Max", HONE_QUANT_JOINED, -1},
    {"Min", HONE_QUANT_JOINED, -1},
    {"Softmax", HONE_QUANT_FIXED, 1},
    {"LogSoftmax", HONE_QUANT_FIXED, 1},
    {"Sigmoid", HONE_QUANT_FIXED, 1},
    {"Tanh", HONE_QUANT_FIXED, 1},
    {"Conv", HONE_QUANT_LAYER, 1},
    {"ConvTranspose", HONE_QUANT_LAYER, 1},
    {"Gemm", HONE_QUANT_LAYER, 1},
    {"MatMul", HONE_QUANT_LAYER, 1},
};

static const hone_tensor *constant_input(const hone_node *n, int at) {
    return n->n_in > at && n->in[at] ? n->in[at]->constant : NULL;
}

static bool has_pads(const hone_node *n) {
    const int64_t *pads;
    for (int i = hone_attr_ints(n, "pads", &pads); i > 0; --i) {
        if (pads[i - 1])
            return true;
    }
    return strncmp(hone_attr_string(n, "auto_pad", "NOTSET"), "SAME", 4) == 0;
}

/* What an operator does not have on integers. */
static bool is_special(const hone_node *n) {
    if (hone_is(n, "Softmax") || hone_is(n, "LogSoftmax"))
        return hone_attr_int(n, "hone_flatten", 0) != 0;
    if (hone_is(n, "AveragePool"))
        return hone_attr_int(n, "count_include_pad", 0) && has_pads(n);
    if (hone_is(n, "Clip"))
        return (n->n_in > 1 && n->in[1] && !constant_input(n, 1)) ||
               (n->n_in > 2 && n->in[2] && !constant_input(n, 2));
    if (hone_is(n, "Pad"))
        return n->n_in > 2 && n->in[2] && !constant_input(n, 2);
    if (hone_is(n, "Gemm"))
        return hone_attr_int(n, "transA", 0) || hone_attr_float(n, "alpha", 1) != 1 ||
               hone_attr_float(n, "beta", 1) != 1;
    if (hone_is(n, "MatMul"))
        return n->in[0]->type.rank < 2;
    return hone_is(n, "LeakyRelu") && hone_attr_float(n, "alpha", 0.01F) < 0;
}

hone_quant_form hone_quant_form_of(const hone_node *n) {
    if (n->n_in == 0 || !n->in[0] || !n->out[0])
        return (hone_quant_form){HONE_QUANT_NONE, 0};
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; ++i) {
        if (hone_is(n, forms[i].name) && !is_special(n))
            return (hone_quant_form){forms[i].kind,
                                     forms[i].n_data < 0 ? n->n_in : forms[i].n_data};
    }
    return (hone_quant_form){HONE_QUANT_NONE, 0};
}

int hone_quant_output_axis(const hone_node *n) {
    if (hone_is(n, "Conv"))
        return 0;
    if (hone_is(n, "Gemm"))
        return hone_attr_int(n, "transB", 0) ? 0 : 1;
    return hone_is(n, "ConvTranspose") ? 1 : n->in[1]->type.rank - 1;
}

bool hone_quant_is_bias(const hone_node *layer, const hone_tensor *t) {
    int64_t n_outputs = layer->in[1]->type.dims[hone_quant_output_axis(layer)];
    return t && t->rank > 0 && hone_tensor_count(t) == n_outputs &&
           t->dims[t->rank - 1] == n_outputs;
}

/* Sources of the numbers: LiteRT checks them when it prepares the operators (softmax.cc,
 * activations.cc). */
bool hone_quant_fixed(const hone_node *n, hone_dtype d, const float **scale, const int64_t **zero) {
    static const float step8 = 1.0f / 256, step16 = 1.0f / 32768, tanh8 = 1.0f / 128;
    static const float log8 = 16.0f / 256;
    static const int64_t zeros[] = {-128, 0, 127, 128, 255};
    bool is_i8 = d == HONE_DTYPE_I8, is_i16 = d == HONE_DTYPE_I16;
    bool is_tanh = hone_is(n, "Tanh"), is_log = hone_is(n, "LogSoftmax");
    *scale = is_i16 ? &step16 : is_tanh ? &tanh8 : is_log ? &log8 : &step8;
    *zero = &zeros[is_i16    ? 1
                   : is_tanh ? (is_i8 ? 1 : 3)
                   : is_log  ? (is_i8 ? 2 : 4)
                             : (is_i8 ? 0 : 1)];
    return !(is_i16 && is_log);
}

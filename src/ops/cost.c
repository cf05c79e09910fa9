#include "ops/cost.h"

#include <string.h>

static const hone_type unknown_type = {.kind = HONE_KIND_NONE, .rank = -1};

static const hone_type *type_of(const hone_value *v, const hone_type *types) {
    if (!v)
        return &unknown_type;
    return types ? &types[v->id] : &v->type;
}

static const hone_value *input(const hone_node *n, int i) {
    return i < n->n_in ? n->in[i] : NULL;
}

/* a * b, -1 when either is negative (unknown) or the product does not fit. */
static int64_t times(int64_t a, int64_t b) {
    int64_t product;
    return a < 0 || b < 0 || __builtin_mul_overflow(a, b, &product) ? -1 : product;
}

static int64_t count(const hone_type *t) {
    return hone_type_is_static(t) ? hone_dims_count(t->dims, 0, t->rank) : -1;
}

/* Every output element takes one weight row: elements of W beyond the output channels. */
static int64_t conv_macs(const hone_node *n, const hone_type *types, int weight) {
    const hone_type *w = type_of(input(n, weight), types);
    int64_t out = count(type_of(n->out[0], types)), all = count(w);
    if (out < 0 || all < 0 || w->dims[0] == 0)
        return -1;
    return times(out, all / w->dims[0]);
}

static int64_t macs_conv(const hone_node *n, const hone_type *types) {
    return conv_macs(n, types, 1);
}

static int64_t macs_qconv(const hone_node *n, const hone_type *types) {
    return conv_macs(n, types, 3);
}

/* Every input element is multiplied into the weights of its channel: [C, M/group, k...]. */
static int64_t macs_conv_transpose(const hone_node *n, const hone_type *types) {
    const hone_type *w = type_of(input(n, 1), types);
    int64_t in = count(type_of(input(n, 0), types)), all = count(w);
    if (in < 0 || all < 0 || w->dims[0] == 0)
        return -1;
    return times(in, all / w->dims[0]);
}

static int64_t macs_matmul(const hone_node *n, const hone_type *types) {
    const hone_type *a = type_of(input(n, 0), types);
    int64_t out = count(type_of(n->out[0], types));
    if (out < 0 || count(a) < 0 || a->rank < 1)
        return -1;
    return times(out, a->dims[a->rank - 1]);
}

static int64_t macs_gemm(const hone_node *n, const hone_type *types) {
    const hone_type *a = type_of(input(n, 0), types);
    int64_t out = count(type_of(n->out[0], types));
    if (out < 0 || count(a) < 0 || a->rank != 2)
        return -1;
    return times(out, a->dims[hone_attr_int(n, "transA", 0) ? 0 : 1]);
}

/* X [T, B, I], W [D, G*H, I], R [D, G*H, H]: T * B * (all of W and R). */
static int64_t macs_recurrent(const hone_node *n, const hone_type *types) {
    const hone_type *x = type_of(input(n, 0), types);
    int64_t w = count(type_of(input(n, 1), types)), r = count(type_of(input(n, 2), types));
    if (count(x) < 0 || w < 0 || r < 0 || x->rank != 3)
        return -1;
    if (w > INT64_MAX - r)
        return -1;
    return times(times(x->dims[0], x->dims[1]), w + r);
}

/* QK^T and PV: two products of q rows, kv rows and the head size. */
static int64_t macs_attention(const hone_node *n, const hone_type *types) {
    const hone_type *q = type_of(input(n, 0), types), *k = type_of(input(n, 1), types);
    if (count(q) < 0 || count(k) < 0 || q->rank < 3 || k->rank < 3)
        return -1;
    return times(times(2, count(q)), k->dims[k->rank - 2]);
}

/* Lowered nodes: channels last but for pictures, weights packed, so that sizes come from the
 * attributes. */
static int64_t kernel_size(const hone_node *n) {
    const int64_t *kernel;
    int rank = hone_attr_ints(n, "kernel", &kernel);
    return hone_dims_count(kernel, 0, rank);
}

static int64_t macs_lowered_conv(const hone_node *n, const hone_type *types) {
    const hone_type *x = type_of(input(n, 0), types);
    int64_t out = count(type_of(n->out[0], types)), group = hone_attr_int(n, "group", 1);
    if (out < 0 || x->rank < 2 || group < 1)
        return -1;
    int64_t channels = x->dims[hone_attr_int(n, "planar", 0) ? 1 : x->rank - 1];
    channels += channels < 0 ? 0 : hone_attr_int(n, "more_channels", 0);
    return channels < 0 ? -1 : times(times(out, kernel_size(n)), channels / group);
}

static int64_t macs_lowered_deconv(const hone_node *n, const hone_type *types) {
    int64_t in = count(type_of(input(n, 0), types));
    return times(times(in, kernel_size(n)), hone_attr_int(n, "out_channels", 0));
}

static int64_t macs_lowered_gemm(const hone_node *n, const hone_type *types) {
    int64_t out = count(type_of(n->out[0], types));
    return times(out, hone_attr_int(n, "k", 0));
}

typedef struct cost_row {
    const char *op;
    int64_t (*macs)(const hone_node *n, const hone_type *types);
} cost_row;

static const cost_row lowered_table[] = {
    {"Conv", macs_lowered_conv},
    {"ConvTranspose", macs_lowered_deconv},
    {"Gemm", macs_lowered_gemm},
};

static const cost_row cost_table[] = {
    {"Conv", macs_conv},
    {"ConvInteger", macs_conv},
    {"DeformConv", macs_conv},
    {"FusedConv", macs_conv},
    {"QLinearConv", macs_qconv},
    {"ConvTranspose", macs_conv_transpose},
    {"MatMul", macs_matmul},
    {"FusedMatMul", macs_matmul},
    {"MatMulInteger", macs_matmul},
    {"QLinearMatMul", macs_matmul},
    {"MatMulNBits", macs_matmul},
    {"Gemm", macs_gemm},
    {"RNN", macs_recurrent},
    {"GRU", macs_recurrent},
    {"LSTM", macs_recurrent},
    {"Attention", macs_attention},
};

int64_t hone_node_macs(const hone_node *n, const hone_type *types) {
    bool is_lowered = strcmp(n->domain, "hone") == 0;
    const cost_row *table = is_lowered ? lowered_table : cost_table;
    size_t n_rows = is_lowered ? sizeof lowered_table / sizeof lowered_table[0]
                               : sizeof cost_table / sizeof cost_table[0];
    for (size_t i = 0; i < n_rows; ++i) {
        if (strcmp(table[i].op, n->op_name) == 0)
            return n->n_in >= 2 && n->n_out >= 1 ? table[i].macs(n, types) : 0;
    }
    return 0;
}

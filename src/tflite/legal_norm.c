/* Normalisations, composed of means and element-wise operators. */
#include <string.h>

#include "tflite/legal_ops.h"

/* A mean over positions of a tensor, dims kept. */
static int mean(tfl_legal *l, int x, const int32_t *at, int n) {
    int out = tfl_like(l, x);
    for (int i = 0; i < n && out >= 0; ++i)
        l->model.tensors[out].dims[at[i]] = 1;
    tfl_option_byte(tfl_op2(l, TFL_MEAN, x, tfl_const_i32s(l, at, n), out), 0, 1);
    return out;
}

/* (x - mean) / sqrt(variance + epsilon); without a centre, x / sqrt(mean of squares + epsilon). */
static int standardise(tfl_legal *l, int x, const int32_t *at, int n, float epsilon,
                       bool is_centred) {
    int y = is_centred ? tfl_apply2(l, TFL_SUB, x, mean(l, x, at, n)) : x;
    int variance = mean(l, tfl_apply1(l, TFL_SQUARE, y), at, n);
    int scale =
        tfl_apply1(l, TFL_RSQRT, tfl_apply2(l, TFL_ADD, variance, tfl_const_f32(l, epsilon)));
    return tfl_apply2(l, TFL_MUL, y, scale);
}

/* y * gamma + beta, both broadcast. */
static int affine(tfl_legal *l, int y, int gamma, int beta) {
    if (gamma >= 0)
        y = tfl_apply2(l, TFL_MUL, y, gamma);
    return beta >= 0 ? tfl_apply2(l, TFL_ADD, y, beta) : y;
}

static const hone_value *input(const hone_node *n, int i) {
    return n->n_in > i ? n->in[i] : NULL;
}

void tfl_legal_layer_norm(tfl_legal *l, const hone_node *n) {
    int perm[TFL_MAX_RANK], rank = tfl_rank(n->in[0]), count = 0;
    int32_t at[TFL_MAX_RANK];
    int axis = (int)hone_attr_int(n, "axis", -1);
    bool is_centred = n->op_name[0] == 'L';
    axis = axis < 0 ? axis + rank : axis;
    if (n->n_out > 1 && n->out[1] && n->out[1]->n_uses) {
        tfl_refuse(l, n, "unsupported-form", "export for inference",
                   "the statistics as results have no equivalent");
        return;
    }
    tfl_order(l, n->in[0], perm);
    for (int i = 0; i < rank; ++i) {
        if (perm[i] >= axis)
            at[count++] = i;
    }
    int y = standardise(l, tfl_take(l, n->in[0], perm), at, count,
                        hone_attr_float(n, "epsilon", 1e-5F), is_centred);
    const hone_value *b = input(n, 2);
    tfl_alias(l, n->out[0],
              affine(l, y, tfl_take_padded(l, n->in[1], rank, perm),
                     b ? tfl_take_padded(l, b, rank, perm) : -1),
              perm);
}

/* One number for each channel, which lies at position `at` of `rank`. */
static int by_channel(tfl_legal *l, const hone_value *v, int rank, int at) {
    int32_t dims[TFL_MAX_RANK];
    int t = tfl_take(l, v, NULL);
    if (t < 0)
        return -1;
    for (int i = 0; i < rank; ++i)
        dims[i] = i == at ? l->model.tensors[t].dims[0] : 1;
    if (at == rank - 1)
        return t;
    if (l->model.tensors[t].data)
        return tfl_const(l, TFL_F32, rank, dims, l->model.tensors[t].data);
    return tfl_reshape(l, t, rank, dims);
}

void tfl_legal_instance_norm(tfl_legal *l, const hone_node *n) {
    int perm[TFL_MAX_RANK], rank = tfl_rank(n->in[0]), count = 0;
    int32_t at[TFL_MAX_RANK];
    tfl_order(l, n->in[0], perm);
    for (int i = 0; i < rank; ++i) {
        if (perm[i] >= 2)
            at[count++] = i;
    }
    int channel = tfl_position(perm, rank, 1);
    int y = standardise(l, tfl_take(l, n->in[0], perm), at, count,
                        hone_attr_float(n, "epsilon", 1e-5F), true);
    tfl_alias(l, n->out[0],
              affine(l, y, by_channel(l, n->in[1], rank, channel),
                     by_channel(l, n->in[2], rank, channel)),
              perm);
}

/* Channels split into groups: [batch, groups, the rest]. */
void tfl_legal_group_norm(tfl_legal *l, const hone_node *n) {
    const hone_type *t = &n->in[0]->type;
    int rank = t->rank;
    int32_t split[3] = {-1, (int32_t)hone_attr_int(n, "num_groups", 1), 1}, at = 2;
    int32_t dims[TFL_MAX_RANK];
    int64_t rest = 1;
    for (int i = 0; i < rank; ++i) {
        dims[i] = t->dims[i] < 0 ? -1 : (int32_t)t->dims[i];
        rest *= i ? t->dims[i] : 1;
        if (i && t->dims[i] < 0) {
            tfl_refuse(l, n, "dynamic-size", "fix all dims but the batch with --shape",
                       "groups of a tensor of unknown size");
            return;
        }
    }
    split[0] = dims[0];
    split[2] = (int32_t)(rest / split[1]);
    int x = tfl_reshape(l, tfl_take(l, n->in[0], NULL), 3, split);
    int y = tfl_reshape(l, standardise(l, x, &at, 1, hone_attr_float(n, "epsilon", 1e-5F), true),
                        rank, dims);
    tfl_alias(l, n->out[0],
              affine(l, y, by_channel(l, n->in[1], rank, 1), by_channel(l, n->in[2], rank, 1)),
              NULL);
}

/* Statistics are constants of the model: x * (gamma / sqrt(variance + epsilon)) + ... */
void tfl_legal_batch_norm(tfl_legal *l, const hone_node *n) {
    int perm[TFL_MAX_RANK], rank = tfl_rank(n->in[0]);
    const float *p[4];
    if (hone_attr_int(n, "training_mode", 0)) {
        tfl_refuse(l, n, "unsupported-form", "export for inference",
                   "statistics of the batch have no equivalent");
        return;
    }
    for (int i = 0; i < 4; ++i) {
        p[i] = tfl_floats(l, n->in[i + 1]);
        if (!n->in[i + 1]->constant) {
            tfl_refuse(l, n, "variable-weights", "export for inference",
                       "the statistics are no constants");
            return;
        }
    }
    int64_t channels = hone_tensor_count(n->in[1]->constant);
    float *gamma = tfl_alloc(l, (size_t)channels, sizeof *gamma);
    float *beta = tfl_alloc(l, (size_t)channels, sizeof *beta);
    float epsilon = hone_attr_float(n, "epsilon", 1e-5F);
    if (!gamma || !beta || !p[0] || !p[1] || !p[2] || !p[3])
        return;
    for (int64_t i = 0; i < channels; ++i) {
        gamma[i] = p[0][i] / __builtin_sqrtf(p[3][i] + epsilon);
        beta[i] = p[1][i] - p[2][i] * gamma[i];
    }
    tfl_order(l, n->in[0], perm);
    int32_t dims[TFL_MAX_RANK];
    int channel = tfl_position(perm, rank, 1);
    for (int i = 0; i < rank; ++i)
        dims[i] = i == channel ? (int32_t)channels : 1;
    tfl_alias(l, n->out[0],
              affine(l, tfl_take(l, n->in[0], perm), tfl_const(l, TFL_F32, rank, dims, gamma),
                     tfl_const(l, TFL_F32, rank, dims, beta)),
              perm);
}

void tfl_legal_lrn(tfl_legal *l, const hone_node *n) {
    int perm[TFL_MAX_RANK];
    int64_t size = hone_attr_int(n, "size", 1);
    if (tfl_rank(n->in[0]) != 4 || size % 2 == 0) {
        tfl_refuse(l, n, "unsupported-form", "use images and an odd size",
                   "local response normalisation of this form has no equivalent");
        return;
    }
    tfl_channels_last(4, perm);
    int x = tfl_take(l, n->in[0], perm);
    tfl_operator *op =
        tfl_op1(l, TFL_LOCAL_RESPONSE_NORMALIZATION, x, tfl_give(l, n->out[0], perm));
    tfl_option_i32(op, 0, (int32_t)(size - 1) / 2);
    tfl_option_f32(op, 1, hone_attr_float(n, "bias", 1));
    tfl_option_f32(op, 2, hone_attr_float(n, "alpha", 1e-4F) / (float)size);
    tfl_option_f32(op, 3, hone_attr_float(n, "beta", 0.75F));
}

void tfl_legal_lp_norm(tfl_legal *l, const hone_node *n) {
    int perm[TFL_MAX_RANK], rank = tfl_rank(n->in[0]);
    int axis = (int)hone_attr_int(n, "axis", -1);
    bool is_square = hone_attr_int(n, "p", 2) == 2;
    tfl_order(l, n->in[0], perm);
    int32_t at = tfl_position(perm, rank, axis < 0 ? axis + rank : axis);
    int x = tfl_take(l, n->in[0], perm), norm = tfl_like(l, x);
    if (norm < 0)
        return;
    l->model.tensors[norm].dims[at] = 1;
    int terms = tfl_apply1(l, is_square ? TFL_SQUARE : TFL_ABS, x);
    tfl_option_byte(tfl_op2(l, TFL_SUM, terms, tfl_const_i32s(l, &at, 1), norm), 0, 1);
    if (is_square)
        norm = tfl_apply1(l, TFL_SQRT, norm);
    norm = tfl_apply2(l, TFL_MAXIMUM, norm, tfl_const_f32(l, 1e-37F)); /* zeros stay zeros */
    tfl_no_activation(tfl_op2(l, TFL_DIV, x, norm, tfl_give(l, n->out[0], perm)));
}

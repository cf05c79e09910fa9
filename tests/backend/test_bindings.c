/* Nodes on the vector kernels against their references, at sizes around the vector lengths. */
#include "backend/graph_test.h"

static void instance_norm(int64_t channels, int64_t h, int64_t w) {
    gt b = gt_begin();
    hone_value *x = gt_input(&b, HONE_DTYPE_F32, GT_DIMS(2, channels, h, w));
    hone_value *y = gt_node(&b, "InstanceNormalization", 3, x, gt_weight(&b, GT_DIMS(channels)),
                            gt_weight(&b, GT_DIMS(channels)));
    gt_finish(&b, "instance", 2e-5, "InstanceNormalization:group_norm_f32", 1, y);
}

static void group_norm(int64_t groups, int64_t each, int64_t h, int64_t w) {
    gt b = gt_begin();
    int64_t channels = groups * each;
    hone_value *x = gt_input(&b, HONE_DTYPE_F32, GT_DIMS(2, channels, h, w));
    hone_value *y = gt_node(&b, "GroupNormalization", 3, x, gt_weight(&b, GT_DIMS(channels)),
                            gt_weight(&b, GT_DIMS(channels)));
    gt_set(&b, "num_groups", groups);
    gt_finish(&b, "group", 2e-5, "GroupNormalization:group_norm_f32", 1, y);
}

/* Between convolutions the channels come last; groups of 1 are instance normalisation. */
static void norm_between(int64_t groups, int64_t each, int64_t h, int64_t w) {
    gt b = gt_begin();
    int64_t n = groups * each;
    hone_value *x = gt_input(&b, HONE_DTYPE_F32, GT_DIMS(2, 3, h, w));
    hone_value *y = gt_node(&b, "Conv", 2, x, gt_weight(&b, GT_DIMS(n, 3, 1, 1)));
    y = gt_node(&b, each > 1 ? "GroupNormalization" : "InstanceNormalization", 3, y,
                gt_weight(&b, GT_DIMS(n)), gt_weight(&b, GT_DIMS(n)));
    if (each > 1)
        gt_set(&b, "num_groups", groups);
    y = gt_node(&b, "Conv", 2, y, gt_weight(&b, GT_DIMS(2, n, 1, 1)));
    gt_finish(&b, "norm between", 2e-4, "Conv:conv_f32 GroupNorm:group_norm_f32 Conv:conv_f32*", 1,
              y);
}

/* The middle of three axes; long columns are summed up in parts. */
static void reduce(const char *op, int64_t outer, int64_t n, int64_t inner) {
    gt b = gt_begin();
    hone_value *x = gt_input(&b, HONE_DTYPE_F32, GT_DIMS(outer, n, inner));
    hone_value *y = gt_node(&b, op, 2, x, gt_ints(&b, GT_DIMS(1)));
    char want[64];
    snprintf(want, sizeof want, "%s:reduce_f32", op);
    gt_finish(&b, op, 1e-5, want, 1, y);
}

/* Upsampling by windows that tile the output: small, and in bands, the last one lower. */
static void upsample(int64_t n, int64_t h, int64_t w, int64_t oc, bool has_bias) {
    gt b = gt_begin();
    hone_value *x = gt_input(&b, HONE_DTYPE_F32, GT_DIMS(n, 16, h, w));
    hone_value *weight = gt_weight(&b, GT_DIMS(16, oc, 2, 2));
    hone_value *y = has_bias
                        ? gt_node(&b, "ConvTranspose", 3, x, weight, gt_weight(&b, GT_DIMS(oc)))
                        : gt_node(&b, "ConvTranspose", 2, x, weight);
    gt_set_ints(&b, "strides", GT_DIMS(2, 2));
    gt_finish(&b, "upsample", 1e-5,
              "Transpose:transpose ConvTranspose:deconv_f32 Transpose:transpose", 1, y);
}

static void topk(int64_t rows, int64_t n, int64_t k, int64_t is_largest) {
    gt b = gt_begin();
    hone_value *x = gt_input(&b, HONE_DTYPE_F32, GT_DIMS(rows, n));
    float *data = b.data[0].data;
    for (int64_t i = 0; i < rows * n; ++i) {
        data[i] = roundf(data[i] * 8) / 8; /* with equal values, both zeros, and NaN */
        data[i] = i % 7 == 6 ? NAN : i % 11 == 5 ? -0.0f : data[i];
    }
    hone_value *y = gt_node(&b, "TopK", 2, x, gt_ints(&b, 1, &k));
    gt_set(&b, "largest", is_largest);
    gt_finish(&b, "topk", 0, "TopK:topk_f32", 2, y, gt_more(&b));
}

static void cast(int64_t n, hone_dtype d) {
    gt b = gt_begin();
    hone_value *x = gt_input(&b, HONE_DTYPE_F32, GT_DIMS(n));
    hone_value *y = gt_node(&b, "Cast", 1, x);
    gt_set(&b, "to", (int64_t)d);
    hone_value *z = gt_node(&b, "Cast", 1, y);
    gt_set(&b, "to", HONE_DTYPE_F32);
    gt_finish(&b, "cast", 0, "Cast:convert Cast:convert", 2, y, z);
}

/* Three inputs of 2, 0 and 5 along the axis. */
static void concat(hone_dtype d, int axis, int64_t h, int64_t w) {
    gt b = gt_begin();
    static const int64_t sizes[] = {2, 0, 5};
    hone_value *in[3];
    for (int i = 0; i < 3; ++i) {
        int64_t dims[] = {3, h, w};
        dims[axis] = sizes[i];
        in[i] = gt_input(&b, d, 3, dims);
    }
    hone_value *y = gt_node(&b, "Concat", 3, in[0], in[1], in[2]);
    gt_set(&b, "axis", axis - 3);
    gt_finish(&b, "concat", 0, "Concat:concat", 1, y);
}

int main(void) {
    upsample(1, 5, 7, 20, true);
    upsample(2, 41, 33, 32, true);
    upsample(1, 3, 1000, 65, false);
    static const char *const reductions[] = {"ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin"};
    for (int i = 0; i < 4; ++i) {
        reduce(reductions[i], 1, 511, 33);
        reduce(reductions[i], 1, 512, 33);
        reduce(reductions[i], 3, 1001, 5);
        reduce(reductions[i], 2, 600, 1);
        reduce(reductions[i], 1, 49, 300);
    }
    instance_norm(1, 1, 7);
    instance_norm(5, 9, 13);
    group_norm(3, 4, 5, 7);
    group_norm(1, 6, 16, 16);
    norm_between(7, 1, 5, 9);
    norm_between(40, 1, 17, 16);
    norm_between(300, 1, 4, 3);
    norm_between(3, 8, 6, 7);
    norm_between(2, 300, 3, 5);
    for (int64_t k = 0; k <= 20; k += 5) {
        topk(3, 20, k, 1);
        topk(2, 33, k, 0);
    }
    topk(1, 1, 1, 1);
    for (int axis = 0; axis < 3; ++axis) {
        concat(HONE_DTYPE_F32, axis, 7, 3);
        concat(HONE_DTYPE_I64, axis, 200, 300); /* several tasks */
        concat(HONE_DTYPE_BOOL, axis, 5, 4);
    }
    for (int64_t n = 1; n < 40; n += 6) {
        cast(n, HONE_DTYPE_F16);
        cast(n, HONE_DTYPE_BF16);
    }
    return CHECK_RESULT();
}

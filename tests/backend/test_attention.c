/* Attention that reads and writes through strides: heads split and joined in the ways of exporters.
 */
#include "backend/graph_test.h"

static hone_value *shaped(gt *b, hone_value *x, int n, const int64_t *dims) {
    return gt_node(b, "Reshape", 2, x, gt_ints(b, n, dims));
}

static hone_value *transposed(gt *b, hone_value *x, int n, const int64_t *perm) {
    hone_value *y = gt_node(b, "Transpose", 1, x);
    gt_set_ints(b, "perm", n, perm);
    return y;
}

static hone_value *picked(gt *b, hone_value *x, int64_t index) {
    return gt_node(b, "Gather", 2, x, gt_ints(b, -1, &index));
}

static hone_value *attend(gt *b, hone_value *q, hone_value *k, hone_value *v, hone_value *mask) {
    return mask ? gt_node(b, "Attention", 4, q, k, v, mask) : gt_node(b, "Attention", 3, q, k, v);
}

static hone_value *joined(gt *b, hone_value *y, int64_t batch, int64_t positions, int64_t width) {
    y = transposed(b, y, GT_DIMS(0, 2, 1, 3));
    return shaped(b, y, GT_DIMS(batch, positions, width));
}

/* Three inputs of their own, as BERT has them; sizes around blocks and vectors. */
static void separate(int64_t positions, int64_t heads, int64_t size, bool has_mask) {
    gt b = gt_begin();
    hone_value *in[3], *mask = NULL;
    for (int i = 0; i < 3; ++i) {
        in[i] = gt_input(&b, HONE_DTYPE_F32, GT_DIMS(2, positions, heads * size));
        in[i] = shaped(&b, in[i], GT_DIMS(2, positions, heads, size));
        in[i] = transposed(&b, in[i], GT_DIMS(0, 2, 1, 3));
    }
    if (has_mask)
        mask = gt_input(&b, HONE_DTYPE_F32, GT_DIMS(1, 1, positions, positions));
    hone_value *y = attend(&b, in[0], in[1], in[2], mask);
    gt_finish(&b, "separate", 1e-5, "Attention:attention_f32 Reshape:reference", 1,
              joined(&b, y, 2, positions, heads * size));
}

/* One product for all three, split in one transpose (Swin), or behind ones (ViT). */
static void together(void) {
    gt b = gt_begin();
    hone_value *x = gt_input(&b, HONE_DTYPE_F32, GT_DIMS(3, 7, 2 * 3 * 5)), *part[3];
    x = transposed(&b, shaped(&b, x, GT_DIMS(3, 7, 3, 2, 5)), GT_DIMS(2, 0, 3, 1, 4));
    for (int i = 0; i < 3; ++i)
        part[i] = picked(&b, x, i - (i == 2 ? 3 : 0));
    hone_value *y = attend(&b, part[0], part[1], part[2], NULL);
    gt_finish(&b, "one transpose", 1e-5, "Attention:attention_f32 Reshape:reference", 1,
              joined(&b, y, 3, 7, 10));
    b = gt_begin();
    x = gt_input(&b, HONE_DTYPE_F32, GT_DIMS(9, 1, 3 * 8));
    x = transposed(&b, shaped(&b, x, GT_DIMS(1, 9, 1, 3, 8)), GT_DIMS(3, 1, 2, 0, 4));
    x = shaped(&b, x, GT_DIMS(3, 9, 1, 8));
    for (int i = 0; i < 3; ++i) {
        part[i] = transposed(&b, shaped(&b, picked(&b, x, i), GT_DIMS(9, 2, 4)), GT_DIMS(1, 0, 2));
        part[i] = shaped(&b, part[i], GT_DIMS(1, 2, 9, 4));
    }
    y = transposed(&b, attend(&b, part[0], part[1], part[2], NULL), GT_DIMS(2, 0, 1, 3));
    gt_finish(&b, "behind ones", 1e-5, "Attention:attention_f32 Reshape:reference", 1,
              shaped(&b, y, GT_DIMS(9, 8)));
}

/* One product cut into three by Split (GPT-2); the parts differ in no other way. */
static void cut(int64_t axis) {
    gt b = gt_begin();
    hone_value *x = gt_input(&b, HONE_DTYPE_F32, GT_DIMS(2, 9, 3 * 8)), *part[3];
    const int64_t sizes[] = {8, 8, 8};
    part[0] = gt_node(&b, "Split", 2, x, gt_ints(&b, 3, sizes));
    gt_set(&b, "axis", axis);
    part[1] = gt_more(&b);
    part[2] = gt_more(&b);
    for (int i = 0; i < 3; ++i)
        part[i] = transposed(&b, shaped(&b, part[i], GT_DIMS(2, 9, 2, 4)), GT_DIMS(0, 2, 1, 3));
    hone_value *y = joined(&b, attend(&b, part[2], part[0], part[1], NULL), 2, 9, 8);
    gt_finish(&b, "split", 1e-5, "Attention:attention_f32 Reshape:reference", 1, y);
}

/* Queries, keys and values side by side in the BF16 result of one product (ViT). */
static void together_bf16(void) {
    gt b = gt_begin();
    if (hone_cpu_isa() < HONE_ISA_AVX512_BF16) {
        puts("skipped: BF16 needs a CPU with AVX512-BF16");
        hone_graph_destroy(b.g);
        return;
    }
    b.precision = HONE_PRECISION_BF16;
    hone_value *x = gt_input(&b, HONE_DTYPE_F32, GT_DIMS(2, 9, 16)), *part[3];
    x = gt_node(&b, "MatMul", 2, x, gt_weight(&b, GT_DIMS(16, 3 * 2 * 8)));
    x = transposed(&b, shaped(&b, x, GT_DIMS(2, 9, 3, 2, 8)), GT_DIMS(2, 0, 3, 1, 4));
    for (int i = 0; i < 3; ++i)
        part[i] = picked(&b, x, i);
    hone_value *y = joined(&b, attend(&b, part[0], part[1], part[2], NULL), 2, 9, 16);
    y = gt_node(&b, "MatMul", 2, y, gt_weight(&b, GT_DIMS(16, 16)));
    gt_finish(&b, "BF16", 0.06,
              "Cast:convert Gemm:gemm_f32 Attention:attention_f32 Reshape:reference Gemm:gemm_f32",
              1, y);
}

/* Heads that a reshape cannot split without moving anything stay as they are, and so does a result
 * with two readers. */
static void not_views(void) {
    gt b = gt_begin();
    hone_value *x = gt_input(&b, HONE_DTYPE_F32, GT_DIMS(1, 4, 6));
    hone_value *mixed = shaped(&b, transposed(&b, x, GT_DIMS(0, 2, 1)), GT_DIMS(1, 2, 4, 3));
    hone_value *y = attend(&b, mixed, mixed, mixed, NULL);
    gt_finish(&b, "not a view", 1e-5, NULL, 2, joined(&b, y, 1, 4, 6), gt_node(&b, "Abs", 1, y));
}

int main(void) {
    separate(1, 1, 4, false);
    separate(33, 3, 16, true);
    separate(130, 2, 20, false);
    separate(7, 5, 3, true);
    together();
    together_bf16();
    cut(2);
    cut(-1);
    not_views();
    return CHECK_RESULT();
}

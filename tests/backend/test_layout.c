/* Channels-last regions: what follows a convolution stays there, and gives the same results. */
#include "backend/graph_test.h"

static int transposes_in(const char *trace) {
    int n = 0;
    for (const char *at = trace; (at = strstr(at, "Transpose:")); ++at)
        n += at == trace || at[-1] == ' ';
    return n;
}

static hone_value *conv(gt *b, hone_value *x, int64_t in, int64_t out) {
    return gt_node(b, "Conv", 2, x, gt_weight(b, GT_DIMS(out, in, 1, 1)));
}

typedef hone_value *body(gt *b, hone_value *x);

/* x [2, 12, 6, 8] -> convolution of 12 channels -> body -> convolution: this many transposes. */
static void check(const char *name, body *f, int64_t channels, int transposes) {
    gt b = gt_begin();
    hone_value *x = gt_input(&b, HONE_DTYPE_F32, GT_DIMS(2, 12, 6, 8));
    hone_value *y = f(&b, conv(&b, x, 12, 12));
    y = channels ? conv(&b, y, channels, 5) : y;
    CHECK(HONE_PUSH(b.g->arena, b.g->outputs, b.g->n_outputs, b.g->cap_outputs, y));
    hone_error err = {0};
    CHECK(hone_graph_index(b.g) == HONE_OK && hone_graph_infer(b.g, &err) == HONE_OK);
    gt_result r = gt_run(&b, 2, 1);
    if (transposes_in(r.trace.text) != transposes)
        fprintf(stderr, "%s: %s\n", name, r.trace.text);
    CHECK(transposes_in(r.trace.text) == transposes);
    gt_release(&r);
    b.g->n_outputs = 0;
    gt_finish(&b, name, 1e-5, NULL, 1, y);
}

static hone_value *transposed(gt *b, hone_value *x, int n, const int64_t *perm) {
    hone_value *y = gt_node(b, "Transpose", 1, x);
    gt_set_ints(b, "perm", n, perm);
    return y;
}

static hone_value *shaped(gt *b, hone_value *x, int n, const int64_t *dims) {
    return gt_node(b, "Reshape", 2, x, gt_ints(b, n, dims));
}

static hone_value *concat(gt *b, hone_value *x) {
    hone_value *y = gt_node(b, "Concat", 2, x, gt_node(b, "Relu", 1, x));
    gt_set(b, "axis", -3);
    return y;
}
static hone_value *slice_channels(gt *b, hone_value *x) {
    return gt_node(b, "Slice", 4, x, gt_ints(b, GT_DIMS(2)), gt_ints(b, GT_DIMS(9)),
                   gt_ints(b, GT_DIMS(1)));
}
static hone_value *slice_rows(gt *b, hone_value *x) {
    return gt_node(b, "Slice", 5, x, gt_ints(b, GT_DIMS(-1, 1)), gt_ints(b, GT_DIMS(-9, 7)),
                   gt_ints(b, GT_DIMS(2, -1)), gt_ints(b, GT_DIMS(-2, 2)));
}
static hone_value *slice_first(gt *b, hone_value *x) {
    return gt_node(b, "Slice", 3, x, gt_ints(b, GT_DIMS(0, 3)), gt_ints(b, GT_DIMS(1, 12)));
}
static hone_value *split(gt *b, hone_value *x) {
    hone_value *y = gt_node(b, "Split", 2, x, gt_ints(b, GT_DIMS(5, 7)));
    gt_set(b, "axis", 1);
    hone_value *z = gt_more(b);
    hone_value *all = gt_node(b, "Concat", 3, z, y, z);
    gt_set(b, "axis", 1);
    return all;
}
static hone_value *pad(gt *b, hone_value *x) {
    hone_value *y =
        gt_node(b, "Pad", 4, x, gt_ints(b, GT_DIMS(1, 2, 0, 3)), NULL, gt_ints(b, GT_DIMS(-1, 1)));
    gt_set_text(b, "mode", "reflect");
    return y;
}
static hone_value *pad_all(gt *b, hone_value *x) {
    return gt_node(b, "Pad", 2, x, gt_ints(b, GT_DIMS(0, 1, 2, 0, 0, 0, 1, 3)));
}
static hone_value *resize_scales(gt *b, hone_value *x) {
    hone_value *scales = gt_weight(b, GT_DIMS(4));
    float *s = scales->constant->data;
    s[0] = s[1] = 1;
    s[2] = 2;
    s[3] = 3;
    return gt_node(b, "Resize", 3, x, NULL, scales);
}
static hone_value *resize_axes(gt *b, hone_value *x) {
    hone_value *y = gt_node(b, "Resize", 4, x, NULL, NULL, gt_ints(b, GT_DIMS(11, 13)));
    gt_set_ints(b, "axes", GT_DIMS(3, 2));
    gt_set_text(b, "mode", "linear");
    return y;
}
static hone_value *shuffle(gt *b, hone_value *x) {
    hone_value *y = shaped(b, x, GT_DIMS(2, 3, 4, 6, 8));
    return shaped(b, transposed(b, y, GT_DIMS(0, 2, 1, 3, 4)), GT_DIMS(2, 12, 6, 8));
}
static hone_value *head(gt *b, hone_value *x) { /* anchors, as detectors split them */
    hone_value *y = shaped(b, x, GT_DIMS(2, 3, 4, 6, 8));
    return gt_node(b, "Sigmoid", 1, transposed(b, y, GT_DIMS(0, 1, 3, 4, 2)));
}
static hone_value *there_and_back(gt *b, hone_value *x) {
    hone_value *y = transposed(b, x, GT_DIMS(0, 2, 3, 1));
    y = gt_node(b, "LayerNormalization", 2, y, gt_weight(b, GT_DIMS(12)));
    y = transposed(b, y, GT_DIMS(0, 3, 1, 2));
    return gt_node(b, "Add", 2, gt_node(b, "Mul", 2, y, gt_weight(b, GT_DIMS(12, 1, 1))), x);
}
static hone_value *flat_positions(gt *b, hone_value *x) {
    return transposed(b, shaped(b, x, GT_DIMS(0, 12, -1)), GT_DIMS(0, 2, 1));
}
static hone_value *there(gt *b, hone_value *x) {
    return transposed(b, x, GT_DIMS(0, 2, 3, 1));
}
static hone_value *other_order(gt *b, hone_value *x) {
    return transposed(b, x, GT_DIMS(3, 0, 1, 2));
}
static hone_value *global_max(gt *b, hone_value *x) {
    return gt_node(b, "GlobalMaxPool", 1, x);
}
static hone_value *mean(gt *b, hone_value *x) {
    hone_value *y = gt_node(b, "ReduceMean", 2, x, gt_ints(b, GT_DIMS(-1, 2)));
    gt_set(b, "keepdims", 0);
    return y;
}
static hone_value *squeezed(gt *b, hone_value *x) {
    hone_value *y = gt_node(b, "GlobalAveragePool", 1, x);
    return gt_node(b, "Flatten", 1, y);
}
static hone_value *excited(gt *b, hone_value *x) {
    hone_value *y = shaped(b, squeezed(b, x), GT_DIMS(2, 12, 1, 1));
    return gt_node(b, "Mul", 2, x, gt_node(b, "Sigmoid", 1, y));
}
static hone_value *softmax(gt *b, hone_value *x) {
    hone_value *y = gt_node(b, "Softmax", 1, x);
    gt_set(b, "axis", 1);
    return y;
}
static hone_value *argmax(gt *b, hone_value *x) {
    hone_value *y = gt_node(b, "ArgMax", 1, x);
    gt_set(b, "axis", 1);
    gt_set(b, "keepdims", 0);
    return y;
}
static hone_value *space(gt *b, hone_value *x) {
    hone_value *y = gt_node(b, "DepthToSpace", 1, x);
    gt_set(b, "blocksize", 2);
    gt_set_text(b, "mode", "CRD");
    y = gt_node(b, "SpaceToDepth", 1, y);
    gt_set(b, "blocksize", 2);
    y = gt_node(b, "DepthToSpace", 1, y);
    gt_set(b, "blocksize", 2);
    return y;
}
static hone_value *prelu(gt *b, hone_value *x) {
    return gt_node(b, "PRelu", 2, x, gt_weight(b, GT_DIMS(12, 1, 1)));
}

/* Boxes of three anchors: [n, a * c, h, w] to [n, a, h * w, c]. */
static hone_value *anchors(gt *b, hone_value *x) {
    return transposed(b, shaped(b, x, GT_DIMS(2, 3, 4, 48)), GT_DIMS(0, 1, 3, 2));
}
/* The same with something in between, which cannot be seen through. */
static hone_value *activated_anchors(gt *b, hone_value *x) {
    hone_value *y = gt_node(b, "Softmax", 1, shaped(b, x, GT_DIMS(2, 3, 4, 48)));
    gt_set(b, "axis", 3);
    return transposed(b, y, GT_DIMS(0, 1, 3, 2));
}

/* A factor and an addition behind a product, as layer scale has them. */
static void check_layer_scale(void) {
    for (int trans_b = 0; trans_b < 2; ++trans_b) {
        gt b = gt_begin();
        hone_value *x = gt_input(&b, HONE_DTYPE_F32, GT_DIMS(6, 5));
        hone_value *r = gt_input(&b, HONE_DTYPE_F32, GT_DIMS(6, 7));
        hone_value *w = trans_b ? gt_weight(&b, GT_DIMS(7, 5)) : gt_weight(&b, GT_DIMS(5, 7));
        hone_value *y = gt_node(&b, "Gemm", 3, x, w, gt_weight(&b, GT_DIMS(7)));
        gt_set(&b, "transB", trans_b);
        y = gt_node(&b, "Add", 2, r, gt_node(&b, "Mul", 2, y, gt_weight(&b, GT_DIMS(1, 7))));
        gt_finish(&b, "layer scale", 1e-5, "Gemm:gemm_f32", 1, y);
    }
}

/* U-Net's merge: a convolution for which Winograd is chosen reads both parts of what Concat joins;
 * with parts that are no whole vectors, or a second reader, Concat stays. */
static void check_joined_input(int64_t left, int64_t right, bool is_read_twice, bool stays) {
    gt b = gt_begin();
    hone_value *x = gt_input(&b, HONE_DTYPE_F32, GT_DIMS(1, 32, 20, 24));
    hone_value *joined = gt_node(&b, "Concat", 2, conv(&b, x, 32, left), conv(&b, x, 32, right));
    gt_set(&b, "axis", 1);
    hone_value *y = gt_node(&b, "Conv", 2, joined, gt_weight(&b, GT_DIMS(32, left + right, 3, 3)));
    gt_set_ints(&b, "pads", GT_DIMS(1, 1, 1, 1));
    if (is_read_twice)
        y = gt_node(&b, "Add", 2, y, conv(&b, joined, left + right, 32));
    CHECK(HONE_PUSH(b.g->arena, b.g->outputs, b.g->n_outputs, b.g->cap_outputs, y));
    hone_error err = {0};
    CHECK(hone_graph_index(b.g) == HONE_OK && hone_graph_infer(b.g, &err) == HONE_OK);
    gt_result r = gt_run(&b, 2, 1);
    bool is_winograd = hone_cpu_isa() > HONE_ISA_REF;
    CHECK((strstr(r.trace.text, "Concat:") != NULL) == (stays || !is_winograd));
    gt_release(&r);
    b.g->n_outputs = 0;
    gt_finish(&b, "joined input", 1e-4, NULL, 1, y);
}

int main(void) {
    check_joined_input(32, 32, false, false);
    check_joined_input(16, 21, false, false);
    check_joined_input(20, 16, false, true);
    check_joined_input(32, 32, true, true);
    check_layer_scale();
    check("concat", concat, 24, 1 + 1);
    check("slice of channels", slice_channels, 7, 1 + 1);
    check("slice of rows", slice_rows, 12, 1 + 1);
    check("slice without axes", slice_first, 9, 1 + 1);
    check("split", split, 19, 1 + 1);
    check("pad", pad, 17, 1 + 1);
    check("pad all", pad_all, 13, 1 + 1);
    check("resize by scales", resize_scales, 12, 1 + 1);
    check("resize by axes", resize_axes, 12, 1 + 1);
    check("shuffle", shuffle, 12, 1 + 1 + 1);
    check("detection head", head, 0, 1 + 1);
    check("there and back", there_and_back, 12, 1 + 1);
    check("flat positions", flat_positions, 0, 1);
    check("to channels-last", there, 0, 1);
    check("another order", other_order, 0, 1 + 1);
    check("global maximum", global_max, 12, 1);
    check("mean without axes", mean, 0, 1);
    check("squeeze", squeezed, 0, 1);
    check("squeeze and excite", excited, 12, 1 + 1);
    check("softmax", softmax, 12, 1 + 1);
    check("argmax", argmax, 0, 1);
    check("depth to space", space, 3, 1 + 1 + 3);
    check("anchors", anchors, 0, 1 + 1);
    check("activated anchors", activated_anchors, 0, 1 + 2);
    check("prelu", prelu, 12, 1 + 1);
    return CHECK_RESULT();
}

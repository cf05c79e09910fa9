/* Every pattern that the passes know, in small graphs: the operators left, and the same results. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "engine/internal.h"
#include "ir/infer.h"
#include "passes/pass.h"

/* A graph under construction: x [1, 4, 6, 8] is its input. */
typedef struct build {
    hone_graph *g;
    hone_value *x;
} build;

static build begin(void) {
    build b = {.g = hone_graph_create()};
    b.x = hone_graph_value(b.g, "x");
    b.x->type = hone_type_tensor(HONE_DTYPE_F32, 4, (const int64_t[]){1, 4, 6, 8});
    CHECK(HONE_PUSH(b.g->arena, b.g->inputs, b.g->n_inputs, b.g->cap_inputs, b.x));
    return b;
}

/* The node made last is b->g's last. */
static hone_value *add_node(build *b, const char *op, hone_value *p, hone_value *q, hone_value *s) {
    hone_value *in[3] = {p, q, s}, *out = hone_graph_fresh(b->g, op);
    int n_in = s ? 3 : q ? 2 : 1;
    hone_node *n = hone_node_create(b->g, hone_op_find("", op), out->name, in, n_in, &out, 1);
    CHECK(hone_graph_append(b->g, n));
    return out;
}

static void set_ints(build *b, const char *name, const int64_t *v, int n) {
    CHECK(hone_attr_set_ints(b->g, b->g->nodes[b->g->n_nodes - 1], name, v, n));
}

/* A constant whose elements differ. */
static hone_value *weights(build *b, int rank, const int64_t *dims) {
    int64_t n = hone_dims_count(dims, 0, rank);
    float *data = HONE_NEW_ARRAY(b->g->arena, float, n);
    hone_tensor *t = HONE_NEW(b->g->arena, hone_tensor);
    for (int64_t i = 0; i < n; ++i)
        data[i] = 0.25f + (float)(i * 7 % 11) / 16;
    *t = hone_tensor_view(HONE_DTYPE_F32, rank, dims, data);
    return hone_graph_constant(b->g, "w", t);
}

static hone_value *number(build *b, double v) {
    return hone_graph_const_f32(b->g, "c", (float)v);
}

static hone_value *ints(build *b, const int64_t *v, int n) {
    return hone_graph_const_i64(b->g, "i", v, n);
}

static hone_value *transpose(build *b, hone_value *v, const int64_t *perm, int n) {
    hone_value *out = add_node(b, "Transpose", v, NULL, NULL);
    set_ints(b, "perm", perm, n);
    return out;
}

/* ---- running ----------------------------------------------------------------------------------
 */

static float *run(const hone_graph *g, int optimize, int64_t *count) {
    hone_error err = {0};
    hone_model model = {.graph = (hone_graph *)g};
    hone_build_options options;
    hone_engine *e = NULL;
    hone_session *s = NULL;
    hone_build_options_init(&options);
    options.optimize = optimize;
    float x[192];
    for (int i = 0; i < 192; ++i)
        x[i] = (float)(i * 37 % 64) / 16 - 2;
    hone_tensor in = hone_tensor_view(HONE_DTYPE_F32, 4, (const int64_t[]){1, 4, 6, 8}, x);
    float *out = NULL;
    *count = 0;
    if (hone_engine_build(&model, &options, &e, &err) == HONE_OK &&
        hone_session_create(e, 1, &s, &err) == HONE_OK &&
        hone_session_set_input(s, 0, &in, &err) == HONE_OK &&
        hone_session_run(s, &err) == HONE_OK) {
        const hone_tensor *y = hone_session_output(s, 0);
        *count = hone_tensor_count(y);
        out = malloc(hone_tensor_bytes(y) + 1);
        memcpy(out, y->data, hone_tensor_bytes(y));
    } else {
        fprintf(stderr, "%s\n", err.message);
    }
    hone_session_destroy(s);
    hone_engine_destroy(e);
    return out;
}

static void list_operators(const hone_graph *g, char *text, size_t size) {
    text[0] = '\0';
    for (int i = 0; i < g->n_nodes; ++i) {
        size_t at = strlen(text);
        snprintf(text + at, size - at, "%s%s", i ? " " : "", g->nodes[i]->op_name);
    }
}

static void check_passes(hone_graph *g, const char *name, const char *want) {
    hone_error err = {0};
    char text[512];
    hone_pass_options options = {.stop_at = -1};
    CHECK(hone_passes_run(g, &options, &err) == HONE_OK);
    CHECK(hone_graph_index(g) == HONE_OK && hone_graph_verify(g, &err) == HONE_OK);
    list_operators(g, text, sizeof text);
    if (strcmp(text, want) != 0)
        fprintf(stderr, "%s: the passes leave '%s', want '%s'\n", name, text, want);
    CHECK(strcmp(text, want) == 0);
    CHECK(strcmp(g->outputs[0]->name, "y") == 0);
    for (int i = 0; i < g->n_nodes; ++i)
        CHECK(g->nodes[i]->origin && g->nodes[i]->origin[0]);
}

/* The graph's result is y: the operators wanted are left, and it computes the same. */
static void finish(build *b, hone_value *y, const char *name, const char *want) {
    hone_error err = {0};
    y->name = "y";
    CHECK(HONE_PUSH(b->g->arena, b->g->outputs, b->g->n_outputs, b->g->cap_outputs, y));
    CHECK(hone_graph_index(b->g) == HONE_OK && hone_graph_infer(b->g, &err) == HONE_OK);
    int64_t n_before, n_after;
    float *before = run(b->g, 0, &n_before), *after = run(b->g, 1, &n_after);
    CHECK(before && after && n_before == n_after && n_before > 0);
    double worst = 0;
    for (int64_t i = 0; before && after && i < n_before; ++i)
        worst =
            fmax(worst, fabs((double)before[i] - (double)after[i]) / (1 + fabs((double)before[i])));
    if (!(worst <= 2e-5))
        fprintf(stderr, "%s: results differ by %g\n", name, worst);
    CHECK(worst <= 2e-5);
    free(before);
    free(after);
    check_passes(b->g, name, want);
    hone_graph_destroy(b->g);
}

/* ---- activations ------------------------------------------------------------------------------
 */

static void test_gelu(void) {
    for (int form = 0; form < 4; ++form) {
        build b = begin();
        hone_value *inner = form & 1 ? add_node(&b, "Mul", number(&b, 0.70710678), b.x, NULL)
                                     : add_node(&b, "Div", b.x, number(&b, 1.41421356), NULL);
        hone_value *bell =
            add_node(&b, "Add", number(&b, 1), add_node(&b, "Erf", inner, NULL, NULL), NULL);
        hone_value *half = number(&b, 0.5), *y;
        if (form & 2)
            y = add_node(&b, "Mul", add_node(&b, "Mul", half, b.x, NULL), bell, NULL);
        else
            y = add_node(&b, "Mul", add_node(&b, "Mul", b.x, bell, NULL), half, NULL);
        finish(&b, y, "gelu", "Gelu");
    }
}

static void test_gelu_tanh(void) {
    for (int form = 0; form < 2; ++form) {
        build b = begin();
        hone_value *cube = form
                               ? add_node(&b, "Mul", add_node(&b, "Mul", b.x, b.x, NULL), b.x, NULL)
                               : add_node(&b, "Pow", b.x, number(&b, 3), NULL);
        hone_value *term = add_node(&b, "Mul", cube, number(&b, 0.044715), NULL);
        hone_value *sum = add_node(&b, "Add", b.x, term, NULL);
        hone_value *inner = add_node(&b, "Mul", number(&b, 0.79788456), sum, NULL);
        hone_value *curve = add_node(&b, "Tanh", inner, NULL, NULL);
        hone_value *bell = add_node(&b, "Add", curve, number(&b, 1), NULL);
        hone_value *half = add_node(&b, "Mul", b.x, number(&b, 0.5), NULL);
        finish(&b, add_node(&b, "Mul", half, bell, NULL), "gelu tanh", "Gelu");
    }
}

static void test_gates(void) {
    build b = begin();
    finish(&b, add_node(&b, "Mul", add_node(&b, "Sigmoid", b.x, NULL, NULL), b.x, NULL), "silu",
           "Swish");
    b = begin();
    hone_value *scaled = add_node(&b, "Mul", b.x, number(&b, 1.702), NULL);
    finish(&b, add_node(&b, "Mul", b.x, add_node(&b, "Sigmoid", scaled, NULL, NULL), NULL),
           "quick gelu", "Swish");
    b = begin();
    hone_value *soft = add_node(&b, "Softplus", b.x, NULL, NULL);
    finish(&b, add_node(&b, "Mul", b.x, add_node(&b, "Tanh", soft, NULL, NULL), NULL), "mish",
           "Mish");
    b = begin();
    hone_value *sum = add_node(&b, "Add", b.x, number(&b, 3), NULL);
    hone_value *clip = add_node(&b, "Clip", sum, number(&b, 0), number(&b, 6));
    hone_value *gated = add_node(&b, "Mul", b.x, clip, NULL);
    finish(&b, add_node(&b, "Div", gated, number(&b, 6), NULL), "hard swish", "HardSwish");
    b = begin();
    sum = add_node(&b, "Add", b.x, number(&b, 2), NULL);
    clip = add_node(&b, "Clip", sum, number(&b, 0), number(&b, 6));
    gated = add_node(&b, "Mul", b.x, clip, NULL);
    finish(&b, add_node(&b, "Div", gated, number(&b, 6), NULL), "no hard swish",
           "Add Clip Mul Div");
}

/* ---- normalisation ----------------------------------------------------------------------------
 */

static hone_value *mean(build *b, hone_value *v) {
    return add_node(b, "ReduceMean", v, ints(b, (const int64_t[]){-1}, 1), NULL);
}

static void test_norms(void) {
    build b = begin();
    hone_value *d = add_node(&b, "Sub", b.x, mean(&b, b.x), NULL);
    hone_value *var = mean(&b, add_node(&b, "Pow", d, number(&b, 2), NULL));
    hone_value *root =
        add_node(&b, "Sqrt", add_node(&b, "Add", var, number(&b, 1e-5), NULL), NULL, NULL);
    hone_value *core = add_node(&b, "Div", d, root, NULL);
    hone_value *y = add_node(&b, "Mul", core, weights(&b, 1, (const int64_t[]){8}), NULL);
    y = add_node(&b, "Add", y, weights(&b, 1, (const int64_t[]){8}), NULL);
    finish(&b, y, "layer norm", "LayerNormalization");
    b = begin();
    hone_value *square = add_node(&b, "Mul", b.x, b.x, NULL);
    root = add_node(&b, "Sqrt", add_node(&b, "Add", mean(&b, square), number(&b, 1e-6), NULL), NULL,
                    NULL);
    core = add_node(&b, "Mul", b.x, add_node(&b, "Reciprocal", root, NULL, NULL), NULL);
    y = add_node(&b, "Mul", weights(&b, 1, (const int64_t[]){8}), core, NULL);
    finish(&b, y, "rms norm", "RMSNormalization");
}

static hone_value *batchnorm(build *b, hone_value *x) {
    hone_value *in[5] = {x}, *out = hone_graph_fresh(b->g, "bn");
    for (int i = 1; i < 5; ++i)
        in[i] = weights(b, 1, (const int64_t[]){4});
    hone_node *n =
        hone_node_create(b->g, hone_op_find("", "BatchNormalization"), "bn", in, 5, &out, 1);
    CHECK(hone_graph_append(b->g, n));
    return out;
}

static void test_batchnorm(void) {
    build b = begin();
    hone_value *w = weights(&b, 4, (const int64_t[]){4, 4, 3, 3});
    hone_value *y = batchnorm(&b, add_node(&b, "Conv", b.x, w, NULL));
    y = add_node(&b, "Mul", y, weights(&b, 3, (const int64_t[]){4, 1, 1}), NULL);
    finish(&b, add_node(&b, "Sub", number(&b, 2), y, NULL), "conv", "Conv");
    b = begin();
    w = weights(&b, 4, (const int64_t[]){4, 2, 3, 3});
    y = add_node(&b, "ConvTranspose", b.x, w, NULL);
    CHECK(hone_attr_set_int(b.g, b.g->nodes[0], "group", 2));
    finish(&b, batchnorm(&b, y), "transposed conv", "ConvTranspose");
    b = begin();
    finish(&b, batchnorm(&b, add_node(&b, "Relu", b.x, NULL, NULL)), "alone", "Relu Mul Add");
    b = begin();
    y = add_node(&b, "Flatten", b.x, NULL, NULL);
    y = add_node(&b, "MatMul", y, weights(&b, 2, (const int64_t[]){192, 4}), NULL);
    y = add_node(&b, "Add", y, weights(&b, 1, (const int64_t[]){4}), NULL);
    finish(&b, batchnorm(&b, y), "gemm", "Flatten Gemm");
}

/* As tf2onnx writes it: channels-last between the convolutions. */
static void test_channels_last(void) {
    static const int64_t to_last[] = {0, 2, 3, 1};
    build b = begin();
    hone_value *w = weights(&b, 4, (const int64_t[]){4, 4, 3, 3});
    hone_value *y = transpose(&b, add_node(&b, "Conv", b.x, w, NULL), to_last, 4);
    y = add_node(&b, "Mul", y, weights(&b, 1, (const int64_t[]){4}), NULL);
    y = add_node(&b, "Add", weights(&b, 3, (const int64_t[]){1, 1, 4}), y, NULL);
    finish(&b, y, "scale and bias behind a transpose", "Conv Transpose");
    b = begin();
    w = weights(&b, 4, (const int64_t[]){4, 4, 3, 1});
    y = transpose(&b, add_node(&b, "Conv", b.x, w, NULL), to_last, 4);
    /* Four elements along what was the height. */
    y = add_node(&b, "Add", y, weights(&b, 3, (const int64_t[]){4, 1, 1}), NULL);
    finish(&b, y, "another axis", "Conv Transpose Add");
    b = begin();
    w = weights(&b, 4, (const int64_t[]){4, 4, 3, 3});
    hone_value *moved = transpose(&b, add_node(&b, "Conv", b.x, w, NULL), to_last, 4);
    y = add_node(&b, "Add", moved, weights(&b, 1, (const int64_t[]){4}), NULL);
    finish(&b, add_node(&b, "Mul", y, moved, NULL), "another reader", "Conv Transpose Add Mul");
}

/* x padded by `value`; axes NULL: all. */
static hone_value *pad(build *b, hone_value *x, const int64_t *pads, int n, double value,
                       const int64_t *axes) {
    hone_value *in[4] = {x, ints(b, pads, n), number(b, value), axes ? ints(b, axes, n / 2) : NULL};
    hone_value *out = hone_graph_fresh(b->g, "pad");
    hone_node *made =
        hone_node_create(b->g, hone_op_find("", "Pad"), "pad", in, axes ? 4 : 3, &out, 1);
    CHECK(hone_graph_append(b->g, made));
    return out;
}

static void test_pads(void) {
    static const int64_t to_first[] = {0, 3, 1, 2}, to_last[] = {0, 2, 3, 1};
    static const int64_t around[] = {0, 0, 1, 0, 0, 0, 2, 3}, channels[] = {0, 1, 0, 0, 0, 0, 0, 0};
    static const int64_t last[] = {0, 1, 0, 0, 0, 2, 3, 0};
    build b = begin();
    hone_value *w = weights(&b, 4, (const int64_t[]){4, 4, 3, 3});
    hone_value *y = add_node(&b, "Conv", pad(&b, b.x, around, 8, 0, NULL), w, NULL);
    set_ints(&b, "pads", (const int64_t[]){0, 1, 2, 0}, 4);
    finish(&b, y, "pads are added", "Conv");
    b = begin();
    w = weights(&b, 4, (const int64_t[]){4, 4, 3, 3});
    y = pad(&b, add_node(&b, "Relu", transpose(&b, b.x, to_last, 4), NULL, NULL), last, 8, 0, NULL);
    y = add_node(&b, "Conv", transpose(&b, y, to_first, 4), w, NULL);
    finish(&b, y, "channels-last pads", "Relu Conv");
    b = begin();
    w = weights(&b, 4, (const int64_t[]){4, 4, 3, 3});
    y = pad(&b, b.x, (const int64_t[]){1, 2, 3, 4}, 4, 0, (const int64_t[]){-1, 2});
    finish(&b, add_node(&b, "Conv", y, w, NULL), "pads of some axes", "Conv");
    b = begin();
    w = weights(&b, 4, (const int64_t[]){4, 5, 3, 3});
    y = add_node(&b, "Conv", pad(&b, b.x, channels, 8, 0, NULL), w, NULL);
    finish(&b, y, "padded channels", "Pad Conv");
    b = begin();
    w = weights(&b, 4, (const int64_t[]){4, 4, 3, 3});
    y = add_node(&b, "Conv", pad(&b, b.x, around, 8, 1, NULL), w, NULL);
    finish(&b, y, "padded with ones", "Pad Conv");
    b = begin();
    w = weights(&b, 4, (const int64_t[]){4, 4, 3, 3});
    y = add_node(&b, "Conv", pad(&b, b.x, around, 8, 0, NULL), w, NULL);
    CHECK(hone_attr_set_string(b.g, b.g->nodes[1], "auto_pad", "SAME_UPPER"));
    finish(&b, y, "padding by rule", "Pad Conv");
}

/* ---- moving elements --------------------------------------------------------------------------
 */

static void test_moves(void) {
    static const int64_t to_last[] = {0, 2, 3, 1}, to_first[] = {0, 3, 1, 2};
    build b = begin();
    hone_value *y = add_node(&b, "Relu", transpose(&b, b.x, to_last, 4), NULL, NULL);
    y = add_node(&b, "Add", y, weights(&b, 1, (const int64_t[]){4}), NULL);
    finish(&b, transpose(&b, y, to_first, 4), "across", "Relu Add");
    b = begin();
    y = transpose(&b, transpose(&b, b.x, to_last, 4), to_last, 4);
    finish(&b, add_node(&b, "Relu", y, NULL, NULL), "merged", "Transpose Relu");
    b = begin();
    y = add_node(&b, "Reshape", b.x, ints(&b, (const int64_t[]){4, 48}, 2), NULL);
    y = add_node(&b, "Reshape", y, ints(&b, (const int64_t[]){-1, 2}, 2), NULL);
    finish(&b, y, "reshapes", "Reshape");
    b = begin();
    y = add_node(&b, "Identity", add_node(&b, "Relu", b.x, NULL, NULL), NULL, NULL);
    y = add_node(&b, "Mul", y, number(&b, 1), NULL);
    y = add_node(&b, "Add", number(&b, 0), y, NULL);
    y = add_node(&b, "Concat", y, NULL, NULL);
    CHECK(hone_attr_set_int(b.g, b.g->nodes[b.g->n_nodes - 1], "axis", 0));
    y = add_node(&b, "Reshape", y, ints(&b, (const int64_t[]){0, 4, 6, 8}, 4), NULL);
    finish(&b, add_node(&b, "Dropout", y, NULL, NULL), "nothing", "Relu");
    b = begin();
    y = add_node(&b, "Add", b.x, weights(&b, 4, (const int64_t[]){2, 1, 1, 1}), NULL);
    finish(&b, y, "broadcast", "Add");
}

/* ---- attention --------------------------------------------------------------------------------
 */

/* A mask of each window, added to scores that are seen with the windows as an axis of their own. */
static hone_value *mask_windows(build *b, hone_value *s) {
    s = add_node(b, "Reshape", s, ints(b, (const int64_t[]){1, 2, 4, 6, 6}, 5), NULL);
    s = add_node(b, "Add", weights(b, 5, (const int64_t[]){1, 2, 1, 6, 6}), s, NULL);
    return add_node(b, "Reshape", s, ints(b, (const int64_t[]){2, 4, 6, 6}, 4), NULL);
}

/* mask: 0 none, 1 added, 2 a low constant where a condition does not hold, 3 one of windows, 4 that
 * and 1. */
static void test_attention(int mask, bool on_operands) {
    static const int64_t swap[] = {0, 1, 3, 2};
    build b = begin();
    hone_value *x = b.x;
    if (mask >= 3) { /* two windows */
        x = add_node(&b, "Concat", x, add_node(&b, "Relu", x, NULL, NULL), NULL);
        CHECK(hone_attr_set_int(b.g, b.g->nodes[b.g->n_nodes - 1], "axis", 0));
    }
    hone_value *q = x, *k = transpose(&b, x, swap, 4);
    if (on_operands) {
        q = add_node(&b, "Mul", q, number(&b, 0.5), NULL);
        k = add_node(&b, "Mul", number(&b, 0.5), k, NULL);
    }
    hone_value *s = add_node(&b, "MatMul", q, k, NULL);
    if (!on_operands)
        s = add_node(&b, "Div", s, number(&b, 2.5), NULL);
    if (mask == 1 || mask == 4)
        s = add_node(&b, "Add", s, weights(&b, 4, (const int64_t[]){1, 1, 6, 6}), NULL);
    if (mask == 2) {
        static bool lower[36];
        for (int i = 0; i < 36; ++i)
            lower[i] = i % 6 <= i / 6 && i >= 6; /* the first row sees nothing */
        hone_tensor *t = HONE_NEW(b.g->arena, hone_tensor);
        *t = hone_tensor_view(HONE_DTYPE_BOOL, 2, (const int64_t[]){6, 6}, lower);
        s = add_node(&b, "Where", hone_graph_constant(b.g, "m", t), s, number(&b, -3.4e38));
    }
    if (mask >= 3)
        s = mask_windows(&b, s);
    hone_value *p = add_node(&b, "Softmax", s, NULL, NULL);
    finish(&b, add_node(&b, "MatMul", p, x, NULL), "attention",
           mask >= 3 ? "Relu Concat Attention" : "Attention");
}

/* torch.Tensor.expand(batch, -1, 6, 8) as it is exported. */
static void test_expand(void) {
    static const int64_t ones[] = {1, 1, 1, 1}, minus[] = {-1, -1, -1, -1}, kept[] = {1, 4, 1, 8};
    build b = begin();
    b.x->type.dims[0] = HONE_DIM_SYMBOL(hone_symbol(b.g, "batch"));
    hone_value *batch = add_node(&b, "Shape", b.x, NULL, NULL);
    CHECK(hone_attr_set_int(b.g, b.g->nodes[b.g->n_nodes - 1], "end", 1));
    hone_value *shape = add_node(&b, "Concat", batch, ints(&b, (const int64_t[]){-1}, 1),
                                 ints(&b, (const int64_t[]){6, 8}, 2));
    CHECK(hone_attr_set_int(b.g, b.g->nodes[b.g->n_nodes - 1], "axis", 0));
    hone_value *is_kept = add_node(&b, "Equal", shape, ints(&b, minus, 4), NULL);
    hone_value *dims = add_node(&b, "Where", is_kept, ints(&b, ones, 4), shape);
    finish(&b, add_node(&b, "Expand", weights(&b, 4, kept), dims, NULL), "expand",
           "Shape Concat Expand");
}

/* ---- branches ---------------------------------------------------------------------------------
 */

/* A branch Relu(op(captured)) of x. */
static hone_graph *branch(build *b, const char *op) {
    build in = {.g = hone_graph_sub(b->g)};
    in.x = hone_graph_value(in.g, "x");
    in.x->outer = b->x;
    in.x->type = b->x->type;
    hone_value *y = add_node(&in, "Relu", add_node(&in, op, in.x, NULL, NULL), NULL, NULL);
    CHECK(HONE_PUSH(in.g->arena, in.g->outputs, in.g->n_outputs, in.g->cap_outputs, y));
    return in.g;
}

static void test_if(void) {
    static bool truth[2] = {false, true};
    for (int taken = 0; taken < 2; ++taken) {
        build b = begin();
        hone_tensor *t = HONE_NEW(b.g->arena, hone_tensor);
        *t = hone_tensor_view(HONE_DTYPE_BOOL, 0, NULL, &truth[taken]);
        hone_value *y = add_node(&b, "If", hone_graph_constant(b.g, "c", t), NULL, NULL);
        hone_node *n = b.g->nodes[0];
        hone_attr a = {.name = "then_branch", .kind = HONE_ATTR_GRAPH, .n = 1};
        a.g = branch(&b, "Neg");
        CHECK(hone_attr_set(b.g, n, &a));
        a.name = "else_branch";
        a.g = branch(&b, "Exp");
        CHECK(hone_attr_set(b.g, n, &a));
        finish(&b, y, "if", taken ? "Neg Relu" : "Exp Relu");
    }
}

/* Large constants that a node makes are computed where they are weights, and only there. */
static void test_made_weights(void) {
    build b = begin();
    hone_value *w =
        add_node(&b, "ConstantOfShape", ints(&b, (const int64_t[]){512, 4, 3, 3}, 4), NULL, NULL);
    finish(&b, add_node(&b, "Conv", b.x, w, NULL), "made weights", "Conv");
    b = begin();
    hone_value *v =
        add_node(&b, "ConstantOfShape", ints(&b, (const int64_t[]){2048, 4, 6, 8}, 4), NULL, NULL);
    finish(&b, add_node(&b, "Max", b.x, v, NULL), "made operand", "ConstantOfShape Max");
}

/* An inner value that is a graph output stays. */
static void test_inner_output(void) {
    build b = begin();
    hone_value *gate = add_node(&b, "Sigmoid", b.x, NULL, NULL);
    hone_value *y = add_node(&b, "Mul", b.x, gate, NULL);
    y->name = "y";
    CHECK(HONE_PUSH(b.g->arena, b.g->outputs, b.g->n_outputs, b.g->cap_outputs, y));
    CHECK(HONE_PUSH(b.g->arena, b.g->outputs, b.g->n_outputs, b.g->cap_outputs, gate));
    hone_error err;
    CHECK(hone_graph_index(b.g) == HONE_OK && hone_graph_infer(b.g, &err) == HONE_OK);
    check_passes(b.g, "inner output", "Sigmoid Swish");
    hone_graph_destroy(b.g);
}

int main(void) {
    test_gelu();
    test_gelu_tanh();
    test_gates();
    test_norms();
    test_batchnorm();
    test_channels_last();
    test_pads();
    test_moves();
    for (int mask = 0; mask < 5; ++mask) {
        test_attention(mask, false);
        test_attention(mask, true);
    }
    test_expand();
    test_if();
    test_inner_output();
    test_made_weights();
    return CHECK_RESULT();
}

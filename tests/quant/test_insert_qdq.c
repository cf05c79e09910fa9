/* Small float graphs made quantised: where the pairs stand, on which scales, and what stays float.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "ir/infer.h"
#include "quant/decompose.h"
#include "quant/insert_qdq.h"

/* A graph under construction: x [1, 2, 4, 4] is its input. Every value is seen between low and
 * high. */
typedef struct build {
    hone_graph *g;
    hone_value *x;
    hone_ranges ranges;
    hone_findings findings;
    hone_quant_count count;
} build;

static void see(build *b, const hone_value *v, float low, float high) {
    float both[2] = {low, high};
    hone_tensor t = hone_tensor_view(HONE_DTYPE_F32, 1, (const int64_t[]){2}, both);
    CHECK(hone_observe(&b->ranges, v->name, &t));
}

static build begin(void) {
    build b = {.g = hone_graph_create()};
    hone_arena_init(&b.ranges.arena, 0);
    hone_arena_init(&b.findings.arena, 0);
    b.x = hone_graph_value(b.g, "x");
    b.x->type = hone_type_tensor(HONE_DTYPE_F32, 4, (const int64_t[]){1, 2, 4, 4});
    CHECK(HONE_PUSH(b.g->arena, b.g->inputs, b.g->n_inputs, b.g->cap_inputs, b.x));
    return b;
}

static hone_value *node(build *b, const char *op, hone_value *p, hone_value *q, hone_value *s) {
    hone_value *in[3] = {p, q, s}, *out = hone_graph_value(b->g, op);
    int n_in = s ? 3 : q ? 2 : 1;
    hone_node *n = hone_node_create(b->g, hone_op_find("", op), op, in, n_in, &out, 1);
    CHECK(hone_graph_append(b->g, n));
    return out;
}

static void set_int(build *b, const char *name, int64_t v) {
    CHECK(hone_attr_set_int(b->g, b->g->nodes[b->g->n_nodes - 1], name, v));
}

static hone_value *floats(build *b, int rank, const int64_t *dims, const float *v) {
    int64_t n = hone_dims_count(dims, 0, rank);
    float *data = HONE_NEW_ARRAY(b->g->arena, float, n);
    hone_tensor *t = HONE_NEW(b->g->arena, hone_tensor);
    memcpy(data, v, (size_t)n * sizeof *v);
    *t = hone_tensor_view(HONE_DTYPE_F32, rank, dims, data);
    return hone_graph_constant(b->g, "c", t);
}

/* 1x1, two channels to two: rows of weights, each with a scale of its own. */
static hone_value *conv(build *b, hone_value *x, const float *w, const float *bias) {
    return node(b, "Conv", x, floats(b, 4, (const int64_t[]){2, 2, 1, 1}, w),
                bias ? floats(b, 1, (const int64_t[]){2}, bias) : NULL);
}

static const float W[4] = {1.27F, -0.5F, 0.0127F, 0.01F};

static void output(build *b, hone_value *v) {
    CHECK(HONE_PUSH(b->g->arena, b->g->outputs, b->g->n_outputs, b->g->cap_outputs, v));
}

/* Values not seen yet are seen in [low, high]. */
static void quantise(build *b, float low, float high) {
    hone_error err = {0};
    CHECK(hone_graph_index(b->g) == HONE_OK && hone_graph_infer(b->g, &err) == HONE_OK);
    for (int i = 0; i < b->g->n_values; ++i) {
        const hone_value *v = b->g->values[i];
        if (!v->constant && !hone_range_of(&b->ranges, v->name))
            see(b, v, low, high);
    }
    CHECK(hone_quant_insert(b->g, &b->ranges, &b->findings, &b->count, &err) == HONE_OK);
    CHECK(hone_graph_verify(b->g, &err) == HONE_OK);
}

static void check_operators(const hone_graph *g, const char *want) {
    static const struct {
        const char *name, *text;
    } shorts[] = {{"QuantizeLinear", "Q"}, {"DequantizeLinear", "D"}};
    char text[512] = "";
    for (int i = 0; i < g->n_nodes; ++i) {
        size_t at = strlen(text);
        const char *name = g->nodes[i]->op_name;
        for (int k = 0; k < 2; ++k)
            name = strcmp(name, shorts[k].name) == 0 ? shorts[k].text : name;
        snprintf(text + at, sizeof text - at, "%s%s", i ? " " : "", name);
    }
    if (strcmp(text, want) != 0)
        fprintf(stderr, "the graph is '%s', want '%s'\n", text, want);
    CHECK(strcmp(text, want) == 0);
}

static void end(build *b) {
    hone_graph_destroy(b->g);
    hone_arena_deinit(&b->ranges.arena);
    hone_findings_free(&b->findings);
}

static const hone_node *dequantizer(const hone_value *v) {
    CHECK(v->producer && strcmp(v->producer->op_name, "DequantizeLinear") == 0);
    return v->producer;
}

static double scale_at(const hone_value *v, int64_t i) {
    return (double)((const float *)dequantizer(v)->in[1]->constant->data)[i];
}

static int zero_of(const hone_value *v) {
    return *(const int8_t *)dequantizer(v)->in[2]->constant->data;
}

static bool is_near(double a, double b) {
    return fabs(a - b) <= 1e-6 * fabs(b);
}

static const hone_node *find(const hone_graph *g, const char *op) {
    for (int i = 0; i < g->n_nodes; ++i) {
        if (strcmp(g->nodes[i]->op_name, op) == 0)
            return g->nodes[i];
    }
    return NULL;
}

/* ---- tests ------------------------------------------------------------------------------------
 */

static void test_layer_limit_pool(void) {
    build b = begin();
    hone_value *y = conv(&b, b.x, W, (const float[]){0.5F, -0.25F});
    hone_value *r = node(&b, "Relu", y, NULL, NULL), *m = node(&b, "MaxPool", r, NULL, NULL);
    CHECK(hone_attr_set_ints(b.g, b.g->nodes[2], "kernel_shape", (const int64_t[]){2, 2}, 2));
    output(&b, m);
    see(&b, r, 0, 5.1F);
    see(&b, m, 0, 4);
    quantise(&b, -1, 1.55F);
    /* the layer has its limit's scale, so that no pair stands between them */
    check_operators(b.g, "D D Q D Conv Relu Q D MaxPool Q D");
    CHECK(b.count.n_integer == 3 && b.count.n_float == 0);
    CHECK(strcmp(b.g->outputs[0]->name, "MaxPool") == 0);
    CHECK(is_near(scale_at(r, 0), 5.1 / 255) && zero_of(r) == -128);
    CHECK(is_near(scale_at(m, 0), 5.1 / 255) && zero_of(m) == -128); /* moved, not rounded */
    const hone_node *layer = find(b.g, "Conv");
    CHECK(is_near(scale_at(layer->in[0], 0), 0.01) && zero_of(layer->in[0]) == -28);
    CHECK(is_near(scale_at(layer->in[1], 0), 0.01) && is_near(scale_at(layer->in[1], 1), 1e-4));
    const int8_t *w = dequantizer(layer->in[1])->in[0]->constant->data;
    CHECK(w[0] == 127 && w[1] == -50 && w[2] == 127 && w[3] == 100);
    const int32_t *bias = dequantizer(layer->in[2])->in[0]->constant->data;
    CHECK(bias[0] == 5000 && bias[1] == -250000);
    CHECK(is_near(scale_at(layer->in[2], 1), 1e-6));
    end(&b);
}

/* Biases that the product of the scales could not hold make the weights coarser. */
static void test_large_bias(void) {
    build b = begin();
    output(&b, conv(&b, b.x, (const float[]){1e-9F, 0, 0, 0}, (const float[]){100, 0}));
    quantise(&b, 0, 2.55F);
    const hone_node *layer = find(b.g, "Conv");
    const int32_t *bias = dequantizer(layer->in[2])->in[0]->constant->data;
    CHECK(fabs(bias[0] * scale_at(layer->in[2], 0) - 100) < 1e-4 && bias[1] == 0);
    CHECK(scale_at(layer->in[1], 1) == 1); /* nothing but zeros */
    end(&b);
}

static void test_scales_are_shared(void) {
    build b = begin();
    hone_value *y = conv(&b, b.x, W, NULL), *s = node(&b, "Sigmoid", y, NULL, NULL);
    hone_value *c = node(&b, "Concat", y, s, NULL);
    set_int(&b, "axis", 1);
    output(&b, c);
    see(&b, y, -2, 3.1F);
    quantise(&b, 0, 1);
    CHECK(is_near(scale_at(y, 0), 0.02) && is_near(scale_at(c, 0), 0.02));
    CHECK(is_near(scale_at(s, 0), 0.02) && zero_of(s) == -28 && zero_of(c) == -28);
    end(&b);
}

/* A softmax, and what is moved from it, has the scale that the format fixes. */
static void test_fixed_scale(void) {
    build b = begin();
    hone_value *s = node(&b, "Softmax", conv(&b, b.x, W, NULL), NULL, NULL);
    set_int(&b, "axis", 1);
    hone_value *t = node(&b, "Transpose", s, NULL, NULL);
    output(&b, t);
    quantise(&b, 0, 0.3F);
    CHECK(scale_at(s, 0) == 1.0 / 256 && zero_of(s) == -128);
    CHECK(scale_at(t, 0) == 1.0 / 256 && zero_of(t) == -128);
    end(&b);
}

/* Steps of 1/256 would leave a softmax over many next to nothing. */
static void test_small_probabilities(void) {
    build b = begin();
    hone_value *s = node(&b, "Softmax", conv(&b, b.x, W, NULL), NULL, NULL);
    output(&b, s);
    see(&b, s, 0, 0.06F);
    quantise(&b, 0, 1);
    check_operators(b.g, "D Q D Conv Q D Softmax");
    end(&b);
}

static void test_floats_stay(void) {
    build b = begin();
    hone_value *y = conv(&b, b.x, W, NULL), *e = node(&b, "Exp", y, NULL, NULL);
    hone_value *l = node(&b, "LeakyRelu", e, NULL, NULL); /* between floats: stays one */
    hone_value *z = node(&b, "Add", l, y, NULL);          /* an operand is on integers */
    output(&b, z);
    quantise(&b, -1, 1);
    check_operators(b.g, "D Q D Conv Q D Exp LeakyRelu Q D Add Q D");
    CHECK(b.count.n_integer == 2 && b.count.n_float == 2 && b.findings.n == 2);
    CHECK(strcmp(b.findings.item[0].op, "Exp") == 0);
    CHECK(strcmp(b.findings.item[0].reason, "on-floats") == 0);
    CHECK(find(b.g, "LeakyRelu")->in[0] == e);
    end(&b);
}

/* Neither numbers like those of masks nor infinities set a scale. */
static void test_wide_ranges(void) {
    const float high[] = {1e30F, INFINITY, NAN};
    for (int i = 0; i < 3; ++i) {
        build b = begin();
        hone_value *y = conv(&b, b.x, W, NULL);
        output(&b, node(&b, "Relu", y, NULL, NULL));
        see(&b, b.g->outputs[0], 0, high[i]);
        quantise(&b, -1, 1);
        check_operators(b.g, "D Q D Conv Q D Relu");
        end(&b);
    }
}

/* LiteRT has no such difference. */
static void test_cancelled(void) {
    build b = begin();
    hone_value *y = conv(&b, b.x, W, NULL), *z = conv(&b, b.x, W, NULL);
    z->name = "z";
    b.g->nodes[1]->out[0]->name = "z";
    output(&b, node(&b, "Sub", y, z, NULL));
    see(&b, b.g->outputs[0], 0, 1e-7F);
    quantise(&b, -1, 1);
    CHECK(b.count.n_integer == 2 && b.count.n_float == 1);
    end(&b);
}

/* Numbers next to nothing, beside biases: no scale becomes 0. */
static void test_tiny_numbers(void) {
    build b = begin();
    output(&b, conv(&b, b.x, (const float[]){1e-30F, 0, 1, 1}, (const float[]){1e-30F, 100}));
    quantise(&b, 0, 1e-14F);
    const hone_node *layer = find(b.g, "Conv");
    const int32_t *bias = dequantizer(layer->in[2])->in[0]->constant->data;
    CHECK(scale_at(layer->in[2], 0) > 0 && bias[0] == 0);
    CHECK(fabs(bias[1] * scale_at(layer->in[2], 1) - 100) < 1e-4);
    end(&b);
}

/* What was never seen stays a float, too. */
static void test_unseen(void) {
    build b = begin();
    hone_error err = {0};
    output(&b, node(&b, "Relu", b.x, NULL, NULL));
    CHECK(hone_graph_index(b.g) == HONE_OK && hone_graph_infer(b.g, &err) == HONE_OK);
    CHECK(hone_quant_insert(b.g, &b.ranges, &b.findings, &b.count, &err) == HONE_OK);
    check_operators(b.g, "Relu");
    end(&b);
}

static void test_added_bias(void) {
    build b = begin();
    hone_value *w = floats(&b, 2, (const int64_t[]){4, 2}, (const float[]){1, 0, 0, 2, 0, 0, 0, 0});
    hone_value *y = node(&b, "MatMul", b.x, w, NULL);
    hone_value *c = floats(&b, 1, (const int64_t[]){2}, (const float[]){1, -1});
    output(&b, node(&b, "Add", y, c, NULL));
    quantise(&b, -1, 1);
    check_operators(b.g, "D D Q D MatMul Add Q D");
    const hone_value *bias = find(b.g, "Add")->in[1];
    CHECK(dequantizer(bias)->in[0]->type.dtype == HONE_DTYPE_I32);
    CHECK(is_near(scale_at(bias, 1), scale_at(find(b.g, "MatMul")->in[0], 0) * 2 / 127));
    end(&b);
}

static void test_integer_io(void) {
    build b = begin();
    hone_error err = {0};
    hone_value *y = conv(&b, b.x, W, NULL);
    output(&b, y);
    output(&b, node(&b, "Exp", b.x, NULL, NULL)); /* reads the input as floats */
    quantise(&b, -1, 1);
    CHECK(hone_quant_integer_io(b.g, &err) == HONE_OK);
    CHECK(hone_graph_verify(b.g, &err) == HONE_OK);
    CHECK(b.g->inputs[0]->type.dtype == HONE_DTYPE_I8 && strcmp(b.g->inputs[0]->name, "x") == 0);
    CHECK(b.g->outputs[0]->type.dtype == HONE_DTYPE_I8);
    CHECK(strcmp(b.g->outputs[0]->name, "Conv") == 0);
    CHECK(b.g->outputs[1]->type.dtype == HONE_DTYPE_F32);
    CHECK(dequantizer(find(b.g, "Exp")->in[0])->in[0] == b.g->inputs[0]);
    end(&b);
}

static void test_unpacked_weights(void) {
    build b = begin();
    hone_error err = {0};
    output(&b, conv(&b, b.x, W, (const float[]){0.5F, -0.25F}));
    quantise(&b, -1, 1);
    CHECK(hone_quant_unpack(b.g, &err) == HONE_OK);
    check_operators(b.g, "Q D Conv Q D");
    const hone_tensor *w = find(b.g, "Conv")->in[1]->constant;
    for (int i = 0; i < 4; ++i)
        CHECK(fabsf(((const float *)w->data)[i] - W[i]) < 1e-6F);
    end(&b);
}

static void test_decomposed(void) {
    build b = begin();
    hone_error err = {0};
    hone_value *c = floats(&b, 0, NULL, (const float[]){4});
    hone_value *zero = floats(&b, 0, NULL, (const float[]){0});
    hone_value *y = node(&b, "Div", b.x, c, NULL);
    y = node(&b, "Swish", node(&b, "HardSigmoid", y, NULL, NULL), NULL, NULL);
    output(&b, node(&b, "Div", y, zero, NULL)); /* 1 / 0 is no factor */
    b.g->nodes[3]->out[0]->name = "y";
    CHECK(hone_graph_index(b.g) == HONE_OK && hone_graph_infer(b.g, &err) == HONE_OK);
    CHECK(hone_quant_decompose(b.g, &err) == HONE_OK && hone_graph_verify(b.g, &err) == HONE_OK);
    check_operators(b.g, "Mul Mul Add Clip Sigmoid Mul Div");
    CHECK(*(const float *)b.g->nodes[0]->in[1]->constant->data == 0.25F);
    end(&b);
}

int main(void) {
    test_layer_limit_pool();
    test_large_bias();
    test_scales_are_shared();
    test_fixed_scale();
    test_small_probabilities();
    test_floats_stay();
    test_wide_ranges();
    test_cancelled();
    test_tiny_numbers();
    test_unseen();
    test_added_bias();
    test_integer_io();
    test_unpacked_weights();
    test_decomposed();
    return CHECK_RESULT();
}

/* The ONNX reader on models that are right, and on ones that are wrong in every way. */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "ir/op.h"
#include "onnx/build.h"
#include "onnx/import.h"

static const int64_t dims23[2] = {2, 3};

static hone_status read_bytes(bytes b, hone_graph **g, hone_error *err) {
    return hone_onnx_read(b.at, b.n, NULL, g, err);
}

/* Reads, frees, and expects the status; the message must hold `part`. */
static void expect(bytes b, hone_status want, const char *part) {
    hone_graph *g = NULL;
    hone_error err = {0};
    hone_status got = read_bytes(b, &g, &err);
    bool ok = got == want && (!part || strstr(err.message, part));
    if (!ok)
        fprintf(stderr, "got '%s': %s\n", hone_status_name(got), err.message);
    CHECK(ok);
    hone_graph_destroy(g);
    free(b.at);
}

static bytes add_model(int64_t opset) {
    hone_pbw w;
    begin_model(&w, opset);
    hone_pbw_begin(&w, 7);
    const float ones[3] = {1, 2, 3};
    add_node(&w, 1, "", "Relu", "s", "y"); /* out of order */
    add_node(&w, 1, "", "Add", "x b", "s");
    add_floats(&w, "b", ones, 3);
    add_value(&w, 11, "x", 2, dims23);
    add_value(&w, 12, "y", 2, dims23);
    hone_pbw_end(&w);
    return take(&w);
}

static void test_plain(void) {
    bytes b = add_model(17);
    hone_graph *g = NULL;
    hone_error err = {0};
    CHECK(read_bytes(b, &g, &err) == HONE_OK);
    if (g) {
        CHECK(g->n_nodes == 2 && strcmp(g->nodes[0]->op_name, "Add") == 0);
        CHECK(g->n_inputs == 1 && g->n_outputs == 1);
        const hone_value *c = g->nodes[0]->in[1];
        CHECK(c->constant && c->constant->dims[0] == 3);
        CHECK(c->constant && ((const float *)c->constant->data)[2] == 3.0f);
        CHECK(g->outputs[0]->type.rank == 2 && g->outputs[0]->type.dims[1] == 3);
        CHECK(g->nodes[0]->opset == 17);
    }
    hone_graph_destroy(g);
    free(b.at);
}

/* Every prefix and every flipped bit must be survived. */
static void test_damage(void) {
    bytes b = add_model(17);
    hone_graph *g;
    hone_error err;
    for (size_t n = 0; n < b.n; ++n) {
        uint8_t *exact = malloc(n + 1); /* so that a sanitizer sees reads beyond the end */
        memcpy(exact + 1, b.at, n);
        if (hone_onnx_import(exact + 1, n, NULL, &g, NULL, &err) == HONE_OK)
            hone_graph_destroy(g);
        free(exact);
    }
    for (size_t bit = 0; bit < b.n * 8; ++bit) {
        b.at[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (hone_onnx_import(b.at, b.n, NULL, &g, NULL, &err) == HONE_OK)
            hone_graph_destroy(g);
        b.at[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    free(b.at);
}

static bytes one_node(const char *op, const char *in, const char *out) {
    hone_pbw w;
    begin_model(&w, 17);
    hone_pbw_begin(&w, 7);
    add_node(&w, 1, "", op, in, out);
    add_value(&w, 11, "x", 2, dims23);
    add_value(&w, 12, "y", 2, dims23);
    hone_pbw_end(&w);
    return take(&w);
}

static void test_names(void) {
    expect(one_node("Relu", "x", "y"), HONE_OK, NULL);
    expect(one_node("Relu", "nowhere", "y"), HONE_E_FORMAT, "'nowhere' is not defined");
    expect(one_node("Relu", "x", "z"), HONE_E_FORMAT, "'y' is not defined");
    expect(one_node("Relu", "x", "x"), HONE_E_FORMAT, "more than once");
    expect(one_node("Split", "x", "y y"), HONE_E_FORMAT, "more than once");
    expect(one_node("Add", "x y", "y"), HONE_E_FORMAT, NULL); /* a cycle */
    expect(one_node("NoSuchOperator", "x", "y"), HONE_OK, NULL);
}

/* If nodes within If branches, `depth` deep, each capturing x. */
static void nest(hone_pbw *w, int depth) {
    char out[16], inner[16];
    snprintf(out, sizeof out, "y%d", depth);
    if (depth == 0) {
        add_node(w, 1, "", "Relu", "x", out);
        return;
    }
    begin_node(w, 1, "", "If", "c", out);
    for (int branch = 0; branch < 2; ++branch) {
        hone_pbw_begin(w, 5);
        hone_pbw_text(w, 1, branch ? "else_branch" : "then_branch");
        hone_pbw_int(w, 20, 5);
        hone_pbw_begin(w, 6);
        nest(w, branch ? 0 : depth - 1);
        snprintf(inner, sizeof inner, "y%d", branch ? 0 : depth - 1);
        hone_pbw_begin(w, 12);
        hone_pbw_text(w, 1, inner);
        for (int i = 0; i < 3; ++i)
            hone_pbw_end(w);
    }
    hone_pbw_end(w);
}

static bytes nested_model(int depth) {
    hone_pbw w;
    char out[16];
    begin_model(&w, 17);
    hone_pbw_begin(&w, 7);
    nest(&w, depth);
    add_value(&w, 11, "x", 2, dims23);
    add_value(&w, 11, "c", 0, NULL);
    snprintf(out, sizeof out, "y%d", depth);
    add_value(&w, 12, out, 2, dims23);
    hone_pbw_end(&w);
    return take(&w);
}

static void test_nesting(void) {
    bytes b = nested_model(3);
    hone_graph *g = NULL;
    hone_error err;
    CHECK(read_bytes(b, &g, &err) == HONE_OK);
    if (g) {
        const hone_graph *then = hone_attr_graph(g->nodes[0], "then_branch");
        const hone_graph *other = hone_attr_graph(g->nodes[0], "else_branch");
        CHECK(then && then->n_nodes == 1 && then->parent == g);
        CHECK(other && other->nodes[0]->in[0]->outer == g->inputs[0]);
    }
    hone_graph_destroy(g);
    free(b.at);
    expect(nested_model(20), HONE_OK, NULL);
    expect(nested_model(32), HONE_E_UNSUPPORTED, "nested deeper");
    expect(nested_model(300), HONE_E_UNSUPPORTED, "nested deeper");
}

/* An initializer with the given dims and bytes of raw data. */
static bytes tensor_model(const int64_t *dims, int rank, int64_t dtype, size_t raw) {
    static const uint8_t zeros[64];
    hone_pbw w;
    begin_model(&w, 17);
    hone_pbw_begin(&w, 7);
    hone_pbw_begin(&w, 5);
    hone_pbw_ints(&w, 1, dims, (size_t)rank);
    hone_pbw_int(&w, 2, dtype);
    hone_pbw_text(&w, 8, "t");
    hone_pbw_bytes(&w, 9, zeros, raw);
    hone_pbw_end(&w);
    hone_pbw_begin(&w, 12);
    hone_pbw_text(&w, 1, "t");
    hone_pbw_end(&w);
    hone_pbw_end(&w);
    return take(&w);
}

static void test_tensors(void) {
    const int64_t fits[2] = {2, 2}, negative[1] = {-4}, huge[3] = {INT64_MAX, 4, 4};
    const int64_t zero[3] = {INT64_MAX, INT64_MAX, 0}, wraps[2] = {(int64_t)1 << 62, 1};
    const int64_t many[11] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    expect(tensor_model(fits, 2, 1, 16), HONE_OK, NULL);
    expect(tensor_model(fits, 2, 21, 2), HONE_OK, NULL);
    expect(tensor_model(fits, 2, 1, 15), HONE_E_FORMAT, "need 16");
    expect(tensor_model(fits, 2, 1, 17), HONE_E_FORMAT, "need 16");
    expect(tensor_model(negative, 1, 1, 16), HONE_E_FORMAT, "negative");
    expect(tensor_model(huge, 3, 1, 16), HONE_E_FORMAT, "overflow");
    expect(tensor_model(wraps, 2, 1, 0), HONE_E_FORMAT, "overflow");
    expect(tensor_model(zero, 3, 1, 0), HONE_E_FORMAT, "overflow");
    expect(tensor_model(many, 11, 1, 4), HONE_E_UNSUPPORTED, "dims");
    expect(tensor_model(fits, 2, 0, 16), HONE_E_FORMAT, "data type");
    expect(tensor_model(fits, 2, 99, 16), HONE_E_FORMAT, "data type");
    expect(tensor_model(fits, 2, 28, 16), HONE_E_UNSUPPORTED, "6-bit");
    expect(tensor_model(fits, 2, 8, 16), HONE_E_FORMAT, "string");
}

/* Function f<i> calls f<i+1> twice; `loops`: the last calls the first. */
static bytes function_model(int n, bool loops) {
    hone_pbw w;
    begin_model(&w, 17);
    hone_pbw_begin(&w, 7);
    add_node(&w, 1, "local", "f0", "x", "y");
    add_value(&w, 11, "x", 2, dims23);
    add_value(&w, 12, "y", 2, dims23);
    hone_pbw_end(&w);
    for (int i = 0; i < n; ++i) {
        char name[16], next[16];
        snprintf(name, sizeof name, "f%d", i);
        snprintf(next, sizeof next, "f%d", loops ? (i + 1) % n : i + 1);
        bool leaf = !loops && i == n - 1;
        hone_pbw_begin(&w, 25);
        hone_pbw_text(&w, 1, name);
        hone_pbw_text(&w, 4, "a");
        hone_pbw_text(&w, 5, "b");
        add_node(&w, 7, leaf ? "" : "local", leaf ? "Relu" : next, "a", "m");
        add_node(&w, 7, leaf ? "" : "local", leaf ? "Neg" : next, "m", "b");
        hone_pbw_text(&w, 10, "local");
        hone_pbw_end(&w);
    }
    return take(&w);
}

static void test_functions(void) {
    bytes b = function_model(3, false);
    hone_graph *g = NULL;
    hone_error err;
    CHECK(read_bytes(b, &g, &err) == HONE_OK);
    CHECK(g && g->n_nodes == 8 && g->nodes[7]->out[0] == g->outputs[0]);
    hone_graph_destroy(g);
    free(b.at);
    expect(function_model(1, true), HONE_E_FORMAT, "calls itself");
    expect(function_model(5, true), HONE_E_FORMAT, "calls itself");
    expect(function_model(30, false), HONE_E_NOMEM, "expands"); /* a billion nodes */
    expect(function_model(100, false), HONE_E_UNSUPPORTED, "nested deeper");
}

static bytes attr_model(int64_t type, bool twice) {
    hone_pbw w;
    begin_model(&w, 17);
    hone_pbw_begin(&w, 7);
    begin_node(&w, 1, "", "Softmax", "x", "y");
    for (int i = 0; i < (twice ? 2 : 1); ++i) {
        hone_pbw_begin(&w, 5);
        hone_pbw_text(&w, 1, "axis");
        hone_pbw_int(&w, 3, 1);
        hone_pbw_int(&w, 20, type);
        hone_pbw_end(&w);
    }
    hone_pbw_end(&w);
    add_value(&w, 11, "x", 2, dims23);
    add_value(&w, 12, "y", 2, dims23);
    hone_pbw_end(&w);
    return take(&w);
}

static void test_attributes(void) {
    expect(attr_model(2, false), HONE_OK, NULL);
    expect(attr_model(1, false), HONE_E_FORMAT, "conflicting");
    expect(attr_model(77, false), HONE_E_FORMAT, NULL);
    expect(attr_model(2, true), HONE_E_FORMAT, "twice");
}

static bytes external_model(const char *location) {
    hone_pbw w;
    int64_t n = 1;
    begin_model(&w, 17);
    hone_pbw_begin(&w, 7);
    hone_pbw_begin(&w, 5);
    hone_pbw_ints(&w, 1, &n, 1);
    hone_pbw_int(&w, 2, 2);
    hone_pbw_text(&w, 8, "t");
    hone_pbw_begin(&w, 13);
    hone_pbw_text(&w, 1, "location");
    hone_pbw_text(&w, 2, location);
    hone_pbw_end(&w);
    hone_pbw_int(&w, 14, 1);
    hone_pbw_end(&w);
    hone_pbw_end(&w);
    return take(&w);
}

/* External data that may not be read. */
static void test_external(void) {
    static const char *const bad[] = {"/etc/passwd", "../secret", "a/../../b", "", "..", "missing"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; ++i) {
        bytes b = external_model(bad[i]);
        hone_graph *g = NULL;
        hone_error err = {0};
        CHECK(hone_onnx_read(b.at, b.n, ".", &g, &err) != HONE_OK && err.message[0]);
        hone_graph_destroy(g);
        free(b.at);
    }
    expect(external_model("x"), HONE_E_UNSUPPORTED, "external");
}

static void test_not_onnx(void) {
    static const char *const texts[] = {"", "hello, world", "\x08\x08", "TFL3", "\xff\xff\xff\xff"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; ++i) {
        hone_graph *g = NULL;
        hone_error err = {0};
        hone_status status =
            hone_onnx_read((const uint8_t *)texts[i], strlen(texts[i]), NULL, &g, &err);
        CHECK(status != HONE_OK && g == NULL && err.message[0]);
    }
    expect(add_model(99), HONE_E_UNSUPPORTED, "newer");
}

int main(void) {
    test_plain();
    test_damage();
    test_names();
    test_nesting();
    test_tensors();
    test_functions();
    test_attributes();
    test_external();
    test_not_onnx();
    return CHECK_RESULT();
}

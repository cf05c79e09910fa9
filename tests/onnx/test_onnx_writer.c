/* What the writer writes, the reader reads: names, types, constants, subgraphs, values. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "check.h"
#include "ir/op.h"
#include "onnx/build.h"
#include "onnx/import.h"
#include "onnx/tensor_pb.h"
#include "onnx/writer.h"

static const int64_t dims23[2] = {2, 3};

/* x -> Unsqueeze (opset 11, axes attribute) -> If with a capture -> y */
static bytes old_model(void) {
    hone_pbw w;
    begin_model(&w, 11);
    hone_pbw_begin(&w, 7);
    begin_node(&w, 1, "", "Unsqueeze", "x", "u");
    hone_pbw_begin(&w, 5);
    hone_pbw_text(&w, 1, "axes");
    hone_pbw_int(&w, 8, 0);
    hone_pbw_int(&w, 20, 7);
    hone_pbw_end(&w);
    hone_pbw_end(&w);
    begin_node(&w, 1, "", "If", "c", "y");
    for (int branch = 0; branch < 2; ++branch) {
        hone_pbw_begin(&w, 5);
        hone_pbw_text(&w, 1, branch ? "else_branch" : "then_branch");
        hone_pbw_int(&w, 20, 5);
        hone_pbw_begin(&w, 6);
        add_node(&w, 1, "", branch ? "Neg" : "Abs", "u", "t"); /* one name in both */
        hone_pbw_text(&w, 2, "branch");
        hone_pbw_begin(&w, 12);
        hone_pbw_text(&w, 1, "t");
        for (int i = 0; i < 3; ++i)
            hone_pbw_end(&w);
    }
    hone_pbw_end(&w);
    const float bias[3] = {1, 2, 3};
    add_floats(&w, "bias", bias, 3);
    add_node(&w, 1, "", "Add", "y bias", "z");
    add_value(&w, 11, "x", 2, dims23);
    hone_pbw_begin(&w, 11);
    hone_pbw_text(&w, 1, "c");
    hone_pbw_begin(&w, 2);
    hone_pbw_begin(&w, 1);
    hone_pbw_int(&w, 1, HONE_DTYPE_BOOL);
    hone_pbw_begin(&w, 2);
    for (int i = 0; i < 4; ++i)
        hone_pbw_end(&w);
    hone_pbw_begin(&w, 12);
    hone_pbw_text(&w, 1, "z");
    hone_pbw_end(&w);
    hone_pbw_end(&w);
    return take(&w);
}

static void check_graph(const hone_graph *g) {
    CHECK(g->n_nodes == 3 && g->n_inputs == 2 && g->n_outputs == 1);
    CHECK(strcmp(g->inputs[0]->name, "x") == 0 && strcmp(g->outputs[0]->name, "z") == 0);
    const hone_node *u = g->nodes[0];
    CHECK(strcmp(u->op_name, "Unsqueeze") == 0 && u->n_in == 2 && u->in[1]->constant);
    CHECK(!hone_attr_find(u, "axes") && u->opset == 0);
    const hone_graph *then = hone_attr_graph(g->nodes[1], "then_branch");
    CHECK(then && then->nodes[0]->in[0]->outer == u->out[0]);
    const hone_value *bias = g->nodes[2]->in[1];
    CHECK(bias->constant && ((const float *)bias->constant->data)[1] == 2.0f);
}

static void test_round_trip(void) {
    bytes b = old_model();
    hone_graph *g = NULL, *again = NULL;
    hone_error err = {0};
    hone_onnx_facts facts;
    CHECK(hone_onnx_import(b.at, b.n, NULL, &g, &facts, &err) == HONE_OK);
    if (g) {
        check_graph(g);
        char path[] = "/tmp/hone_test_writer_XXXXXX";
        int fd = mkstemp(path);
        CHECK(fd >= 0 && hone_onnx_write(g, &facts, path, &err) == HONE_OK);
        close(fd);
        hone_file_map file;
        CHECK(hone_file_map_open(path, &file, &err) == HONE_OK);
        CHECK(hone_onnx_import(file.data, file.n_bytes, NULL, &again, &facts, &err) == HONE_OK);
        if (again) {
            check_graph(again);
            CHECK(again->opset >= 17);
            hone_graph_destroy(again);
        }
        hone_file_map_close(&file);
        unlink(path);
    }
    hone_graph_destroy(g);
    free(b.at);
}

static void test_bad_path(void) {
    bytes b = old_model();
    hone_graph *g = NULL;
    hone_error err = {0};
    CHECK(hone_onnx_import(b.at, b.n, NULL, &g, NULL, &err) == HONE_OK);
    CHECK(g && hone_onnx_write(g, NULL, "/nonexistent/folder/m.onnx", &err) == HONE_E_IO);
    hone_graph_destroy(g);
    free(b.at);
}

/* A sequence of two tensors, one of strings, and an empty optional. */
static void test_values(void) {
    hone_error err = {0};
    float numbers[3] = {1, 2, 3};
    hone_string texts[2] = {{"ab", 2}, {"", 0}};
    int64_t three = 3, two = 2;
    hone_tensor items[2] = {hone_tensor_view(HONE_DTYPE_F32, 1, &three, numbers),
                            hone_tensor_view(HONE_DTYPE_STRING, 1, &two, texts)};
    hone_tensor seq = {.kind = HONE_KIND_SEQUENCE, .rank = 1, .dims = {2}};
    CHECK(hone_tensor_alloc(NULL, &seq, &err) == HONE_OK);
    for (int i = 0; i < 2; ++i)
        CHECK(hone_seq_set(NULL, &seq, i, &items[i], &err) == HONE_OK);
    hone_pbw w;
    hone_pbw_init(&w);
    CHECK(hone_value_to_pb(&w, &seq, false, "s", &err) == HONE_OK);
    bytes b = take(&w);
    hone_tensor back;
    CHECK(hone_value_from_pb(NULL, b.at, b.n, HONE_KIND_SEQUENCE, false, &back, &err) == HONE_OK);
    CHECK(back.dims[0] == 2 && ((const float *)hone_seq_at(&back, 0)->data)[2] == 3.0f);
    const hone_string *s = hone_seq_at(&back, 1)->data;
    CHECK(hone_string_equal(s[0], texts[0]) && s[1].len == 0);
    hone_tensor_release(&back);
    hone_tensor_release(&seq);
    free(b.at);
    hone_tensor none = {0};
    hone_pbw_init(&w);
    CHECK(hone_value_to_pb(&w, &none, true, "", &err) == HONE_OK);
    b = take(&w);
    CHECK(hone_value_from_pb(NULL, b.at, b.n, HONE_KIND_TENSOR, true, &back, &err) == HONE_OK);
    CHECK(back.kind == HONE_KIND_NONE);
    free(b.at);
}

int main(void) {
    test_round_trip();
    test_bad_path();
    test_values();
    return CHECK_RESULT();
}

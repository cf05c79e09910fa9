/* Engine files: what is loaded runs as what was saved, saving is deterministic, damage is refused.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/inflate.h"
#include "check.h"
#include "engine/format.h"
#include "engine/internal.h"

/* y = Relu(x * w + b) with a dynamic first dim, made by hand. */
static hone_graph *make_graph(void) {
    static const float weights[12] = {1, -2, 3, -4, 5, -6, 7, -8, 9, -10, 11, -12};
    static const float bias[3] = {0.5f, -0.5f, 1};
    hone_graph *g = hone_graph_create();
    hone_value *x = hone_graph_value(g, "x"), *y = hone_graph_value(g, "y");
    hone_value *product = hone_graph_value(g, "product"), *sum = hone_graph_value(g, "sum");
    hone_tensor *w = HONE_NEW(g->arena, hone_tensor), *b = HONE_NEW(g->arena, hone_tensor);
    *w = hone_tensor_view(HONE_DTYPE_F32, 2, (const int64_t[]){4, 3}, weights);
    *b = hone_tensor_view(HONE_DTYPE_F32, 1, (const int64_t[]){3}, bias);
    int64_t dims[2] = {HONE_DIM_SYMBOL(hone_symbol(g, "batch")), 4};
    x->type = hone_type_tensor(HONE_DTYPE_F32, 2, dims);
    hone_value *in0[2] = {x, hone_graph_constant(g, "w", w)};
    hone_value *in1[2] = {product, hone_graph_constant(g, "b", b)};
    hone_graph_append(g, hone_node_create(g, hone_op_find("", "MatMul"), "m", in0, 2, &product, 1));
    hone_graph_append(g, hone_node_create(g, hone_op_find("", "Add"), "a", in1, 2, &sum, 1));
    hone_graph_append(g, hone_node_create(g, hone_op_find("", "Relu"), "r", &sum, 1, &y, 1));
    bool ok = HONE_PUSH(g->arena, g->inputs, g->n_inputs, g->cap_inputs, x) &&
              HONE_PUSH(g->arena, g->outputs, g->n_outputs, g->cap_outputs, y);
    CHECK(ok && hone_graph_index(g) == HONE_OK);
    return g;
}

static void run(const hone_engine *e, int64_t rows, float *out) {
    hone_error err = {0};
    hone_session *s = NULL;
    float *x = calloc((size_t)rows * 4, sizeof *x);
    for (int64_t i = 0; i < rows * 4; ++i)
        x[i] = (float)(i % 7) - 3;
    hone_tensor in = hone_tensor_view(HONE_DTYPE_F32, 2, (const int64_t[]){rows, 4}, x);
    CHECK(hone_session_create(e, 1, &s, &err) == HONE_OK);
    CHECK(hone_session_set_input(s, 0, &in, &err) == HONE_OK);
    CHECK(hone_session_set_output(s, 0, out, (size_t)rows * 3 * sizeof *out, &err) == HONE_OK);
    CHECK(hone_session_run(s, &err) == HONE_OK);
    hone_session_destroy(s);
    free(x);
}

static unsigned char *read_file(const char *path, size_t *n) {
    hone_file_map map;
    CHECK(hone_file_map_open(path, &map, NULL) == HONE_OK);
    unsigned char *copy = malloc(map.n_bytes);
    memcpy(copy, map.data, map.n_bytes);
    *n = map.n_bytes;
    hone_file_map_close(&map);
    return copy;
}

/* Cut off at every length, and with every byte of the graph changed: an error, never a crash. */
static void test_damage(const char *path) {
    size_t n;
    unsigned char *bytes = read_file(path, &n);
    for (size_t cut = 0; cut < n; cut += 7) {
        hone_engine *e = NULL;
        hone_error err = {0};
        unsigned char *part = malloc(cut + 1);
        memcpy(part, bytes, cut);
        CHECK(hone_engine_parse(part, cut, &e, &err) != HONE_OK && e == NULL && err.message[0]);
        free(part);
    }
    for (size_t i = 0; i < n && i < 2000; ++i) {
        hone_engine *e = NULL;
        hone_error err = {0};
        bytes[i] ^= 0x41;
        if (hone_engine_parse(bytes, n, &e, &err) == HONE_OK)
            hone_engine_destroy(e); /* constants are not part of the graph's checksum */
        bytes[i] ^= 0x41;
    }
    free(bytes);
}

/* A dim far below all symbols, whose number an int cannot hold. */
static void test_symbol(const char *path) {
    const int64_t symbol = HONE_DIM_SYMBOL(0), beyond = symbol - (int64_t)UINT32_MAX;
    size_t n;
    unsigned char *bytes = read_file(path, &n);
    hone_engine_header h;
    memcpy(&h, bytes, sizeof h);
    int n_found = 0;
    for (size_t i = 0; i + sizeof symbol <= h.graph_bytes; ++i) {
        unsigned char *at = bytes + h.graph_offset + i;
        if (memcmp(at, &symbol, sizeof symbol) == 0) {
            memcpy(at, &beyond, sizeof beyond);
            ++n_found;
        }
    }
    h.graph_crc = hone_crc32(0, bytes + h.graph_offset, (size_t)h.graph_bytes);
    memcpy(bytes, &h, sizeof h);
    hone_engine *e = NULL;
    hone_error err = {0};
    CHECK(n_found > 0 && hone_engine_parse(bytes, n, &e, &err) == HONE_E_FORMAT && !e);
    free(bytes);
}

int main(void) {
    hone_error err = {0};
    hone_model model = {.graph = make_graph()};
    hone_engine *built = NULL, *loaded = NULL;
    char a[] = "/tmp/hone-engine-a-XXXXXX", b[] = "/tmp/hone-engine-b-XXXXXX";
    close(mkstemp(a));
    close(mkstemp(b));
    CHECK(hone_engine_build(&model, NULL, &built, &err) == HONE_OK);
    CHECK(hone_engine_save(built, a, &err) == HONE_OK);
    CHECK(hone_engine_load(a, &loaded, &err) == HONE_OK);
    CHECK(hone_engine_save(loaded, b, &err) == HONE_OK);
    size_t na, nb;
    unsigned char *first = read_file(a, &na), *second = read_file(b, &nb);
    CHECK(na == nb && memcmp(first, second, na) == 0);
    free(first);
    free(second);
    float want[15], got[15];
    for (int64_t rows = 1; rows <= 5; ++rows) {
        run(built, rows, want);
        run(loaded, rows, got);
        CHECK(memcmp(want, got, (size_t)rows * 3 * sizeof *want) == 0);
    }
    test_damage(a);
    test_symbol(a);
    hone_engine_destroy(loaded);
    hone_engine_destroy(built);
    hone_graph_destroy(model.graph);
    unlink(a);
    unlink(b);
    return CHECK_RESULT();
}

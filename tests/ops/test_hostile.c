/* Graphs whose operands do not fit each other: an error, never a read out of bounds. */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "engine/internal.h"

enum { MAX_IN = 4 };

typedef struct operand {
    hone_dtype dtype;
    int rank;
    int64_t dims[4];
} operand;

typedef struct extra {
    const char *name;
    int n; /* ints; 0: one int */
    int64_t v[4];
} extra;

/* HONE_OK when the node infers, builds and runs on zeros at optimize = 0 with operand 0 as input
 * and the others as constants. */
static hone_status run_node(const char *op, const operand *in, int n_in, const extra *attr) {
    static float zeros[64];
    hone_error err = {0};
    hone_graph *g = hone_graph_create();
    hone_value *v[MAX_IN], *y = hone_graph_value(g, "y");
    for (int i = 0; i < n_in; ++i) {
        /* Exactly as long as the tensor, so that a sanitizer sees every read beyond it. */
        hone_tensor *t = HONE_NEW(g->arena, hone_tensor);
        *t = hone_tensor_view(in[i].dtype, in[i].rank, in[i].dims, zeros);
        t->data = calloc(1, hone_tensor_bytes(t) + 1);
        v[i] = i ? hone_graph_constant(g, "c", t) : hone_graph_value(g, "x");
        if (i == 0) {
            v[0]->type = hone_type_of(t);
            v[0]->initial = t;
        }
    }
    hone_node *n = hone_node_create(g, hone_op_find("", op), "n", v, n_in, &y, 1);
    if (attr && attr->n == 0)
        hone_attr_set_int(g, n, attr->name, attr->v[0]);
    else if (attr)
        hone_attr_set_ints(g, n, attr->name, attr->v, attr->n);
    bool ok = hone_graph_append(g, n) &&
              HONE_PUSH(g->arena, g->inputs, g->n_inputs, g->cap_inputs, v[0]) &&
              HONE_PUSH(g->arena, g->outputs, g->n_outputs, g->cap_outputs, y);
    CHECK(ok && hone_graph_index(g) == HONE_OK);
    hone_model model = {.graph = g};
    hone_engine *e = NULL;
    hone_session *s = NULL;
    hone_build_options options = {0};
    hone_build_options_init(&options);
    options.optimize = 0;
    options.keeps_defaults = true;
    hone_status status = hone_engine_build(&model, &options, &e, &err);
    if (status == HONE_OK)
        status = hone_session_create(e, 1, &s, &err);
    if (status == HONE_OK)
        status = hone_session_set_input(s, 0, v[0]->initial, &err);
    if (status == HONE_OK)
        status = hone_session_run(s, &err);
    CHECK(status == HONE_OK || err.message[0]);
    hone_session_destroy(s);
    hone_engine_destroy(e);
    for (int i = 0; i < n_in; ++i)
        free((i ? v[i]->constant : v[0]->initial)->data);
    hone_graph_destroy(g);
    return status;
}

#define F32 HONE_DTYPE_F32
#define F16 HONE_DTYPE_F16
#define I64 HONE_DTYPE_I64

typedef struct hostile_case {
    const char *op;
    int n_in;
    operand in[MAX_IN];
    extra attr;
    hone_status want;
} hostile_case;

static const hostile_case cases[] = {
    {"Gemm", 2, {{F32, 2, {2, 3}}, {F32, 2, {3, 2}}}, {0}, HONE_OK},
    {"Gemm", 2, {{F32, 2, {2, 3}}, {F16, 2, {3, 2}}}, {0}, HONE_E_TYPE},
    {"Gemm", 3, {{F32, 2, {2, 3}}, {F32, 2, {3, 2}}, {F16, 1, {2}}}, {0}, HONE_E_TYPE},
    {"Gemm", 3, {{F32, 2, {2, 3}}, {F32, 2, {3, 2}}, {F32, 4, {1, 1, 1, 2}}}, {0}, HONE_E_SHAPE},
    {"Conv", 2, {{F32, 3, {1, 1, 4}}, {F16, 3, {2, 1, 2}}}, {0}, HONE_E_TYPE},
    {"Conv", 2, {{F32, 3, {1, 1, 4}}, {F32, 3, {2, 1, 2}}}, {"pads", 3, {0, 0, 0}}, HONE_E_SHAPE},
    {"ConvTranspose", 2, {{F32, 3, {1, 1, 4}}, {F16, 3, {1, 1, 2}}}, {0}, HONE_E_TYPE},
    {"ConvTranspose",
     2,
     {{F32, 3, {1, 1, 4}}, {F32, 3, {1, 1, 2}}},
     {"output_padding", 1, {INT64_MAX}},
     HONE_E_SHAPE},
    {"ConvTranspose",
     2,
     {{F32, 3, {1, 0, 4}}, {F32, 3, {0, 4, 2}}},
     {"group", 0, {INT64_MAX}},
     HONE_E_SHAPE},
    {"LayerNormalization",
     2,
     {{F32, 2, {2, 3}}, {F32, 1, {3}}},
     {"stash_type", 0, {1000}},
     HONE_E_TYPE},
    {"LayerNormalization", 2, {{F32, 2, {2, 3}}, {F32, 2, {2, 2}}}, {"axis", 0, {0}}, HONE_E_SHAPE},
    {"LayerNormalization", 2, {{F32, 2, {2, 3}}, {F32, 2, {2, 1}}}, {"axis", 0, {0}}, HONE_OK},
    {"LayerNormalization", 2, {{F32, 2, {2, 3}}, {F32, 2, {1, 3}}}, {"axis", 0, {0}}, HONE_OK},
    {"MaxPool", 1, {{HONE_DTYPE_I8, 3, {1, 1, 1}}}, {"kernel_shape", 1, {1}}, HONE_OK},
    {"MatMulInteger",
     3,
     {{HONE_DTYPE_U8, 2, {2, 3}}, {HONE_DTYPE_U8, 2, {3, 2}}, {HONE_DTYPE_U8, 1, {4}}},
     {0},
     HONE_E_SHAPE},
    {"PRelu", 2, {{F32, 2, {2, 3}}, {F16, 1, {3}}}, {0}, HONE_E_TYPE},
    {"ScatterElements", 3, {{F32, 1, {3}}, {I64, 1, {1}}, {F16, 1, {1}}}, {0}, HONE_E_TYPE},
    {"ScatterND", 3, {{F32, 1, {3}}, {I64, 2, {1, 1}}, {F16, 1, {1}}}, {0}, HONE_E_TYPE},
    {"Pad", 3, {{F32, 1, {3}}, {I64, 1, {2}}, {F16, 0, {0}}}, {0}, HONE_E_TYPE},
};

int main(void) {
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; ++i) {
        const hostile_case *k = &cases[i];
        hone_status got = run_node(k->op, k->in, k->n_in, k->attr.name ? &k->attr : NULL);
        if (got != k->want)
            fprintf(stderr, "case %zu, %s: status %d, not %d\n", i, k->op, got, k->want);
        CHECK(got == k->want);
    }
    return CHECK_RESULT();
}

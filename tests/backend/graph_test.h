/* Small graphs for tests of lowering and bindings: built node by node, run by the references and by
 * the kernels on one and on three threads, and compared. */
#ifndef HONE_TESTS_GRAPH_TEST_H
#define HONE_TESTS_GRAPH_TEST_H

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "engine/internal.h"
#include "ir/infer.h"

enum { GT_MAX = 8 };

typedef struct gt {
    hone_graph *g;
    hone_tensor data[GT_MAX]; /* of the inputs */
    uint32_t seed;
    hone_precision precision; /* of the kernels' engine */
} gt;

static inline float gt_random(gt *b) {
    b->seed = b->seed * 1664525u + 1013904223u;
    return (float)(b->seed >> 8) / (float)(1 << 23) - 1;
}

static inline gt gt_begin(void) {
    gt b = {.g = hone_graph_create(), .seed = 7};
    return b;
}

/* Numbers in [-1, 1), small integers, or booleans. */
static inline hone_tensor *gt_fill(gt *b, hone_dtype d, int rank, const int64_t *dims) {
    int64_t n = hone_dims_count(dims, 0, rank);
    char *data = HONE_NEW_ARRAY(b->g->arena, char, (int64_t)hone_dtype_bytes(d, n) + 64);
    hone_tensor *t = HONE_NEW(b->g->arena, hone_tensor);
    *t = hone_tensor_view(d, rank, dims, data);
    for (int64_t i = 0; i < n; ++i) {
        float v = gt_random(b);
        if (d == HONE_DTYPE_F32)
            ((float *)(void *)data)[i] = v;
        else if (d == HONE_DTYPE_I64 || d == HONE_DTYPE_I32)
            hone_store_i64(d, data, i, (int64_t)(v * 50));
        else
            data[i] = (char)(d == HONE_DTYPE_BOOL ? v > 0 : (int)(v * 100));
    }
    return t;
}

#define GT_DIMS(...)                                                                               \
    (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (const int64_t[]) {                 \
        __VA_ARGS__                                                                                \
    }

static inline hone_value *gt_input(gt *b, hone_dtype d, int rank, const int64_t *dims) {
    hone_value *v = hone_graph_fresh(b->g, "x");
    v->type = hone_type_tensor(d, rank, dims);
    b->data[b->g->n_inputs] = *gt_fill(b, d, rank, dims);
    CHECK(HONE_PUSH(b->g->arena, b->g->inputs, b->g->n_inputs, b->g->cap_inputs, v));
    return v;
}

static inline hone_value *gt_weight(gt *b, int rank, const int64_t *dims) {
    return hone_graph_constant(b->g, "w", gt_fill(b, HONE_DTYPE_F32, rank, dims));
}

static inline hone_value *gt_ints(gt *b, int n, const int64_t *v) {
    return hone_graph_const_i64(b->g, "i", v, n);
}

/* A node of n_in inputs (NULL: omitted), and its first output. */
static inline hone_value *gt_node(gt *b, const char *op, int n_in, ...) {
    hone_value *in[GT_MAX], *out = hone_graph_fresh(b->g, op);
    va_list args;
    va_start(args, n_in);
    for (int i = 0; i < n_in; ++i)
        in[i] = va_arg(args, hone_value *);
    va_end(args);
    hone_node *n = hone_node_create(b->g, hone_op_find("", op), out->name, in, n_in, &out, 1);
    CHECK(n && hone_graph_append(b->g, n));
    return out;
}

/* Attributes of the node made last. */
static inline hone_node *gt_last(gt *b) {
    return b->g->nodes[b->g->n_nodes - 1];
}
static inline void gt_set(gt *b, const char *name, int64_t v) {
    CHECK(hone_attr_set_int(b->g, gt_last(b), name, v));
}
static inline void gt_set_ints(gt *b, const char *name, int n, const int64_t *v) {
    CHECK(hone_attr_set_ints(b->g, gt_last(b), name, v, n));
}
static inline void gt_set_text(gt *b, const char *name, const char *v) {
    CHECK(hone_attr_set_string(b->g, gt_last(b), name, v));
}
/* Another output for the node made last. */
static inline hone_value *gt_more(gt *b) {
    hone_node *n = gt_last(b);
    hone_value **out = HONE_NEW_ARRAY(b->g->arena, hone_value *, n->n_out + 1);
    memcpy(out, n->out, (size_t)n->n_out * sizeof *out);
    out[n->n_out] = hone_graph_fresh(b->g, n->op_name);
    n->out = out;
    return out[n->n_out++];
}

/* Kernels that ran: "operator:kernel", spaces between. */
typedef struct gt_trace {
    char text[2048];
} gt_trace;

static inline void gt_hook(void *arg, const hone_plan *plan, const hone_step *step, int depth,
                           int64_t start, int64_t end, const hone_frame *frame) {
    (void)plan, (void)depth, (void)start, (void)end, (void)frame;
    gt_trace *t = arg;
    size_t at = strlen(t->text);
    snprintf(t->text + at, sizeof t->text - at, "%s%s:%s", at ? " " : "", step->node->op_name,
             step->impl ? step->impl->name : "reference");
}

typedef struct gt_result {
    int n;
    hone_tensor out[GT_MAX];
    gt_trace trace;
} gt_result;

static inline gt_result gt_run(gt *b, int optimize, int n_threads) {
    gt_result r = {0};
    hone_error err = {0};
    hone_model model = {.graph = b->g};
    hone_build_options options;
    hone_engine *e = NULL;
    hone_session *s = NULL;
    hone_build_options_init(&options);
    options.optimize = optimize;
    options.precision = optimize ? b->precision : HONE_PRECISION_FP32;
    bool ok = hone_engine_build(&model, &options, &e, &err) == HONE_OK &&
              hone_session_create(e, n_threads, &s, &err) == HONE_OK;
    for (int i = 0; ok && i < b->g->n_inputs; ++i)
        ok = hone_session_set_input(s, i, &b->data[i], &err) == HONE_OK;
    if (ok)
        hone_session_set_hook(s, gt_hook, &r.trace);
    ok = ok && hone_session_run(s, &err) == HONE_OK;
    if (!ok)
        fprintf(stderr, "%s (%s): %s\n", err.node, err.op, err.message);
    for (int i = 0; ok && i < b->g->n_outputs; ++i) {
        r.out[i] = *hone_session_output(s, i);
        size_t bytes = hone_tensor_bytes(&r.out[i]);
        void *copy = malloc(bytes + 1);
        if (bytes)
            memcpy(copy, r.out[i].data, bytes);
        r.out[i].data = copy;
        r.n = i + 1;
    }
    hone_session_destroy(s);
    hone_engine_destroy(e);
    return r;
}

static inline void gt_release(gt_result *r) {
    for (int i = 0; i < r->n; ++i)
        free(r->out[i].data);
}

/* Largest difference, relative to max(1, |value|); infinity where types, NaN or integers differ. */
static inline double gt_difference(const hone_tensor *a, const hone_tensor *b) {
    double worst = 0;
    if (a->dtype != b->dtype || a->rank != b->rank ||
        memcmp(a->dims, b->dims, (size_t)a->rank * sizeof a->dims[0]) != 0)
        return INFINITY;
    if (a->dtype != HONE_DTYPE_F32)
        return memcmp(a->data, b->data, hone_tensor_bytes(a)) == 0 ? 0 : INFINITY;
    const float *u = a->data, *v = b->data;
    for (int64_t i = 0; i < hone_tensor_count(a); ++i) {
        if (isnan(u[i]) != isnan(v[i]))
            return INFINITY;
        if (u[i] != v[i] && !isnan(u[i]))
            worst = fmax(worst, fabs((double)u[i] - (double)v[i]) / fmax(1, fabs((double)u[i])));
    }
    return worst;
}

/* Run the graph of these outputs. The kernels' result must be within `bound` of the references',
 * the same bits on three threads, and come from the steps `want` (NULL: any; a trailing '*' matches
 * the rest). */
static inline void gt_finish(gt *b, const char *name, double bound, const char *want, int n_out,
                             ...) {
    hone_error err = {0};
    va_list args;
    va_start(args, n_out);
    for (int i = 0; i < n_out; ++i)
        CHECK(HONE_PUSH(b->g->arena, b->g->outputs, b->g->n_outputs, b->g->cap_outputs,
                        va_arg(args, hone_value *)));
    va_end(args);
    CHECK(hone_graph_index(b->g) == HONE_OK && hone_graph_infer(b->g, &err) == HONE_OK);
    gt_result ref = gt_run(b, 0, 1), one = gt_run(b, 2, 1), three = gt_run(b, 2, 3);
    CHECK(ref.n == n_out && one.n == n_out && three.n == n_out);
    for (int i = 0; i < n_out && i < ref.n && i < one.n && i < three.n; ++i) {
        double d = gt_difference(&ref.out[i], &one.out[i]);
        if (!(d <= bound))
            fprintf(stderr, "%s: output %d differs by %g (%s)\n", name, i, d, one.trace.text);
        CHECK(d <= bound);
        CHECK(memcmp(one.out[i].data, three.out[i].data, hone_tensor_bytes(&one.out[i])) == 0);
    }
    size_t n = want ? strlen(want) : 0;
    bool is_open = n && want[n - 1] == '*';
    bool same = !want || (is_open ? strncmp(want, one.trace.text, n - 1) == 0
                                  : strcmp(want, one.trace.text) == 0);
    if (!same)
        fprintf(stderr, "%s: ran '%s', want '%s'\n", name, one.trace.text, want);
    CHECK(same);
    gt_release(&ref);
    gt_release(&one);
    gt_release(&three);
    hone_graph_destroy(b->g);
}

#endif

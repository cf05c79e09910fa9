/* Batches in slices: the same results as picture by picture, and no slices where pictures meet. */
#include "engine/slices.h"

#include "backend/graph_test.h"

enum { BATCH = 6 };

/* ---- which graphs -----------------------------------------------------------------------------
 */

static hone_plan *plan_for(const hone_engine *e, int64_t batch) {
    hone_plan *plan = NULL;
    hone_plan_options options = {.n_threads = 1};
    hone_type types[GT_MAX];
    for (int i = 0; i < e->graph->n_inputs; ++i) {
        types[i] = e->graph->inputs[i]->type;
        types[i].dims[0] = batch;
    }
    return hone_plan_create(e->graph, types, &options, &plan, NULL) == HONE_OK ? plan : NULL;
}

/* The graph's result is y; its input's first dim is open. */
static bool may_slice(gt *b, hone_value *y, int64_t size) {
    hone_model model = {.graph = b->g};
    hone_engine *e = NULL;
    hone_error err = {0};
    CHECK(HONE_PUSH(b->g->arena, b->g->outputs, b->g->n_outputs, b->g->cap_outputs, y));
    CHECK(hone_graph_index(b->g) == HONE_OK && hone_graph_infer(b->g, &err) == HONE_OK);
    CHECK(hone_engine_build(&model, NULL, &e, &err) == HONE_OK);
    hone_plan *whole = plan_for(e, BATCH), *part = plan_for(e, size);
    hone_type in = b->g->inputs[0]->type;
    in.dims[0] = BATCH;
    bool ok = whole && part && hone_slices_batch(e->graph, &in) == BATCH &&
              hone_slices_agree(whole, part, BATCH, size);
    hone_plan_destroy(whole);
    hone_plan_destroy(part);
    hone_engine_destroy(e);
    hone_graph_destroy(b->g);
    return ok;
}

static hone_value *picture(gt *b) {
    hone_value *x = gt_input(b, HONE_DTYPE_F32, GT_DIMS(BATCH, 3, 8, 8));
    x->type.dims[0] = HONE_DIM_UNKNOWN;
    return x;
}

/* 8 channels of 8x8. */
static hone_value *features(gt *b) {
    hone_value *y = gt_node(b, "Conv", 2, picture(b), gt_weight(b, GT_DIMS(8, 3, 3, 3)));
    gt_set_ints(b, "pads", GT_DIMS(1, 1, 1, 1));
    return gt_node(b, "Relu", 1, y);
}

static void apart(void) {
    for (int64_t size = 1; size <= 3; ++size) {
        gt b = gt_begin();
        hone_value *x = features(&b);
        hone_value *y = gt_node(&b, "MaxPool", 1, x);
        gt_set_ints(&b, "kernel_shape", GT_DIMS(2, 2));
        gt_set_ints(&b, "strides", GT_DIMS(2, 2));
        y = gt_node(&b, "ConvTranspose", 2, y, gt_weight(&b, GT_DIMS(8, 4, 2, 2)));
        gt_set_ints(&b, "strides", GT_DIMS(2, 2));
        y = gt_node(&b, "Concat", 2, x, y);
        gt_set(&b, "axis", 1);
        y = gt_node(&b, "Mul", 2, y, gt_weight(&b, GT_DIMS(12, 1, 1)));
        y = gt_node(&b, "Flatten", 1, gt_node(&b, "GlobalAveragePool", 1, y));
        y = gt_node(&b, "MatMul", 2, y, gt_weight(&b, GT_DIMS(12, 5)));
        CHECK(may_slice(&b, gt_node(&b, "Softmax", 1, y), size));
    }
}

static void met(const char *op, int n_in, hone_value *second, gt *b, hone_value *x) {
    hone_value *y = gt_node(b, op, n_in, x, second);
    if (strcmp(op, "Softmax") == 0 || strcmp(op, "Concat") == 0)
        gt_set(b, "axis", 0);
    if (strcmp(op, "Transpose") == 0)
        gt_set_ints(b, "perm", GT_DIMS(2, 1, 0, 3));
    bool ok = may_slice(b, y, 2);
    if (ok)
        fprintf(stderr, "%s: sliced\n", op);
    CHECK(!ok);
}

static void together(void) {
    gt b = gt_begin();
    met("Softmax", 1, NULL, &b, features(&b));
    b = gt_begin();
    met("Transpose", 1, NULL, &b, features(&b));
    b = gt_begin();
    met("ReduceMean", 2, gt_ints(&b, GT_DIMS(0)), &b, features(&b));
    b = gt_begin();
    met("Reshape", 2, gt_ints(&b, GT_DIMS(1, -1, 8, 8)), &b, features(&b));
    b = gt_begin();
    met("Reshape", 2, gt_ints(&b, GT_DIMS(2, -1)), &b, features(&b));
    b = gt_begin(); /* a constant of its own for each picture */
    met("Mul", 2, gt_weight(&b, GT_DIMS(BATCH, 8, 1, 1)), &b, features(&b));
    b = gt_begin(); /* the same value twice */
    hone_value *x = features(&b);
    met("Concat", 2, x, &b, x);
    b = gt_begin(); /* the size of the batch as a number */
    x = features(&b);
    hone_value *n = gt_node(&b, "Cast", 1, gt_node(&b, "Shape", 1, x));
    gt_set(&b, "to", HONE_DTYPE_F32);
    met("Mul", 2, gt_node(&b, "ReduceSum", 1, n), &b, x);
    b = gt_begin(); /* a kind that is not known to keep rows apart */
    met("CumSum", 2, gt_ints(&b, 0, NULL), &b, features(&b));
}

/* ---- running ----------------------------------------------------------------------------------
 */

/* Pictures so large that a batch of them overflows the cache, and few weights. */
static hone_engine *large(gt *b, int64_t *side) {
    double pixels = 0.8 * (double)hone_cpu_l3_bytes() / (BATCH * 64 * 4);
    *side = (int64_t)sqrt(pixels) + 1;
    hone_value *x = gt_input(b, HONE_DTYPE_F32, GT_DIMS(1, 3, *side, *side));
    x->type.dims[0] = HONE_DIM_UNKNOWN;
    hone_value *y = gt_node(b, "Conv", 2, x, gt_weight(b, GT_DIMS(64, 3, 1, 1)));
    y = gt_node(b, "Conv", 2, gt_node(b, "Relu", 1, y), gt_weight(b, GT_DIMS(4, 64, 1, 1)));
    hone_value *z = gt_node(b, "Flatten", 1, gt_node(b, "GlobalAveragePool", 1, y));
    hone_model model = {.graph = b->g};
    hone_engine *e = NULL;
    CHECK(HONE_PUSH(b->g->arena, b->g->outputs, b->g->n_outputs, b->g->cap_outputs, y));
    CHECK(HONE_PUSH(b->g->arena, b->g->outputs, b->g->n_outputs, b->g->cap_outputs, z));
    CHECK(hone_graph_index(b->g) == HONE_OK && hone_graph_infer(b->g, NULL) == HONE_OK);
    CHECK(hone_engine_build(&model, NULL, &e, NULL) == HONE_OK);
    return e;
}

static void count_steps(void *arg, const hone_plan *plan, const hone_step *step, int depth,
                        int64_t start, int64_t end, const hone_frame *frame) {
    (void)plan, (void)step, (void)depth, (void)start, (void)end, (void)frame;
    ++*(int *)arg;
}

/* Output 0 to the caller's memory, output 1 wherever it is; *steps: how many there were. */
static void run(hone_session *s, const float *x, int64_t batch, int64_t side, float *y, float *z,
                int *steps) {
    const int64_t dims[] = {batch, 3, side, side};
    hone_tensor in = hone_tensor_view(HONE_DTYPE_F32, 4, dims, x);
    hone_error err = {0};
    *steps = 0;
    hone_session_set_hook(s, count_steps, steps);
    CHECK(hone_session_set_input(s, 0, &in, &err) == HONE_OK);
    CHECK(hone_session_set_output(s, 0, y, (size_t)(batch * 4 * side * side) * 4, &err) == HONE_OK);
    CHECK(hone_session_run(s, &err) == HONE_OK);
    const hone_tensor *out = hone_session_output(s, 1);
    CHECK(out->rank == 2 && out->dims[0] == batch && out->dims[1] == 4);
    CHECK(hone_session_output(s, 0)->dims[0] == batch && hone_session_output(s, 0)->data == y);
    memcpy(z, out->data, (size_t)(batch * 4) * sizeof *z);
    hone_session_set_hook(s, NULL, NULL);
    CHECK(hone_session_set_output(s, 0, y, 1, &err) == HONE_OK);
    CHECK(hone_session_run(s, &err) == HONE_E_SHAPE);
}

static void runs(void) {
    gt b = gt_begin();
    int64_t side, steps_each;
    hone_engine *e = large(&b, &side);
    hone_session *s = NULL;
    int64_t area = side * side;
    float *x = malloc((size_t)(BATCH * 3 * area) * sizeof *x), z[BATCH * 4], one[4];
    float *y = malloc((size_t)(BATCH * 4 * area) * sizeof *y),
          *single = malloc((size_t)(4 * area) * 4);
    int steps;
    for (int64_t i = 0; i < BATCH * 3 * area; ++i)
        x[i] = gt_random(&b);
    CHECK(hone_session_create(e, 2, &s, NULL) == HONE_OK);
    run(s, x, 1, side, single, one, &steps);
    steps_each = steps;
    run(s, x, BATCH, side, y, z, &steps);
    CHECK(steps == BATCH * steps_each); /* it was sliced */
    for (int64_t i = 0; i < BATCH; ++i) {
        run(s, x + i * 3 * area, 1, side, single, one, &steps);
        CHECK(memcmp(single, y + i * 4 * area, (size_t)(4 * area) * 4) == 0);
        CHECK(memcmp(one, z + i * 4, sizeof one) == 0);
    }
    free(x), free(y), free(single);
    hone_session_destroy(s);
    hone_engine_destroy(e);
    hone_graph_destroy(b.g);
}

int main(void) {
    apart();
    together();
    runs();
    return CHECK_RESULT();
}

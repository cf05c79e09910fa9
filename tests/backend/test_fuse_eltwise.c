/* Chains of element-wise nodes: fused where they should be, the same bits as the nodes by
 * themselves, and within bounds of the references. */
#include "backend/graph_test.h"

/* The same graph with every intermediate value an output as well: nothing can be fused. */
static void check(const char *name, gt *b, const char *want, hone_value *y) {
    hone_error err = {0};
    int n_nodes = b->g->n_nodes;
    CHECK(HONE_PUSH(b->g->arena, b->g->outputs, b->g->n_outputs, b->g->cap_outputs, y));
    for (int i = 0; i < n_nodes && b->g->n_outputs < GT_MAX; ++i) {
        hone_value *v = b->g->nodes[i]->out[0];
        if (v != y)
            CHECK(HONE_PUSH(b->g->arena, b->g->outputs, b->g->n_outputs, b->g->cap_outputs, v));
    }
    CHECK(hone_graph_index(b->g) == HONE_OK && hone_graph_infer(b->g, &err) == HONE_OK);
    gt_result apart = gt_run(b, 2, 1);
    b->g->n_outputs = 1;
    CHECK(hone_graph_index(b->g) == HONE_OK);
    gt_result fused = gt_run(b, 2, 1);
    CHECK(strstr(apart.trace.text, " ") && apart.n > 0 && fused.n == 1);
    if (gt_difference(&apart.out[0], &fused.out[0]) != 0)
        fprintf(stderr, "%s: fusing changes bits\n", name);
    CHECK(gt_difference(&apart.out[0], &fused.out[0]) == 0);
    gt_release(&apart);
    gt_release(&fused);
    b->g->n_outputs = 0;
    gt_finish(b, name, 1e-5, want, 1, y);
}

/* Per-channel, scalar, full and one-column operands, over sizes around the vector lengths. */
static void broadcasts(int64_t rows, int64_t columns) {
    gt b = gt_begin();
    hone_value *x = gt_input(&b, HONE_DTYPE_F32, GT_DIMS(3, rows, columns));
    hone_value *z = gt_input(&b, HONE_DTYPE_F32, GT_DIMS(3, rows, columns));
    hone_value *column = gt_input(&b, HONE_DTYPE_F32, GT_DIMS(rows, 1));
    hone_value *y = gt_node(&b, "Mul", 2, x, gt_weight(&b, GT_DIMS(columns)));
    y = gt_node(&b, "Add", 2, gt_weight(&b, GT_DIMS(1, 1, columns)), y);
    y = gt_node(&b, "Sub", 2, y, column);
    y = gt_node(&b, "Relu", 1, y);
    y = gt_node(&b, "Mul", 2, y, hone_graph_const_f32(b.g, "two", 2));
    y = gt_node(&b, "Add", 2, y, z);
    check("broadcasts", &b, "Eltwise:eltwise_f32", y);
}

/* x * factor + addend, which has a loop of its own; kind: of the addend. */
static void scaled(int64_t rows, int64_t columns, int kind, bool has_relu, bool is_turned) {
    gt b = gt_begin();
    hone_value *x = gt_input(&b, HONE_DTYPE_F32, GT_DIMS(rows, columns));
    hone_value *factor = gt_weight(&b, GT_DIMS(columns));
    hone_value *addend = kind == 0   ? gt_weight(&b, GT_DIMS(columns))
                         : kind == 1 ? gt_input(&b, HONE_DTYPE_F32, GT_DIMS(rows, columns))
                         : kind == 2 ? hone_graph_const_f32(b.g, "c", 0.1f)
                         : kind == 3 ? gt_input(&b, HONE_DTYPE_F32, GT_DIMS(rows, 1))
                                     : x;
    hone_value *y = is_turned ? gt_node(&b, "Mul", 2, factor, x) : gt_node(&b, "Mul", 2, x, factor);
    y = is_turned ? gt_node(&b, "Add", 2, addend, y) : gt_node(&b, "Add", 2, y, addend);
    check("scaled", &b, "Eltwise:eltwise_f32", has_relu ? gt_node(&b, "Relu", 1, y) : y);
}

/* The same between products, where its values are BF16; and its parts, with operands of one row or
 * of all. */
static hone_value *product(gt *b, hone_value *x, int64_t n, int64_t columns) {
    return gt_node(b, "MatMul", 2, x, gt_weight(b, GT_DIMS(n, columns)));
}

static void scaled_bf16(int64_t columns, int kind) {
    gt b = gt_begin();
    b.precision = HONE_PRECISION_BF16;
    hone_value *x = gt_input(&b, HONE_DTYPE_F32, GT_DIMS(5, 8));
    hone_value *y = gt_node(&b, "Sigmoid", 1, product(&b, x, 8, columns)), *z = y;
    hone_value *other = kind % 2 ? gt_weight(&b, GT_DIMS(columns))
                                 : gt_node(&b, "Tanh", 1, product(&b, x, 8, columns));
    if (kind < 4)
        z = gt_node(&b, "Mul", 2, z, other);
    if (kind >= 2)
        z = gt_node(&b, "Add", 2, gt_weight(&b, GT_DIMS(columns)), z);
    if (kind >= 3)
        z = gt_node(&b, "Relu", 1, z);
    gt_finish(&b, "scaled BF16", 0.1, NULL, 2, product(&b, z, columns, 7),
              product(&b, y, columns, 3));
}

static void diamonds(void) {
    gt b = gt_begin();
    hone_value *x = gt_input(&b, HONE_DTYPE_F32, GT_DIMS(7, 33));
    hone_value *z = gt_input(&b, HONE_DTYPE_F32, GT_DIMS(7, 33));
    hone_value *s = gt_node(&b, "Add", 2, x, z);
    hone_value *t = gt_node(&b, "Sigmoid", 1, s);
    hone_value *u = gt_node(&b, "Tanh", 1, s);
    hone_value *y = gt_node(&b, "Mul", 2, gt_node(&b, "Mul", 2, t, u), s);
    check("diamond", &b, "Eltwise:eltwise_f32", gt_node(&b, "Max", 2, y, x));
}

static void conditions(void) {
    gt b = gt_begin();
    hone_value *x = gt_input(&b, HONE_DTYPE_F32, GT_DIMS(5, 1, 19));
    hone_value *c = gt_input(&b, HONE_DTYPE_BOOL, GT_DIMS(5, 4, 19));
    hone_value *small = gt_node(&b, "Mul", 2, x, x); /* of another shape: stays by itself */
    hone_value *y = gt_node(&b, "Where", 3, c, small, hone_graph_const_f32(b.g, "c", -1));
    y = gt_node(&b, "Greater", 2, y, hone_graph_const_f32(b.g, "c", 0.1f));
    check("conditions", &b, "Mul:eltwise_f32 Eltwise:eltwise_f32", y);
}

static void clipped(void) {
    gt b = gt_begin();
    hone_value *x = gt_input(&b, HONE_DTYPE_F32, GT_DIMS(1000));
    hone_value *y = gt_node(&b, "Clip", 3, gt_node(&b, "Abs", 1, x),
                            hone_graph_const_f32(b.g, "low", 0.25f), NULL);
    y = gt_node(&b, "LeakyRelu", 1, gt_node(&b, "Log", 1, y));
    check("clip", &b, "Eltwise:eltwise_f32", y);
}

static void scalars(void) {
    gt b = gt_begin();
    hone_value *x = gt_input(&b, HONE_DTYPE_F32, 0, NULL);
    hone_value *s = gt_input(&b, HONE_DTYPE_F32, 0, NULL);
    hone_value *zero = hone_graph_const_f32(b.g, "c", 0);
    hone_value *y = gt_node(&b, "Sub", 2, zero, gt_node(&b, "Div", 2, x, s));
    y = gt_node(&b, "Clip", 3, y, zero, hone_graph_const_f32(b.g, "c", 255));
    check("scalars", &b, "Eltwise:eltwise_f32", gt_node(&b, "Round", 1, y));
}

/* What others read stays; more than 16 steps or 8 operands make two nodes. */
static void limits(void) {
    gt b = gt_begin();
    hone_value *x = gt_input(&b, HONE_DTYPE_F32, GT_DIMS(40));
    hone_value *y = x;
    for (int i = 0; i < 18; ++i)
        y = gt_node(&b, i % 2 ? "Neg" : "Sin", 1, y);
    check("steps", &b, "Eltwise:eltwise_f32 Eltwise:eltwise_f32", y);
    b = gt_begin();
    y = x = gt_input(&b, HONE_DTYPE_F32, GT_DIMS(4, 10));
    for (int i = 0; i < 9; ++i)
        y = gt_node(&b, i % 2 ? "Mul" : "Add", 2, y, gt_weight(&b, GT_DIMS(10)));
    check("operands", &b, "Eltwise:eltwise_f32 Eltwise:eltwise_f32", y);
    b = gt_begin();
    x = gt_input(&b, HONE_DTYPE_F32, GT_DIMS(4, 10));
    y = gt_node(&b, "Exp", 1, x);
    hone_value *sum = gt_node(&b, "ReduceSum", 2, y, gt_ints(&b, GT_DIMS(1)));
    gt_finish(&b, "two readers", 1e-5, "Exp:eltwise_f32 ReduceSum:reduce_f32 Eltwise:eltwise_f32",
              1, gt_node(&b, "Abs", 1, gt_node(&b, "Div", 2, y, sum)));
}

int main(void) {
    for (int64_t columns = 1; columns <= 70; columns += columns < 18 ? 1 : 13) {
        for (int v = 0; v < 20; ++v)
            scaled(1 + columns % 40, columns, v % 5, v % 2, v / 10);
        for (int kind = 0; kind < 6; ++kind)
            scaled_bf16(columns, kind);
    }
    scaled(300, 33, 0, true, false);
    static const int64_t sizes[] = {1, 3, 8, 17, 255, 256, 300};
    for (int i = 0; i < 7; ++i) {
        for (int k = 0; k < 7; ++k)
            broadcasts(sizes[i] < 40 ? sizes[i] : 11, sizes[k]);
    }
    diamonds();
    conditions();
    clipped();
    scalars();
    limits();
    return CHECK_RESULT();
}

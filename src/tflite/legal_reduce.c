/* Operators along axes: reductions, softmax, positions of extremes, running sums. */
#include <string.h>

#include "tflite/legal_ops.h"

/* The axes of a reduction as bits by ONNX's count; all, when none are given. False: refused. */
static bool read_axes(tfl_legal *l, const hone_node *n, unsigned *axes) {
    int rank = tfl_rank(n->in[0]), count = 0;
    const hone_value *v = n->n_in > 1 ? n->in[1] : NULL;
    const int64_t *list = tfl_ints(l, v, &count);
    if (v && !v->constant) {
        tfl_refuse(l, n, "variable-axes", "export with constant axes", "the axes are no constants");
        return false;
    }
    *axes = 0;
    for (int i = 0; i < count; ++i)
        *axes |= 1U << (list[i] < 0 ? list[i] + rank : list[i]);
    if (count == 0 && !hone_attr_int(n, "noop_with_empty_axes", 0))
        *axes = (1U << rank) - 1;
    return true;
}

/* The order of the result, whose dims are counted without the reduced ones. */
static void drop_axes(const int *perm, int rank, unsigned axes, int *kept) {
    int n = 0;
    for (int i = 0; i < rank; ++i) {
        if (axes >> perm[i] & 1)
            continue;
        int index = 0;
        for (int a = 0; a < perm[i]; ++a)
            index += !(axes >> a & 1);
        kept[n++] = index;
    }
}

typedef struct reduction {
    int perm[TFL_MAX_RANK], out_perm[TFL_MAX_RANK];
    int axes; /* tensor: positions */
    bool keeps;
} reduction;

static bool read_reduction(tfl_legal *l, const hone_node *n, reduction *r) {
    unsigned axes;
    int32_t at[TFL_MAX_RANK];
    int rank = tfl_rank(n->in[0]), count = 0;
    if (!read_axes(l, n, &axes))
        return false;
    tfl_order(l, n->in[0], r->perm);
    for (int i = 0; i < rank; ++i) {
        if (axes >> r->perm[i] & 1)
            at[count++] = i;
    }
    r->keeps = hone_attr_int(n, "keepdims", 1) != 0;
    if (r->keeps)
        memcpy(r->out_perm, r->perm, sizeof r->perm);
    else
        drop_axes(r->perm, rank, axes, r->out_perm);
    r->axes = tfl_const_i32s(l, at, count);
    return true;
}

static int reduce_into(tfl_legal *l, const reduction *r, int code, int x, bool keeps, int out) {
    tfl_option_byte(tfl_op2(l, code, x, r->axes, out), 0, keeps);
    return out;
}

static const struct {
    const char *name;
    int before, code, after; /* -1: nothing */
} reductions[] = {
    {"ReduceMean", -1, TFL_MEAN, -1},
    {"ReduceSum", -1, TFL_SUM, -1},
    {"ReduceMax", -1, TFL_REDUCE_MAX, -1},
    {"ReduceMin", -1, TFL_REDUCE_MIN, -1},
    {"ReduceProd", -1, TFL_REDUCE_PROD, -1},
    {"ReduceL1", TFL_ABS, TFL_SUM, -1},
    {"ReduceL2", TFL_SQUARE, TFL_SUM, TFL_SQRT},
    {"ReduceSumSquare", TFL_SQUARE, TFL_SUM, -1},
    {"ReduceLogSum", -1, TFL_SUM, TFL_LOG},
};

/* log(sum(exp(x - max))) + max */
static void log_sum_exp(tfl_legal *l, const hone_node *n, const reduction *r) {
    int x = tfl_take(l, n->in[0], r->perm), wide = tfl_like(l, x);
    int out = tfl_give(l, n->out[0], r->out_perm);
    if (x < 0 || wide < 0 || out < 0)
        return;
    tfl_tensor *t = &l->model.tensors[wide];
    const int32_t *at = l->model.tensors[r->axes].data;
    for (int i = 0; i < l->model.tensors[r->axes].dims[0]; ++i)
        t->dims[at[i]] = 1;
    int most = reduce_into(l, r, TFL_REDUCE_MAX, x, true, wide);
    int rest = tfl_apply1(l, TFL_EXP, tfl_apply2(l, TFL_SUB, x, most));
    int sum = tfl_apply1(l, TFL_LOG, reduce_into(l, r, TFL_SUM, rest, r->keeps, tfl_like(l, out)));
    int shift = reduce_into(l, r, TFL_REDUCE_MAX, x, r->keeps, tfl_like(l, out));
    tfl_no_activation(tfl_op2(l, TFL_ADD, sum, shift, out));
}

void tfl_legal_reduce(tfl_legal *l, const hone_node *n) {
    reduction r;
    if (n->in[0]->type.dtype == HONE_DTYPE_BOOL) {
        tfl_refuse(l, n, "unsupported-type", "insert a Cast to int32 before and to bool after",
                   "LiteRT reduces no booleans");
        return;
    }
    if (!read_reduction(l, n, &r))
        return;
    if (strcmp(n->op_name, "ReduceLogSumExp") == 0) {
        log_sum_exp(l, n, &r);
        return;
    }
    size_t k = 0;
    while (strcmp(reductions[k].name, n->op_name) != 0)
        ++k;
    int x = tfl_take(l, n->in[0], r.perm);
    if (reductions[k].before >= 0)
        x = tfl_apply1(l, reductions[k].before, x);
    int out = tfl_give(l, n->out[0], r.out_perm);
    int made = reductions[k].after >= 0 ? tfl_like(l, out) : out;
    reduce_into(l, &r, reductions[k].code, x, r.keeps, made);
    if (reductions[k].after >= 0)
        tfl_op1(l, reductions[k].after, made, out);
}

/* ---- along one axis ---------------------------------------------------------------------------
 */

static int axis_of(const hone_node *n, int64_t missing) {
    int64_t axis = hone_attr_int(n, "axis", missing);
    return (int)(axis < 0 ? axis + tfl_rank(n->in[0]) : axis);
}

/* The order in which the operand lies, with one axis moved to the end. */
static void axis_last(tfl_legal *l, const hone_value *v, int axis, int *perm) {
    int rank = tfl_rank(v), n = 0, own[TFL_MAX_RANK];
    tfl_order(l, v, own);
    for (int i = 0; i < rank; ++i) {
        if (own[i] != axis)
            perm[n++] = own[i];
    }
    if (rank)
        perm[rank - 1] = axis;
}

/* Softmax of an old opset: all dims from the axis on are one. */
static int flattened(tfl_legal *l, const hone_node *n, int axis) {
    int32_t dims[2] = {-1, 1};
    for (int i = axis; i < tfl_rank(n->in[0]); ++i)
        dims[1] *= (int32_t)n->in[0]->type.dims[i];
    return tfl_reshape(l, tfl_take(l, n->in[0], NULL), 2, dims);
}

void tfl_legal_softmax(tfl_legal *l, const hone_node *n) {
    int perm[TFL_MAX_RANK], axis = axis_of(n, -1);
    bool is_log = n->op_name[0] == 'L';
    bool is_flat = hone_attr_int(n, "hone_flatten", 0) != 0 && axis != tfl_rank(n->in[0]) - 1;
    if (is_flat)
        tfl_identity(tfl_rank(n->in[0]), perm);
    else
        axis_last(l, n->in[0], axis, perm);
    int x = is_flat ? flattened(l, n, axis) : tfl_take(l, n->in[0], perm);
    int out = is_flat ? tfl_like(l, x) : tfl_give(l, n->out[0], perm);
    tfl_operator *op = tfl_op1(l, is_log ? TFL_LOG_SOFTMAX : TFL_SOFTMAX, x, out);
    if (!is_log)
        tfl_option_f32(op, 0, 1);
    if (is_flat) {
        int32_t dims[TFL_MAX_RANK];
        for (int i = 0; i < tfl_rank(n->out[0]); ++i)
            dims[i] = n->out[0]->type.dims[i] < 0 ? -1 : (int32_t)n->out[0]->type.dims[i];
        tfl_alias(l, n->out[0], tfl_reshape(l, out, tfl_rank(n->out[0]), dims), NULL);
    }
}

void tfl_legal_arg(tfl_legal *l, const hone_node *n) {
    int perm[TFL_MAX_RANK], kept[TFL_MAX_RANK], rank = tfl_rank(n->in[0]), axis = axis_of(n, 0);
    int32_t dims[TFL_MAX_RANK];
    if (hone_attr_int(n, "select_last_index", 0)) {
        tfl_refuse(l, n, "unsupported-form", "use select_last_index 0",
                   "the last of several extremes has no equivalent");
        return;
    }
    tfl_order(l, n->in[0], perm);
    drop_axes(perm, rank, 1U << axis, kept);
    int x = tfl_take(l, n->in[0], perm), at = tfl_position(perm, rank, axis);
    if (x < 0)
        return;
    for (int i = 0, k = 0; i < rank; ++i) {
        if (i != at)
            dims[k++] = l->model.tensors[x].dims[i];
    }
    bool keeps = hone_attr_int(n, "keepdims", 1) != 0;
    int out = tfl_temp(l, TFL_I64, rank - 1, dims);
    tfl_operator *op =
        tfl_op2(l, n->op_name[4] == 'a' ? TFL_ARG_MAX : TFL_ARG_MIN, x, tfl_const_i32(l, at), out);
    tfl_option_byte(op, 0, TFL_I64);
    if (!keeps) {
        tfl_alias(l, n->out[0], out, kept);
        return;
    }
    for (int i = 0; i < rank; ++i)
        dims[i] = i == at ? 1 : l->model.tensors[x].dims[i];
    tfl_alias(l, n->out[0], tfl_reshape(l, out, rank, dims), perm);
}

void tfl_legal_cumsum(tfl_legal *l, const hone_node *n) {
    int perm[TFL_MAX_RANK], count, rank = tfl_rank(n->in[0]);
    const int64_t *axis = tfl_ints(l, n->in[1], &count);
    if (count != 1) {
        tfl_refuse(l, n, "variable-axes", "export with a constant axis", "the axis is no constant");
        return;
    }
    tfl_order(l, n->in[0], perm);
    int at = tfl_position(perm, rank, (int)(axis[0] < 0 ? axis[0] + rank : axis[0]));
    int x = tfl_take(l, n->in[0], perm);
    tfl_operator *op =
        tfl_op2(l, TFL_CUMSUM, x, tfl_const_i32(l, at), tfl_give(l, n->out[0], perm));
    tfl_option_byte(op, 0, hone_attr_int(n, "exclusive", 0) != 0);
    tfl_option_byte(op, 1, hone_attr_int(n, "reverse", 0) != 0);
}

void tfl_legal_topk(tfl_legal *l, const hone_node *n) {
    int perm[TFL_MAX_RANK], count, axis = axis_of(n, -1);
    const int64_t *k = tfl_ints(l, n->in[1], &count);
    if (count != 1 || !hone_attr_int(n, "largest", 1)) {
        tfl_refuse(l, n, "unsupported-form", "take the largest elements, of a constant number",
                   "%s",
                   count != 1 ? "the number of elements is no constant"
                              : "the smallest elements have no equivalent");
        return;
    }
    axis_last(l, n->in[0], axis, perm);
    int x = tfl_take(l, n->in[0], perm), values = tfl_give(l, n->out[0], perm);
    int in[2] = {x, tfl_const_i32(l, (int32_t)k[0])}, out[2] = {values, tfl_like(l, values)};
    if (values < 0 || out[1] < 0)
        return;
    l->model.tensors[out[1]].type = TFL_I32;
    if (!tfl_model_operator(&l->model, TFL_TOPK_V2, in, 2, out, 2))
        l->is_out_of_memory = true;
    if (n->n_out < 2 || !n->out[1])
        return;
    tfl_operator *op = tfl_op1(l, TFL_CAST, out[1], tfl_give(l, n->out[1], perm));
    tfl_option_byte(op, 0, TFL_I32);
    tfl_option_byte(op, 1, TFL_I64);
}

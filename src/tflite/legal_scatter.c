/* Elements by an index for each: GatherElements as GATHER from the flat data; ScatterElements and
 * ScatterND as SCATTER_ND, which adds up into zeros, and a SELECT of what it has reached. As in
 * ONNX, no two indices without a reduction may be the same. */
#include <string.h>

#include "tflite/legal_ops.h"

static int64_t count_of(const int64_t *dims, int n) {
    int64_t count = 1;
    for (int i = 0; i < n; ++i)
        count *= dims[i];
    return count;
}

/* False: refused. */
static bool check_shapes(tfl_legal *l, const hone_node *n) {
    for (int i = 0; i < n->n_in; ++i) {
        const hone_type *t = &n->in[i]->type;
        if (hone_type_is_static(t) && (t->rank > 0 || i == 2) && count_of(t->dims, t->rank) > 0 &&
            count_of(t->dims, t->rank) <= INT32_MAX)
            continue;
        tfl_refuse(l, n, "dynamic-size", "fix the dims of the inputs with --shape",
                   "the shape of %s is not known, or it has no dims or elements", n->in[i]->name);
        return false;
    }
    return true;
}

/* ---- indices: int32, none below 0 ---- */

static int as_i32(tfl_legal *l, int x) {
    if (x < 0 || l->model.tensors[x].type == TFL_I32)
        return x;
    tfl_type from = l->model.tensors[x].type;
    int out = tfl_like(l, x);
    if (out < 0)
        return -1;
    l->model.tensors[out].type = TFL_I32;
    tfl_operator *op = tfl_op1(l, TFL_CAST, x, out);
    tfl_option_byte(op, 0, from);
    tfl_option_byte(op, 1, TFL_I32);
    return out;
}

/* Those below 0 count from the end: sizes broadcast to x. */
static int from_the_start(tfl_legal *l, int x, int sizes) {
    int is_low = tfl_like(l, x), out = tfl_like(l, x);
    if (is_low < 0 || out < 0)
        return -1;
    l->model.tensors[is_low].type = TFL_BOOL;
    tfl_op2(l, TFL_LESS, x, tfl_const_i32(l, 0), is_low);
    int in[3] = {is_low, tfl_apply2(l, TFL_ADD, x, sizes), x};
    tfl_op(l, TFL_SELECT_V2, in, 3, out);
    return out;
}

/* Where element i of the indices, had it an index of 0, lies in the flat data. */
static int bases(tfl_legal *l, const hone_type *data, const hone_type *at, int axis) {
    int32_t n = (int32_t)count_of(at->dims, at->rank);
    int32_t *v = tfl_alloc(l, (size_t)n, sizeof *v);
    for (int32_t i = 0; v && i < n; ++i) {
        int64_t left = i, step = 1;
        for (int d = at->rank - 1; d >= 0; --d) {
            v[i] += d == axis ? 0 : (int32_t)(left % at->dims[d] * step);
            left /= at->dims[d];
            step *= data->dims[d];
        }
    }
    return tfl_const(l, TFL_I32, 1, &n, v);
}

/* Indices along an axis as [n] into the flat data. */
static int flat_indices(tfl_legal *l, const hone_node *n) {
    const hone_type *data = &n->in[0]->type, *at = &n->in[1]->type;
    int axis = (int)hone_attr_int(n, "axis", 0);
    axis = axis < 0 ? axis + data->rank : axis;
    int32_t count = (int32_t)count_of(at->dims, at->rank);
    int64_t step = count_of(data->dims + axis + 1, data->rank - axis - 1);
    int x = as_i32(l, tfl_reshape(l, tfl_take(l, n->in[1], NULL), 1, &count));
    x = from_the_start(l, x, tfl_const_i32(l, (int32_t)data->dims[axis]));
    x = tfl_apply2(l, TFL_MUL, x, tfl_const_i32(l, (int32_t)step));
    return tfl_apply2(l, TFL_ADD, x, bases(l, data, at, axis));
}

static int flat(tfl_legal *l, const hone_value *v) {
    int32_t count = (int32_t)count_of(v->type.dims, v->type.rank);
    return tfl_reshape(l, tfl_take(l, v, NULL), 1, &count);
}

static void give_shaped(tfl_legal *l, const hone_value *v, int tensor) {
    int32_t dims[TFL_MAX_RANK];
    for (int i = 0; i < v->type.rank; ++i)
        dims[i] = (int32_t)v->type.dims[i];
    tfl_alias(l, v, tfl_reshape(l, tensor, v->type.rank, dims), NULL);
}

void tfl_legal_gather_elements(tfl_legal *l, const hone_node *n) {
    if (!check_shapes(l, n))
        return;
    int x = flat(l, n->in[0]), at = flat_indices(l, n);
    int32_t count = (int32_t)count_of(n->in[1]->type.dims, n->in[1]->type.rank);
    int out = tfl_shaped_like(l, x, 1, &count);
    tfl_operator *op = tfl_op2(l, TFL_GATHER, x, at, out);
    tfl_option_i32(op, 0, 0);
    give_shaped(l, n->out[0], out);
}

/* ---- scattering ---- */

/* `values` at the indices [.., k] of a tensor of these dims, zeros elsewhere. */
static int scattered(tfl_legal *l, int at, int values, int rank, const int32_t *dims) {
    int in[3] = {at, values, tfl_const_i32s(l, dims, rank)};
    int out = tfl_shaped_like(l, values, rank, dims);
    tfl_op(l, TFL_SCATTER_ND, in, 3, out);
    return out;
}

/* data with values at the indices [m, k]: both counted over the first k dims. */
static int updated(tfl_legal *l, const hone_node *n, int data, int at, int values, int k) {
    const tfl_tensor d = l->model.tensors[data];
    int32_t m = l->model.tensors[at].dims[0], dims[TFL_MAX_RANK];
    int sums = scattered(l, at, values, d.rank, d.dims);
    if (strcmp(hone_attr_string(n, "reduction", "none"), "add") == 0)
        return tfl_apply2(l, TFL_ADD, data, sums);
    uint8_t *ones = tfl_alloc(l, (size_t)m, 1);
    if (ones)
        memset(ones, 1, (size_t)m);
    int is_hit = scattered(l, at, tfl_const(l, TFL_BOOL, 1, &m, ones), k, d.dims);
    for (int i = 0; i < d.rank; ++i)
        dims[i] = i < k ? d.dims[i] : 1;
    int in[3] = {k < d.rank ? tfl_reshape(l, is_hit, d.rank, dims) : is_hit, sums, data};
    int out = tfl_like(l, data);
    tfl_op(l, TFL_SELECT_V2, in, 3, out);
    return out;
}

/* False: refused. */
static bool check_scatter(tfl_legal *l, const hone_node *n) {
    const char *reduction = hone_attr_string(n, "reduction", "none");
    if (strcmp(reduction, "none") == 0 || strcmp(reduction, "add") == 0)
        return check_shapes(l, n);
    tfl_refuse(l, n, "unsupported-form", "scatter without a reduction, or with add",
               "there is no scattering with reduction %s", reduction);
    return false;
}

void tfl_legal_scatter_elements(tfl_legal *l, const hone_node *n) {
    if (!check_scatter(l, n))
        return;
    int32_t pairs[2] = {(int32_t)count_of(n->in[1]->type.dims, n->in[1]->type.rank), 1};
    int data = flat(l, n->in[0]), values = flat(l, n->in[2]);
    int at = tfl_reshape(l, flat_indices(l, n), 2, pairs);
    if (data >= 0 && at >= 0 && values >= 0)
        give_shaped(l, n->out[0], updated(l, n, data, at, values, 1));
}

void tfl_legal_scatter_nd(tfl_legal *l, const hone_node *n) {
    const hone_type *data = &n->in[0]->type, *at = &n->in[1]->type;
    if (!check_scatter(l, n))
        return;
    if (at->rank < 1 || at->dims[at->rank - 1] > data->rank) {
        tfl_refuse(l, n, "unsupported-form", "export the model again",
                   "the indices have more dims than the data");
        return;
    }
    int32_t k = (int32_t)at->dims[at->rank - 1], sizes[TFL_MAX_RANK], dims[TFL_MAX_RANK];
    int32_t rows[2] = {(int32_t)count_of(at->dims, at->rank - 1), k};
    for (int i = 0; i < data->rank; ++i)
        sizes[i] = (int32_t)data->dims[i];
    dims[0] = rows[0]; /* of the values: [m, what one index reaches] */
    memcpy(dims + 1, sizes + k, (size_t)(data->rank - k) * sizeof *dims);
    int x = as_i32(l, tfl_reshape(l, tfl_take(l, n->in[1], NULL), 2, rows));
    x = from_the_start(l, x, tfl_const_i32s(l, sizes, k));
    int values = tfl_reshape(l, tfl_take(l, n->in[2], NULL), 1 + data->rank - k, dims);
    int to = tfl_take(l, n->in[0], NULL);
    if (x >= 0 && values >= 0 && to >= 0)
        tfl_alias(l, n->out[0], updated(l, n, to, x, values, k), NULL);
}

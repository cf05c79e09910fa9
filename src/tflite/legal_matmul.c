/* Matrix products. */
#include <string.h>

#include "tflite/legal_ops.h"
#include "tflite/quant.h"

/* The same as it is stored, in bytes. */
static int stored_weights(tfl_legal *l, const hone_value *v, bool is_transposed) {
    const hone_tensor *t = tfl_contents(l, v);
    int64_t k = t->dims[is_transposed ? 1 : 0], n = t->dims[is_transposed ? 0 : 1];
    int32_t dims[2] = {(int32_t)n, (int32_t)k};
    const char *from = t->data;
    char *to = is_transposed ? NULL : tfl_alloc(l, (size_t)(n * k), 1);
    for (int64_t i = 0; to && i < n; ++i) {
        for (int64_t j = 0; j < k; ++j)
            to[i * k + j] = from[j * n + i];
    }
    return tfl_quant_weights(l, v, dims, 2, 0, is_transposed ? from : to);
}

/* A constant matrix as the runtime wants weights, a row for each output; scaled. */
static int weights(tfl_legal *l, const hone_value *v, bool is_transposed, float factor) {
    if (l->is_integer)
        return stored_weights(l, v, is_transposed);
    const hone_tensor *t = v->constant;
    const float *from = tfl_floats(l, v);
    int64_t k = t->dims[is_transposed ? 1 : 0], n = t->dims[is_transposed ? 0 : 1];
    int32_t dims[2] = {(int32_t)n, (int32_t)k};
    if (is_transposed && factor == 1 && t->dtype == HONE_DTYPE_F32)
        return tfl_const(l, TFL_F32, 2, dims, t->data);
    float *to = tfl_alloc(l, (size_t)(n * k), sizeof *to);
    for (int64_t i = 0; to && from && i < n; ++i) {
        for (int64_t j = 0; j < k; ++j)
            to[i * k + j] = factor * from[is_transposed ? i * k + j : j * n + i];
    }
    return tfl_const(l, TFL_F32, 2, dims, to);
}

static void fully_connected(tfl_legal *l, int x, int w, int bias, bool keeps_dims, int out) {
    int in[3] = {x, w, bias};
    tfl_operator *op = tfl_op(l, TFL_FULLY_CONNECTED, in, 3, out);
    tfl_option_byte(op, 0, TFL_ACT_NONE);
    tfl_option_byte(op, 2, keeps_dims);
}

static void batch_matmul(tfl_legal *l, int a, int b, bool a_is_transposed, bool b_is_transposed,
                         int out) {
    tfl_operator *op = tfl_op2(l, TFL_BATCH_MATMUL, a, b, out);
    tfl_option_byte(op, 0, a_is_transposed);
    tfl_option_byte(op, 1, b_is_transposed);
}

/* C as one number for each column, scaled; -1 when it has another form. */
static int row_of(tfl_legal *l, const hone_value *c, int64_t columns, float beta) {
    const hone_tensor *t = c->constant;
    if (!t || (hone_tensor_count(t) != columns && hone_tensor_count(t) != 1) ||
        (t->rank == 2 && t->dims[0] != 1))
        return -1;
    const float *from = tfl_floats(l, c);
    float *to = tfl_alloc(l, (size_t)columns, sizeof *to);
    for (int64_t i = 0; to && from && i < columns; ++i)
        to[i] = beta * from[hone_tensor_count(t) == 1 ? 0 : i];
    int32_t dim = (int32_t)columns;
    return tfl_const(l, TFL_F32, 1, &dim, to);
}

static int integer_bias(tfl_legal *l, const hone_node *n, int x, int w) {
    const hone_value *c = n->n_in > 2 ? n->in[2] : NULL;
    return c ? tfl_quant_bias(l, c, n->out[0]->type.dims[1], x, w) : -1;
}

/* The product alone, scaled by alpha unless the weights were. */
static int product(tfl_legal *l, const hone_node *n, int bias, float alpha) {
    bool trans_a = hone_attr_int(n, "transA", 0), trans_b = hone_attr_int(n, "transB", 0);
    const hone_value *b = n->in[1];
    int32_t dims[2];
    for (int i = 0; i < 2; ++i)
        dims[i] = n->out[0]->type.dims[i] < 0 ? -1 : (int32_t)n->out[0]->type.dims[i];
    int a = tfl_take(l, n->in[0], NULL), out = tfl_result(l, 2, dims);
    if (tfl_contents(l, b) && !trans_a) {
        int w = weights(l, b, trans_b, alpha);
        if (l->is_integer)
            bias = integer_bias(l, n, a, w);
        fully_connected(l, a, w, bias, false, out);
        return out;
    }
    batch_matmul(l, a, tfl_take(l, b, NULL), trans_a, trans_b, out);
    return alpha == 1 ? out : tfl_apply2(l, TFL_MUL, out, tfl_const_f32(l, alpha));
}

void tfl_legal_gemm(tfl_legal *l, const hone_node *n) {
    const hone_value *c = n->n_in > 2 ? n->in[2] : NULL;
    float alpha = hone_attr_float(n, "alpha", 1), beta = hone_attr_float(n, "beta", 1);
    bool is_connected = !l->is_integer && n->in[1]->constant && !hone_attr_int(n, "transA", 0);
    int bias = c && is_connected ? row_of(l, c, n->out[0]->type.dims[1], beta) : -1;
    int y = product(l, n, bias, alpha);
    if (c && bias < 0 && !l->is_integer) {
        int addend = tfl_take(l, c, NULL);
        if (beta != 1)
            addend = tfl_apply2(l, TFL_MUL, addend, tfl_const_f32(l, beta));
        y = tfl_apply2(l, TFL_ADD, y, addend);
    }
    tfl_alias(l, n->out[0], y, NULL);
}

/* An operand of rank 1 as a matrix. */
static int as_matrix(tfl_legal *l, const hone_value *v, bool is_row) {
    int t = tfl_take(l, v, NULL);
    if (tfl_rank(v) != 1 || t < 0)
        return t;
    int32_t d = l->model.tensors[t].dims[0], dims[2] = {is_row ? 1 : d, is_row ? d : 1};
    return tfl_reshape(l, t, 2, dims);
}

static void vector_product(tfl_legal *l, const hone_node *n) {
    int ra = tfl_rank(n->in[0]), rb = tfl_rank(n->in[1]), rank = ra > rb ? ra : rb;
    int a = as_matrix(l, n->in[0], true), b = as_matrix(l, n->in[1], false);
    int32_t full[TFL_MAX_RANK], final[TFL_MAX_RANK];
    int k = 0, r = tfl_rank(n->out[0]);
    for (int i = 0; i < r; ++i)
        final[i] = n->out[0]->type.dims[i] < 0 ? -1 : (int32_t)n->out[0]->type.dims[i];
    rank = rank < 2 ? 2 : rank;
    for (int i = 0; i < rank; ++i) {
        bool is_one = (i == rank - 2 && ra == 1) || (i == rank - 1 && rb == 1);
        full[i] = is_one ? 1 : final[k++];
    }
    int y = tfl_result(l, rank, full);
    batch_matmul(l, a, b, false, false, y);
    tfl_alias(l, n->out[0], tfl_reshape(l, y, r, final), NULL);
}

void tfl_legal_matmul(tfl_legal *l, const hone_node *n) {
    const hone_value *a = n->in[0], *b = n->in[1];
    if (tfl_type_of(a->type.dtype) != TFL_F32) {
        tfl_refuse(l, n, "unsupported-type", "compute the product in float",
                   "products of integer matrices have no equivalent");
        return;
    }
    if (tfl_rank(a) == 1 || tfl_rank(b) == 1) {
        vector_product(l, n);
        return;
    }
    int x = tfl_take(l, a, NULL);
    if (tfl_contents(l, b) && tfl_rank(b) == 2) {
        int w = weights(l, b, false, 1);
        fully_connected(l, x, w, -1, true, tfl_give(l, n->out[0], NULL));
        return;
    }
    int y = tfl_take(l, b, NULL);
    batch_matmul(l, x, y, false, false, tfl_give(l, n->out[0], NULL));
}

/* Helpers for the operators' infer and run functions. */
#include "ir/op.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *hone_op_name(const hone_op_def *op) {
    return op->name;
}

const char *hone_op_domain(const hone_op_def *op) {
    return op->domain;
}

hone_value *hone_value_mutable(const hone_value *v) {
    union {
        const hone_value *c;
        hone_value *m;
    } p = {v};
    return p.m;
}

static hone_status fail_in(const hone_node *node, hone_error *err, hone_status code,
                           const char *format, va_list args) {
    char text[512];
    vsnprintf(text, sizeof text, format, args);
    hone_fail(err, code, "%s", text);
    return hone_fail_node(err, code, node->name, node->op_name);
}

hone_status hone_infer_fail(hone_infer_ctx *c, hone_status code, const char *format, ...) {
    va_list args;
    va_start(args, format);
    fail_in(c->node, c->err, code, format, args);
    va_end(args);
    return code;
}

hone_status hone_op_fail(hone_op_ctx *c, hone_status code, const char *format, ...) {
    va_list args;
    va_start(args, format);
    fail_in(c->node, c->err, code, format, args);
    va_end(args);
    return code;
}

hone_status hone_op_bad_type(hone_op_ctx *c, hone_dtype d) {
    return hone_op_fail(c, HONE_E_UNSUPPORTED, "type %s is not supported by %s", hone_dtype_name(d),
                        c->node->op_name);
}

hone_status hone_op_infer(hone_infer_ctx *c) {
    const hone_op_def *op = c->node->op;
    const hone_type *x = c->n_in ? &c->in[0] : NULL;
    if (x && x->kind == HONE_KIND_TENSOR && x->dtype && op->types &&
        !hone_dtype_in(x->dtype, op->types))
        return hone_infer_fail(c, HONE_E_TYPE, "type %s is not supported by %s",
                               hone_dtype_name(x->dtype), op->name);
    return op->infer(c);
}

int hone_infer_dims(const hone_infer_ctx *c, int i, int64_t *dims, int max) {
    if (!hone_infer_has(c, i))
        return -1;
    const hone_tensor *v = hone_infer_value(c, i);
    if (v && hone_dtype_in(v->dtype, HONE_T_INT) && v->rank <= 1) {
        int64_t n = hone_tensor_count(v);
        if (n > max)
            return -1;
        for (int64_t k = 0; k < n; ++k)
            dims[k] = hone_load_i64(v->dtype, v->data, k);
        return (int)n;
    }
    const hone_type *t = &c->in[i];
    if (!t->contents || t->n_contents > max)
        return -1;
    memcpy(dims, t->contents, (size_t)t->n_contents * sizeof *dims);
    return t->n_contents;
}

void hone_infer_set(hone_infer_ctx *c, int o, hone_dtype d, int rank, const int64_t *dims) {
    if (o < c->n_out)
        c->out[o] = hone_type_tensor(d, rank, dims);
}

void hone_infer_same(hone_infer_ctx *c, int o, int i) {
    if (o >= c->n_out || i >= c->n_in)
        return;
    c->out[o] = c->in[i];
    c->out[o].contents = NULL;
    c->out[o].n_contents = 0;
}

void hone_infer_set_contents(hone_infer_ctx *c, int o, const int64_t *dims, int n) {
    if (o >= c->n_out || !c->arena)
        return;
    int64_t *copy = HONE_NEW_ARRAY(c->arena, int64_t, n);
    if (!copy)
        return; /* contents are a help, not a duty */
    memcpy(copy, dims, (size_t)n * sizeof *copy);
    c->out[o].contents = copy;
    c->out[o].n_contents = n;
}

hone_status hone_infer_alike(hone_infer_ctx *c, int a, int b) {
    if (!hone_infer_has(c, a) || !hone_infer_has(c, b))
        return HONE_OK;
    hone_dtype da = c->in[a].dtype, db = c->in[b].dtype;
    if (!da || !db || da == db)
        return HONE_OK;
    return hone_infer_fail(c, HONE_E_TYPE, "inputs %d and %d are %s and %s, not of one type", a, b,
                           hone_dtype_name(da), hone_dtype_name(db));
}

hone_status hone_infer_same_dim(hone_infer_ctx *c, int64_t a, int64_t b, int64_t *out) {
    if (a >= 0 && b >= 0 && a != b)
        return hone_infer_fail(c, HONE_E_SHAPE, "dims %" PRId64 " and %" PRId64 " must be equal", a,
                               b);
    *out = a >= 0 ? a : b >= 0 ? b : a != HONE_DIM_UNKNOWN ? a : b;
    return HONE_OK;
}

hone_status hone_broadcast_dims(hone_infer_ctx *c, int ra, const int64_t *a, int rb,
                                const int64_t *b, int *r_out, int64_t *out) {
    if (ra < 0 || rb < 0) {
        *r_out = -1;
        return HONE_OK;
    }
    int rank = ra > rb ? ra : rb;
    int64_t result[HONE_MAX_RANK];
    for (int i = 0; i < rank; ++i) {
        int ia = i - (rank - ra), ib = i - (rank - rb);
        int64_t da = ia < 0 ? 1 : a[ia], db = ib < 0 ? 1 : b[ib];
        if (da == 1)
            result[i] = db;
        else if (db == 1 || da == db)
            result[i] = da;
        else if (da >= 0 && db >= 0)
            return hone_infer_fail(c, HONE_E_SHAPE,
                                   "dims %" PRId64 " and %" PRId64
                                   " do not broadcast (axis %d of the result)",
                                   da, db, i);
        else /* one is open: it must be 1 or equal to the other, a known one > 1 decides */
            result[i] = da > 1 ? da : db > 1 ? db : HONE_DIM_UNKNOWN;
    }
    memcpy(out, result, (size_t)rank * sizeof *out);
    *r_out = rank;
    return HONE_OK;
}

hone_status hone_infer_axis(hone_infer_ctx *c, int64_t axis, int rank, bool inclusive, int *out) {
    int64_t top = inclusive ? rank : rank - 1;
    if (axis < -(top + 1) || axis > top)
        return hone_infer_fail(c, HONE_E_SHAPE, "axis %" PRId64 " is outside rank %d", axis, rank);
    *out = (int)(axis < 0 ? axis + top + 1 : axis);
    return HONE_OK;
}

hone_status hone_op_alloc(hone_op_ctx *c, int o, hone_dtype d, int rank, const int64_t *dims) {
    hone_tensor *t = hone_out(c, o);
    if (!t)
        return HONE_OK;
    *t = hone_tensor_view(d, rank, dims, NULL);
    hone_status status = hone_tensor_alloc(c->alloc, t, c->err);
    return status == HONE_OK ? HONE_OK
                             : hone_fail_node(c->err, status, c->node->name, c->node->op_name);
}

void *hone_op_scratch(hone_op_ctx *c, size_t bytes) {
    void *p = c->host->scratch(c, bytes);
    if (!p)
        hone_op_fail(c, HONE_E_NOMEM, "no memory for %zu bytes of scratch", bytes);
    return p;
}

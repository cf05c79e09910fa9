#include "ops/steps.h"

#include <inttypes.h>
#include <string.h>

#include "ops/place.h"

static hone_status grow(hone_op_ctx *c, hone_steps *s) {
    int64_t cap = s->cap ? s->cap * 2 : 16;
    hone_tensor *item = hone_op_scratch(c, (size_t)cap * sizeof *item);
    if (!item)
        return HONE_E_NOMEM;
    if (s->n)
        memcpy(item, s->item, (size_t)s->n * sizeof *item);
    s->item = item;
    s->cap = cap;
    return HONE_OK;
}

static hone_status check_item(hone_op_ctx *c, const hone_steps *s, const hone_tensor *item) {
    if (item->kind != HONE_KIND_TENSOR)
        return hone_op_fail(c, HONE_E_TYPE, "a scan output must be a tensor");
    if (s->n == 0)
        return HONE_OK;
    const hone_tensor *first = &s->item[0];
    if (item->dtype != first->dtype || !hone_same_dims(item, first)) {
        char a[160], b[160];
        return hone_op_fail(c, HONE_E_SHAPE,
                            "a scan output changes from %s to %s at iteration %" PRId64,
                            hone_tensor_describe(first, a, sizeof a),
                            hone_tensor_describe(item, b, sizeof b), s->n);
    }
    return HONE_OK;
}

hone_status hone_steps_push(hone_op_ctx *c, hone_steps *s, hone_tensor *item) {
    hone_status status = check_item(c, s, item);
    if (status == HONE_OK && s->n == s->cap)
        status = grow(c, s);
    if (status != HONE_OK) {
        hone_tensor_release(item);
        return status;
    }
    s->item[s->n++] = *item;
    *item = (hone_tensor){.kind = HONE_KIND_NONE};
    return HONE_OK;
}

void hone_steps_release(hone_steps *s) {
    for (int64_t i = 0; i < s->n; ++i)
        hone_tensor_release(&s->item[i]);
    s->n = 0;
}

/* dims of the stack of n items; the axis normalised. False when it does not fit. */
static bool stack_dims(int64_t axis, int64_t n, int item_rank, const int64_t *item_dims,
                       int64_t *dims, int *at) {
    int rank = item_rank + 1;
    if (rank > HONE_MAX_RANK || axis < -rank || axis >= rank)
        return false;
    *at = (int)(axis < 0 ? axis + rank : axis);
    for (int i = 0, from = 0; i < rank; ++i)
        dims[i] = i == *at ? n : item_dims[from++];
    return true;
}

static hone_status stack_nothing(hone_op_ctx *c, int o, int64_t axis, const hone_type *empty) {
    int64_t dims[HONE_MAX_RANK], item[HONE_MAX_RANK] = {0};
    int at, rank = empty->kind == HONE_KIND_TENSOR && empty->rank > 0 ? empty->rank : 0;
    for (int i = 0; i < rank; ++i)
        item[i] = empty->dims[i] > 0 ? empty->dims[i] : 0;
    if (!stack_dims(axis, 0, rank, item, dims, &at))
        return hone_op_fail(c, HONE_E_SHAPE, "axis %" PRId64 " does not fit output %d", axis, o);
    hone_dtype d = empty->kind == HONE_KIND_TENSOR ? empty->dtype : HONE_DTYPE_NONE;
    if (d == HONE_DTYPE_NONE)
        return hone_op_fail(c, HONE_E_UNSUPPORTED,
                            "output %d had no iteration and its type is unknown", o);
    return hone_op_alloc(c, o, d, rank + 1, dims);
}

hone_status hone_steps_stack(hone_op_ctx *c, int o, const hone_steps *s, int64_t axis, bool reverse,
                             const hone_type *empty) {
    hone_tensor *out = hone_out(c, o);
    if (!out)
        return HONE_OK;
    hone_tensor_release(out);
    if (s->n == 0)
        return stack_nothing(c, o, axis, empty);
    const hone_tensor *first = &s->item[0];
    int64_t dims[HONE_MAX_RANK];
    int at = 0;
    if (!stack_dims(axis, s->n, first->rank, first->dims, dims, &at))
        return hone_op_fail(c, HONE_E_SHAPE, "axis %" PRId64 " does not fit output %d", axis, o);
    HONE_TRY(hone_op_alloc(c, o, first->dtype, first->rank + 1, dims));
    if (hone_tensor_count(out) == 0)
        return HONE_OK;
    int64_t outer = hone_dims_count(dims, 0, at);
    int64_t inner = hone_dims_count(dims, at + 1, first->rank + 1);
    for (int64_t i = 0; i < s->n; ++i) {
        const hone_tensor *item = &s->item[reverse ? s->n - 1 - i : i];
        for (int64_t k = 0; k < outer; ++k)
            HONE_TRY(hone_place(c, out, (k * s->n + i) * inner, item, k * inner, inner));
    }
    return HONE_OK;
}

void hone_steps_infer(hone_infer_ctx *c, int o, const hone_type *item, int64_t axis, int64_t n) {
    if (item->kind != HONE_KIND_TENSOR)
        return;
    int64_t dims[HONE_MAX_RANK];
    int at;
    if (item->rank < 0 || !stack_dims(axis, n, item->rank, item->dims, dims, &at))
        hone_infer_set(c, o, item->dtype, -1, NULL);
    else
        hone_infer_set(c, o, item->dtype, item->rank + 1, dims);
}

/* Concat of elements of whole bytes: rows of the result, shared out over the threads. */
#include <string.h>

#include "backend/cpu/impl.h"

enum { GRAIN_BYTES = 1 << 16 };

/* A row is what lies behind the dims before the axis. */
typedef struct concat_state {
    int64_t rows, row_bytes;
    int n_in;
    int64_t *part_bytes; /* by input */
} concat_state;

hone_status hone_prepare_concat(hone_prepare_ctx *c, void **state) {
    const hone_type *y = &c->out[0];
    concat_state *s = HONE_NEW(c->arena, concat_state);
    int64_t *parts = HONE_NEW_ARRAY(c->arena, int64_t, c->n_in);
    if (!s || !parts)
        return hone_fail(c->err, HONE_E_NOMEM, "no memory for a kernel");
    int64_t axis = hone_attr_int(c->node, "axis", 0), size = (int64_t)hone_dtype_bytes(y->dtype, 1);
    axis += axis < 0 ? y->rank : 0;
    HONE_REJECT_IF(y->dtype == HONE_DTYPE_STRING ||
                       hone_dtype_bytes(y->dtype, 2) != 2 * (size_t)size,
                   "elements that are not whole bytes");
    HONE_REJECT_IF(axis < 0 || axis >= y->rank, "no such axis");
    s->rows = hone_dims_count(y->dims, 0, (int)axis);
    s->row_bytes = hone_dims_count(y->dims, (int)axis, y->rank) * size;
    s->n_in = c->n_in;
    s->part_bytes = parts;
    int64_t sum = 0;
    for (int i = 0; i < c->n_in; ++i) {
        HONE_REJECT_IF(c->in[i].kind != HONE_KIND_TENSOR || c->in[i].dtype != y->dtype ||
                           c->in[i].rank != y->rank,
                       "inputs of several types");
        parts[i] = hone_dims_count(c->in[i].dims, (int)axis, y->rank) * size;
        sum += parts[i];
    }
    HONE_REJECT_IF(sum != s->row_bytes, "inputs that do not add up to the output");
    *state = s;
    return HONE_OK;
}

typedef struct concat_job {
    const concat_state *s;
    hone_op_ctx *c;
} concat_job;

static void concat_range(void *arg, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const concat_job *j = arg;
    const concat_state *s = j->s;
    unsigned char *y = hone_out(j->c, 0)->data;
    int64_t at = 0;
    for (int i = 0; i < s->n_in; at += s->part_bytes[i++]) {
        const int64_t bytes = s->part_bytes[i];
        const unsigned char *x = hone_in(j->c, i)->data;
        for (int64_t row = begin; row < end && bytes; ++row)
            memcpy(y + row * s->row_bytes + at, x + row * bytes, (size_t)bytes);
    }
}

hone_status hone_run_concat(hone_op_ctx *c) {
    const concat_state *s = c->state;
    concat_job j = {s, c};
    if (s->rows && s->row_bytes)
        hone_parallel_range(c->pool, s->rows, 1 + GRAIN_BYTES / s->row_bytes, concat_range, &j);
    return HONE_OK;
}

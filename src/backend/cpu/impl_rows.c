/* Softmax, normalisations and transposes on the vector kernels. */
#include <string.h>

#include "backend/cpu/impl.h"

enum { GRAIN = 1 << 15 }; /* elements a task */

static int64_t rows_for(int64_t elements_per_row) {
    return elements_per_row >= GRAIN ? 1 : GRAIN / (elements_per_row ? elements_per_row : 1);
}

/* ---- softmax ----------------------------------------------------------------------------------
 */

typedef struct softmax_state {
    int64_t n, inner, lines;
    bool is_log;
    hone_softmax_fn *fn;
    const float *x;
    float *y;
} softmax_state;

hone_status hone_prepare_softmax(hone_prepare_ctx *c, void **state) {
    const hone_type *t = &c->in[0];
    softmax_state *s = HONE_NEW(c->arena, softmax_state);
    if (!s)
        return hone_fail(c->err, HONE_E_NOMEM, "no memory for a kernel");
    HONE_REJECT_IF(!hone_is_f32(t) || t->rank == 0, "not a float32 array");
    int64_t axis = hone_attr_int(c->node, "axis", -1);
    axis = axis < 0 ? axis + t->rank : axis;
    bool is_flat = hone_attr_int(c->node, "hone_flatten", 0) != 0;
    int end = is_flat ? t->rank : (int)axis + 1;
    s->n = hone_dims_count(t->dims, (int)axis, end);
    s->inner = hone_dims_count(t->dims, end, t->rank);
    s->lines = hone_dims_count(t->dims, 0, (int)axis) * s->inner;
    s->is_log = strcmp(c->node->op_name, "LogSoftmax") == 0;
    s->fn = hone_vec()->softmax;
    HONE_REJECT_IF(s->n == 0, "the axis is empty");
    *state = s;
    return HONE_OK;
}

static void softmax_range(void *arg, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const softmax_state *s = arg;
    s->fn(s->x, s->y, s->n, s->inner, s->is_log, begin, end);
}

hone_status hone_run_softmax(hone_op_ctx *c) {
    softmax_state s = *(const softmax_state *)c->state;
    s.x = hone_in(c, 0)->data;
    s.y = hone_out(c, 0)->data;
    hone_parallel_range(c->pool, s.lines, rows_for(s.n), softmax_range, &s);
    return HONE_OK;
}

/* ---- layer and RMS normalisation --------------------------------------------------------------
 */

typedef struct norm_state {
    hone_layer_norm p;
    int64_t rows;
    const hone_vec_kernels *kernels;
    bool is_bf16;
    const void *x;
    void *y;
} norm_state;

/* A scale or bias with an element for each of the row's, in their order. */
static bool spans_row(const hone_type *s, const hone_type *x, int axis) {
    int first = 0;
    while (first < s->rank && s->dims[first] == 1)
        ++first;
    for (int d = x->rank - 1, k = s->rank - 1; d >= axis; --d, --k) {
        if ((k >= first ? s->dims[k] : 1) != x->dims[d])
            return false;
    }
    return s->rank - first <= x->rank - axis;
}

hone_status hone_prepare_layer_norm(hone_prepare_ctx *c, void **state) {
    const hone_type *t = &c->in[0];
    norm_state *s = HONE_NEW(c->arena, norm_state);
    if (!s)
        return hone_fail(c->err, HONE_E_NOMEM, "no memory for a kernel");
    int64_t axis = hone_attr_int(c->node, "axis", -1);
    axis = axis < 0 ? axis + t->rank : axis;
    int64_t n = hone_dims_count(t->dims, (int)axis, t->rank);
    HONE_REJECT_IF((!hone_is_f32(t) && !hone_is_bf16(t)) || n == 0,
                   "not an array of float32 or bfloat16");
    HONE_REJECT_IF(hone_attr_int(c->node, "stash_type", 1) != 1, "statistics of another type");
    for (int i = 1; i < c->n_in; ++i)
        HONE_REJECT_IF(c->node->in[i] &&
                           (!hone_is_f32(&c->in[i]) || !spans_row(&c->in[i], t, (int)axis)),
                       "scale or bias is broadcast");
    s->p.n = s->p.x_stride = s->p.y_stride = n;
    s->p.eps = hone_attr_float(c->node, "epsilon", 1e-5f);
    s->p.rms = strcmp(c->node->op_name, "RMSNormalization") == 0;
    s->rows = hone_dims_count(t->dims, 0, (int)axis);
    s->kernels = hone_vec();
    s->is_bf16 = hone_is_bf16(t);
    *state = s;
    return HONE_OK;
}

static void norm_range(void *arg, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const norm_state *s = arg;
    if (s->is_bf16)
        s->kernels->layer_norm_bf16(&s->p, s->x, s->y, begin, end);
    else
        s->kernels->layer_norm(&s->p, begin, end);
}

hone_status hone_run_layer_norm(hone_op_ctx *c) {
    norm_state s = *(const norm_state *)c->state;
    s.x = hone_in(c, 0)->data;
    s.y = hone_out(c, 0)->data;
    s.p.x = s.x;
    s.p.scale = hone_in(c, 1) ? hone_in(c, 1)->data : NULL;
    s.p.bias = hone_in(c, 2) ? hone_in(c, 2)->data : NULL;
    s.p.y = s.y;
    s.p.mean = hone_out(c, 1) ? hone_out(c, 1)->data : NULL;
    s.p.inv_std = hone_out(c, 2) ? hone_out(c, 2)->data : NULL;
    hone_parallel_range(c->pool, s.rows, rows_for(s.p.n), norm_range, &s);
    return HONE_OK;
}

/* ---- group and instance normalisation -----------------------------------------------------------
 */

typedef struct group_norm_state {
    hone_group_norm p;
    int64_t n;
    hone_group_norm_fn *fn;
} group_norm_state;

/* InstanceNormalization and GroupNormalization, or hone.GroupNorm, whose channels come last. */
hone_status hone_prepare_group_norm(hone_prepare_ctx *c, void **state) {
    const hone_type *t = &c->in[0];
    group_norm_state *s = HONE_NEW(c->arena, group_norm_state);
    if (!s)
        return hone_fail(c->err, HONE_E_NOMEM, "no memory for a kernel");
    bool is_last = strcmp(c->node->domain, "hone") == 0;
    HONE_REJECT_IF(!hone_is_f32(t) || t->rank < 3, "not a float32 array of rank 3 or more");
    int64_t channels = t->dims[is_last ? t->rank - 1 : 1];
    int64_t groups = hone_attr_int(c->node, "num_groups", channels);
    HONE_REJECT_IF(hone_count(t) == 0, "empty");
    HONE_REJECT_IF(groups < 1 || channels % groups, "the groups do not divide the channels");
    for (int i = 1; i <= 2; ++i)
        HONE_REJECT_IF(!hone_is_f32(&c->in[i]) || hone_count(&c->in[i]) != channels,
                       "scale or bias is not one number a channel");
    s->p.n_groups = groups;
    s->p.channels = channels / groups;
    s->p.positions = hone_count(t) / t->dims[0] / channels;
    s->p.batch_stride = channels * s->p.positions;
    s->p.channel_stride = is_last ? 1 : s->p.positions;
    s->p.position_stride = is_last ? channels : 1;
    s->p.eps = hone_attr_float(c->node, "epsilon", 1e-5f);
    s->n = t->dims[0] * groups;
    s->fn = hone_vec()->group_norm;
    *state = s;
    return HONE_OK;
}

static void group_norm_range(void *arg, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const group_norm_state *s = arg;
    s->fn(&s->p, begin, end);
}

hone_status hone_run_group_norm(hone_op_ctx *c) {
    group_norm_state s = *(const group_norm_state *)c->state;
    s.p.x = hone_in(c, 0)->data;
    s.p.scale = hone_in(c, 1)->data;
    s.p.bias = hone_in(c, 2)->data;
    s.p.y = hone_out(c, 0)->data;
    hone_parallel_range(c->pool, s.n, rows_for(s.p.channels * s.p.positions), group_norm_range, &s);
    return HONE_OK;
}

/* ---- transpose --------------------------------------------------------------------------------
 */

typedef struct transpose_state {
    hone_transpose t;
    hone_transpose_fn *fn;
    const void *x;
    void *y;
} transpose_state;

hone_status hone_prepare_transpose(hone_prepare_ctx *c, void **state) {
    const hone_type *t = &c->in[0];
    const int64_t *given;
    int perm[HONE_MAX_RANK], n = hone_attr_ints(c->node, "perm", &given);
    transpose_state *s = HONE_NEW(c->arena, transpose_state);
    if (!s)
        return hone_fail(c->err, HONE_E_NOMEM, "no memory for a kernel");
    for (int i = 0; i < t->rank; ++i) {
        int64_t p = n ? given[i] : t->rank - 1 - i;
        perm[i] = (int)(p < 0 ? p + t->rank : p);
    }
    HONE_REJECT_IF(t->dtype == HONE_DTYPE_STRING || hone_dtype_bits(t->dtype) < 8,
                   "not whole bytes");
    HONE_REJECT_IF(
        !hone_transpose_prepare(&s->t, t->rank, t->dims, perm, hone_dtype_bits(t->dtype) / 8),
        "the rank or element size is not covered");
    s->fn = hone_vec()->transpose;
    *state = s;
    return HONE_OK;
}

static void transpose_range(void *arg, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const transpose_state *s = arg;
    s->fn(&s->t, s->x, s->y, begin, end);
}

hone_status hone_run_transpose(hone_op_ctx *c) {
    transpose_state s = *(const transpose_state *)c->state;
    s.x = hone_in(c, 0)->data;
    s.y = hone_out(c, 0)->data;
    hone_parallel_range(c->pool, s.t.n_tasks, 1, transpose_range, &s);
    return HONE_OK;
}

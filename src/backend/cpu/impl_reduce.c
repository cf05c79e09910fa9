/* Reductions over axes that lie together. Columns that are long and few, as those of global pooling
 * on channels-last data, are cut into parts by their length, whatever the number of threads: each
 * thread then reads neighbouring pixels, which it has mostly written itself. */
#include <string.h>

#include "backend/cpu/impl.h"

enum {
    GRAIN = 1 << 15, /* elements a task */
    PART = 128,
    COLUMNS = 64,
};

typedef struct reduce_state {
    hone_reduce_op op;
    int64_t n, inner, outputs;
    int64_t parts; /* of n, summed up one by one; 1: all at once */
    const hone_vec_kernels *kernels;
    bool is_bf16;
    const void *x;
    void *y;
    float *sums; /* [outer][part][inner] */
} reduce_state;

static const struct {
    const char *name;
    hone_reduce_op op;
} reduce_rows[] = {
    {"ReduceMean", HONE_REDUCE_MEAN},        {"ReduceSum", HONE_REDUCE_SUM},
    {"ReduceMax", HONE_REDUCE_MAX},          {"ReduceMin", HONE_REDUCE_MIN},
    {"GlobalAveragePool", HONE_REDUCE_MEAN},
};

/* The reduced axes as one run [first, last); false when they do not lie together. */
static bool reduced_run(const hone_prepare_ctx *c, int *first, int *last) {
    int rank = c->in[0].rank;
    const hone_tensor *axes = c->n_in > 1 ? c->value[1] : NULL;
    uint32_t set = 0;
    if (strcmp(c->node->op_name, "GlobalAveragePool") == 0) {
        *first = 2;
        *last = rank;
        return true;
    }
    if ((c->n_in > 1 && c->node->in[1] && !axes) ||
        hone_attr_int(c->node, "noop_with_empty_axes", 0))
        return false;
    int64_t n = axes ? hone_tensor_count(axes) : 0;
    for (int64_t i = 0; i < n; ++i) {
        int64_t a = hone_load_i64(axes->dtype, axes->data, i);
        set |= 1u << (a < 0 ? a + rank : a);
    }
    if (n == 0)
        set = (1u << rank) - 1;
    *first = 0;
    *last = rank;
    while (*first < rank && !(set >> *first & 1))
        ++*first;
    while (*last > *first && !(set >> (*last - 1) & 1))
        --*last;
    return set == (((1u << *last) - 1) & ~((1u << *first) - 1));
}

hone_status hone_prepare_reduce(hone_prepare_ctx *c, void **state) {
    const hone_type *t = &c->in[0];
    int first, last;
    reduce_state *s = HONE_NEW(c->arena, reduce_state);
    if (!s)
        return hone_fail(c->err, HONE_E_NOMEM, "no memory for a kernel");
    s->is_bf16 = hone_is_bf16(t);
    HONE_REJECT_IF((!hone_is_f32(t) && !s->is_bf16) || t->rank == 0,
                   "not an array of float32 or bfloat16");
    HONE_REJECT_IF(!reduced_run(c, &first, &last), "the axes do not lie together");
    for (size_t i = 0; i < sizeof reduce_rows / sizeof reduce_rows[0]; ++i) {
        if (strcmp(reduce_rows[i].name, c->node->op_name) == 0)
            s->op = reduce_rows[i].op;
    }
    s->n = hone_dims_count(t->dims, first, last);
    s->parts = 1;
    s->inner = hone_dims_count(t->dims, last, t->rank);
    s->outputs = hone_dims_count(t->dims, 0, first) * s->inner;
    s->kernels = hone_vec();
    HONE_REJECT_IF(s->n == 0, "nothing to reduce");
    if (s->inner > 1 && s->n >= 4 * PART && !s->is_bf16) {
        s->parts = (s->n + PART - 1) / PART;
        c->scratch_bytes = (size_t)(s->outputs * s->parts) * sizeof(float) + 64;
    }
    *state = s;
    return HONE_OK;
}

static void reduce_range(void *arg, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const reduce_state *s = arg;
    if (s->is_bf16)
        s->kernels->reduce_bf16(s->op, s->x, s->n, s->inner, s->y, begin, end);
    else
        s->kernels->reduce(s->op, s->x, s->n, s->inner, s->y, begin, end);
}

/* One part of n, all columns. */
static void reduce_part(void *arg, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const reduce_state *s = arg;
    const hone_reduce_op op = s->op == HONE_REDUCE_MEAN ? HONE_REDUCE_SUM : s->op;
    for (int64_t i = begin; i < end; ++i) {
        int64_t outer = i / s->parts, from = i % s->parts * PART;
        int64_t n = s->n - from < PART ? s->n - from : PART;
        const float *x = (const float *)s->x + (outer * s->n + from) * s->inner;
        s->kernels->reduce(op, x, n, s->inner, s->sums + i * s->inner, 0, s->inner);
    }
}

static void join_parts(const reduce_state *s) {
    const hone_reduce_op op = s->op == HONE_REDUCE_MEAN ? HONE_REDUCE_SUM : s->op;
    const float factor = 1.0f / (float)s->n;
    float *y = s->y;
    s->kernels->reduce(op, s->sums, s->parts, s->inner, y, 0, s->outputs);
    for (int64_t i = 0; s->op == HONE_REDUCE_MEAN && i < s->outputs; ++i)
        y[i] *= factor;
}

hone_status hone_run_reduce(hone_op_ctx *c) {
    reduce_state s = *(const reduce_state *)c->state;
    s.x = hone_in(c, 0)->data;
    s.y = hone_out(c, 0)->data;
    if (s.parts == 1) {
        /* Whole lines of the cache, and the vectors that the kernel takes at a time. */
        int64_t grain = GRAIN / s.n + 1;
        grain = s.inner > 1 ? (grain + COLUMNS - 1) / COLUMNS * COLUMNS : grain;
        hone_parallel_range(c->pool, s.outputs, grain, reduce_range, &s);
        return HONE_OK;
    }
    s.sums = hone_op_scratch(c, (size_t)(s.outputs * s.parts) * sizeof(float) + 64);
    if (!s.sums)
        return HONE_E_NOMEM;
    hone_parallel_range(c->pool, s.outputs / s.inner * s.parts, 1 + GRAIN / (PART * s.inner),
                        reduce_part, &s);
    join_parts(&s);
    return HONE_OK;
}

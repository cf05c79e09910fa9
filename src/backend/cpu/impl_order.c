/* TopK of float32 along the last axis: the best k from a heap, instead of sorting all. */
#include <math.h>
#include <string.h>

#include "backend/cpu/impl.h"

/* Ordered as the reference has it: NaN above all numbers, equal values by index. */
typedef struct entry {
    float key; /* turned round when the smallest are wanted */
    int32_t index;
} entry;

typedef struct topk_state {
    int64_t rows, n, k;
    bool is_largest;
    size_t scratch_bytes; /* of one thread */
} topk_state;

hone_status hone_prepare_topk(hone_prepare_ctx *c, void **state) {
    const hone_type *x = &c->in[0], *y = &c->out[0];
    topk_state *s = HONE_NEW(c->arena, topk_state);
    if (!s)
        return hone_fail(c->err, HONE_E_NOMEM, "no memory for a kernel");
    HONE_REJECT_IF(!hone_is_f32(x) || x->rank < 1, "not a float32 array");
    int64_t axis = hone_attr_int(c->node, "axis", -1), last = x->rank - 1;
    HONE_REJECT_IF(axis != -1 && axis != last, "not the last axis");
    HONE_REJECT_IF(c->n_out != 2 || !c->node->out[0] || !c->node->out[1], "an output is left out");
    HONE_REJECT_IF(x->dims[last] > INT32_MAX || hone_count(x) == 0, "too long, or empty");
    s->n = x->dims[last];
    s->k = y->dims[last];
    s->rows = hone_count(x) / s->n;
    s->is_largest = hone_attr_int(c->node, "largest", 1) != 0;
    s->scratch_bytes = ((size_t)s->n * sizeof(entry) + 63) / 64 * 64;
    c->scratch_bytes = s->scratch_bytes * (size_t)c->n_threads + 64;
    *state = s;
    return HONE_OK;
}

/* Keys have no NaN: topk_row keeps those apart. */
static bool is_better(entry a, entry b) {
    return a.key != b.key ? a.key > b.key : a.index < b.index;
}

static void sift_down(entry *heap, int64_t n, int64_t at) {
    entry e = heap[at];
    for (int64_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && is_better(heap[child + 1], heap[child]))
            ++child;
        if (!is_better(heap[child], e))
            break;
        heap[at] = heap[child];
    }
    heap[at] = e;
}

typedef struct topk_job {
    const topk_state *s;
    const float *x;
    float *values;
    int64_t *indices;
    unsigned char *scratch;
} topk_job;

static void put(const topk_job *j, int64_t row, int64_t at, int64_t index) {
    j->values[row * j->s->k + at] = j->x[row * j->s->n + index];
    j->indices[row * j->s->k + at] = index;
}

static void topk_row(const topk_job *j, int64_t row, entry *heap) {
    const topk_state *s = j->s;
    const float *x = j->x + row * s->n;
    int64_t n = 0, done = 0;
    /* NaN is above all: first among the largest, last among the smallest. */
    for (int64_t i = 0; s->is_largest && i < s->n && done < s->k; ++i) {
        if (isnan(x[i]))
            put(j, row, done++, i);
    }
    for (int64_t i = 0; i < s->n; ++i) {
        if (!isnan(x[i]))
            heap[n++] = (entry){s->is_largest ? x[i] : -x[i], (int32_t)i};
    }
    for (int64_t i = n / 2 - 1; i >= 0; --i)
        sift_down(heap, n, i);
    for (; n > 0 && done < s->k; ++done) {
        put(j, row, done, heap[0].index);
        heap[0] = heap[--n];
        if (n > 0)
            sift_down(heap, n, 0);
    }
    for (int64_t i = 0; i < s->n && done < s->k; ++i) {
        if (isnan(x[i]))
            put(j, row, done++, i);
    }
}

static void topk_range(void *arg, int64_t begin, int64_t end, int worker) {
    const topk_job *j = arg;
    for (int64_t row = begin; row < end; ++row)
        topk_row(j, row, (entry *)(void *)(j->scratch + (size_t)worker * j->s->scratch_bytes));
}

hone_status hone_run_topk(hone_op_ctx *c) {
    const topk_state *s = c->state;
    topk_job j = {s, hone_in(c, 0)->data, hone_out(c, 0)->data, hone_out(c, 1)->data, NULL};
    j.scratch = hone_op_scratch(c, s->scratch_bytes * (size_t)hone_pool_threads(c->pool) + 64);
    if (!j.scratch)
        return HONE_E_NOMEM;
    hone_parallel_range(c->pool, s->rows, 1 + (1 << 14) / s->n, topk_range, &j);
    return HONE_OK;
}

/* TfIdfVectorizer: counts of n-grams, with gaps, found through a hash table of the pool. */
#include <inttypes.h>
#include <string.h>

#include "ir/op.h"

/* Items are compared as text or as integers. */
typedef struct gram_items {
    const hone_string *strings;
    const int64_t *ints;
    const int32_t *ints32;
} gram_items;

typedef struct gram {
    int64_t at; /* of its first item in the pool */
    int64_t column;
    int32_t n;
} gram;

typedef struct gram_table {
    gram_items pool;
    gram *list;
    int64_t n;
    int32_t *slot; /* open addressing: gram number + 1, 0 free */
    uint64_t mask;
    int64_t min, max, max_skip; /* gram lengths in use, skips */
    int64_t width;              /* columns of the output */
} gram_table;

static uint64_t hash_item(uint64_t h, const gram_items *items, int64_t i) {
    if (items->strings) {
        for (size_t k = 0; k < items->strings[i].len; ++k)
            h = (h ^ (unsigned char)items->strings[i].data[k]) * 1099511628211u;
        return (h ^ 0x100) * 1099511628211u; /* an end, so that "a","b" is not "ab" */
    }
    uint64_t v = (uint64_t)(items->ints ? items->ints[i] : items->ints32[i]);
    h = (h ^ v) * 0x9E3779B97F4A7C15u;
    return h ^ (h >> 32);
}

static bool same_item(const gram_items *a, int64_t i, const gram_items *b, int64_t k) {
    if (a->strings)
        return hone_string_equal(a->strings[i], b->strings[k]);
    return a->ints[i] == (b->ints ? b->ints[k] : b->ints32[k]);
}

/* The gram of n items at i, i + step, ... : number, or -1. */
static int64_t find_gram(const gram_table *t, uint64_t hash, const gram_items *x, int64_t i,
                         int64_t step, int32_t n) {
    for (uint64_t at = (hash ^ (hash >> 29)) & t->mask; t->slot[at]; at = (at + 1) & t->mask) {
        const gram *g = &t->list[t->slot[at] - 1];
        bool same = g->n == n;
        for (int32_t k = 0; same && k < n; ++k)
            same = same_item(&t->pool, g->at + k, x, i + k * step);
        if (same)
            return t->slot[at] - 1;
    }
    return -1;
}

enum { HASH_START = 0x2545F491 };

static void add_gram(gram_table *t, gram g) {
    uint64_t hash = HASH_START;
    for (int32_t k = 0; k < g.n; ++k)
        hash = hash_item(hash, &t->pool, g.at + k);
    uint64_t at = (hash ^ (hash >> 29)) & t->mask;
    while (t->slot[at])
        at = (at + 1) & t->mask;
    /* Of equal grams the first one is found: later ones come after it. */
    t->list[t->n++] = g;
    t->slot[at] = (int32_t)t->n;
}

/* ---- attributes -------------------------------------------------------------------------------
 */

static int64_t pool_size(const hone_node *n, gram_items *pool) {
    *pool = (gram_items){0};
    int64_t count = hone_attr_strings(n, "pool_strings", &pool->strings);
    if (count == 0) {
        pool->strings = NULL;
        count = hone_attr_ints(n, "pool_int64s", &pool->ints);
    }
    return count;
}

/* Number of columns, or -1 for bad indexes. */
static int64_t output_width(const hone_node *n) {
    const int64_t *index;
    int64_t width = 0;
    for (int i = 0, count = hone_attr_ints(n, "ngram_indexes", &index); i < count; ++i) {
        if (index[i] < 0 || index[i] == INT64_MAX)
            return -1;
        width = index[i] + 1 > width ? index[i] + 1 : width;
    }
    return width > 0 ? width : -1;
}

hone_status hone_infer_text_tfidf(hone_infer_ctx *c) {
    int64_t width = output_width(c->node);
    int rank = hone_infer_has(c, 0) ? c->in[0].rank : -1;
    if (width < 0)
        return hone_infer_fail(c, HONE_E_FORMAT, "ngram_indexes must be columns");
    if (rank > 2)
        return hone_infer_fail(c, HONE_E_SHAPE, "the input must be [C] or [N,C]");
    int64_t dims[2] = {rank == 2 ? c->in[0].dims[0] : width, width};
    hone_infer_set(c, 0, HONE_DTYPE_F32, rank < 0 ? -1 : rank == 2 ? 2 : 1, dims);
    return HONE_OK;
}

static hone_status table_alloc(hone_op_ctx *c, gram_table *t, int64_t n) {
    uint64_t size = 16;
    while (size < (uint64_t)n * 2)
        size *= 2;
    t->mask = size - 1;
    t->slot = hone_op_scratch(c, size * sizeof *t->slot);
    t->list = hone_op_scratch(c, ((size_t)n + 1) * sizeof *t->list);
    if (!t->slot || !t->list)
        return HONE_E_NOMEM;
    memset(t->slot, 0, size * sizeof *t->slot);
    return HONE_OK;
}

static hone_status table_load(hone_op_ctx *c, gram_table *t) {
    const hone_node *n = c->node;
    const int64_t *counts, *index;
    int n_counts = hone_attr_ints(n, "ngram_counts", &counts);
    int n_index = hone_attr_ints(n, "ngram_indexes", &index);
    int64_t total = pool_size(n, &t->pool), id = 0;
    t->min = hone_attr_int(n, "min_gram_length", 1);
    t->max = hone_attr_int(n, "max_gram_length", 1);
    t->max_skip = hone_attr_int(n, "max_skip_count", 0);
    if (t->min < 1 || t->max < t->min || t->max_skip < 0 || n_counts < 1)
        return hone_op_fail(c, HONE_E_FORMAT, "bad gram lengths, skips or ngram_counts");
    if (t->max > n_counts)
        t->max = n_counts;
    HONE_TRY(table_alloc(c, t, total));
    for (int i = 0; i < n_counts; ++i) {
        int64_t from = counts[i], to = i + 1 < n_counts ? counts[i + 1] : total, len = i + 1;
        if (from < 0 || to < from || to > total)
            return hone_op_fail(c, HONE_E_FORMAT, "ngram_counts do not fit the pool");
        for (; to - from >= len; from += len, ++id) {
            if (id >= n_index)
                return hone_op_fail(c, HONE_E_FORMAT, "ngram_indexes are too few");
            if (len >= t->min && len <= t->max)
                add_gram(t, (gram){from, index[id], (int32_t)len});
        }
    }
    return HONE_OK;
}

/* ---- counting ---------------------------------------------------------------------------------
 */

static void count_from(const gram_table *t, const gram_items *x, int64_t i, int64_t end,
                       int64_t step, float *y) {
    uint64_t hash = HASH_START;
    for (int64_t n = 1, at = i; n <= t->max && at < end; ++n, at += step) {
        hash = hash_item(hash, x, at);
        /* Single items have no gaps: they count once. */
        if (n < t->min || (n == 1 && step > 1))
            continue;
        int64_t g = find_gram(t, hash, x, i, step, (int32_t)n);
        if (g >= 0)
            y[t->list[g].column] += 1;
    }
}

static void count_row(const gram_table *t, const gram_items *x, int64_t begin, int64_t end,
                      float *y) {
    for (int64_t step = 1; step - 1 <= t->max_skip; ++step) {
        if (step > 1 && (t->max == 1 || step >= end - begin))
            break;
        for (int64_t i = begin; i < end; ++i)
            count_from(t, x, i, end, step, y);
    }
}

/* The weight of each column, NULL when none apply: weight i is that of gram i. */
static hone_status column_weights(hone_op_ctx *c, int64_t width, const float **out) {
    const float *w;
    const int64_t *index;
    int n_w = hone_attr_floats(c->node, "weights", &w);
    int n_index = hone_attr_ints(c->node, "ngram_indexes", &index);
    *out = NULL;
    if (n_w == 0 || strcmp(hone_attr_string(c->node, "mode", "TF"), "TF") == 0)
        return HONE_OK;
    if (n_w != n_index)
        return hone_op_fail(c, HONE_E_FORMAT, "there are %d weights for %d n-grams", n_w, n_index);
    float *column = hone_op_scratch(c, (size_t)width * sizeof *column);
    if (!column)
        return HONE_E_NOMEM;
    for (int64_t k = 0; k < width; ++k)
        column[k] = 1;
    for (int i = 0; i < n_w; ++i)
        column[index[i]] = w[i];
    *out = column;
    return HONE_OK;
}

static void weigh_row(bool is_idf, const float *w, float *y, int64_t width) {
    for (int64_t k = 0; k < width; ++k) {
        float count = is_idf && y[k] > 1 ? 1 : y[k];
        y[k] = w ? count * w[k] : count;
    }
}

hone_status hone_ref_text_tfidf(hone_op_ctx *c) {
    const hone_tensor *x = hone_in(c, 0);
    hone_tensor *out = hone_out(c, 0);
    gram_table t = {.width = out->dims[out->rank - 1]};
    HONE_TRY(table_load(c, &t));
    gram_items items = {0};
    if (x->dtype == HONE_DTYPE_STRING)
        items.strings = x->data;
    else if (x->dtype == HONE_DTYPE_I64)
        items.ints = x->data;
    else
        items.ints32 = x->data;
    if ((t.pool.strings != NULL) != (items.strings != NULL))
        return hone_op_fail(c, HONE_E_TYPE, "the pool does not have the input's type");
    const float *w = NULL;
    HONE_TRY(column_weights(c, t.width, &w));
    bool is_idf = strcmp(hone_attr_string(c->node, "mode", "TF"), "IDF") == 0;
    int64_t rows = x->rank == 2 ? x->dims[0] : 1;
    int64_t cols = x->rank ? x->dims[x->rank - 1] : 1;
    for (int64_t r = 0; r < rows; ++r) {
        float *y = (float *)out->data + r * t.width;
        memset(y, 0, (size_t)t.width * sizeof *y);
        count_row(&t, &items, r * cols, (r + 1) * cols, y);
        weigh_row(is_idf, w, y, t.width);
    }
    return HONE_OK;
}

/* TreeEnsemble, TreeEnsembleRegressor, TreeEnsembleClassifier (ai.onnx.ml). */
#include "ops/ml_tree.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static bool is_member(const hone_trees *t, const hone_tree_node *n, double v) {
    for (int32_t i = n->first; i < n->last; ++i) {
        if (t->member[i] == v)
            return true;
    }
    return false;
}

static const hone_tree_node *find_leaf(const hone_trees *t, int32_t root, const double *x) {
    const hone_tree_node *n = &t->node[root];
    for (;;) {
        double v = n->mode == HONE_TREE_LEAF ? 0 : x[n->feature];
        bool yes;
        switch ((hone_tree_mode)n->mode) {
        case HONE_TREE_LEQ:
            yes = v <= n->value;
            break;
        case HONE_TREE_LT:
            yes = v < n->value;
            break;
        case HONE_TREE_GTE:
            yes = v >= n->value;
            break;
        case HONE_TREE_GT:
            yes = v > n->value;
            break;
        case HONE_TREE_EQ:
            yes = v == n->value;
            break;
        case HONE_TREE_NEQ:
            yes = v != n->value;
            break;
        case HONE_TREE_MEMBER:
            yes = is_member(t, n, v);
            break;
        case HONE_TREE_LEAF:
        default:
            return n;
        }
        yes |= n->nan_is_true && isnan(v);
        n = &t->node[yes ? n->yes : n->no];
    }
}

void hone_trees_row(const hone_trees *t, const double *x, double *score, unsigned char *has) {
    memset(has, 0, (size_t)t->n_targets);
    for (int64_t i = 0; i < t->n_targets; ++i)
        score[i] = 0;
    for (int32_t r = 0; r < t->n_roots; ++r) {
        const hone_tree_node *leaf = find_leaf(t, t->root[r], x);
        for (int32_t k = leaf->first; k < leaf->last; ++k) {
            const hone_tree_vote *v = &t->vote[k];
            double *s = &score[v->target];
            if (t->sum == HONE_TREE_SUM || t->sum == HONE_TREE_AVERAGE || !has[v->target])
                *s += v->weight;
            else
                *s = t->sum == HONE_TREE_MIN ? fmin(*s, v->weight) : fmax(*s, v->weight);
            has[v->target] = 1;
        }
    }
    if (t->sum == HONE_TREE_AVERAGE) {
        for (int64_t i = 0; i < t->n_targets; ++i)
            score[i] /= t->n_roots;
    }
}

/* ---- loading ----------------------------------------------------------------------------------
 */

static hone_status load_regressor(hone_op_ctx *c, hone_trees *t) {
    static const char *const names[] = {"AVERAGE", "SUM", "MIN", "MAX"};
    const char *name = hone_attr_string(c->node, "aggregate_function", "SUM");
    int sum = 0;
    while (sum < 4 && strcmp(names[sum], name) != 0)
        ++sum;
    if (sum == 4)
        return hone_op_fail(c, HONE_E_FORMAT, "unknown aggregate_function %s", name);
    HONE_TRY(hone_trees_load(c, "target", hone_attr_int(c->node, "n_targets", 0), t));
    t->sum = (hone_tree_sum)sum;
    return HONE_OK;
}

static hone_status load(hone_op_ctx *c, hone_trees *t) {
    if (strcmp(c->node->op->name, "TreeEnsembleRegressor") == 0)
        return load_regressor(c, t);
    if (strcmp(c->node->op->name, "TreeEnsemble") == 0)
        return hone_trees_load_5(c, t);
    hone_labels l = hone_labels_of(c->node, "classlabels_int64s", "classlabels_strings");
    return hone_trees_load(c, "class", l.n, t);
}

/* What was prepared once, or, without a kernel's state, read from the attributes now. */
static hone_status get_trees(hone_op_ctx *c, hone_trees *t) {
    if (!c->state)
        return load(c, t);
    *t = *(const hone_trees *)c->state;
    return HONE_OK;
}

static void *arena_scratch(hone_op_ctx *c, size_t bytes) {
    return hone_arena_alloc(c->frame, bytes);
}

hone_status hone_trees_prepare(const hone_node *n, hone_arena *arena, hone_trees **out,
                               hone_error *err) {
    const hone_op_host host = {.scratch = arena_scratch};
    hone_op_ctx c = {.node = n, .host = &host, .frame = arena, .err = err};
    *out = HONE_NEW(arena, hone_trees);
    return *out ? load(&c, *out) : hone_fail(err, HONE_E_NOMEM, "no memory for a tree ensemble");
}

/* ---- running over rows ------------------------------------------------------------------------
 */

enum { ROWS_PER_TASK = 64 };

typedef struct tree_run tree_run;
typedef void (*finish_row)(tree_run *r, int64_t row, double *score, unsigned char *has);

struct tree_run {
    hone_op_ctx *c;
    hone_trees trees;
    hone_post post;
    const hone_tensor *x;
    int64_t rows, cols;
    const double *base; /* NULL: none */
    int64_t n_base;
    finish_row finish;
    double *room; /* per worker: cols + n_targets + 2 doubles, then flags */
    size_t room_doubles;
    /* classifier */
    hone_labels labels;
    int only; /* two classes, all votes for this one; else -1 */
    bool all_positive;
    int64_t n_out;
    int32_t *label; /* per row */
};

static void run_rows(void *arg, int64_t task, int worker) {
    tree_run *r = arg;
    double *x = r->room + (size_t)worker * r->room_doubles;
    double *score = x + r->cols;
    unsigned char *has = (unsigned char *)(score + r->trees.n_targets + 2);
    int64_t end = (task + 1) * ROWS_PER_TASK;
    for (int64_t i = task * ROWS_PER_TASK; i < end && i < r->rows; ++i) {
        hone_load_row(r->x, i * r->cols, r->cols, x);
        hone_trees_row(&r->trees, x, score, has);
        r->finish(r, i, score, has);
    }
}

static hone_status read_base(hone_op_ctx *c, tree_run *r) {
    const float *floats;
    const hone_tensor *t = hone_attr_tensor(c->node, "base_values_as_tensor");
    r->n_base = hone_attr_floats(c->node, "base_values", &floats);
    if (!r->n_base && t)
        r->n_base = hone_tensor_count(t);
    if (!r->n_base)
        return HONE_OK;
    if (r->n_base != r->trees.n_targets && r->n_base != 1)
        return hone_op_fail(c, HONE_E_SHAPE,
                            "there are %" PRId64 " base values for %" PRId64 " targets", r->n_base,
                            r->trees.n_targets);
    double *base = hone_op_scratch(c, (size_t)r->n_base * sizeof *base);
    if (!base)
        return HONE_E_NOMEM;
    for (int64_t i = 0; i < r->n_base; ++i)
        base[i] = floats ? (double)floats[i] : hone_load_f64(t->dtype, t->data, i);
    r->base = base;
    return HONE_OK;
}

static hone_status run_trees(hone_op_ctx *c, tree_run *r) {
    r->c = c;
    r->x = hone_in(c, 0);
    HONE_TRY(hone_rows_of(c, r->x, &r->rows, &r->cols));
    if (r->trees.max_feature >= r->cols)
        return hone_op_fail(c, HONE_E_SHAPE, "feature %d is used, but rows have %" PRId64,
                            r->trees.max_feature, r->cols);
    if (!hone_post_parse(c->node, &r->post))
        return hone_op_fail(c, HONE_E_FORMAT, "unknown post_transform");
    HONE_TRY(read_base(c, r));
    size_t n = (size_t)r->trees.n_targets;
    r->room_doubles = ((size_t)r->cols + n + 2 + n / sizeof(double) + 8) / 8 * 8 + 8;
    size_t bytes;
    if (!hone_mul_size(r->room_doubles * sizeof(double), (size_t)hone_pool_threads(c->pool),
                       &bytes))
        return hone_op_fail(c, HONE_E_NOMEM, "the rows are too large");
    r->room = hone_op_scratch(c, bytes);
    if (!r->room)
        return HONE_E_NOMEM;
    hone_op_parallel(c, (r->rows + ROWS_PER_TASK - 1) / ROWS_PER_TASK, run_rows, r);
    return HONE_OK;
}

static double base_at(const tree_run *r, int64_t i) {
    return !r->base ? 0 : r->n_base == 1 ? r->base[0] : r->base[i];
}

/* ---- regression -------------------------------------------------------------------------------
 */

static void finish_targets(tree_run *r, int64_t row, double *score, unsigned char *has) {
    hone_tensor *y = hone_out(r->c, 0);
    int64_t n = r->trees.n_targets;
    /* The minimum or maximum of no votes is 0, as ONNX Runtime has it. */
    bool adds = r->trees.sum == HONE_TREE_SUM || r->trees.sum == HONE_TREE_AVERAGE;
    for (int64_t i = 0; i < n; ++i)
        score[i] += adds || has[i] ? base_at(r, i) : 0;
    hone_post_scores(r->post, HONE_SECOND_NONE, score, n);
    for (int64_t i = 0; i < n; ++i)
        hone_store_f64(y->dtype, y->data, row * n + i, score[i]);
}

static hone_status infer_targets(hone_infer_ctx *c, hone_dtype d) {
    int64_t dims[2] = {hone_infer_rows(&c->in[0]), hone_attr_int(c->node, "n_targets", 0)};
    if (dims[1] < 1)
        return hone_infer_fail(c, HONE_E_FORMAT, "n_targets is missing");
    if (d != HONE_DTYPE_NONE)
        hone_infer_set(c, 0, d, 2, dims);
    return HONE_OK;
}

hone_status hone_infer_ml_tree(hone_infer_ctx *c) {
    return infer_targets(c, c->in[0].kind == HONE_KIND_TENSOR ? c->in[0].dtype : HONE_DTYPE_NONE);
}

hone_status hone_ref_ml_tree(hone_op_ctx *c) {
    tree_run r = {.finish = finish_targets};
    HONE_TRY(get_trees(c, &r.trees));
    return run_trees(c, &r);
}

hone_status hone_infer_ml_tree_reg(hone_infer_ctx *c) {
    return infer_targets(c, HONE_DTYPE_F32);
}

/* ---- classification ---------------------------------------------------------------------------
 */

/* The class that all votes are for, when there are two classes; else -1. */
static int only_class(const hone_node *n, int64_t n_classes) {
    const int64_t *id;
    int n_ids = hone_attr_ints(n, "class_ids", &id);
    for (int i = 1; i < n_ids; ++i) {
        if (id[i] != id[0])
            return -1;
    }
    return n_classes == 2 && n_ids > 0 ? (int)id[0] : -1;
}

hone_status hone_infer_ml_tree_class(hone_infer_ctx *c) {
    hone_labels l = hone_labels_of(c->node, "classlabels_int64s", "classlabels_strings");
    int64_t dims[2] = {hone_infer_rows(&c->in[0]), l.n};
    if (l.n < 1)
        return hone_infer_fail(c, HONE_E_FORMAT, "class labels are missing");
    hone_infer_set(c, 0, hone_labels_dtype(&l), 1, dims);
    hone_infer_set(c, 1, HONE_DTYPE_F32, 2, dims);
    return HONE_OK;
}

/* One score decides: probability-like when no weight is negative (at 0.5), else a margin (at 0).
 * Votes for class 1 leave the score of class 0 as it is, votes for class 0 make both scores. */
static int64_t finish_binary(tree_run *r, int64_t row, double *score) {
    score[0] += base_at(r, 0);
    score[1] += base_at(r, 1);
    r->label[row] = score[r->only] > (r->all_positive ? 0.5 : 0);
    hone_second second = r->all_positive ? HONE_SECOND_COMPLEMENT : HONE_SECOND_NEGATION;
    return hone_post_scores(r->post, second, score, r->only + 1);
}

/* The best of the classes that have votes, or a base value. */
static int32_t best_class(const tree_run *r, const double *score, const unsigned char *has) {
    int32_t best = -1;
    for (int32_t i = 0; i < r->trees.n_targets; ++i) {
        if ((has[i] || r->base) && (best < 0 || score[i] > score[best]))
            best = i;
    }
    return best < 0 ? 0 : best;
}

static void finish_classes(tree_run *r, int64_t row, double *score, unsigned char *has) {
    hone_tensor *z = hone_out(r->c, 1);
    int64_t n = r->trees.n_targets;
    if (r->only >= 0) {
        n = finish_binary(r, row, score);
    } else {
        for (int64_t i = 0; i < n; ++i)
            score[i] += base_at(r, i);
        r->label[row] = n == 1 ? score[0] > 0 : best_class(r, score, has);
        n = hone_post_scores(r->post, HONE_SECOND_NONE, score, n);
    }
    for (int64_t i = 0; z && i < r->n_out; ++i)
        hone_store_f64(z->dtype, z->data, row * r->n_out + i, i < n ? score[i] : 0);
}

hone_status hone_ref_ml_tree_class(hone_op_ctx *c) {
    tree_run r = {.finish = finish_classes, .all_positive = true};
    int64_t rows = 0, cols = 0;
    r.labels = hone_labels_of(c->node, "classlabels_int64s", "classlabels_strings");
    r.n_out = r.labels.n;
    HONE_TRY(get_trees(c, &r.trees));
    r.only = only_class(c->node, r.labels.n);
    for (int32_t i = 0; i < r.trees.n_votes; ++i)
        r.all_positive &= r.trees.vote[i].weight >= 0;
    HONE_TRY(hone_rows_of(c, hone_in(c, 0), &rows, &cols));
    r.label = hone_op_scratch(c, (size_t)rows * sizeof *r.label + 1);
    if (!r.label)
        return HONE_E_NOMEM;
    HONE_TRY(run_trees(c, &r));
    /* A single class is only told from none: 1 and 0, not its label. */
    const hone_labels numbers = {.strings = r.labels.strings};
    for (int64_t i = 0; i < rows; ++i)
        HONE_TRY(hone_labels_set(c, hone_out(c, 0), i, r.labels.n == 1 ? &numbers : &r.labels,
                                 r.label[i]));
    return HONE_OK;
}

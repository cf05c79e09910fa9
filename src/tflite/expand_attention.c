#include "tflite/expand_attention.h"

#include <math.h>

#include "ir/infer.h"
#include "passes/rewrite.h"

enum { Q, K, V, MASK, PAST_K, PAST_V, LENGTHS };

/* [batch, heads, length, size], split from [batch, length, heads * size] where need be. */
typedef struct heads {
    hone_value *v;
    int64_t n, length, size;
} heads;

typedef struct attention {
    hone_rewriter *r;
    const hone_node *n;
    hone_dtype type;
    heads q, k, v;
    int64_t n_past;
    hone_value *visible;   /* bool, broadcast to the scores; NULL: all are */
    hone_value *scores[4]; /* by qk_matmul_output_mode */
} attention;

/* ---- building: NULL once memory ran out ---- */

static hone_node *node(attention *a, const char *op, hone_value *const *in, int n_in) {
    for (int i = 0; i < n_in; ++i)
        a->r->no_memory |= !in[i];
    return a->r->no_memory ? NULL : hone_rewrite_insert(a->r, op, in, n_in);
}

static hone_value *apply(attention *a, const char *op, hone_value *x, hone_value *y) {
    hone_node *n = node(a, op, (hone_value *[]){x, y}, y ? 2 : 1);
    return n ? n->out[0] : NULL;
}

static hone_value *select_where(attention *a, hone_value *test, hone_value *x, hone_value *y) {
    hone_node *n = node(a, "Where", (hone_value *[]){test, x, y}, 3);
    return n ? n->out[0] : NULL;
}

static hone_value *scalar(attention *a, double v) {
    hone_tensor *t = hone_rewrite_tensor(a->r, a->type, 0, NULL);
    if (t)
        hone_store_f64(a->type, t->data, 0, v);
    return hone_rewrite_constant(a->r, "number", t);
}

static hone_value *with_ints(attention *a, const char *op, hone_value *x, const char *attr,
                             const int64_t *v, int n_v) {
    hone_node *n = node(a, op, &x, 1);
    if (n)
        a->r->no_memory |= !hone_attr_set_ints(a->r->g, n, attr, v, n_v);
    return n ? n->out[0] : NULL;
}

static hone_value *along(attention *a, const char *op, hone_value *const *in, int n_in, int axis) {
    hone_node *n = node(a, op, in, n_in);
    if (n)
        a->r->no_memory |= !hone_attr_set_int(a->r->g, n, "axis", axis);
    return n ? n->out[0] : NULL;
}

/* The first dim, the batch, is kept. */
static hone_value *reshaped(attention *a, hone_value *x, const int64_t *dims, int rank) {
    hone_value *shape = hone_graph_const_i64(a->r->g, "shape", dims, rank);
    return apply(a, "Reshape", x, shape);
}

static const int64_t swap_heads[4] = {0, 2, 1, 3}, swap_last[4] = {0, 1, 3, 2};

/* ---- what the node has ---- */

static hone_value *input(const attention *a, int i) {
    return i < a->n->n_in ? a->n->in[i] : NULL;
}

/* The sizes of input i; false: they are not all known. */
static bool read_heads(attention *a, int i, const char *attr, heads *h) {
    const hone_type *t = &input(a, i)->type;
    int64_t n = t->rank == 4 ? t->dims[1] : hone_attr_int(a->n, attr, 0);
    if ((t->rank != 3 && t->rank != 4) || n <= 0 || t->dtype != a->type)
        return false;
    *h = (heads){input(a, i), n, t->dims[t->rank - 2], t->dims[t->rank - 1]};
    if (t->rank == 3)
        h->size = h->size < 0 ? -1 : h->size / n;
    return h->length >= 0 && h->size > 0;
}

/* What the new keys or values are appended to. */
static bool read_past(attention *a, int i) {
    const hone_value *v = input(a, i);
    if (!v)
        return true;
    a->n_past = v->type.rank == 4 ? v->type.dims[2] : -1;
    return a->n_past >= 0 && v->type.dtype == a->type;
}

/* Masks may be shorter than the keys, which are hidden then: not here. */
static bool takes_mask(const attention *a) {
    const hone_value *m = input(a, MASK);
    if (!m)
        return true;
    int64_t last = m->type.rank > 0 ? m->type.dims[m->type.rank - 1] : -1;
    return (m->type.dtype == HONE_DTYPE_BOOL || m->type.dtype == a->type) &&
           last == a->k.length + a->n_past;
}

static bool read(attention *a, hone_rewriter *r) {
    *a = (attention){.r = r, .n = r->node, .type = r->node->in[Q]->type.dtype};
    bool is_real =
        a->type == HONE_DTYPE_F32 || a->type == HONE_DTYPE_F16 || a->type == HONE_DTYPE_BF16;
    return is_real && !input(a, LENGTHS) && read_heads(a, Q, "q_num_heads", &a->q) &&
           read_heads(a, K, "kv_num_heads", &a->k) && read_heads(a, V, "kv_num_heads", &a->v) &&
           read_past(a, PAST_K) && read_past(a, PAST_V) && takes_mask(a) && a->q.n % a->k.n == 0 &&
           a->k.length == a->v.length;
}

/* ---- queries, keys, values ---- */

static void split(attention *a, heads *h) {
    if (h->v->type.rank == 4)
        return;
    h->v = reshaped(a, h->v, (int64_t[]){0, h->length, h->n, h->size}, 4);
    h->v = with_ints(a, "Transpose", h->v, "perm", swap_heads, 4);
}

/* One of the node's further outputs, which it still writes. */
static void give(attention *a, int i, hone_value *v) {
    hone_rewriter *r = a->r;
    hone_value *out = i < a->n->n_out ? a->n->out[i] : NULL;
    if (!out || out->n_uses == 0 || !v || r->no_memory)
        return;
    hone_node *n = hone_node_create(r->g, hone_op_find("", "Identity"), a->n->name, &v, 1, &out, 1);
    if (!n || !hone_graph_insert(r->g, r->at, n)) {
        r->no_memory = true;
        return;
    }
    n->origin = a->n->origin;
    v->n_uses++;
    r->at++;
}

static void join(attention *a, heads *h, int past, int present) {
    hone_value *in[2] = {input(a, past), h->v};
    if (in[0]) {
        h->v = along(a, "Concat", in, 2, 2);
        h->length += a->n_past;
    }
    give(a, present, h->v);
}

/* Each head of the keys and values serves several queries' heads. */
static void repeat(attention *a, heads *h) {
    int64_t times = a->q.n / h->n;
    if (times == 1)
        return;
    h->v = reshaped(a, h->v, (int64_t[]){0, h->n, 1, h->length * h->size}, 4);
    h->v = apply(a, "Tile", h->v,
                 hone_graph_const_i64(a->r->g, "times", (int64_t[]){1, 1, times, 1}, 4));
    h->v = reshaped(a, h->v, (int64_t[]){0, a->q.n, h->length, h->size}, 4);
    h->n = a->q.n;
}

/* ---- scores ---- */

/* Query i stands at key i + n_past. */
static hone_value *window(attention *a) {
    int64_t left = hone_attr_int(a->n, "left_window_size", -1),
            right = hone_attr_int(a->n, "right_window_size", -1);
    bool is_causal = hone_attr_int(a->n, "is_causal", 0) != 0;
    if (!is_causal && left < 0 && right < 0)
        return NULL;
    const int64_t dims[2] = {a->q.length, a->k.length};
    hone_tensor *t = hone_rewrite_tensor(a->r, HONE_DTYPE_BOOL, 2, dims);
    for (int64_t i = 0; t && i < dims[0]; ++i) {
        for (int64_t k = 0; k < dims[1]; ++k) {
            int64_t ahead = k - i - a->n_past;
            ((bool *)t->data)[i * dims[1] + k] = (!is_causal || ahead <= 0) &&
                                                 (left < 0 || -ahead <= left) &&
                                                 (right < 0 || ahead <= right);
        }
    }
    return hone_rewrite_constant(a->r, "visible", t);
}

static hone_value *masked(attention *a, hone_value *s) {
    hone_value *mask = input(a, MASK);
    bool is_bool = mask && mask->type.dtype == HONE_DTYPE_BOOL;
    if (mask && !is_bool)
        s = apply(a, "Add", s, mask);
    a->visible = window(a);
    if (is_bool)
        a->visible = a->visible ? apply(a, "And", a->visible, mask) : mask;
    return a->visible ? select_where(a, a->visible, s, scalar(a, -INFINITY)) : s;
}

static void make_scores(attention *a) {
    double scale = hone_attr_find(a->n, "scale") ? (double)hone_attr_float(a->n, "scale", 1)
                                                 : 1 / sqrt((double)a->q.size);
    double cap = (double)hone_attr_float(a->n, "softcap", 0);
    hone_value *q = apply(a, "Mul", a->q.v, scalar(a, scale));
    hone_value *s = apply(a, "MatMul", q, with_ints(a, "Transpose", a->k.v, "perm", swap_last, 4));
    a->scores[0] = s;
    if (cap > 0)
        s = apply(a, "Mul", apply(a, "Tanh", apply(a, "Mul", s, scalar(a, 1 / cap)), NULL),
                  scalar(a, cap));
    a->scores[1] = s;
    s = a->scores[2] = masked(a, s);
    s = along(a, "Softmax", &s, 1, -1);
    /* Queries that see no key at all have weights of zero, not NaN. */
    a->scores[3] = a->visible && input(a, MASK) ? select_where(a, a->visible, s, scalar(a, 0)) : s;
}

static bool expand(hone_rewriter *r) {
    attention a;
    if (strcmp(r->node->op_name, "Attention") != 0 || r->node->domain[0] || !read(&a, r))
        return false;
    split(&a, &a.q);
    split(&a, &a.k);
    split(&a, &a.v);
    join(&a, &a.k, PAST_K, 1);
    join(&a, &a.v, PAST_V, 2);
    repeat(&a, &a.k);
    repeat(&a, &a.v);
    make_scores(&a);
    give(&a, 3, a.scores[hone_attr_int(a.n, "qk_matmul_output_mode", 0) & 3]);
    hone_value *y[2] = {a.scores[3], a.v.v};
    if (a.n->in[Q]->type.rank == 4)
        return !r->no_memory && hone_rewrite_replace(r, "MatMul", y, 2);
    hone_value *all =
        with_ints(&a, "Transpose", apply(&a, "MatMul", y[0], y[1]), "perm", swap_heads, 4);
    const int64_t dims[3] = {0, a.q.length, a.q.n * a.v.size};
    hone_value *last[2] = {all, hone_graph_const_i64(r->g, "shape", dims, 3)};
    r->no_memory |= !last[0] || !last[1];
    return !r->no_memory && hone_rewrite_replace(r, "Reshape", last, 2);
}

hone_status hone_tflite_expand_attention(hone_graph *g, hone_error *err) {
    const hone_rule rules[] = {expand};
    int n_changes = 0;
    HONE_TRY(hone_rewrite(g, rules, 1, &n_changes, err));
    if (n_changes == 0)
        return HONE_OK;
    if (hone_graph_index(g) != HONE_OK)
        return hone_fail(err, HONE_E_NOMEM, "no memory to index the graph");
    return hone_graph_infer(g, err);
}

/* Nodes whose inputs are all constants, or whose integer result is known from shapes alone, become
 * constants. */
#include <string.h>

#include "ir/eval.h"
#include "ir/weights.h"
#include "passes/match.h"
#include "passes/pass.h"

/* A constant may grow (ConstantOfShape, Expand, Tile), but not into something that bloats the
 * engine: beyond this many bytes, only nodes that do not enlarge their inputs are folded, and
 * weights, which kernels want constant; these up to a total for one walk over the graph. */
enum {
    GROWTH_LIMIT_BYTES = 1 << 20,
    WEIGHTS_LIMIT_BYTES = 1 << 30,
    OPEN_LIMIT_BYTES = 64 << 20 /* of results whose size only the evaluation shows */
};

static bool is_foldable(const hone_node *n) {
    if (!n->op || n->op->flags & (HONE_OP_RANDOM | HONE_OP_CONTROL))
        return false;
    /* Dequantised weights stay quantised: the integer kernels want them so. */
    if (hone_is(n, "DequantizeLinear"))
        return false;
    for (int i = 0; i < n->n_in; ++i) {
        if (n->in[i] && !n->in[i]->constant)
            return false;
    }
    for (int i = 0; i < n->n_out; ++i) {
        if (n->out[i] && n->out[i]->type.kind == HONE_KIND_SEQUENCE)
            return false;
    }
    return true;
}

/* Is the value used, and only as the weight or bias of products, or the mask of attention? */
static bool is_weight(const hone_graph *g, const hone_value *v) {
    static const char *const products[] = {"Conv", "ConvTranspose", "Gemm", "MatMul",
                                           "LSTM", "GRU",           "RNN",  "Attention"};
    int n_uses = 0;
    for (int i = 0; i < g->n_nodes; ++i) {
        const hone_node *n = g->nodes[i];
        bool is_product = false;
        for (size_t k = 0; n && k < sizeof products / sizeof products[0]; ++k)
            is_product |= hone_is(n, products[k]);
        for (int k = 0; n && k < n->n_in; ++k) {
            if (n->in[k] == v && (!is_product || k == 0))
                return false;
            n_uses += n->in[k] == v;
        }
    }
    return n_uses > 0 && n_uses == v->n_uses; /* else a subgraph or an output uses it, too */
}

/* *budget: bytes that weights may still grow by. */
static bool is_small_enough(const hone_graph *g, const hone_node *n, size_t *budget) {
    size_t in = 0, out = 0;
    for (int i = 0; i < n->n_in; ++i)
        in += n->in[i] ? hone_tensor_bytes(n->in[i]->constant) : 0;
    for (int i = 0; i < n->n_out; ++i) {
        const hone_type *t = n->out[i] ? &n->out[i]->type : NULL;
        if (!t || !hone_type_is_static(t))
            continue;
        int64_t count = 1;
        for (int k = 0; k < t->rank; ++k) {
            if (__builtin_mul_overflow(count, t->dims[k], &count))
                return false;
        }
        out += hone_dtype_bytes(t->dtype, count);
    }
    if (out <= in || out <= GROWTH_LIMIT_BYTES)
        return true;
    if (out > *budget || n->n_out != 1 || !is_weight(g, n->out[0]))
        return false;
    *budget -= out;
    return true;
}

/* The result moves into the graph's arena. */
static hone_tensor *adopt(hone_graph *g, const hone_tensor *t) {
    if (t->kind != HONE_KIND_TENSOR)
        return NULL;
    hone_tensor *copy = HONE_NEW(g->arena, hone_tensor);
    size_t bytes = hone_tensor_bytes(t);
    void *data = hone_graph_data(g, bytes);
    if (!copy || !data)
        return NULL;
    if (bytes)
        memcpy(data, t->data, bytes);
    *copy = hone_tensor_view(t->dtype, t->rank, t->dims, data);
    if (t->dtype == HONE_DTYPE_STRING) {
        hone_string *s = data;
        for (int64_t i = 0, n = hone_tensor_count(t); i < n; ++i) {
            s[i].data = hone_arena_strdup(g->arena, s[i].data, s[i].len);
            if (!s[i].data)
                return NULL;
        }
    }
    return copy;
}

static bool is_open(const hone_node *n) {
    for (int i = 0; i < n->n_out; ++i) {
        if (n->out[i] && !hone_type_is_static(&n->out[i]->type))
            return true;
    }
    return false;
}

static hone_status fold_node(hone_graph *g, hone_node *n, hone_arena *temp, bool *done) {
    const hone_tensor **in = HONE_NEW_ARRAY(temp, const hone_tensor *, n->n_in);
    hone_tensor *out = HONE_NEW_ARRAY(temp, hone_tensor, n->n_out);
    if (!in || !out)
        return HONE_E_NOMEM;
    for (int i = 0; i < n->n_in; ++i)
        in[i] = n->in[i] ? n->in[i]->constant : NULL;
    hone_alloc *a = hone_alloc_create(OPEN_LIMIT_BYTES);
    if (!a)
        return HONE_E_NOMEM;
    /* A node that fails, as one in a branch that is never taken may, is left for the run. */
    hone_status evaluated = hone_eval_node(n, in, out, is_open(n) ? a : NULL, NULL);
    hone_alloc_destroy(a);
    if (evaluated != HONE_OK)
        return HONE_OK;
    hone_status status = HONE_OK;
    *done = true;
    for (int i = 0; i < n->n_out; ++i) {
        if (n->out[i]) {
            hone_tensor *t = adopt(g, &out[i]);
            if (t) {
                n->out[i]->constant = t;
                n->out[i]->type = hone_type_of(t);
            } else {
                *done = false;
            }
        }
        hone_tensor_release(&out[i]);
    }
    return status;
}

/* Shape arithmetic whose result inference knows in numbers, though the inputs are not constant:
 * Shape of a value with known dims, a Gather from it, ... */
static bool known_contents(hone_graph *g, const hone_node *n) {
    if (!n->op || n->n_out != 1 || !n->out[0] || n->op->flags & HONE_OP_CONTROL)
        return false;
    hone_value *v = n->out[0];
    const hone_type *t = &v->type;
    if (!t->contents || t->rank < 0 || t->rank > 1 ||
        (t->dtype != HONE_DTYPE_I64 && t->dtype != HONE_DTYPE_I32))
        return false;
    for (int i = 0; i < t->n_contents; ++i) {
        if (t->contents[i] < 0)
            return false; /* a symbol, or a number that cannot be told from one */
    }
    hone_tensor *c = HONE_NEW(g->arena, hone_tensor);
    void *data = hone_arena_alloc(g->arena, (size_t)t->n_contents * 8);
    if (!c || !data)
        return false;
    int64_t dims[1] = {t->n_contents};
    *c = hone_tensor_view(t->dtype, t->rank, dims, data);
    if (hone_tensor_count(c) != t->n_contents)
        return false;
    for (int i = 0; i < t->n_contents; ++i)
        hone_store_i64(t->dtype, data, i, t->contents[i]);
    v->constant = c;
    v->type = hone_type_of(c);
    return true;
}

/* CastLike reads no more of its second input than the type: once that is known, it is a Cast. */
static bool plain_cast(hone_graph *g, hone_node *n) {
    if (!hone_is(n, "CastLike") || n->n_in != 2 || !n->in[1] ||
        n->in[1]->type.kind != HONE_KIND_TENSOR || n->in[1]->type.dtype == HONE_DTYPE_NONE)
        return false;
    const hone_op_def *cast = hone_op_find("", "Cast");
    if (!cast || !hone_attr_set_int(g, n, "to", n->in[1]->type.dtype))
        return false;
    n->op = cast;
    n->op_name = cast->name;
    n->n_in = 1;
    return true;
}

hone_status hone_pass_fold_constants(hone_graph *g, int *n_changes, hone_error *err) {
    hone_arena temp;
    hone_arena_init(&temp, 0);
    hone_status status = HONE_OK;
    size_t budget = WEIGHTS_LIMIT_BYTES;
    for (int i = 0; i < g->n_nodes && status == HONE_OK; ++i) {
        hone_node *n = g->nodes[i];
        *n_changes += plain_cast(g, n);
        bool done = known_contents(g, n);
        if (!done && is_foldable(n) && is_small_enough(g, n, &budget))
            status = fold_node(g, n, &temp, &done);
        if (done) {
            g->nodes[i] = NULL;
            ++*n_changes;
        }
        hone_arena_reset(&temp);
    }
    hone_graph_compact(g);
    hone_arena_deinit(&temp);
    return status == HONE_OK ? HONE_OK : hone_fail(err, status, "no memory to fold constants");
}

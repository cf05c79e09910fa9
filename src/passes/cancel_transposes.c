/* Transposes that meet are merged, across element-wise operators too where no transpose is gained;
 * so are chains of Reshape, Squeeze, Unsqueeze and Flatten. */
#include "passes/rewrite.h"

enum { MAX_DEPTH = 8 };

/* ---- transposes -------------------------------------------------------------------------------
 */

typedef struct order {
    int rank;
    int64_t perm[HONE_MAX_RANK];
} order;

static bool order_of(const hone_node *n, order *o) {
    return n && hone_transpose_perm(n, o->perm, &o->rank);
}

/* First a, then b. */
static order compose(const order *a, const order *b) {
    order c = {.rank = a->rank};
    for (int i = 0; i < a->rank; ++i)
        c.perm[i] = a->perm[b->perm[i]];
    return c;
}

static bool is_identity(const order *o) {
    for (int i = 0; i < o->rank; ++i) {
        if (o->perm[i] != i)
            return false;
    }
    return true;
}

static bool merge_two(hone_rewriter *r) {
    order first, second;
    hone_node *before =
        hone_is(r->node, "Transpose") ? hone_made_by(r->node->in[0], "Transpose") : NULL;
    if (!before || !order_of(before, &first) || !order_of(r->node, &second) ||
        first.rank != second.rank)
        return false;
    order both = compose(&first, &second);
    bool cancels = is_identity(&both);
    hone_node *n = hone_rewrite_replace(r, cancels ? "Identity" : "Transpose", before->in, 1);
    if (n && !cancels && !hone_attr_set_ints(r->g, n, "perm", both.perm, both.rank))
        r->no_memory = true;
    return n != NULL;
}

/* Can v be had in the order `o` without a transpose more? Sets *n_gone to how many are gained. */
static bool can_reorder(const hone_value *v, const order *o, int depth, int *n_gone) {
    if (v->constant)
        return v->constant->kind == HONE_KIND_TENSOR && v->constant->rank <= o->rank &&
               hone_tensor_count(v->constant) <= 4096 && v->constant->dtype != HONE_DTYPE_STRING;
    hone_node *n = v->producer;
    order first;
    if (hone_is(n, "Transpose") && order_of(n, &first) && first.rank == o->rank) {
        order both = compose(&first, o);
        bool cancels = is_identity(&both);
        *n_gone += cancels;
        return cancels || hone_used_once(v);
    }
    if (!n || !n->op || !(n->op->flags & HONE_OP_ELEMENTWISE) || n->n_out != 1 ||
        !hone_used_once(v) || depth == 0 || v->type.rank != o->rank)
        return false;
    for (int i = 0; i < n->n_in; ++i) {
        if (!n->in[i] || (n->in[i]->type.rank != o->rank && !n->in[i]->constant) ||
            !can_reorder(n->in[i], o, depth - 1, n_gone))
            return false;
    }
    return n->n_in > 0;
}

/* A small constant in another order, its rank filled up with leading ones. */
static hone_value *reorder_constant(hone_rewriter *r, hone_value *v, const order *o) {
    const hone_tensor *t = v->constant;
    int64_t dims[HONE_MAX_RANK], stride[HONE_MAX_RANK], at[HONE_MAX_RANK] = {0};
    if (hone_tensor_count(t) == 1)
        return v;
    int lead = o->rank - t->rank;
    for (int i = 0; i < o->rank; ++i) {
        int from = (int)o->perm[i] - lead;
        dims[i] = from < 0 ? 1 : t->dims[from];
        stride[i] = from < 0 ? 0 : hone_dims_count(t->dims, from + 1, t->rank);
    }
    hone_tensor *to = hone_rewrite_tensor(r, t->dtype, o->rank, dims);
    if (!to)
        return NULL;
    for (int64_t k = 0, n = hone_tensor_count(t); k < n; ++k) {
        int64_t from = 0;
        for (int i = 0; i < o->rank; ++i)
            from += at[i] * stride[i];
        hone_copy_elems(t->dtype, to->data, k, t->data, from, 1);
        for (int i = o->rank - 1; i >= 0 && ++at[i] == dims[i]; --i)
            at[i] = 0;
    }
    return hone_rewrite_constant(r, v->name, to);
}

static hone_value *reorder(hone_rewriter *r, hone_value *v, const order *o);

/* The inputs of an element-wise node in the order `o`. */
static hone_value **reorder_inputs(hone_rewriter *r, const hone_node *n, const order *o) {
    hone_value **in = HONE_NEW_ARRAY(r->g->arena, hone_value *, n->n_in);
    r->no_memory |= !in;
    for (int i = 0; in && i < n->n_in; ++i) {
        if (!(in[i] = reorder(r, n->in[i], o)))
            return NULL;
    }
    return in;
}

static hone_value *reorder(hone_rewriter *r, hone_value *v, const order *o) {
    if (v->constant)
        return reorder_constant(r, v, o);
    const hone_node *n = v->producer;
    order first;
    if (hone_is(n, "Transpose") && order_of(n, &first)) {
        order both = compose(&first, o);
        if (is_identity(&both))
            return n->in[0];
        hone_node *made = hone_rewrite_insert(r, "Transpose", n->in, 1);
        if (!made || !hone_attr_set_ints(r->g, made, "perm", both.perm, both.rank))
            return NULL;
        return made->out[0];
    }
    hone_value **in = reorder_inputs(r, n, o);
    hone_node *made = in ? hone_rewrite_insert(r, n->op_name, in, n->n_in) : NULL;
    return made && hone_rewrite_attrs(r, made, n) ? made->out[0] : NULL;
}

/* Transpose(f(Transpose(x), ...)), f element-wise: the later one moves up to meet the earlier. */
static bool meet_across(hone_rewriter *r) {
    order o;
    int n_gone = 0;
    hone_node *f = hone_is(r->node, "Transpose") ? r->node->in[0]->producer : NULL;
    if (!f || f->domain[0] || hone_is(f, "Transpose") || !order_of(r->node, &o) ||
        !can_reorder(r->node->in[0], &o, MAX_DEPTH, &n_gone) || n_gone == 0)
        return false;
    hone_value **in = reorder_inputs(r, f, &o);
    hone_node *n = in ? hone_rewrite_replace(r, f->op_name, in, f->n_in) : NULL;
    return n && hone_rewrite_attrs(r, n, f);
}

/* ---- reshapes ---------------------------------------------------------------------------------
 */

static bool is_reshape(const hone_node *n) {
    static const char *const ops[] = {"Reshape", "Squeeze", "Unsqueeze", "Flatten"};
    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; ++i) {
        if (hone_is(n, ops[i]))
            return true;
    }
    return false;
}

/* Two of them in a row are one Reshape to the last shape, where at most one dim is open. */
static bool merge_reshapes(hone_rewriter *r) {
    if (!is_reshape(r->node) || !r->node->in[0])
        return false;
    hone_node *before = r->node->in[0]->producer;
    const hone_type *t = &r->node->out[0]->type;
    if (!before || !is_reshape(before) || t->kind != HONE_KIND_TENSOR || t->rank < 0)
        return false;
    int64_t shape[HONE_MAX_RANK];
    int n_open = 0;
    for (int i = 0; i < t->rank; ++i) {
        shape[i] = t->dims[i] < 0 ? -1 : t->dims[i];
        n_open += shape[i] < 0;
        if (shape[i] == 0)
            return false;
    }
    if (n_open > 1)
        return false;
    hone_value *c = hone_graph_const_i64(r->g, r->node->out[0]->name, shape, t->rank);
    r->no_memory |= !c;
    return c && hone_rewrite_replace(r, "Reshape", (hone_value *[]){before->in[0], c}, 2);
}

/* Reshape(Transpose(Reshape(x))), the first joining the two leading axes and the last parting them,
 * around a swap of the two others: one Transpose. So K is turned in some exports of attention. */
static bool merge_batched_swap(hone_rewriter *r) {
    order o;
    hone_node *n = hone_is(r->node, "Reshape") ? hone_made_by(r->node->in[0], "Transpose") : NULL;
    hone_node *join = n ? hone_made_by(n->in[0], "Reshape") : NULL;
    if (!join || !order_of(n, &o) || o.rank != 3 || o.perm[0] != 0 || o.perm[1] != 2)
        return false;
    const hone_type *x = &join->in[0]->type, *in = &n->in[0]->type, *out = &r->node->out[0]->type;
    if (x->rank != 4 || in->rank != 3 || out->rank != 4)
        return false;
    for (int i = 0; i < 2; ++i) {
        if (!hone_same_dim(in->dims[i + 1], x->dims[i + 2]) ||
            !hone_same_dim(out->dims[i], x->dims[i]) ||
            !hone_same_dim(out->dims[i + 2], x->dims[3 - i]))
            return false;
    }
    hone_node *made = hone_rewrite_replace(r, "Transpose", join->in, 1);
    if (made && !hone_attr_set_ints(r->g, made, "perm", (const int64_t[]){0, 1, 3, 2}, 4))
        r->no_memory = true;
    return made != NULL;
}

hone_status hone_pass_cancel_transposes(hone_graph *g, int *n_changes, hone_error *err) {
    static const hone_rule rules[] = {merge_batched_swap, merge_two, meet_across, merge_reshapes};
    return hone_rewrite(g, rules, (int)(sizeof rules / sizeof rules[0]), n_changes, err);
}

/* softmax(scale * Q K^T + mask) V of rank 4 becomes Attention.
 *
 * The scale may be on the scores, on Q, on K or on several of them. K is found behind the Transpose
 * that its last two axes need, which may be one with the split into heads. The mask is added, or a
 * very low constant stands in masked places. Windows that were shifted (Swin) have a second mask,
 * of the windows, added while the scores are seen as [1, windows, heads, queries, keys]. A Where
 * that clears NaN from rows without a key, as exporters of scaled_dot_product_attention write it,
 * is what Attention does by itself. */
#include <math.h>

#include "passes/rewrite.h"

typedef struct attention {
    hone_value *q, *k, *v, *mask;
    hone_value *windows;     /* a mask [1, windows, 1 or heads, queries, keys], constant; or NULL */
    const hone_node *where;  /* the Where that puts a constant in masked places */
    const hone_node *turned; /* the Transpose that K is behind */
    double scale;
} attention;

/* v without factors of constants, which go into *scale. */
static hone_value *strip_scale(hone_value *v, double *scale) {
    for (;;) {
        hone_node *mul = hone_made_by(v, "Mul"), *div = hone_made_by(v, "Div");
        double c;
        if (mul && hone_const_scalar(mul->in[1], &c)) {
            v = mul->in[0];
        } else if (mul && hone_const_scalar(mul->in[0], &c)) {
            v = mul->in[1];
        } else if (div && hone_const_scalar(div->in[1], &c) && c != 0) {
            v = div->in[0];
            c = 1 / c;
        } else {
            return v;
        }
        *scale *= c;
    }
}

/* Softmax over the last axis, through Where(IsNaN(p), 0, p). */
static hone_node *match_softmax(const hone_value *p) {
    hone_node *where = hone_made_by(p, "Where");
    if (where) {
        hone_node *test = hone_made_by(where->in[0], "IsNaN");
        double zero;
        if (!test || test->in[0] != where->in[2] || !hone_const_scalar(where->in[1], &zero) ||
            zero != 0 || where->in[2]->n_uses != 2)
            return NULL;
        p = where->in[2];
    } else if (!hone_used_once(p)) {
        return NULL;
    }
    hone_node *n = hone_made_by(p, "Softmax");
    int64_t axis = n ? hone_attr_int(n, "axis", -1) : 0;
    return n && (axis == -1 || axis == 3) ? n : NULL;
}

static bool match_scores(hone_value *s, attention *a) {
    a->scale = 1;
    s = strip_scale(s, &a->scale);
    hone_node *product = hone_made_by(s, "MatMul");
    if (!product || !hone_used_once(s))
        return false;
    int64_t perm[HONE_MAX_RANK];
    int rank;
    a->q = strip_scale(product->in[0], &a->scale);
    hone_node *turned = hone_made_by(strip_scale(product->in[1], &a->scale), "Transpose");
    if (!turned || !hone_transpose_perm(turned, perm, &rank) || rank != 4)
        return false;
    a->turned = turned;
    a->k = strip_scale(turned->in[0], &a->scale);
    return isfinite(a->scale) && a->scale > 0;
}

/* The mask broadcasts to the scores, and its last dim is theirs: Attention reads a shorter one as
 * "no more keys". */
static bool is_mask(const hone_type *mask, const hone_type *scores) {
    if (!hone_same_dtype(mask, scores) || mask->rank < 2 || mask->rank > 4)
        return false;
    for (int i = 0; i < mask->rank; ++i) {
        int64_t want = scores->dims[4 - mask->rank + i], have = mask->dims[i];
        if (!hone_same_dim(have, want) && (have != 1 || i == mask->rank - 1))
            return false;
    }
    return true;
}

/* Where(condition, scores, c): c is so low that adding it to a score gives c again, and so the mask
 * Where(condition, 0, c) does the same. */
static bool match_filled_scores(hone_value *s, attention *a) {
    hone_node *n = hone_made_by(s, "Where");
    double c;
    if (!n || !hone_used_once(s) || !hone_const_scalar(n->in[2], &c) ||
        n->in[2]->constant->dtype != HONE_DTYPE_F32 || !(c <= -1e30) ||
        !match_scores(n->in[1], a) || n->in[1]->type.rank != 4)
        return false;
    hone_type mask = n->in[0]->type;
    mask.dtype = n->in[1]->type.dtype;
    a->where = n;
    return is_mask(&mask, &n->in[1]->type);
}

static bool match_added_scores(hone_value *s, attention *a) {
    if (match_scores(s, a))
        return true;
    if (match_filled_scores(s, a))
        return true;
    hone_node *add = hone_made_by(s, "Add");
    for (int i = 0; add && hone_used_once(s) && i < 2; ++i) {
        const hone_type *t = &add->in[i]->type;
        if (t->kind == HONE_KIND_TENSOR && t->rank == 4 && match_scores(add->in[i], a) &&
            is_mask(&add->in[1 - i]->type, t)) {
            a->mask = add->in[1 - i];
            return true;
        }
    }
    return false;
}

/* `wide` is `t` with a 1 in front. */
static bool has_one_in_front(const hone_type *wide, const hone_type *t) {
    if (wide->kind != HONE_KIND_TENSOR || t->kind != HONE_KIND_TENSOR || t->rank != 4 ||
        wide->rank != 5 || wide->dims[0] != 1)
        return false;
    for (int i = 0; i < 4; ++i) {
        if (!hone_same_dim(wide->dims[i + 1], t->dims[i]))
            return false;
    }
    return true;
}

static bool is_windows_mask(const hone_value *v, const hone_type *scores) {
    hone_type mask = v->type;
    if (!v->constant || mask.rank != 5 || mask.dims[0] != 1)
        return false;
    mask.rank = 4;
    memmove(mask.dims, mask.dims + 1, 4 * sizeof *mask.dims);
    return is_mask(&mask, scores);
}

static bool match_masked_scores(hone_value *s, attention *a) {
    if (match_added_scores(s, a))
        return true;
    hone_node *back = hone_made_by(s, "Reshape");
    hone_node *add = back && hone_used_once(s) ? hone_made_by(back->in[0], "Add") : NULL;
    for (int i = 0; add && hone_used_once(back->in[0]) && i < 2; ++i) {
        hone_node *split = hone_made_by(add->in[i], "Reshape");
        if (!split || !hone_used_once(add->in[i]) ||
            !has_one_in_front(&add->in[i]->type, &split->in[0]->type) ||
            !hone_same_shape(&s->type, &split->in[0]->type) ||
            !is_windows_mask(add->in[1 - i], &s->type) || !match_added_scores(split->in[0], a) ||
            a->where)
            continue;
        a->windows = add->in[1 - i];
        return true;
    }
    return false;
}

static bool is_operand(const hone_type *t, hone_dtype d) {
    return t->kind == HONE_KIND_TENSOR && t->rank == 4 && t->dtype == d;
}

/* Equal batches and heads: Attention does not broadcast as MatMul does. */
static bool is_supported(const attention *a, const hone_type *out) {
    const hone_type *q = &a->q->type, *v = &a->v->type, *t = &a->turned->out[0]->type;
    if (!hone_dtype_in(out->dtype, HONE_T(F32) | HONE_T(F16) | HONE_T(BF16)))
        return false;
    if (!is_operand(q, out->dtype) || !is_operand(&a->k->type, out->dtype) ||
        !is_operand(v, out->dtype) || !is_operand(t, out->dtype))
        return false;
    for (int i = 0; i < 2; ++i) {
        if (!hone_same_dim(q->dims[i], t->dims[i]) || !hone_same_dim(q->dims[i], v->dims[i]))
            return false;
    }
    return true;
}

/* K as [batch, heads, keys, size]: the transpose undone, as far as it goes. */
static hone_value *turn_back(hone_rewriter *r, const attention *a) {
    int64_t perm[HONE_MAX_RANK];
    int rank;
    if (!hone_transpose_perm(a->turned, perm, &rank))
        return NULL;
    int64_t last = perm[2];
    perm[2] = perm[3];
    perm[3] = last;
    if (perm[0] == 0 && perm[1] == 1 && perm[2] == 2)
        return a->k;
    hone_value *in = a->k;
    hone_node *n = hone_rewrite_insert(r, "Transpose", &in, 1);
    if (n && !hone_attr_set_ints(r->g, n, "perm", perm, 4))
        r->no_memory = true;
    return n ? n->out[0] : NULL;
}

/* Both masks as one, which is a constant where both are. */
static hone_value *join_masks(hone_rewriter *r, const attention *a) {
    hone_value *in[2] = {a->windows,
                         hone_graph_const_i64(r->g, "dims", a->windows->type.dims + 1, 4)};
    r->no_memory |= !in[1];
    hone_node *n = in[1] ? hone_rewrite_insert(r, "Reshape", in, 2) : NULL;
    if (!n || !a->mask)
        return n ? n->out[0] : NULL;
    hone_value *both[2] = {a->mask, n->out[0]};
    n = hone_rewrite_insert(r, "Add", both, 2);
    return n ? n->out[0] : NULL;
}

static hone_value *make_mask(hone_rewriter *r, const attention *a) {
    if (a->windows)
        return join_masks(r, a);
    if (!a->where)
        return a->mask;
    hone_value *zero = hone_graph_const_f32(r->g, "zero", 0);
    r->no_memory |= !zero;
    hone_value *in[3] = {a->where->in[0], zero, a->where->in[2]};
    hone_node *n = zero ? hone_rewrite_insert(r, "Where", in, 3) : NULL;
    return n ? n->out[0] : NULL;
}

static bool attend(hone_rewriter *r) {
    if (!hone_is(r->node, "MatMul"))
        return false;
    attention a = {.v = r->node->in[1]};
    hone_node *softmax = match_softmax(r->node->in[0]);
    if (!softmax || !match_masked_scores(softmax->in[0], &a) ||
        !is_supported(&a, &r->node->out[0]->type))
        return false;
    hone_value *in[4] = {a.q, turn_back(r, &a), a.v, make_mask(r, &a)};
    if (r->no_memory)
        return false;
    hone_node *n = hone_rewrite_replace(r, "Attention", in, in[3] ? 4 : 3);
    if (n && !hone_attr_set_float(r->g, n, "scale", (float)a.scale))
        r->no_memory = true;
    return n != NULL;
}

hone_status hone_pass_fuse_attention(hone_graph *g, int *n_changes, hone_error *err) {
    static const hone_rule rules[] = {attend};
    return hone_rewrite(g, rules, 1, n_changes, err);
}

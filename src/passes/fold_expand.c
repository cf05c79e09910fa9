/* Exporters of torch.Tensor.expand write the shape as Where(Equal(s, -1), 1, s), s a Concat of dims
 * and of -1 where the input's dim stays. A dim is never -1: the Where becomes a Concat with 1 in
 * those places, and what is expanded gets a shape that later passes can compare. */
#include "passes/rewrite.h"

static bool is_all(const hone_value *v, int64_t number) {
    int64_t list[HONE_MAX_RANK];
    int n = v ? hone_const_ints(v, list, HONE_MAX_RANK) : -1;
    for (int i = 0; i < n; ++i) {
        if (list[i] != number)
            return false;
    }
    return n > 0;
}

/* Every element is a size or a symbol. */
static bool is_dims(const hone_type *t) {
    for (int i = 0; i < t->n_contents; ++i) {
        if (t->contents[i] == HONE_DIM_UNKNOWN)
            return false;
    }
    return t->contents != NULL;
}

/* A part of the Concat with 1 for -1; NULL when it is not known well enough. */
static hone_value *settle(hone_rewriter *r, hone_value *part) {
    int64_t list[HONE_MAX_RANK], dim;
    int n = hone_const_ints(part, list, HONE_MAX_RANK);
    if (n < 0)
        return is_dims(&part->type) ? part : NULL;
    dim = n;
    hone_tensor *t = hone_rewrite_tensor(r, HONE_DTYPE_I64, 1, &dim);
    for (int i = 0; t && i < n; ++i)
        ((int64_t *)t->data)[i] = list[i] == -1 ? 1 : list[i];
    return t ? hone_rewrite_constant(r, "dims", t) : NULL;
}

static bool expand(hone_rewriter *r) {
    hone_value *in[HONE_MAX_RANK];
    const hone_node *where = r->node;
    if (!hone_is(where, "Where") || !is_all(where->in[1], 1))
        return false;
    const hone_node *equal = hone_made_by(where->in[0], "Equal");
    const hone_node *concat = hone_made_by(where->in[2], "Concat");
    int at = equal ? hone_input_of(equal, where->in[2]) : -1;
    if (!concat || at < 0 || !is_all(equal->in[1 - at], -1) || concat->n_in > HONE_MAX_RANK ||
        !hone_same_shape(&where->out[0]->type, &where->in[2]->type) ||
        where->in[2]->type.dtype != HONE_DTYPE_I64)
        return false;
    for (int i = 0; i < concat->n_in; ++i) {
        in[i] = settle(r, concat->in[i]);
        if (!in[i])
            return false;
    }
    hone_node *n = hone_rewrite_replace(r, "Concat", in, concat->n_in);
    if (n && !hone_rewrite_attrs(r, n, concat))
        r->no_memory = true;
    return n != NULL;
}

hone_status hone_pass_fold_expand(hone_graph *g, int *n_changes, hone_error *err) {
    static const hone_rule rules[] = {expand};
    return hone_rewrite(g, rules, 1, n_changes, err);
}

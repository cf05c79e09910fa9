/* Zeros that a Pad puts around what a convolution reads become the convolution's own padding, also
 * where a Transpose stands between, as in channels-last exports. */
#include "passes/rewrite.h"

/* Larger pads than this are left alone. */
enum { MAX_PAD = 1 << 20 };

typedef struct padding {
    int64_t before[HONE_MAX_RANK], after[HONE_MAX_RANK]; /* for each axis */
} padding;

static bool pads_zeros(const hone_node *n) {
    double value;
    if (n->n_in > 2 && n->in[2] && !(hone_const_scalar(n->in[2], &value) && value == 0))
        return false;
    return strcmp(hone_attr_string(n, "mode", "constant"), "constant") == 0;
}

static bool read_pad(const hone_node *n, int rank, padding *p) {
    int64_t axes[HONE_MAX_RANK], pads[2 * HONE_MAX_RANK];
    bool has_axes = n->n_in > 3 && n->in[3];
    int n_axes = has_axes ? hone_const_ints(n->in[3], axes, HONE_MAX_RANK) : rank;
    if (!pads_zeros(n) || n_axes < 0 ||
        hone_const_ints(n->in[1], pads, 2 * HONE_MAX_RANK) != 2 * n_axes)
        return false;
    *p = (padding){{0}, {0}};
    for (int i = 0; i < n_axes; ++i) {
        int64_t axis = !has_axes ? i : axes[i] < 0 ? axes[i] + rank : axes[i];
        if (axis < 0 || axis >= rank || pads[i] < 0 || pads[i] > MAX_PAD || pads[n_axes + i] < 0 ||
            pads[n_axes + i] > MAX_PAD)
            return false;
        p->before[axis] = pads[i];
        p->after[axis] = pads[n_axes + i];
    }
    return true;
}

/* The Conv's pads with those of `p`, whose axes `perm` moves; false when they cannot be its own. */
static bool join_pads(const hone_node *conv, int rank, const int64_t *perm, const padding *p,
                      int64_t *pads) {
    const int64_t *given;
    int n_spatial = rank - 2, n_given = hone_attr_ints(conv, "pads", &given);
    const char *rule = hone_attr_string(conv, "auto_pad", "NOTSET");
    bool is_valid = strcmp(rule, "VALID") == 0;
    if ((!is_valid && strcmp(rule, "NOTSET") != 0) || (n_given && n_given != 2 * n_spatial))
        return false;
    if (p->before[perm[0]] || p->after[perm[0]] || p->before[perm[1]] || p->after[perm[1]])
        return false; /* pictures or channels */
    for (int i = 0; i < 2 * n_spatial; ++i) {
        int64_t axis = perm[2 + i % n_spatial], own = n_given && !is_valid ? given[i] : 0;
        if (own < 0 || own > MAX_PAD)
            return false;
        pads[i] = own + (i < n_spatial ? p->before : p->after)[axis];
    }
    return true;
}

static hone_value *move_input(hone_rewriter *r, hone_value *x, const hone_node *move) {
    hone_node *n = move ? hone_rewrite_insert(r, "Transpose", &x, 1) : NULL;
    return !move ? x : n && hone_rewrite_attrs(r, n, move) ? n->out[0] : NULL;
}

static bool fold_pad(hone_rewriter *r) {
    const hone_node *conv = hone_is(r->node, "Conv") ? r->node : NULL;
    hone_value *x = conv ? conv->in[0] : NULL;
    const hone_node *move = x && hone_used_once(x) ? hone_made_by(x, "Transpose") : NULL;
    x = move ? move->in[0] : x;
    const hone_node *pad = x && hone_used_once(x) ? hone_made_by(x, "Pad") : NULL;
    int rank = pad ? x->type.rank : -1, n_perm = rank;
    int64_t perm[HONE_MAX_RANK], pads[2 * HONE_MAX_RANK];
    padding p;
    if (rank < 3 || rank > HONE_MAX_RANK || conv->n_in < 2 || conv->n_in > 3 ||
        (move && !hone_transpose_perm(move, perm, &n_perm)) || n_perm != rank)
        return false;
    for (int i = 0; !move && i < rank; ++i)
        perm[i] = i;
    if (!read_pad(pad, rank, &p) || !join_pads(conv, rank, perm, &p, pads))
        return false;
    hone_value *in[3] = {move_input(r, pad->in[0], move), conv->in[1],
                         conv->n_in > 2 ? conv->in[2] : NULL};
    hone_node *made = in[0] ? hone_rewrite_replace(r, "Conv", in, conv->n_in) : NULL;
    if (!made || !hone_rewrite_attrs(r, made, conv))
        return false;
    hone_attr_remove(made, "auto_pad");
    r->no_memory |= !hone_attr_set_ints(r->g, made, "pads", pads, 2 * (rank - 2));
    return true;
}

hone_status hone_pass_fold_pad(hone_graph *g, int *n_changes, hone_error *err) {
    static const hone_rule rules[] = {fold_pad};
    return hone_rewrite(g, rules, 1, n_changes, err);
}

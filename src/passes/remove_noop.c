/* Nodes that give back their input: Identity, Dropout, operators that change neither shape nor
 * type, arithmetic with a neutral constant. Their output becomes their input, or, for a graph
 * output, whose name must stay, the input becomes the output. */
#include "passes/match.h"
#include "passes/pass.h"

/* Constants longer than this are not looked through for a neutral element. */
enum { MAX_NEUTRAL = 1 << 16 };

static bool same_type(const hone_node *n, int in) {
    const hone_type *a = &n->in[in]->type, *b = &n->out[0]->type;
    return hone_same_dtype(a, b) && hone_same_shape(a, b);
}

/* Equal dims, but for at most one place where neither is known: the element counts being equal
 * settles that one, if no dim is zero. */
static bool same_by_count(const hone_node *n) {
    const hone_type *a = &n->in[0]->type, *b = &n->out[0]->type;
    int n_open = 0;
    if (a->kind != HONE_KIND_TENSOR || a->rank < 0 || a->rank != b->rank)
        return false;
    for (int i = 0; i < a->rank; ++i) {
        if (a->dims[i] != b->dims[i] || a->dims[i] == 0)
            return false;
        n_open += a->dims[i] < 0;
    }
    return n_open <= 1;
}

static bool all_equal(const hone_value *v, double x) {
    const hone_tensor *t = v ? v->constant : NULL;
    if (!t || t->kind != HONE_KIND_TENSOR || !hone_dtype_in(t->dtype, HONE_T_NUM))
        return false;
    int64_t n = hone_tensor_count(t);
    if (n == 0 || n > MAX_NEUTRAL)
        return false;
    for (int64_t i = 0; i < n; ++i) {
        if (!(hone_load_f64(t->dtype, t->data, i) == x))
            return false;
    }
    return true;
}

static int identity(const hone_node *n) {
    (void)n;
    return 0;
}

static int one_input(const hone_node *n) {
    return n->n_in == 1 ? 0 : -1;
}

static int same(const hone_node *n) {
    return same_type(n, 0) ? 0 : -1;
}

static int cast(const hone_node *n) {
    return hone_same_dtype(&n->in[0]->type, &n->out[0]->type) ? 0 : -1;
}

static int reshape(const hone_node *n) {
    return same_type(n, 0) || same_by_count(n) ? 0 : -1;
}

static int dropout(const hone_node *n) {
    if (n->n_out > 1 && n->out[1] && n->out[1]->n_uses > 0)
        return -1;
    const hone_value *training = n->n_in > 2 ? n->in[2] : NULL;
    if (!training)
        return 0;
    const hone_tensor *t = training->constant;
    return t && hone_tensor_count(t) == 1 && hone_load_i64(t->dtype, t->data, 0) == 0 ? 0 : -1;
}

static int transpose(const hone_node *n) {
    int64_t perm[HONE_MAX_RANK];
    int rank;
    if (!hone_transpose_perm(n, perm, &rank))
        return -1;
    for (int i = 0; i < rank; ++i) {
        if (perm[i] != i)
            return -1;
    }
    return 0;
}

/* Equal shapes with positive steps: the slice takes everything. */
static int slice(const hone_node *n) {
    int64_t steps[HONE_MAX_RANK];
    int n_steps = n->n_in > 4 && n->in[4] ? hone_const_ints(n->in[4], steps, HONE_MAX_RANK) : 0;
    for (int i = 0; i < n_steps; ++i) {
        if (steps[i] <= 0)
            return -1;
    }
    return n_steps >= 0 && same_type(n, 0) ? 0 : -1;
}

static int pad(const hone_node *n) {
    return all_equal(n->in[1], 0) ? 0 : -1;
}

static int tile(const hone_node *n) {
    return all_equal(n->in[1], 1) ? 0 : -1;
}

static int neutral(const hone_node *n, double x, bool commutes) {
    if (all_equal(n->in[1], x) && same_type(n, 0))
        return 0;
    return commutes && all_equal(n->in[0], x) && same_type(n, 1) ? 1 : -1;
}

static int add(const hone_node *n) {
    return neutral(n, 0, true);
}
static int sub(const hone_node *n) {
    return neutral(n, 0, false);
}
static int mul(const hone_node *n) {
    return neutral(n, 1, true);
}
static int div_or_pow(const hone_node *n) {
    return neutral(n, 1, false);
}

/* Which input a node of the operator gives back; -1: none. */
static const struct {
    const char *op;
    int (*input)(const hone_node *n);
} rules[] = {
    {"Identity", identity}, {"Dropout", dropout},   {"Cast", cast},
    {"CastLike", cast},     {"Reshape", reshape},   {"Flatten", reshape},
    {"Squeeze", reshape},   {"Unsqueeze", reshape}, {"Transpose", transpose},
    {"Expand", same},       {"Slice", slice},       {"Pad", pad},
    {"Tile", tile},         {"Concat", one_input},  {"Max", one_input},
    {"Min", one_input},     {"Sum", one_input},     {"Mean", one_input},
    {"Add", add},           {"Sub", sub},           {"Mul", mul},
    {"Div", div_or_pow},    {"Pow", div_or_pow},
};

static hone_value *given_back(const hone_node *n) {
    if (!n->op || n->domain[0] || n->n_in < 1 || n->n_out < 1 || !n->out[0])
        return NULL;
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; ++i) {
        if (strcmp(rules[i].op, n->op_name) != 0)
            continue;
        for (int k = 0; k < n->op->min_in; ++k) {
            if (!n->in[k])
                return NULL;
        }
        int in = rules[i].input(n);
        return in < 0 ? NULL : n->in[in];
    }
    return NULL;
}

static void set_output(hone_node *n, const hone_value *from, hone_value *to) {
    for (int i = 0; i < n->n_out; ++i) {
        if (n->out[i] == from)
            n->out[i] = to;
    }
    to->producer = n;
}

/* True when the node went. alias[id] is what a value has become. */
static bool remove_node(hone_graph *g, hone_node *n, hone_value **alias) {
    hone_value *in = given_back(n), *out = n->out ? n->out[0] : NULL;
    if (!in)
        return false;
    in = hone_alias_of(alias, in);
    if (!hone_graph_is_output(g, out)) {
        alias[out->id] = in;
        return true;
    }
    if (!in->producer || hone_graph_is_output(g, in) || in->constant || in->outer)
        return false;
    /* The producer's node comes before all users, so they may read the output value as well. */
    set_output(in->producer, in, out);
    alias[in->id] = out;
    return true;
}

hone_status hone_pass_remove_noop(hone_graph *g, int *n_changes, hone_error *err) {
    hone_arena temp;
    hone_arena_init(&temp, 0);
    hone_value **alias = HONE_NEW_ARRAY(&temp, hone_value *, g->n_values);
    int n = 0;
    for (int i = 0; alias && i < g->n_nodes; ++i) {
        if (remove_node(g, g->nodes[i], alias)) {
            g->nodes[i] = NULL;
            ++n;
        }
    }
    hone_graph_compact(g);
    if (n)
        hone_alias_apply(g, alias);
    hone_arena_deinit(&temp);
    *n_changes += n;
    return alias ? HONE_OK : hone_fail(err, HONE_E_NOMEM, "no memory to remove nodes");
}

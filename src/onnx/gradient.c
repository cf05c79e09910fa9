/* The walk of reverse-mode differentiation, and what its rules are made of. */
#include "onnx/gradient.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Derivatives of derivatives grow fast: a graph with more nodes than this is refused. */
enum { MAX_NODES = 1 << 16 };

void hone_grad_fail(hone_grad *d, hone_status code, const char *format, ...) {
    char text[300];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (d->status == HONE_OK)
        d->status = adapt_fail(d->a, code, "%s", text);
}

static void no_memory(hone_grad *d) {
    if (d->status == HONE_OK)
        d->status = adapt_no_memory(d->a);
}

/* ---- builders ---------------------------------------------------------------------------------
 */

hone_node *hone_grad_node(hone_grad *d, const char *op, hone_value *const *in, int n_in) {
    hone_adapt *a = d->a;
    for (int i = 0; i < n_in; ++i)
        if (!in[i] && d->status == HONE_OK)
            hone_grad_fail(d, HONE_E_FORMAT, "an input of %s is missing",
                           d->n ? d->n->op_name : op);
    if (d->status != HONE_OK)
        return NULL;
    hone_value *out = hone_graph_fresh(a->g, a->n->name[0] ? a->n->name : "gradient");
    hone_node *n =
        out ? hone_node_create(a->g, hone_op_find("", op), a->n->name, in, n_in, &out, 1) : NULL;
    if (!n) {
        no_memory(d);
        return NULL;
    }
    n->op_name = op;
    n->origin = a->n->origin;
    return n;
}

hone_value *hone_grad_emit(hone_grad *d, hone_node *n) {
    if (!n || d->status != HONE_OK)
        return NULL;
    if (d->a->n_nodes >= MAX_NODES)
        hone_grad_fail(d, HONE_E_UNSUPPORTED, "the derivatives need more than %d nodes", MAX_NODES);
    else
        d->status = adapt_emit(d->a, n);
    return d->status == HONE_OK ? n->out[0] : NULL;
}

hone_value *hone_grad_op1(hone_grad *d, const char *op, hone_value *x) {
    return hone_grad_emit(d, hone_grad_node(d, op, &x, 1));
}

hone_value *hone_grad_op2(hone_grad *d, const char *op, hone_value *x, hone_value *y) {
    return hone_grad_emit(d, hone_grad_node(d, op, (hone_value *[]){x, y}, 2));
}

hone_value *hone_grad_op3(hone_grad *d, const char *op, hone_value *x, hone_value *y,
                          hone_value *z) {
    return hone_grad_emit(d, hone_grad_node(d, op, (hone_value *[]){x, y, z}, 3));
}

hone_value *hone_grad_with_int(hone_grad *d, const char *op, hone_value *x, hone_value *y,
                               const char *attr, int64_t v) {
    hone_node *n = hone_grad_node(d, op, (hone_value *[]){x, y}, y ? 2 : 1);
    if (n && !hone_attr_set_int(d->a->g, n, attr, v))
        no_memory(d);
    return hone_grad_emit(d, n);
}

static hone_tensor *one_element(hone_grad *d, hone_dtype type, int rank, double v) {
    int64_t dims[1] = {1};
    hone_tensor *t = HONE_NEW(d->a->g->arena, hone_tensor);
    void *data = hone_arena_alloc(d->a->g->arena, 16);
    if (!t || !data) {
        no_memory(d);
        return NULL;
    }
    hone_store_f64(type, data, 0, v);
    *t = hone_tensor_view(type, rank, dims, data);
    return t;
}

static hone_dtype float_type(hone_grad *d, const hone_value *like) {
    hone_dtype type = like ? like->type.dtype : HONE_DTYPE_NONE;
    if (like && !hone_dtype_in(type, HONE_T_FLOAT))
        hone_grad_fail(d, HONE_E_TYPE, "'%.60s' has no floating-point type", like->name);
    return type;
}

hone_value *hone_grad_number(hone_grad *d, double v, const hone_value *like) {
    hone_dtype type = float_type(d, like);
    hone_tensor *t = like && d->status == HONE_OK ? one_element(d, type, 0, v) : NULL;
    hone_value *c = t ? hone_graph_constant(d->a->g, "number", t) : NULL;
    if (t && !c)
        no_memory(d);
    return c;
}

hone_value *hone_grad_ints(hone_grad *d, const int64_t *v, int n) {
    hone_value *c = hone_graph_const_i64(d->a->g, "ints", v, n);
    if (!c)
        no_memory(d);
    return c;
}

static hone_value *filled(hone_grad *d, hone_value *shape, hone_dtype type, double v) {
    hone_node *n = hone_grad_node(d, "ConstantOfShape", &shape, 1);
    hone_attr value = {.name = "value", .kind = HONE_ATTR_TENSOR, .n = 1};
    value.t = n ? one_element(d, type, 1, v) : NULL;
    if (n && value.t && !hone_attr_set(d->a->g, n, &value))
        no_memory(d);
    return hone_grad_emit(d, n);
}

hone_value *hone_grad_full(hone_grad *d, hone_value *x, double v) {
    return filled(d, hone_grad_op1(d, "Shape", x), float_type(d, x), v);
}

hone_value *hone_grad_reshape(hone_grad *d, hone_value *x, hone_value *like) {
    return hone_grad_with_int(d, "Reshape", x, hone_grad_op1(d, "Shape", like), "allowzero", 1);
}

static hone_value *flat(hone_grad *d, hone_value *x) {
    int64_t all = -1;
    return hone_grad_op2(d, "Reshape", x, hone_grad_ints(d, &all, 1));
}

hone_value *hone_grad_index(hone_grad *d, hone_value *x) {
    int64_t zero = 0, one = 1;
    hone_value *range = hone_grad_op3(d, "Range", hone_grad_ints(d, &zero, -1),
                                      hone_grad_op1(d, "Size", x), hone_grad_ints(d, &one, -1));
    return hone_grad_reshape(d, range, x);
}

hone_value *hone_grad_scatter(hone_grad *d, hone_value *x, hone_value *at, hone_value *g) {
    hone_value *in[3] = {filled(d, flat(d, hone_grad_op1(d, "Size", x)), float_type(d, x), 0),
                         flat(d, at), flat(d, g)};
    hone_node *n = hone_grad_node(d, "ScatterElements", in, 3);
    if (n && !hone_attr_set_string(d->a->g, n, "reduction", "add"))
        no_memory(d);
    return hone_grad_reshape(d, hone_grad_emit(d, n), x);
}

/* ---- sums of derivatives ----------------------------------------------------------------------
 */

static bool varies(const hone_grad *d, const hone_value *v) {
    return v && hone_names_get(&d->varies, hone_text(v->name));
}

/* Does one of the node's inputs vary, or something that its subgraphs capture? */
static bool depends(const hone_grad *d, const hone_node *n) {
    bool found = false;
    for (int k = 0; k < n->n_in; ++k)
        found |= varies(d, n->in[k]);
    for (int i = 0; i < n->n_attrs; ++i) {
        const hone_attr *attr = &n->attrs[i];
        const hone_graph *sub = attr->kind == HONE_ATTR_GRAPH ? attr->g : NULL;
        for (int k = 0; sub && k < sub->n_values; ++k)
            found |= varies(d, sub->values[k]->outer);
    }
    return found;
}

static void add_to(hone_grad *d, hone_value *x, hone_value *v) {
    hone_value *old = hone_names_get(&d->adjoint, hone_text(x->name));
    hone_value *sum = old ? hone_grad_op2(d, "Add", old, v) : v;
    if (sum && !hone_names_put(&d->adjoint, hone_text(x->name), sum))
        no_memory(d);
}

void hone_grad_add(hone_grad *d, int i, hone_value *v) {
    if (i < d->n->n_in && v && d->status == HONE_OK && varies(d, d->n->in[i]))
        add_to(d, d->n->in[i], v);
}

static bool same_shape(const hone_type *a, const hone_type *b) {
    bool same = a->rank >= 0 && a->rank == b->rank;
    for (int i = 0; same && i < a->rank; ++i)
        same = a->dims[i] == b->dims[i] && a->dims[i] != HONE_DIM_UNKNOWN;
    return same;
}

/* g summed over the axes along which x was broadcast. */
static hone_value *summed(hone_grad *d, hone_value *g, hone_value *x) {
    int64_t axes[HONE_MAX_RANK];
    int n = 0, lead;
    if (!g || same_shape(&g->type, &x->type))
        return g;
    if (!hone_type_is_static(&g->type) || !hone_type_is_static(&x->type)) {
        hone_value *at =
            hone_grad_op2(d, "Expand", hone_grad_index(d, x), hone_grad_op1(d, "Shape", g));
        return hone_grad_scatter(d, x, at, g);
    }
    lead = g->type.rank - x->type.rank;
    for (int i = 0; i < g->type.rank; ++i)
        if (i < lead || x->type.dims[i - lead] != g->type.dims[i])
            axes[n++] = i;
    if (n)
        g = hone_grad_with_int(d, "ReduceSum", g, hone_grad_ints(d, axes, n), "keepdims", 1);
    return lead ? hone_grad_reshape(d, g, x) : g;
}

void hone_grad_add_broadcast(hone_grad *d, int i, hone_value *v) {
    if (i < d->n->n_in && varies(d, d->n->in[i]))
        hone_grad_add(d, i, summed(d, v, d->n->in[i]));
}

/* ---- the walk ---------------------------------------------------------------------------------
 */

typedef struct request {
    hone_value **x; /* xs, then zs */
    int n_xs, n;
    hone_value *y;
    int n_nodes; /* in the list when the walk began */
} request;

static hone_value *named_value(hone_grad *d, const char *what, hone_string name) {
    const hone_graph *g = d->a->g;
    for (int i = 0; i < g->n_values; ++i)
        if (hone_string_equal(hone_text(g->values[i]->name), name))
            return g->values[i];
    hone_grad_fail(d, HONE_E_FORMAT, "%s names '%.*s', which is no value of the graph", what,
                   name.len < 100 ? (int)name.len : 100, name.data);
    return NULL;
}

static void read_request(hone_grad *d, request *r) {
    const hone_string *lists[2];
    const hone_node *n = d->a->n;
    const hone_attr *y = hone_attr_find(n, "y");
    r->n_xs = hone_attr_strings(n, "xs", &lists[0]);
    int n_zs = hone_attr_strings(n, "zs", &lists[1]);
    r->n = r->n_xs + n_zs;
    r->n_nodes = d->a->n_nodes;
    r->x = HONE_NEW_ARRAY(d->a->g->arena, hone_value *, r->n);
    if (!r->x) {
        no_memory(d);
        return;
    }
    if (!y || y->kind != HONE_ATTR_STRING || r->n_xs == 0 || n->n_in != r->n ||
        n->n_out > r->n_xs) {
        hone_grad_fail(d, HONE_E_FORMAT,
                       "needs y, xs, an input for each of xs and zs, and an output "
                       "for each of xs");
        return;
    }
    for (int i = 0; i < r->n; ++i) {
        r->x[i] = named_value(d, i < r->n_xs ? "xs" : "zs",
                              i < r->n_xs ? lists[0][i] : lists[1][i - r->n_xs]);
        if (!n->in[i])
            hone_grad_fail(d, HONE_E_FORMAT, "input %d is needed", i);
    }
    r->y = named_value(d, "y", y->s);
}

static bool is_variable(const request *r, const hone_value *v) {
    for (int i = 0; i < r->n; ++i)
        if (r->x[i] == v)
            return true;
    return false;
}

/* Integers, truth values and strings have no derivative. */
static bool may_vary(const request *r, const hone_value *v) {
    bool is_fixed = v->type.kind == HONE_KIND_TENSOR && v->type.dtype &&
                    !hone_dtype_in(v->type.dtype, HONE_T_FLOAT);
    return !is_fixed && !is_variable(r, v);
}

/* Mark what depends on the first n of the variables; `all`: whole numbers too. */
static void mark_varying(hone_grad *d, const request *r, int n, bool all) {
    bool ok = true;
    d->varies = (hone_names){.arena = d->adjoint.arena};
    for (int i = 0; i < n; ++i)
        ok = ok && hone_names_put(&d->varies, hone_text(r->x[i]->name), r->x[i]);
    for (int i = 0; i < r->n_nodes; ++i) {
        const hone_node *node = d->a->nodes[i];
        bool moves = depends(d, node);
        for (int k = 0; moves && k < node->n_out; ++k)
            if (node->out[k] && (all ? !is_variable(r, node->out[k]) : may_vary(r, node->out[k])))
                ok = ok && hone_names_put(&d->varies, hone_text(node->out[k]->name), node->out[k]);
    }
    if (!ok)
        no_memory(d);
}

/* Differentiate at the node's inputs instead of at the variables: what depends on these is computed
 * again from the inputs, and the request then names the copies. */
static void move_variables(hone_grad *d, request *r) {
    hone_adapt *a = d->a;
    hone_names copies = {.arena = d->adjoint.arena};
    bool moved = false, ok = true;
    for (int i = 0; i < r->n; ++i) {
        moved |= r->x[i] != a->n->in[i];
        ok = ok && hone_names_put(&copies, hone_text(r->x[i]->name), a->n->in[i]);
    }
    if (!moved || !ok || d->status != HONE_OK) {
        if (!ok)
            no_memory(d);
        return;
    }
    mark_varying(d, r, r->n, true);
    for (int i = 0; i < r->n_nodes && d->status == HONE_OK; ++i) {
        const hone_node *from = a->nodes[i];
        hone_node *n = NULL;
        for (int k = 0; k < from->n_out && !n; ++k)
            if (from->out[k] && varies(d, from->out[k]) && !is_variable(r, from->out[k]))
                n = hone_node_create(a->g, from->op, from->name, from->in, from->n_in, from->out,
                                     from->n_out);
        if (!n)
            continue;
        if (n->op && n->op->flags & HONE_OP_CONTROL) {
            hone_grad_fail(d, HONE_E_UNSUPPORTED, "%s depends on the variables", from->op_name);
            return;
        }
        n->op_name = from->op_name;
        n->domain = from->domain;
        n->origin = from->origin;
        n->attrs = from->attrs; /* adapters are done with it: shared */
        n->n_attrs = from->n_attrs;
        for (int k = 0; k < n->n_in; ++k) {
            hone_value *now = n->in[k] ? hone_names_get(&copies, hone_text(n->in[k]->name)) : NULL;
            n->in[k] = now ? now : n->in[k];
        }
        for (int k = 0; k < n->n_out; ++k) {
            if (!n->out[k])
                continue;
            n->out[k] = hone_graph_fresh(a->g, from->out[k]->name);
            if (!n->out[k] ||
                (!is_variable(r, from->out[k]) &&
                 !hone_names_put(&copies, hone_text(from->out[k]->name), n->out[k]))) {
                no_memory(d);
                return;
            }
        }
        hone_grad_emit(d, n);
    }
    hone_value *y = hone_names_get(&copies, hone_text(r->y->name));
    r->y = y ? y : r->y;
    for (int i = 0; i < r->n; ++i)
        r->x[i] = a->n->in[i];
    r->n_nodes = a->n_nodes;
}

/* Add to the derivatives by the node's inputs. */
static void step_back(hone_grad *d, const request *r, const hone_node *n) {
    hone_value *few[8], **g = few;
    bool matters = false;
    if (n->n_out > 8 && !(g = HONE_NEW_ARRAY(d->a->g->arena, hone_value *, n->n_out))) {
        no_memory(d);
        return;
    }
    for (int k = 0; k < n->n_out; ++k) {
        bool inner = n->out[k] && !is_variable(r, n->out[k]) && varies(d, n->out[k]);
        g[k] = inner ? hone_names_get(&d->adjoint, hone_text(n->out[k]->name)) : NULL;
        matters |= g[k] != NULL;
    }
    if (!matters || !depends(d, n))
        return;
    d->n = n;
    d->g = g;
    hone_grad_rule rule = hone_grad_rule_of(n);
    if (rule)
        rule(d);
    else
        hone_grad_fail(d, HONE_E_UNSUPPORTED,
                       "no derivative is known of %s%s%s (node '%.80s'), on which '%.60s' depends",
                       n->domain, n->domain[0] ? "." : "", n->op_name, n->name, r->y->name);
    d->n = NULL;
}

/* The outputs become copies of the derivatives; the last of these takes the place of the node. */
static void write_outputs(hone_grad *d, const request *r) {
    hone_adapt *a = d->a;
    hone_node *last = NULL;
    for (int i = 0; i < a->n->n_out && d->status == HONE_OK; ++i) {
        if (!a->n->out[i])
            continue;
        hone_value *v = hone_names_get(&d->adjoint, hone_text(r->x[i]->name));
        v = v && varies(d, r->x[i]) ? v : hone_grad_full(d, r->x[i], 0);
        hone_node *copy = hone_grad_node(d, "Identity", &v, 1);
        if (!copy)
            return;
        copy->out[0] = a->n->out[i];
        if (last)
            hone_grad_emit(d, last);
        last = copy;
    }
    if (!last)
        hone_grad_fail(d, HONE_E_FORMAT, "no output is used");
    else
        a->n = last; /* the caller emits it */
}

hone_status adapt_gradient(hone_adapt *a) {
    hone_arena temp;
    hone_arena_init(&temp, 0);
    hone_grad d = {.a = a, .adjoint = {.arena = &temp}};
    request r = {0};
    read_request(&d, &r);
    if (d.status == HONE_OK)
        move_variables(&d, &r);
    if (d.status == HONE_OK)
        mark_varying(&d, &r, r.n_xs, false);
    if (d.status == HONE_OK && varies(&d, r.y))
        add_to(&d, r.y, hone_grad_full(&d, r.y, 1));
    for (int i = r.n_nodes - 1; i >= 0 && d.status == HONE_OK; --i)
        step_back(&d, &r, a->nodes[i]);
    if (d.status == HONE_OK)
        write_outputs(&d, &r);
    hone_arena_deinit(&temp);
    return d.status;
}

#include "quant/plan.h"

#include <math.h>

#include "passes/match.h"

/* Larger numbers are no quantities of a network but masks, which would leave no steps to the rest.
 */
#define LARGEST 0x1p+20F

enum { LEAST_STEPS = 16 };

/* ---- ranges -----------------------------------------------------------------------------------
 */

static bool is_float(const hone_value *v) {
    return v && v->type.kind == HONE_KIND_TENSOR && v->type.dtype == HONE_DTYPE_F32;
}

static hone_qvalue *of(hone_qplan *p, const hone_value *v) {
    return &p->value[v->id];
}

const hone_qvalue *hone_qplan_of(const hone_qplan *p, const hone_value *v) {
    return v && v->id < p->n_values ? &p->value[v->id] : NULL;
}

static void set_range(hone_qvalue *q, const hone_range *r) {
    if (!r || !r->is_finite || r->low < -LARGEST || r->high > LARGEST)
        return;
    q->is_usable = true;
    q->low = r->low < 0 ? r->low : 0; /* 0 must be a number of the scale: padding is made of it */
    q->high = r->high > 0 ? r->high : 0;
}

static hone_range contents(const hone_tensor *t) {
    const float *v = t->data;
    hone_range r = {.low = 0, .high = 0, .is_finite = true};
    for (int64_t i = 0; i < hone_tensor_count(t); ++i) {
        r.low = v[i] < r.low ? v[i] : r.low;
        r.high = v[i] > r.high ? v[i] : r.high;
        r.is_finite &= isfinite(v[i]) != 0;
    }
    return r;
}

static void read_value(hone_qplan *p, hone_ranges *ranges, const hone_value *v) {
    if (!is_float(v) || of(p, v)->is_usable)
        return;
    hone_range own;
    if (v->constant)
        own = contents(v->constant);
    set_range(of(p, v), v->constant ? &own : hone_range_of(ranges, v->name));
}

static void read_ranges(hone_qplan *p, hone_ranges *ranges) {
    const hone_graph *g = p->graph;
    for (int i = 0; i < g->n_inputs; ++i)
        read_value(p, ranges, g->inputs[i]);
    for (int i = 0; i < g->n_nodes; ++i) {
        const hone_node *n = g->nodes[i];
        for (int k = 0; k < n->n_in; ++k) {
            if (n->in[k] && n->in[k]->constant)
                read_value(p, ranges, n->in[k]);
        }
        for (int k = 0; k < n->n_out; ++k)
            read_value(p, ranges, n->out[k]);
    }
}

/* ---- which nodes ------------------------------------------------------------------------------
 */

static bool is_usable(hone_qplan *p, const hone_value *v) {
    return is_float(v) && of(p, v)->is_usable;
}

static bool is_graph_input(const hone_value *v) {
    return !v->producer && !v->constant && !v->outer;
}

/* Layers: with constant weights of the ranks that the kernels have, or of two matrices that are
 * computed. */
static bool is_layer(hone_qplan *p, const hone_node *n) {
    const hone_value *x = n->in[0], *w = n->in[1], *b = n->n_in > 2 ? n->in[2] : NULL;
    int rank = w ? w->type.rank : -1;
    if (!is_usable(p, x) || x->constant || !w || !is_float(w) || rank < 2)
        return false;
    if (!w->constant)
        return hone_is(n, "MatMul") && is_usable(p, w);
    bool is_conv = hone_is(n, "Conv") || hone_is(n, "ConvTranspose");
    if ((is_conv && rank != 3 && rank != 4) || (!is_conv && rank != 2) || !of(p, w)->is_usable)
        return false;
    if (hone_is(n, "ConvTranspose") && hone_attr_int(n, "group", 1) != 1)
        return false;
    return !b || (is_usable(p, b) && hone_quant_is_bias(n, b->constant));
}

static bool has_operands(hone_qplan *p, const hone_node *n, int n_data) {
    bool is_fed = false;
    for (int i = 0; i < n_data; ++i) {
        const hone_value *v = n->in[i];
        if (!is_usable(p, v))
            return false;
        is_fed |= !v->constant && (of(p, v)->is_made || is_graph_input(v));
    }
    return is_fed;
}

static bool has_results(hone_qplan *p, const hone_node *n) {
    for (int i = 0; i < n->n_out; ++i) {
        if (n->out[i] && n->out[i]->n_uses > 0 && !is_usable(p, n->out[i]))
            return false;
    }
    return true;
}

/* The operand of an Add that is a product without a bias yet, for which the other is one. */
static int product_of(const hone_qplan *p, const hone_node *n) {
    for (int i = 0; hone_is(n, "Add") && i < 2; ++i) {
        const hone_value *v = n->in[i], *b = n->in[1 - i];
        const hone_qvalue *made = hone_qplan_of(p, v), *addend = hone_qplan_of(p, b);
        if (made && made->is_made && hone_made_by(v, "MatMul") && v->n_uses == 1 && addend &&
            addend->is_usable && b->constant && b->constant->rank == 1 &&
            v->producer->in[1]->constant && hone_quant_is_bias(v->producer, b->constant))
            return i;
    }
    return -1;
}

/* The operand that a node takes over together with what computes it; NULL: none. */
static const hone_value *inner_operand(const hone_qplan *p, const hone_node *n) {
    int at = product_of(p, n);
    if (at >= 0)
        return n->in[at];
    if (!hone_is(n, "Relu") && !hone_is(n, "Clip"))
        return NULL;
    const hone_value *v = n->in[0];
    if (!v->producer || !p->value[v->id].is_made || v->n_uses != 1)
        return NULL;
    hone_quant_kind kind = hone_quant_form_of(v->producer).kind;
    return kind == HONE_QUANT_FREE || kind == HONE_QUANT_LAYER ? v : NULL;
}

/* The scale that the format fixes leaves the results hardly any steps: a softmax over many that are
 * much alike. */
static bool is_too_fine(const hone_qplan *p, const hone_node *n) {
    const float *scale;
    const int64_t *zero;
    const hone_qvalue *q = &p->value[n->out[0]->id];
    return !hone_quant_fixed(n, HONE_DTYPE_I8, &scale, &zero) ||
           q->high - q->low < LEAST_STEPS * *scale;
}

static float width(const hone_qplan *p, const hone_value *v) {
    return p->value[v->id].high - p->value[v->id].low;
}

/* A difference of numbers that are much alike: LiteRT ends the process when the result's scale is
 * below the operands' by more than 2^19 (add.cc and sub.cc: a multiplier above 1). */
static bool cancels(const hone_qplan *p, const hone_node *n) {
    if (!hone_is(n, "Add") && !hone_is(n, "Sub"))
        return false;
    return width(p, n->out[0]) * 0x1p+16F < fmaxf(width(p, n->in[0]), width(p, n->in[1]));
}

static bool decide(hone_qplan *p, const hone_node *n) {
    hone_quant_form form = hone_quant_form_of(n);
    if (form.kind == HONE_QUANT_NONE || !has_results(p, n) ||
        (form.kind == HONE_QUANT_FIXED && is_too_fine(p, n)))
        return false;
    if (form.kind == HONE_QUANT_LAYER)
        return is_layer(p, n);
    return has_operands(p, n, form.n_data) && !cancels(p, n);
}

static void decide_all(hone_qplan *p) {
    for (int i = 0; i < p->graph->n_nodes; ++i) {
        const hone_node *n = p->graph->nodes[i];
        p->is_integer[i] = decide(p, n);
        for (int k = 0; p->is_integer[i] && k < n->n_out; ++k) {
            if (n->out[k])
                of(p, n->out[k])->is_made = true;
        }
        const hone_value *inner = p->is_integer[i] ? inner_operand(p, n) : NULL;
        if (inner)
            of(p, inner)->is_inner = true;
    }
}

const hone_tensor *hone_qplan_added_bias(const hone_qplan *p, const hone_value *product,
                                         hone_node **add) {
    const hone_qvalue *q = hone_qplan_of(p, product);
    *add = q && q->is_inner ? hone_only_user(p->graph, product) : NULL;
    int at = *add ? product_of(p, *add) : -1;
    return at >= 0 ? (*add)->in[1 - at]->constant : NULL;
}

/* ---- how values are stored --------------------------------------------------------------------
 */

static hone_qvalue *root(hone_qplan *p, const hone_value *v) {
    int at = v->id;
    while (p->value[at].group != at)
        at = p->value[at].group = p->value[p->value[at].group].group;
    return &p->value[at];
}

static void join(hone_qplan *p, const hone_value *a, const hone_value *b) {
    root(p, a)->group = (int)(root(p, b) - p->value);
}

static void store_results(hone_qplan *p, const hone_node *n, hone_quant_kind kind) {
    bool is_moved = kind == HONE_QUANT_AS_INPUT || kind == HONE_QUANT_ROUNDED;
    for (int i = 0; i < n->n_out; ++i) {
        hone_qvalue *q = n->out[i] ? of(p, n->out[i]) : NULL;
        if (!q || q->is_inner || n->out[i]->n_uses == 0)
            continue;
        q->is_stored = true;
        q->is_rounded = !is_moved && kind != HONE_QUANT_JOINED;
        if (is_moved)
            join(p, n->in[0], n->out[i]);
        if (kind == HONE_QUANT_FIXED) {
            const int64_t *zero;
            if (hone_quant_fixed(n, HONE_DTYPE_I8, &q->fixed_scale, &zero))
                q->fixed_zero = *zero;
        }
    }
}

static void store_operands(hone_qplan *p, const hone_node *n, hone_quant_form form) {
    bool has_inner = inner_operand(p, n) != NULL;
    bool is_product = form.kind == HONE_QUANT_LAYER && !n->in[1]->constant;
    for (int i = 0; !has_inner && i < form.n_data + is_product; ++i) {
        hone_qvalue *q = of(p, n->in[i]);
        q->is_rounded |= !q->is_made;
        q->is_stored = true;
        if (form.kind == HONE_QUANT_JOINED)
            join(p, n->in[i], n->out[0]);
    }
}

/* What is known of a group of values that are stored the same way goes to its root. */
static void gather(hone_qplan *p, const hone_value *v, bool *is_mixed) {
    hone_qvalue *q = of(p, v), *r = root(p, v);
    if (!q->is_stored)
        return;
    r->low = q->low < r->low ? q->low : r->low;
    r->high = q->high > r->high ? q->high : r->high;
    if (!q->is_rounded)
        return;
    bool is_other = r->is_stored && r->fixed_scale && r->fixed_scale != q->fixed_scale;
    is_mixed[r - p->value] |= !q->fixed_scale || is_other;
    if (q->fixed_scale) {
        r->fixed_scale = q->fixed_scale;
        r->fixed_zero = q->fixed_zero;
    }
}

static void set_scale(hone_qvalue *q, const hone_qvalue *r, bool is_mixed) {
    if (r->fixed_scale && !is_mixed) {
        q->scale = *r->fixed_scale;
        q->zero = (int)r->fixed_zero;
        return;
    }
    q->scale = (r->high - r->low) / 255;
    if (!(q->scale > HONE_QUANT_LEAST_SCALE)) /* nothing but zeros */
        q->scale = 1;
    q->zero = (int)lround(-128 - (double)r->low / (double)q->scale);
    q->zero = q->zero < -128 ? -128 : q->zero > 127 ? 127 : q->zero;
}

static void set_scales(hone_qplan *p, bool *is_mixed) {
    const hone_graph *g = p->graph;
    for (int i = 0; i < g->n_values; ++i)
        gather(p, g->values[i], is_mixed);
    for (int i = 0; i < g->n_values; ++i) {
        const hone_qvalue *r = root(p, g->values[i]);
        if (of(p, g->values[i])->is_stored)
            set_scale(of(p, g->values[i]), r, is_mixed[r - p->value]);
    }
}

bool hone_qplan_make(hone_qplan *p, hone_ranges *ranges) {
    const hone_graph *g = p->graph;
    p->n_values = g->n_values;
    p->is_integer = HONE_NEW_ARRAY(p->arena, bool, g->n_nodes + 1);
    p->value = HONE_NEW_ARRAY(p->arena, hone_qvalue, g->n_values + 1);
    bool *is_mixed = HONE_NEW_ARRAY(p->arena, bool, g->n_values + 1);
    if (!p->is_integer || !p->value || !is_mixed)
        return false;
    for (int i = 0; i < g->n_values; ++i)
        p->value[i].group = i;
    read_ranges(p, ranges);
    decide_all(p);
    for (int i = 0; i < g->n_nodes; ++i) {
        if (!p->is_integer[i])
            continue;
        hone_quant_form form = hone_quant_form_of(g->nodes[i]);
        store_results(p, g->nodes[i], form.kind);
        store_operands(p, g->nodes[i], form);
    }
    set_scales(p, is_mixed);
    return true;
}

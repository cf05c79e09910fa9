#include "tflite/signed.h"

#include "ir/infer.h"
#include "ir/weights.h"
#include "passes/match.h"

static bool is_u8(const hone_value *v) {
    return v && v->type.kind == HONE_KIND_TENSOR && v->type.dtype == HONE_DTYPE_U8;
}

static bool is_quantiser(const hone_node *n) {
    return hone_is(n, "QuantizeLinear") || hone_is(n, "DequantizeLinear");
}

/* Moves elements and makes none. */
static bool moves(const hone_node *n) {
    static const char *const names[] = {"Reshape", "Flatten",   "Squeeze", "Unsqueeze",
                                        "Slice",   "Transpose", "Split",   "Concat",
                                        "Expand",  "Identity",  "MaxPool"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; ++i) {
        if (hone_is(n, names[i]))
            return true;
    }
    return false;
}

/* ---- may it be done? --------------------------------------------------------------------------
 */

static bool mixes_signs(const hone_node *n) {
    bool is_layer = hone_is(n, "Conv") || hone_is(n, "ConvTranspose") || hone_is(n, "Gemm") ||
                    hone_is(n, "MatMul");
    if (!is_layer)
        return false;
    const hone_node *x = hone_made_by(n->in[0], "DequantizeLinear");
    const hone_node *w = hone_made_by(n->in[1], "DequantizeLinear");
    return x && w && is_u8(x->in[0]) && !x->in[0]->constant && w->in[0]->constant &&
           w->in[0]->type.dtype == HONE_DTYPE_I8;
}

/* Nothing but the node's own arithmetic shows that its uint8 is uint8. */
static bool can_change(const hone_node *n) {
    for (int i = 0; i < n->n_attrs; ++i) {
        if (n->attrs[i].kind == HONE_ATTR_GRAPH || n->attrs[i].kind == HONE_ATTR_GRAPHS)
            return false;
    }
    if (is_quantiser(n))
        return n->in[1]->constant && (n->n_in < 3 || !n->in[2] || n->in[2]->constant);
    bool has_constant = false, has_any = false;
    for (int i = 0; i < n->n_in + n->n_out; ++i) {
        const hone_value *v = i < n->n_in ? n->in[i] : n->out[i - n->n_in];
        has_any |= is_u8(v);
        has_constant |= is_u8(v) && v->constant;
    }
    return !has_any || (moves(n) && !has_constant);
}

static bool is_to_change(const hone_graph *g) {
    bool is_mixed = false;
    for (int i = 0; i < g->n_inputs + g->n_outputs; ++i) {
        if (is_u8(i < g->n_inputs ? g->inputs[i] : g->outputs[i - g->n_inputs]))
            return false;
    }
    for (int i = 0; i < g->n_nodes; ++i) {
        if (!can_change(g->nodes[i]))
            return false;
        is_mixed |= mixes_signs(g->nodes[i]);
    }
    return is_mixed;
}

/* ---- the change -------------------------------------------------------------------------------
 */

/* Integers less by 128; without `from` zeros of these dims. NULL: out of memory. */
static hone_value *shifted(hone_graph *g, const hone_tensor *from, int rank, const int64_t *dims) {
    hone_tensor *t = HONE_NEW(g->arena, hone_tensor);
    int64_t n = hone_dims_count(dims, 0, rank);
    int8_t *to = hone_graph_data(g, (size_t)n + 1);
    if (!t || !to)
        return NULL;
    for (int64_t i = 0; i < n; ++i)
        to[i] = (int8_t)((from ? ((const uint8_t *)from->data)[i] : 0) - 128);
    *t = hone_tensor_view(HONE_DTYPE_I8, rank, dims, to);
    return hone_graph_constant(g, "signed", t);
}

static bool change_quantiser(hone_graph *g, hone_node *n) {
    const hone_value *stored = hone_is(n, "DequantizeLinear") ? n->in[0] : n->out[0];
    if (!is_u8(stored))
        return true;
    hone_value **in = HONE_NEW_ARRAY(g->arena, hone_value *, 3);
    const hone_tensor *zero = n->n_in > 2 && n->in[2] ? n->in[2]->constant : NULL;
    if (!in)
        return false;
    in[0] = n->in[0];
    in[1] = n->in[1];
    in[2] = zero ? shifted(g, zero, zero->rank, zero->dims)
                 : shifted(g, NULL, n->in[1]->type.rank, n->in[1]->type.dims);
    if (stored == n->in[0] && stored->constant)
        in[0] = shifted(g, stored->constant, stored->constant->rank, stored->constant->dims);
    hone_attr_remove(n, "output_dtype");
    n->in = in;
    n->n_in = 3;
    return in[0] && in[2];
}

hone_status hone_tflite_make_signed(hone_graph *g, hone_error *err) {
    if (!is_to_change(g))
        return HONE_OK;
    bool has_memory = true;
    for (int i = 0; i < g->n_nodes && has_memory; ++i) {
        if (is_quantiser(g->nodes[i]))
            has_memory = change_quantiser(g, g->nodes[i]);
    }
    for (int i = 0; i < g->n_values; ++i) {
        if (is_u8(g->values[i]) && !g->values[i]->constant)
            g->values[i]->type.dtype = HONE_DTYPE_I8;
    }
    if (!has_memory || hone_graph_index(g) != HONE_OK)
        return hone_fail(err, HONE_E_NOMEM, "no memory to make the model's integers signed");
    return hone_graph_infer(g, err);
}

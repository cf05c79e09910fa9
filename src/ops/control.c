/* If and SequenceMap. */
#include <inttypes.h>

#include "ops/control.h"
#include "ops/place.h"

hone_type hone_common_type(const hone_type *a, const hone_type *b) {
    const hone_type unknown = {.kind = HONE_KIND_NONE, .rank = -1};
    if (a->kind != b->kind || a->kind == HONE_KIND_NONE)
        return unknown;
    hone_type t = *a;
    t.optional = a->optional || b->optional;
    t.contents = NULL;
    t.n_contents = 0;
    if (t.kind == HONE_KIND_SEQUENCE && !t.elem)
        t.elem = b->elem;
    if (t.kind != HONE_KIND_TENSOR)
        return t;
    if (a->dtype != b->dtype)
        return unknown;
    if (a->rank != b->rank)
        t.rank = -1;
    for (int i = 0; i < t.rank; ++i) {
        if (a->dims[i] != b->dims[i])
            t.dims[i] = HONE_DIM_UNKNOWN;
    }
    return t;
}

hone_status hone_control_outputs(hone_op_ctx *c, const hone_graph *g, hone_tensor **out) {
    *out = hone_op_scratch(c, ((size_t)g->n_outputs + 1) * sizeof **out);
    if (!*out)
        return HONE_E_NOMEM;
    for (int i = 0; i < g->n_outputs; ++i)
        (*out)[i] = (hone_tensor){.kind = HONE_KIND_NONE};
    return HONE_OK;
}

hone_status hone_read_bool(hone_op_ctx *c, const hone_tensor *t, const char *what, bool *out) {
    if (t->kind != HONE_KIND_TENSOR || t->dtype != HONE_DTYPE_BOOL || hone_tensor_count(t) != 1)
        return hone_op_fail(c, HONE_E_TYPE, "%s must be one bool", what);
    *out = *(const unsigned char *)t->data != 0;
    return HONE_OK;
}

void hone_release_all(hone_tensor *t, int n) {
    for (int i = 0; i < n; ++i)
        hone_tensor_release(&t[i]);
}

/* ---- If ---------------------------------------------------------------------------------------
 */

hone_status hone_infer_if(hone_infer_ctx *c) {
    const hone_graph *a = hone_attr_graph(c->node, "then_branch");
    const hone_graph *b = hone_attr_graph(c->node, "else_branch");
    if (!a || !b)
        return hone_infer_fail(c, HONE_E_FORMAT, "then_branch and else_branch are needed");
    if (a->n_outputs < c->n_out || b->n_outputs < c->n_out)
        return hone_infer_fail(c, HONE_E_FORMAT,
                               "the branches give %d and %d outputs, but %d are wanted",
                               a->n_outputs, b->n_outputs, c->n_out);
    for (int i = 0; i < c->n_out; ++i)
        c->out[i] = hone_common_type(&a->outputs[i]->type, &b->outputs[i]->type);
    return HONE_OK;
}

hone_status hone_ref_if(hone_op_ctx *c) {
    bool cond = false;
    if (!hone_in(c, 0))
        return hone_op_fail(c, HONE_E_RUNTIME, "the condition is empty");
    HONE_TRY(hone_read_bool(c, hone_in(c, 0), "the condition", &cond));
    const hone_graph *g = hone_attr_graph(c->node, cond ? "then_branch" : "else_branch");
    hone_tensor *result;
    HONE_TRY(hone_control_outputs(c, g, &result));
    HONE_TRY(c->host->run_graph(c, g, NULL, 0, result, g->n_outputs));
    hone_status status = HONE_OK;
    for (int i = 0; i < c->n_out && status == HONE_OK; ++i)
        status = hone_put(c, i, &result[i]);
    hone_release_all(result, g->n_outputs);
    return status;
}

/* ---- SequenceMap ------------------------------------------------------------------------------
 */

hone_status hone_infer_sequence_map(hone_infer_ctx *c) {
    const hone_graph *g = hone_attr_graph(c->node, "body");
    if (!g || g->n_inputs != c->n_in || g->n_outputs < c->n_out)
        return hone_infer_fail(c, HONE_E_FORMAT, "a body with %d inputs and %d outputs is needed",
                               c->n_in, c->n_out);
    for (int i = 0; i < c->n_out; ++i)
        c->out[i] = (hone_type){
            .kind = HONE_KIND_SEQUENCE,
            .rank = -1,
            .elem = g->outputs[i]->type.kind == HONE_KIND_NONE ? NULL : &g->outputs[i]->type};
    return HONE_OK;
}

static hone_status check_lengths(hone_op_ctx *c, int64_t *n) {
    const hone_tensor *first = hone_in(c, 0);
    if (!first || first->kind != HONE_KIND_SEQUENCE)
        return hone_op_fail(c, HONE_E_TYPE, "input 0 must be a sequence");
    *n = first->dims[0];
    for (int i = 1; i < c->n_in; ++i) {
        const hone_tensor *t = hone_in(c, i);
        if (t && t->kind == HONE_KIND_SEQUENCE && t->dims[0] != *n)
            return hone_op_fail(c, HONE_E_SHAPE,
                                "input %d has %" PRId64 " elements, input 0 has %" PRId64, i,
                                t->dims[0], *n);
    }
    return HONE_OK;
}

hone_status hone_ref_sequence_map(hone_op_ctx *c) {
    const hone_graph *g = hone_attr_graph(c->node, "body");
    int64_t n = 0;
    HONE_TRY(check_lengths(c, &n));
    hone_tensor *result;
    HONE_TRY(hone_control_outputs(c, g, &result));
    const hone_tensor **in = hone_op_scratch(c, (size_t)c->n_in * sizeof *in);
    if (!in)
        return HONE_E_NOMEM;
    for (int o = 0; o < c->n_out; ++o) {
        if (hone_out(c, o))
            HONE_TRY(hone_put_sequence(c, o, n));
    }
    for (int64_t i = 0; i < n; ++i) {
        for (int k = 0; k < c->n_in; ++k) {
            const hone_tensor *t = hone_in(c, k);
            in[k] = t && t->kind == HONE_KIND_SEQUENCE ? hone_seq_at(t, i) : t;
        }
        HONE_TRY(c->host->run_graph(c, g, in, c->n_in, result, g->n_outputs));
        hone_status status = HONE_OK;
        for (int o = 0; o < c->n_out && status == HONE_OK; ++o) {
            if (hone_out(c, o))
                status = hone_seq_set(c->alloc, hone_out(c, o), i, &result[o], c->err);
        }
        hone_release_all(result, g->n_outputs);
        HONE_TRY(status);
    }
    return HONE_OK;
}

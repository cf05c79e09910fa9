#include "ir/infer.h"

#include <inttypes.h>
#include <string.h>

static bool merge_dim(int64_t have, int64_t got, int64_t *out) {
    if (have >= 0 && got >= 0 && have != got)
        return false;
    *out = got >= 0 ? got : have >= 0 ? have : got != HONE_DIM_UNKNOWN ? got : have;
    return true;
}

/* What was declared (or inferred before) and what is inferred now. */
static bool merge_type(hone_type *have, const hone_type *got) {
    if (got->kind == HONE_KIND_NONE)
        return true;
    if (have->kind == HONE_KIND_NONE) {
        bool optional = have->optional;
        *have = *got;
        have->optional |= optional;
        return true;
    }
    if (have->kind != got->kind)
        return false;
    if (have->kind != HONE_KIND_TENSOR) {
        if (got->elem && !have->elem)
            have->elem = got->elem;
        return true;
    }
    if (have->dtype && got->dtype && have->dtype != got->dtype)
        return false;
    if (got->dtype)
        have->dtype = got->dtype;
    if (got->contents) {
        have->contents = got->contents;
        have->n_contents = got->n_contents;
    }
    if (got->rank < 0)
        return true;
    if (have->rank >= 0 && have->rank != got->rank)
        return false;
    for (int i = 0; i < got->rank; ++i) {
        if (!merge_dim(have->rank >= 0 ? have->dims[i] : HONE_DIM_UNKNOWN, got->dims[i],
                       &have->dims[i]))
            return false;
    }
    have->rank = got->rank;
    return true;
}

static hone_status merge_outputs(hone_graph *g, hone_node *n, const hone_type *out,
                                 hone_error *err) {
    for (int i = 0; i < n->n_out; ++i) {
        hone_value *v = n->out[i];
        if (!v || v->constant)
            continue;
        hone_type before = v->type;
        if (!merge_type(&v->type, &out[i])) {
            char declared[160], inferred[160];
            v->type = before;
            hone_fail(err, HONE_E_SHAPE, "output '%s' is declared %s, but inference gives %s",
                      v->name, hone_type_describe(g, &before, declared, sizeof declared),
                      hone_type_describe(g, &out[i], inferred, sizeof inferred));
            return hone_fail_node(err, HONE_E_SHAPE, n->name, n->op_name);
        }
    }
    return HONE_OK;
}

hone_status hone_infer_node(hone_graph *g, hone_node *n, hone_error *err) {
    if (!n->op)
        return HONE_OK;
    hone_arena temp;
    hone_arena_init(&temp, 0);
    hone_type *in = HONE_NEW_ARRAY(&temp, hone_type, n->n_in);
    hone_type *out = HONE_NEW_ARRAY(&temp, hone_type, n->n_out);
    const hone_tensor **value = HONE_NEW_ARRAY(&temp, const hone_tensor *, n->n_in);
    hone_status status = HONE_OK;
    if (!in || !out || !value) {
        hone_arena_deinit(&temp);
        return hone_fail(err, HONE_E_NOMEM, "no memory to infer types");
    }
    for (int i = 0; i < n->n_in; ++i) {
        in[i].rank = -1;
        if (n->in[i]) {
            in[i] = n->in[i]->type;
            value[i] = n->in[i]->constant;
        }
    }
    for (int i = 0; i < n->n_out; ++i)
        out[i].rank = -1;
    hone_infer_ctx c = {
        .node = n,
        .graph = g,
        .n_in = n->n_in,
        .n_out = n->n_out,
        .in = in,
        .value = value,
        .out = out,
        .arena = g->arena,
        .err = err,
    };
    status = n->op->infer(&c);
    if (status == HONE_OK)
        status = merge_outputs(g, n, out, err);
    else
        hone_fail_node(err, status, n->name, n->op_name);
    hone_arena_deinit(&temp);
    return status;
}

static void refresh_captures(hone_graph *g) {
    for (int i = 0; i < g->n_values; ++i) {
        hone_value *v = g->values[i];
        if (v->outer) {
            v->type = v->outer->type;
            v->constant = v->outer->constant;
        }
    }
}

hone_status hone_graph_infer(hone_graph *g, hone_error *err) {
    refresh_captures(g);
    for (int i = 0; i < g->n_nodes; ++i) {
        hone_node *n = g->nodes[i];
        for (int k = 0; k < n->n_attrs; ++k) {
            const hone_attr *a = &n->attrs[k];
            if (a->kind == HONE_ATTR_GRAPH)
                HONE_TRY(hone_graph_infer(a->g, err));
            for (int j = 0; a->kind == HONE_ATTR_GRAPHS && j < a->n; ++j)
                HONE_TRY(hone_graph_infer(a->graphs[j], err));
        }
        HONE_TRY(hone_infer_node(g, n, err));
    }
    return HONE_OK;
}

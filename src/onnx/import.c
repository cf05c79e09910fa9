#include "onnx/import.h"

#include "onnx/adapt.h"

/* Messages, profiles and pictures need a name: that of the first output does. */
static bool name_node(hone_graph *g, hone_node *n) {
    const char *out = NULL;
    for (int i = 0; i < n->n_out && !out; ++i)
        out = n->out[i] ? n->out[i]->name : NULL;
    bool is_origin = !n->origin || n->origin[0] == '\0';
    n->name = hone_arena_printf(g->arena, "%.60s_%.200s", n->op_name, out ? out : "");
    if (is_origin)
        n->origin = n->name;
    return n->name != NULL;
}

static bool name_nodes(hone_graph *g) {
    for (int i = 0; i < g->n_nodes; ++i) {
        hone_node *n = g->nodes[i];
        if (n->name[0] == '\0' && !name_node(g, n))
            return false;
        for (int k = 0; k < n->n_attrs; ++k) {
            if (n->attrs[k].kind == HONE_ATTR_GRAPH && !name_nodes(n->attrs[k].g))
                return false;
        }
    }
    return true;
}

static hone_status canonicalise(hone_graph *g, hone_error *err) {
    if (!name_nodes(g))
        return hone_fail(err, HONE_E_NOMEM, "out of memory while importing");
    HONE_TRY(hone_onnx_align(g, HONE_ONNX_SMALL, NULL, err));
    HONE_TRY(hone_onnx_adapt(g, err));
    hone_status status = hone_graph_index(g);
    return status == HONE_OK ? status : hone_fail(err, status, "out of memory while importing");
}

hone_status hone_onnx_import(const uint8_t *bytes, size_t n, const char *dir, hone_graph **out,
                             hone_onnx_facts *facts, hone_error *err) {
    HONE_TRY(hone_onnx_read_model(bytes, n, dir, out, facts, err));
    hone_status status = canonicalise(*out, err);
    if (status != HONE_OK) {
        hone_graph_destroy(*out);
        *out = NULL;
    }
    return status;
}

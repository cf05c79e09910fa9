#include "engine/profile.h"

#include <inttypes.h>
#include <string.h>

#include "ir/infer.h"

static hone_status check_range(const hone_shape_range *r, const hone_value *v, hone_error *err) {
    if (v->type.kind != HONE_KIND_TENSOR)
        return hone_fail(err, HONE_E_ARGUMENT, "input %s is no tensor: it takes no shape",
                         r->input);
    if (v->type.rank >= 0 && v->type.rank != r->rank)
        return hone_fail(err, HONE_E_SHAPE, "input %s has rank %d, the shape given has rank %d",
                         r->input, v->type.rank, r->rank);
    for (int d = 0; d < r->rank; ++d) {
        if (r->min[d] < 0 || r->min[d] > r->opt[d] || r->opt[d] > r->max[d])
            return hone_fail(err, HONE_E_ARGUMENT,
                             "input %s, dim %d: min <= opt <= max does not hold", r->input, d);
        int64_t dim = v->type.rank >= 0 ? v->type.dims[d] : HONE_DIM_UNKNOWN;
        if (dim >= 0 && (r->min[d] != dim || r->max[d] != dim))
            return hone_fail(err, HONE_E_SHAPE, "input %s, dim %d is %" PRId64 " in the model",
                             r->input, d, dim);
    }
    return HONE_OK;
}

/* A symbol that a range fixes is fixed wherever it occurs among the inputs. */
static void fix_symbol(hone_graph *g, int64_t symbol, int64_t size) {
    for (int i = 0; i < g->n_inputs; ++i) {
        hone_type *t = &g->inputs[i]->type;
        for (int d = 0; d < t->rank; ++d) {
            if (t->dims[d] == symbol)
                t->dims[d] = size;
        }
    }
}

static void apply_range(hone_graph *g, const hone_shape_range *r, hone_value *v) {
    if (v->type.rank < 0) {
        v->type.rank = r->rank;
        for (int d = 0; d < r->rank; ++d)
            v->type.dims[d] = HONE_DIM_UNKNOWN;
    }
    for (int d = 0; d < r->rank; ++d) {
        int64_t dim = v->type.dims[d];
        if (r->min[d] != r->max[d])
            continue;
        if (hone_dim_is_symbol(dim))
            fix_symbol(g, dim, r->min[d]);
        v->type.dims[d] = r->min[d];
    }
}

hone_status hone_apply_shapes(hone_graph *g, const hone_shape_range *shapes, int n,
                              hone_error *err) {
    for (int i = 0; i < n; ++i) {
        const hone_shape_range *r = &shapes[i];
        hone_value *v = NULL;
        for (int k = 0; k < g->n_inputs && !v; ++k)
            v = strcmp(g->inputs[k]->name, r->input) == 0 ? g->inputs[k] : NULL;
        if (!v)
            return hone_fail(err, HONE_E_ARGUMENT, "the model has no input '%s'", r->input);
        HONE_TRY(check_range(r, v, err));
        apply_range(g, r, v);
    }
    return hone_graph_infer(g, err);
}

void hone_fix_defaults(hone_graph *g) {
    int n = 0;
    for (int i = 0; i < g->n_inputs; ++i) {
        hone_value *v = g->inputs[i];
        if (v->initial && !v->next) {
            v->constant = v->initial;
            v->initial = NULL;
            v->type = hone_type_of(v->constant);
        } else {
            g->inputs[n++] = v;
        }
    }
    g->n_inputs = n;
}

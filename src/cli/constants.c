#include "cli/constants.h"

#include <stdlib.h>
#include <string.h>

#include "cli/subject.h"
#include "ir/infer.h"
#include "ir/weights.h"

/* Names may have '=' in them. *value is what follows; -1: there is no such input. */
static int find_input(const hone_graph *g, const char *spec, const char **value) {
    for (const char *at = strchr(spec, '='); at; at = strchr(at + 1, '=')) {
        for (int i = 0; i < g->n_inputs; ++i) {
            const char *name = g->inputs[i]->name;
            if (strlen(name) == (size_t)(at - spec) && strncmp(name, spec, strlen(name)) == 0) {
                *value = at + 1;
                return i;
            }
        }
    }
    return -1;
}

/* A number for an input of one element, in the input's type; false: the text is none. */
static bool parse_number(const char *text, const hone_type *type, hone_tensor *out,
                         hone_status *status, hone_error *err) {
    char *end;
    double v = strtod(text, &end);
    if (end == text || *end)
        return false;
    int rank = type->rank < 0 ? 0 : type->rank;
    int64_t dims[HONE_MAX_RANK];
    for (int i = 0; i < rank; ++i)
        dims[i] = 1;
    *out = hone_tensor_view(type->dtype, rank, dims, NULL);
    *status = hone_tensor_alloc(NULL, out, err);
    if (*status != HONE_OK)
        return true;
    if (hone_dtype_in(type->dtype, HONE_T_INT | HONE_T(BOOL)))
        hone_store_i64(type->dtype, out->data, 0, (int64_t)v);
    else
        hone_store_f64(type->dtype, out->data, 0, v);
    return true;
}

static hone_status check_fit(const char *name, const hone_tensor *t, const hone_type *type,
                             hone_error *err) {
    bool fits = t->kind == HONE_KIND_TENSOR && t->dtype == type->dtype &&
                t->dtype != HONE_DTYPE_STRING && (type->rank < 0 || t->rank == type->rank);
    for (int i = 0; fits && type->rank >= 0 && i < t->rank; ++i)
        fits = type->dims[i] < 0 || type->dims[i] == t->dims[i];
    char given[160], wanted[160];
    hone_type own = hone_type_of(t);
    return fits ? HONE_OK
                : hone_fail(err, HONE_E_SHAPE, "--constant %s is %s, the model wants %s", name,
                            hone_type_describe(NULL, &own, given, sizeof given),
                            hone_type_describe(NULL, type, wanted, sizeof wanted));
}

/* The constant's memory is the graph's. */
static hone_status keep(hone_graph *g, hone_value *v, const hone_tensor *t, hone_error *err) {
    hone_tensor *own = HONE_NEW(g->arena, hone_tensor);
    void *data = hone_graph_data(g, hone_tensor_bytes(t) + 1);
    HONE_TRY(check_fit(v->name, t, &v->type, err));
    if (!own || !data)
        return hone_fail(err, HONE_E_NOMEM, "no memory for a constant");
    memcpy(data, t->data, hone_tensor_bytes(t));
    *own = hone_tensor_view(t->dtype, t->rank, t->dims, data);
    v->constant = own;
    v->initial = NULL;
    v->type = hone_type_of(own);
    return HONE_OK;
}

static hone_status fix_input(const char *spec, hone_graph *g, hone_error *err) {
    const char *value;
    hone_io_info io;
    hone_tensor t = {.kind = HONE_KIND_NONE};
    hone_status status = HONE_OK;
    int i = find_input(g, spec, &value);
    if (i < 0 || g->inputs[i]->next || !hone_graph_io(g, g->inputs, g->n_inputs, i, &io))
        return hone_fail(
            err, HONE_E_ARGUMENT,
            "--constant %.200s is not of the form NAME=NUMBER or NAME=FILE with one of "
            "the inputs",
            spec);
    if (!parse_number(value, &g->inputs[i]->type, &t, &status, err))
        status = cli_input_load(value, &io, &t, err);
    if (status == HONE_OK)
        status = keep(g, g->inputs[i], &t, err);
    hone_tensor_release(&t);
    for (int k = i; status == HONE_OK && k + 1 < g->n_inputs; ++k)
        g->inputs[k] = g->inputs[k + 1];
    g->n_inputs -= status == HONE_OK;
    return status;
}

hone_status cli_fix_inputs(const cli_list *specs, hone_graph *g, hone_error *err) {
    for (int i = 0; i < specs->n; ++i)
        HONE_TRY(fix_input(specs->item[i], g, err));
    if (specs->n == 0)
        return HONE_OK;
    if (hone_graph_index(g) != HONE_OK)
        return hone_fail(err, HONE_E_NOMEM, "no memory to index the graph");
    return hone_graph_infer(g, err);
}

/* Models: opening and describing. */
#include <stdlib.h>
#include <string.h>

#include "engine/internal.h"
#include "ir/infer.h"
#include "onnx/import.h"
#include "tflite/import.h"

static hone_status import_tflite(hone_model *m, const uint8_t *bytes, size_t n,
                                 const char *signature, hone_error *err) {
    m->is_tflite = true;
    HONE_TRY(hone_tflite_import(bytes, n, signature, &m->graph, &m->facts.producer_name, err));
    HONE_TRY(
        hone_tflite_signatures(bytes, n, m->graph->arena, &m->signatures, &m->n_signatures, err));
    m->signature = m->n_signatures ? 0 : -1;
    for (int i = m->n_signatures - 1; signature && i >= 0; --i) {
        if (strcmp(m->signatures[i], signature) == 0)
            m->signature = i;
    }
    HONE_TRY(hone_onnx_align(m->graph, HONE_ONNX_SMALL, NULL, err));
    return hone_graph_infer(m->graph, err);
}

static hone_status import(hone_model *m, const uint8_t *bytes, size_t n, const char *dir,
                          const char *signature, hone_error *err) {
    if (hone_tflite_is_model(bytes, n))
        return import_tflite(m, bytes, n, signature, err);
    if (signature)
        return hone_fail(err, HONE_E_ARGUMENT,
                         "an ONNX model has no signatures, but %.100s is asked for", signature);
    m->signature = -1;
    return hone_onnx_import(bytes, n, dir, &m->graph, &m->facts, err);
}

/* The folder of a path, "." when it has none; freed by the caller. */
static char *folder_of(const char *path) {
    const char *slash = strrchr(path, '/');
    if (!slash)
        return strdup(".");
    return slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
}

hone_status hone_model_open(const char *path, hone_model **out, hone_error *err) {
    return hone_model_open_signature(path, NULL, out, err);
}

hone_status hone_model_open_signature(const char *path, const char *signature, hone_model **out,
                                      hone_error *err) {
    *out = NULL;
    hone_model *m = calloc(1, sizeof *m);
    char *dir = folder_of(path);
    hone_status status = m && dir ? HONE_OK : hone_fail(err, HONE_E_NOMEM, "no memory for a model");
    if (status == HONE_OK)
        status = hone_file_map_open(path, &m->map, err);
    if (status == HONE_OK)
        status = import(m, m->map.data, m->map.n_bytes, dir, signature, err);
    free(dir);
    if (status != HONE_OK) {
        hone_model_destroy(m);
        return status;
    }
    *out = m;
    return HONE_OK;
}

hone_status hone_model_parse(const void *bytes, size_t n_bytes, const char *dir, hone_model **out,
                             hone_error *err) {
    return hone_model_parse_signature(bytes, n_bytes, dir, NULL, out, err);
}

hone_status hone_model_parse_signature(const void *bytes, size_t n_bytes, const char *dir,
                                       const char *signature, hone_model **out, hone_error *err) {
    *out = NULL;
    hone_model *m = calloc(1, sizeof *m);
    if (!m)
        return hone_fail(err, HONE_E_NOMEM, "no memory for a model");
    hone_status status = import(m, bytes, n_bytes, dir, signature, err);
    if (status != HONE_OK) {
        hone_model_destroy(m);
        return status;
    }
    *out = m;
    return HONE_OK;
}

void hone_model_destroy(hone_model *m) {
    if (!m)
        return;
    hone_graph_destroy(m->graph);
    hone_file_map_close(&m->map);
    free(m);
}

int hone_model_signature_count(const hone_model *m) {
    return m->n_signatures;
}

const char *hone_model_signature(const hone_model *m, int i) {
    return i >= 0 && i < m->n_signatures ? m->signatures[i] : NULL;
}

int hone_model_signature_index(const hone_model *m) {
    return m->signature;
}

/* ---- inputs and outputs -----------------------------------------------------------------------
 */

bool hone_graph_io(const hone_graph *g, hone_value *const *list, int n, int i, hone_io_info *info) {
    if (i < 0 || i >= n)
        return false;
    const hone_value *v = list[i];
    *info = (hone_io_info){
        .name = v->name,
        .kind = v->type.kind,
        .dtype = v->type.dtype,
        .rank = v->type.kind == HONE_KIND_TENSOR ? v->type.rank : -1,
        .is_optional = v->type.optional || v->initial,
        .is_state = v->next > 0,
    };
    for (int d = 0; d < info->rank; ++d) {
        int64_t dim = v->type.dims[d];
        info->dims[d] = dim < 0 ? -1 : dim;
        if (hone_dim_is_symbol(dim))
            info->dim_names[d] = g->symbols->name[hone_dim_symbol(dim)];
    }
    return true;
}

int hone_model_input_count(const hone_model *m) {
    return m->graph->n_inputs;
}

int hone_model_output_count(const hone_model *m) {
    return m->graph->n_outputs;
}

bool hone_model_input(const hone_model *m, int i, hone_io_info *info) {
    return hone_graph_io(m->graph, m->graph->inputs, m->graph->n_inputs, i, info);
}

bool hone_model_output(const hone_model *m, int i, hone_io_info *info) {
    return hone_graph_io(m->graph, m->graph->outputs, m->graph->n_outputs, i, info);
}

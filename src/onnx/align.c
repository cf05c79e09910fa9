/* Aligned copies of constants that lie misaligned in the file. */
#include <string.h>

#include "ir/weights.h"
#include "onnx/reader.h"

static size_t alignment(hone_dtype d) {
    size_t bytes = (size_t)hone_dtype_bits(d) / 8;
    if (d == HONE_DTYPE_C64 || d == HONE_DTYPE_C128)
        bytes /= 2;
    return bytes ? bytes : 1;
}

static hone_status align_tensor(hone_graph *g, const hone_tensor **slot, size_t max_bytes,
                                const hone_file_map *file, hone_error *err) {
    const hone_tensor *t = *slot;
    if (!t || t->kind != HONE_KIND_TENSOR || t->dtype == HONE_DTYPE_STRING ||
        (uintptr_t)t->data % alignment(t->dtype) == 0)
        return HONE_OK;
    size_t bytes = hone_tensor_bytes(t);
    if (bytes > max_bytes)
        return HONE_OK;
    hone_tensor *copy = HONE_NEW(g->arena, hone_tensor);
    void *data = hone_graph_data(g, bytes);
    if (!copy || !data)
        return hone_fail(err, HONE_E_NOMEM, "no memory to align a constant of %zu bytes", bytes);
    if (bytes)
        memcpy(data, t->data, bytes);
    if (file)
        hone_file_map_forget(file, t->data, bytes);
    *copy = *t;
    copy->data = data;
    *slot = copy;
    return HONE_OK;
}

static hone_status align_attr(hone_graph *g, hone_attr *a, size_t max_bytes,
                              const hone_file_map *file, hone_error *err) {
    if (a->kind == HONE_ATTR_TENSOR)
        return align_tensor(g, &a->t, max_bytes, file, err);
    if (a->kind == HONE_ATTR_TENSORS && a->n) {
        const hone_tensor **list = HONE_NEW_ARRAY(g->arena, const hone_tensor *, a->n);
        if (!list)
            return hone_fail(err, HONE_E_NOMEM, "out of memory");
        for (int i = 0; i < a->n; ++i) {
            list[i] = a->tensors[i];
            HONE_TRY(align_tensor(g, &list[i], max_bytes, file, err));
        }
        a->tensors = list;
    }
    if (a->kind == HONE_ATTR_GRAPH)
        return hone_onnx_align(a->g, max_bytes, file, err);
    for (int i = 0; a->kind == HONE_ATTR_GRAPHS && i < a->n; ++i)
        HONE_TRY(hone_onnx_align(a->graphs[i], max_bytes, file, err));
    return HONE_OK;
}

hone_status hone_onnx_align(hone_graph *g, size_t max_bytes, const hone_file_map *file,
                            hone_error *err) {
    for (int i = 0; i < g->n_values; ++i) {
        HONE_TRY(align_tensor(g, &g->values[i]->constant, max_bytes, file, err));
        HONE_TRY(align_tensor(g, &g->values[i]->initial, max_bytes, file, err));
    }
    for (int i = 0; i < g->n_nodes; ++i) {
        for (int k = 0; k < g->nodes[i]->n_attrs; ++k)
            HONE_TRY(align_attr(g, &g->nodes[i]->attrs[k], max_bytes, file, err));
    }
    return HONE_OK;
}

/* ONNX bytes -> graph, as written: operators are not adapted and types not inferred (import.h does
 * both).
 *
 * Zero copy: tensors with raw data are views into `bytes`, which must outlive the graph. Their
 * `data` may be misaligned for the element type: consumers that read elements through pointers
 * align first (hone_onnx_align).
 *
 * Model-local functions are inlined and Constant nodes become constants. Operators that hone does
 * not have keep node->op NULL. */
#ifndef HONE_ONNX_READER_H
#define HONE_ONNX_READER_H

#include "base/file.h"
#include "ir/graph.h"

typedef struct hone_onnx_pair {
    const char *key, *value;
} hone_onnx_pair;

typedef struct hone_onnx_import_row {
    const char *domain; /* "" for ai.onnx */
    int64_t version;
} hone_onnx_import_row;

/* Facts about the model; everything lives in the graph's arena. */
typedef struct hone_onnx_facts {
    int64_t ir_version, model_version;
    const char *producer_name, *producer_version, *domain, *doc;
    const hone_onnx_import_row *imports;
    int n_imports, cap_imports;
    const hone_onnx_pair *metadata;
    int n_metadata, cap_metadata;
    int n_functions; /* inlined definitions */
} hone_onnx_facts;

/** dir: the folder for external tensor data, NULL when there is none (then it is an error). */
HONE_NODISCARD hone_status hone_onnx_read(const uint8_t *bytes, size_t n, const char *dir,
                                          hone_graph **out, hone_error *err);
/** As hone_onnx_read; `facts` may be NULL. */
HONE_NODISCARD hone_status hone_onnx_read_model(const uint8_t *bytes, size_t n, const char *dir,
                                                hone_graph **out, hone_onnx_facts *facts,
                                                hone_error *err);
/* Shapes, axes, indices: what inference looks into. */
enum { HONE_ONNX_SMALL = 1 << 16 };

/** Constants of the graph and its subgraphs of at most max_bytes whose data are misaligned get an
 * aligned copy in the arena. Import does so for the small ones that inference reads; whoever reads
 * the elements of weights through pointers (passes, kernels) asks for all: SIZE_MAX. Pages of `file`
 * (NULL: none) that were copied leave the process's memory. */
HONE_NODISCARD hone_status hone_onnx_align(hone_graph *g, size_t max_bytes,
                                           const hone_file_map *file, hone_error *err);

#endif

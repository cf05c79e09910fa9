/* What the writer's files share. */
#ifndef HONE_ONNX_WRITER_IMPL_H
#define HONE_ONNX_WRITER_IMPL_H

#include "ir/op.h"
#include "onnx/names.h"
#include "onnx/wire.h"
#include "onnx/writer.h"

/* A constant that goes to the data file. */
typedef struct onnx_extern {
    const hone_tensor *tensor;
    uint64_t offset;
} onnx_extern;

typedef struct onnx_writer {
    hone_pbw w;
    hone_arena arena;
    hone_names used;     /* names of values in the file */
    hone_names nodes;    /* names of nodes in the file */
    hone_names of_value; /* value pointer -> name */
    int fresh;
    const char *location; /* of external data, NULL: none */
    uint64_t n_external;  /* bytes so far */
    onnx_extern *external;
    int n_externals, cap_externals;
    hone_error *err;
} onnx_writer;

/* writer_graph.c */
hone_status onnx_write_graph(onnx_writer *w, const hone_graph *g);
/* writer_value.c */
hone_status onnx_name_values(onnx_writer *w, const hone_graph *g);
const char *onnx_name_of(onnx_writer *w, const hone_value *v);
/* A name that nothing has yet; NULL when out of memory. */
const char *onnx_fresh_name(onnx_writer *w, const char *base);
hone_status onnx_write_type(onnx_writer *w, const hone_graph *g, uint32_t field,
                            const hone_type *t);
hone_status onnx_write_initializer(onnx_writer *w, const hone_tensor *t, const char *name);

#endif

/* What the reader's files share. */
#ifndef HONE_ONNX_READER_IMPL_H
#define HONE_ONNX_READER_IMPL_H

#include "ir/op.h"
#include "onnx/names.h"
#include "onnx/reader.h"
#include "onnx/tensor_read.h"

enum {
    MAX_NESTING = 32,     /* graphs within graphs and functions within functions */
    MAX_ATTRIBUTES = 512, /* of a node */
    MAX_SYMBOLS = 16384,
    NEWEST_OPSET = 28, /* of ai.onnx */
};

typedef struct onnx_imports {
    hone_onnx_import_row *rows;
    int n, cap;
} onnx_imports;

/* A model-local function. */
typedef struct onnx_function {
    hone_pb body;
    onnx_imports imports;
    bool active; /* being inlined: a second entry is a recursion */
} onnx_function;

typedef struct onnx_reader {
    hone_arena *arena;  /* the graph's */
    hone_arena scratch; /* of the reading */
    hone_onnx_source source;
    hone_onnx_facts facts;
    onnx_imports imports;
    hone_names functions, symbols;
    hone_error *err;
    int nesting;
} onnx_reader;

/* What a call of a function brings along. */
typedef struct onnx_frame {
    const onnx_function *function;
    const hone_node *call;    /* its attributes */
    const hone_attr *missing; /* defaults of attributes */
    int n_missing, cap_missing;
    const char *prefix; /* of names of nodes inside */
    const char *origin;
} onnx_frame;

typedef struct onnx_binding {
    hone_value *value; /* NULL: an omitted argument of a function */
    bool defined;      /* something in the scope produces it */
    bool input;        /* of the graph */
} onnx_binding;

/* Names visible in a graph or a function body. */
typedef struct onnx_scope {
    struct onnx_scope *parent; /* the enclosing graph; functions see nothing outside */
    hone_graph *g;
    hone_names names;
    const onnx_frame *frame; /* NULL outside functions */
    bool is_function;
} onnx_scope;

/* reader.c */
hone_status onnx_read_imports(onnx_reader *r, hone_pb *m, const hone_pb_field *f, onnx_imports *to);
int onnx_opset_of(const onnx_reader *r, const onnx_scope *s, const char *domain);
const char *onnx_text(onnx_reader *r, hone_string s);
/* A key and a value of a StringStringEntryProto. */
void onnx_read_pair(hone_pb *m, const hone_pb_field *f, hone_string *key, hone_string *value);
/* A function's key in r->functions. */
hone_string onnx_function_key(onnx_reader *r, hone_string domain, hone_string name,
                              hone_string overload);

/* reader_type.c */
hone_status onnx_read_type(onnx_reader *r, hone_graph *g, hone_pb m, hone_type *out);
hone_status onnx_read_value_info(onnx_reader *r, hone_graph *g, hone_pb m, hone_string *name,
                                 hone_type *type);

/* reader_graph.c */
hone_status onnx_read_graph(onnx_reader *r, onnx_scope *parent, const onnx_frame *frame, hone_pb m,
                            hone_graph *g);
/* The value a name stands for; captures from enclosing graphs are made on the way. */
hone_status onnx_resolve(onnx_reader *r, hone_pb *at, onnx_scope *s, hone_string name,
                         onnx_binding **out);
/* Name a value that something in the scope produces; fails when it is there already. */
hone_status onnx_declare(onnx_reader *r, hone_pb *at, onnx_scope *s, hone_string name,
                         hone_value *value);
/* Declare the outputs of a node message. */
hone_status onnx_declare_outputs(onnx_reader *r, hone_pb node, onnx_scope *s);

/* reader_node.c */
hone_status onnx_read_node(onnx_reader *r, hone_pb m, onnx_scope *s);

/* reader_attr.c */
hone_status onnx_read_attr(onnx_reader *r, hone_pb m, onnx_scope *s, hone_attr *out, bool *present);

/* reader_function.c */
hone_status onnx_read_function(onnx_reader *r, hone_pb m);
hone_status onnx_inline(onnx_reader *r, hone_pb *at, onnx_scope *s, onnx_function *fn,
                        hone_node *call);

static inline hone_status onnx_no_memory(hone_pb *at) {
    return hone_pb_fail(at, HONE_E_NOMEM,
                        "out of memory, or the model expands beyond what its size justifies");
}

#endif

/* The model as a file. The tables come first, in one buffer; the bytes of the constants follow,
 * each at a multiple of 16 as the schema demands, and are never copied. */
#include <stdlib.h>
#include <string.h>

#include "tflite/flat.h"
#include "tflite/model.h"
#include "tflite/versions.h"

enum { DATA_ALIGN = 16, RUNTIME_BYTES = 16 };

/* A constant's bytes, behind the tables. */
typedef struct blob {
    const void *data;
    size_t bytes;
    size_t link; /* the offset in the tables that refers to it */
} blob;

typedef struct writer {
    const tfl_model *m;
    tfl_flat flat;
    blob *blobs;
    int n_blobs;
    const tfl_operator **first; /* by operator code: the first operator with it */
    int n_codes;
    int n_buffers;               /* that tensors have been given so far */
    char runtime[RUNTIME_BYTES]; /* the lowest version that has every operator */
} writer;

#define OFFSET(field)                                                                              \
    { .id = (field) }
#define NUMBER(field, n, v)                                                                        \
    { .id = (field), .bytes = (n), .value = (v) }
#define COUNT(fields) ((int)(sizeof(fields) / sizeof((fields)[0])))

static void add_blob(writer *w, size_t link, const void *data, size_t bytes) {
    w->blobs[w->n_blobs++] = (blob){.data = data, .bytes = bytes, .link = link};
}

/* ---- operator codes ---------------------------------------------------------------------------
 */

static int code_of(const writer *w, const tfl_operator *op) {
    int k = 0;
    while (k < w->n_codes && (w->first[k]->code != op->code || w->first[k]->version != op->version))
        ++k;
    return k;
}

static void find_codes(writer *w) {
    for (int g = 0; g <= w->m->n_called; ++g) {
        const tfl_model *m = tfl_model_subgraph(w->m, g);
        for (int i = 0; i < m->n_operators; ++i) {
            int k = code_of(w, &m->operators[i]);
            if (k == w->n_codes)
                w->first[w->n_codes++] = &m->operators[i];
        }
    }
}

static void put_codes(writer *w, size_t at) {
    tfl_flat *f = &w->flat;
    size_t list = tfl_flat_offsets(f, at, w->n_codes);
    for (int i = 0; i < w->n_codes; ++i) {
        const tfl_operator *op = w->first[i];
        int low = op->code < TFL_LAST_I8_CODE ? op->code : TFL_LAST_I8_CODE;
        tfl_flat_field fields[] = {NUMBER(CODE_DEPRECATED, 1, low),
                                   NUMBER(CODE_VERSION, 4, op->version),
                                   NUMBER(CODE_BUILTIN, 4, op->code)};
        tfl_flat_point(f, list + 4 * (size_t)i, tfl_flat_table(f, fields, COUNT(fields)));
        const char *needs = tfl_runtime_version(op->code, op->version);
        if (tfl_runtime_is_newer(needs, w->runtime))
            strncpy(w->runtime, needs, RUNTIME_BYTES - 1);
    }
}

/* ---- tensors ----------------------------------------------------------------------------------
 */

static void put_quant(writer *w, size_t at, const tfl_quant *q) {
    tfl_flat *f = &w->flat;
    tfl_flat_field fields[] = {OFFSET(QUANT_SCALE), OFFSET(QUANT_ZERO_POINT),
                               NUMBER(QUANT_DIMENSION, 4, q->axis)};
    size_t table = tfl_flat_table(f, fields, COUNT(fields));
    tfl_flat_point(f, at, table);
    tfl_flat_f32s(f, fields[0].at, q->scale, q->n);
    tfl_flat_i64s(f, fields[1].at, q->zero_point, q->n);
}

static bool is_open(const tfl_tensor *t) {
    for (int i = 0; i < t->rank; ++i) {
        if (t->dims[i] < 0)
            return true;
    }
    return false;
}

static size_t put_tensor(writer *w, const tfl_tensor *t, int buffer) {
    tfl_flat *f = &w->flat;
    int32_t shape[TFL_MAX_RANK];
    tfl_flat_field fields[8] = {OFFSET(TENSOR_SHAPE),
                                NUMBER(TENSOR_TYPE, 1, t->type),
                                NUMBER(TENSOR_BUFFER, 4, buffer),
                                OFFSET(TENSOR_NAME),
                                NUMBER(TENSOR_HAS_RANK, 1, 1),
                                NUMBER(TENSOR_IS_VARIABLE, 1, t->is_variable)};
    int n = 6, quant = -1, signature = -1;
    if (t->quant.n)
        fields[quant = n++] = (tfl_flat_field)OFFSET(TENSOR_QUANTIZATION);
    if (is_open(t))
        fields[signature = n++] = (tfl_flat_field)OFFSET(TENSOR_SIGNATURE);
    size_t table = tfl_flat_table(f, fields, n);
    for (int i = 0; i < t->rank; ++i)
        shape[i] = t->dims[i] < 0 ? 1 : t->dims[i];
    tfl_flat_i32s(f, fields[0].at, shape, t->rank);
    tfl_flat_string(f, fields[3].at, t->name);
    if (quant >= 0)
        put_quant(w, fields[quant].at, &t->quant);
    if (signature >= 0)
        tfl_flat_i32s(f, fields[signature].at, t->dims, t->rank);
    return table;
}

/* Buffer 0 is the empty one that tensors without contents share; constants have one each. */
static void put_tensors(writer *w, const tfl_model *m, size_t at) {
    size_t list = tfl_flat_offsets(&w->flat, at, m->n_tensors);
    for (int i = 0; i < m->n_tensors; ++i) {
        const tfl_tensor *t = &m->tensors[i];
        size_t table = put_tensor(w, t, t->data ? ++w->n_buffers : 0);
        tfl_flat_point(&w->flat, list + 4 * (size_t)i, table);
    }
}

static void put_buffer(writer *w, size_t at, const void *data, size_t bytes) {
    tfl_flat_field fields[] = {OFFSET(BUFFER_DATA)};
    tfl_flat_point(&w->flat, at, tfl_flat_table(&w->flat, fields, data ? 1 : 0));
    if (data)
        add_blob(w, fields[0].at, data, bytes);
}

/* In the order in which put_tensors counted; the last one is the metadata's. */
static void put_buffers(writer *w, size_t at) {
    size_t list = tfl_flat_offsets(&w->flat, at, w->n_buffers + 2);
    put_buffer(w, list, NULL, 0);
    for (int g = 0; g <= w->m->n_called; ++g) {
        const tfl_model *m = tfl_model_subgraph(w->m, g);
        for (int i = 0; i < m->n_tensors; ++i) {
            if (m->tensors[i].data)
                put_buffer(w, list += 4, m->tensors[i].data, m->tensors[i].bytes);
        }
    }
    put_buffer(w, list + 4, w->runtime, RUNTIME_BYTES);
}

/* ---- operators --------------------------------------------------------------------------------
 */

static int options_type(int code) {
    switch (code) {
#define BUILTIN(name, number, options)                                                             \
    case number:                                                                                   \
        return options;
#include "tflite/builtin.def"
#undef BUILTIN
    default:
        return 0;
    }
}

static void put_options(writer *w, size_t at, const tfl_operator *op) {
    tfl_flat_field fields[TFL_MAX_OPTIONS];
    for (int i = 0; i < op->n_options; ++i) {
        const tfl_option *o = &op->options[i];
        int32_t bits = o->i;
        if (o->kind == TFL_OPTION_F32)
            memcpy(&bits, &o->f, sizeof bits);
        int bytes = o->kind == TFL_OPTION_BYTE ? 1 : o->kind == TFL_OPTION_I32S ? 0 : 4;
        fields[i] = (tfl_flat_field){.id = o->id, .bytes = bytes, .value = bits};
    }
    tfl_flat_point(&w->flat, at, tfl_flat_table(&w->flat, fields, op->n_options));
    for (int i = 0; i < op->n_options; ++i) {
        if (op->options[i].kind == TFL_OPTION_I32S)
            tfl_flat_i32s(&w->flat, fields[i].at, op->options[i].list, op->options[i].n);
    }
}

static size_t put_operator(writer *w, const tfl_operator *op) {
    int type = options_type(op->code);
    tfl_flat_field fields[] = {NUMBER(OPERATOR_CODE, 4, code_of(w, op)), OFFSET(OPERATOR_INPUTS),
                               OFFSET(OPERATOR_OUTPUTS), NUMBER(OPERATOR_OPTIONS_TYPE, 1, type),
                               OFFSET(OPERATOR_OPTIONS)};
    size_t table = tfl_flat_table(&w->flat, fields, type ? 5 : 3);
    tfl_flat_i32s(&w->flat, fields[1].at, op->in, op->n_in);
    tfl_flat_i32s(&w->flat, fields[2].at, op->out, op->n_out);
    if (type)
        put_options(w, fields[4].at, op);
    return table;
}

static void put_operators(writer *w, const tfl_model *m, size_t at) {
    size_t list = tfl_flat_offsets(&w->flat, at, m->n_operators);
    for (int i = 0; i < m->n_operators; ++i) {
        size_t table = put_operator(w, &m->operators[i]);
        tfl_flat_point(&w->flat, list + 4 * (size_t)i, table);
    }
}

/* ---- the rest ---------------------------------------------------------------------------------
 */

static void put_graph(writer *w, const tfl_model *m, size_t at) {
    tfl_flat_field fields[] = {OFFSET(GRAPH_TENSORS), OFFSET(GRAPH_INPUTS), OFFSET(GRAPH_OUTPUTS),
                               OFFSET(GRAPH_OPERATORS), OFFSET(GRAPH_NAME)};
    tfl_flat_point(&w->flat, at, tfl_flat_table(&w->flat, fields, COUNT(fields)));
    put_tensors(w, m, fields[0].at);
    tfl_flat_i32s(&w->flat, fields[1].at, m->inputs, m->n_inputs);
    tfl_flat_i32s(&w->flat, fields[2].at, m->outputs, m->n_outputs);
    put_operators(w, m, fields[3].at);
    tfl_flat_string(&w->flat, fields[4].at, m->name);
}

static void put_graphs(writer *w, size_t at) {
    size_t list = tfl_flat_offsets(&w->flat, at, w->m->n_called + 1);
    for (int g = 0; g <= w->m->n_called; ++g)
        put_graph(w, tfl_model_subgraph(w->m, g), list + 4 * (size_t)g);
}

static void put_maps(writer *w, size_t at, const char *const *names, const int *tensors, int n) {
    size_t list = tfl_flat_offsets(&w->flat, at, n);
    for (int i = 0; i < n; ++i) {
        tfl_flat_field fields[] = {OFFSET(TENSOR_MAP_NAME),
                                   NUMBER(TENSOR_MAP_INDEX, 4, tensors[i])};
        tfl_flat_point(&w->flat, list + 4 * (size_t)i,
                       tfl_flat_table(&w->flat, fields, COUNT(fields)));
        tfl_flat_string(&w->flat, fields[0].at, names[i]);
    }
}

static void put_signature(writer *w, size_t at) {
    const tfl_model *m = w->m;
    tfl_flat_field fields[] = {OFFSET(SIGNATURE_INPUTS), OFFSET(SIGNATURE_OUTPUTS),
                               OFFSET(SIGNATURE_KEY)};
    size_t list = tfl_flat_offsets(&w->flat, at, 1);
    tfl_flat_point(&w->flat, list, tfl_flat_table(&w->flat, fields, COUNT(fields)));
    put_maps(w, fields[0].at, m->input_names, m->inputs, m->n_inputs);
    put_maps(w, fields[1].at, m->output_names, m->outputs, m->n_outputs);
    tfl_flat_string(&w->flat, fields[2].at, "serving_default");
}

static void put_metadata(writer *w, size_t at, int buffer) {
    tfl_flat_field fields[] = {OFFSET(METADATA_NAME), NUMBER(METADATA_BUFFER, 4, buffer)};
    size_t list = tfl_flat_offsets(&w->flat, at, 1);
    tfl_flat_point(&w->flat, list, tfl_flat_table(&w->flat, fields, COUNT(fields)));
    tfl_flat_string(&w->flat, fields[0].at, "min_runtime_version");
}

static void put_tables(writer *w) {
    tfl_flat *f = &w->flat;
    tfl_flat_put_u32(f, 0);
    tfl_flat_put(f, TFL_IDENTIFIER, 4);
    tfl_flat_field fields[] = {NUMBER(MODEL_VERSION, 4, TFL_SCHEMA_VERSION),
                               OFFSET(MODEL_CODES),
                               OFFSET(MODEL_SUBGRAPHS),
                               OFFSET(MODEL_DESCRIPTION),
                               OFFSET(MODEL_BUFFERS),
                               OFFSET(MODEL_METADATA),
                               OFFSET(MODEL_SIGNATURES)};
    tfl_flat_point(f, 0, tfl_flat_table(f, fields, COUNT(fields)));
    put_codes(w, fields[1].at);
    put_graphs(w, fields[2].at);
    tfl_flat_string(f, fields[3].at, "written by hone");
    put_buffers(w, fields[4].at);
    put_metadata(w, fields[5].at, w->n_buffers + 1);
    put_signature(w, fields[6].at);
}

/* ---- the file ---------------------------------------------------------------------------------
 */

static size_t round_up(size_t n) {
    return (n + DATA_ALIGN - 1) / DATA_ALIGN * DATA_ALIGN;
}

/* A blob's count lies in the four bytes in front of its aligned bytes. Returns the file's size. */
static size_t place_blobs(writer *w, size_t *count_at) {
    size_t end = w->flat.n;
    for (int i = 0; i < w->n_blobs; ++i) {
        count_at[i] = round_up(end + 4) - 4;
        tfl_flat_point(&w->flat, w->blobs[i].link, count_at[i]);
        end = count_at[i] + 4 + w->blobs[i].bytes;
    }
    return round_up(end);
}

typedef hone_status (*put_fn)(void *arg, const void *bytes, size_t n);

static hone_status put_file(writer *w, const size_t *count_at, size_t total, put_fn put,
                            void *arg) {
    static const uint8_t zeros[DATA_ALIGN];
    HONE_TRY(put(arg, w->flat.data, w->flat.n));
    size_t at = w->flat.n;
    for (int i = 0; i < w->n_blobs; ++i) {
        size_t bytes = w->blobs[i].bytes;
        uint8_t count[4] = {(uint8_t)bytes, (uint8_t)(bytes >> 8), (uint8_t)(bytes >> 16),
                            (uint8_t)(bytes >> 24)};
        HONE_TRY(put(arg, zeros, count_at[i] - at));
        HONE_TRY(put(arg, count, sizeof count));
        HONE_TRY(put(arg, w->blobs[i].data, bytes));
        at = count_at[i] + 4 + bytes;
    }
    return put(arg, zeros, total - at);
}

static hone_status finish(writer *w, size_t *count_at, put_fn put, void *arg, hone_error *err) {
    size_t total = place_blobs(w, count_at);
    if (w->flat.is_out_of_memory)
        return hone_fail(err, HONE_E_NOMEM, "no memory to write the model");
    if (total > INT32_MAX)
        return hone_fail(err, HONE_E_UNSUPPORTED,
                         "the model has %zu bytes, TensorFlow Lite files end at 2 GiB; store the "
                         "weights in half precision (--fp16)",
                         total);
    return put_file(w, count_at, total, put, arg);
}

hone_status tfl_model_write(const tfl_model *m, put_fn put, void *arg, hone_error *err) {
    writer w = {.m = m, .runtime = "1.5.0"};
    size_t n_blobs = 1, n_ops = 1;
    for (int g = 0; g <= m->n_called; ++g) {
        n_blobs += (size_t)tfl_model_subgraph(m, g)->n_tensors;
        n_ops += (size_t)tfl_model_subgraph(m, g)->n_operators;
    }
    w.blobs = calloc(n_blobs, sizeof *w.blobs);
    w.first = calloc(n_ops, sizeof *w.first);
    size_t *count_at = calloc(n_blobs, sizeof *count_at);
    hone_status status;
    if (w.blobs && w.first && count_at) {
        find_codes(&w);
        put_tables(&w);
        status = finish(&w, count_at, put, arg, err);
    } else {
        status = hone_fail(err, HONE_E_NOMEM, "no memory to write the model");
    }
    free(w.blobs);
    free(w.first);
    free(count_at);
    free(w.flat.data);
    return status;
}

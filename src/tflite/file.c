#include "tflite/file.h"

#include <inttypes.h>
#include <string.h>

#include "tflite/import.h"
#include "tflite/sparse.h"

bool tfr_is_file(const uint8_t *bytes, size_t n) {
    return n >= 8 && memcmp(bytes + 4, TFL_IDENTIFIER, 4) == 0;
}

const char *tfr_op_name(int code) {
    switch (code) {
#define BUILTIN(name, number, options)                                                             \
    case number:                                                                                   \
        return #name;
#include "tflite/builtin.def"
#undef BUILTIN
    default:
        return "?";
    }
}

int tfr_called(tfr_flat *flat, const tfr_op *op, int *called) {
    int n = op->code == TFL_IF || op->code == TFL_WHILE ? 2 : op->code == TFL_CALL_ONCE ? 1 : 0;
    for (int i = 0; i < n; ++i)
        called[i] = (int)tfr_i32(flat, op->options, i, 0);
    if (op->code == TFL_STABLEHLO_COMPOSITE)
        called[n++] = (int)tfr_i32(flat, op->options_2, COMPOSITE_SUBGRAPH, 0);
    return n;
}

static const hone_dtype dtypes[] = {
    [TFL_F32] = HONE_DTYPE_F32,       [TFL_F16] = HONE_DTYPE_F16,
    [TFL_I32] = HONE_DTYPE_I32,       [TFL_U8] = HONE_DTYPE_U8,
    [TFL_I64] = HONE_DTYPE_I64,       [TFL_STRING] = HONE_DTYPE_STRING,
    [TFL_BOOL] = HONE_DTYPE_BOOL,     [TFL_I16] = HONE_DTYPE_I16,
    [TFL_C64] = HONE_DTYPE_C64,       [TFL_I8] = HONE_DTYPE_I8,
    [TFL_F64] = HONE_DTYPE_F64,       [TFL_C128] = HONE_DTYPE_C128,
    [TFL_U64] = HONE_DTYPE_U64,       [TFL_RESOURCE] = HONE_DTYPE_NONE,
    [TFL_VARIANT] = HONE_DTYPE_NONE,  [TFL_U32] = HONE_DTYPE_U32,
    [TFL_U16] = HONE_DTYPE_U16,       [TFL_I4] = HONE_DTYPE_I4,
    [TFL_BF16] = HONE_DTYPE_BF16,     [TFL_I2] = HONE_DTYPE_I2,
    [TFL_U4] = HONE_DTYPE_U4,         [TFL_F8E4M3FN] = HONE_DTYPE_F8E4M3FN,
    [TFL_F8E5M2] = HONE_DTYPE_F8E5M2,
};

static hone_status no_memory(tfr_file *f) {
    return f->flat.status = hone_fail(f->flat.err, HONE_E_NOMEM,
                                      "reading the model takes more memory than its size allows");
}

static const char *text(tfr_file *f, tfr_table t, int id) {
    hone_string s = tfr_text(&f->flat, t, id);
    const char *copy = hone_arena_strdup(f->arena, s.data, s.len);
    if (!copy)
        no_memory(f);
    return copy;
}

/* A list of tensor numbers, each in [low, n_tensors). */
static const int *indices(tfr_file *f, tfr_table t, int id, int low, int n_tensors, int *n) {
    tfr_vector v = tfr_list(&f->flat, t, id, 4);
    int *list = HONE_NEW_ARRAY(f->arena, int, v.n);
    *n = 0;
    if (!list)
        return no_memory(f), NULL;
    for (size_t i = 0; i < v.n; ++i) {
        list[i] = tfr_at_i32(&f->flat, v, i);
        if (list[i] < low || list[i] >= n_tensors)
            return tfr_flat_fail(&f->flat, v.at + 4 * i, "there is no tensor of that number"), NULL;
    }
    *n = (int)v.n;
    return list;
}

/* ---- tensors ----------------------------------------------------------------------------------
 */

static hone_status read_blockwise(tfr_file *f, tfr_table t, int n_tensors, tfr_quant *q) {
    enum { SCALES, ZEROS, BLOCK };
    tfr_table b = tfr_sub(&f->flat, t, QUANT_DETAILS);
    q->scales_tensor = (int)tfr_i32(&f->flat, b, SCALES, 0);
    q->zeros_tensor = (int)tfr_i32(&f->flat, b, ZEROS, 0);
    q->block = (int)tfr_i32(&f->flat, b, BLOCK, 0);
    if (b.at == 0 || q->block < 1 || q->scales_tensor < 0 || q->scales_tensor >= n_tensors ||
        q->zeros_tensor < -1 || q->zeros_tensor >= n_tensors)
        return tfr_flat_fail(&f->flat, t.at, "blockwise quantisation that is not possible");
    return f->flat.status;
}

static hone_status read_quant(tfr_file *f, tfr_table owner, int n_tensors, tfr_quant *q) {
    enum { BLOCKWISE = 2 };
    tfr_table t = tfr_sub(&f->flat, owner, TENSOR_QUANTIZATION);
    int64_t details = tfr_u8(&f->flat, t, QUANT_DETAILS_TYPE, 0);
    if (details == BLOCKWISE)
        return read_blockwise(f, t, n_tensors, q);
    if (details != 0)
        return hone_fail(f->flat.err, HONE_E_UNSUPPORTED,
                         "quantisation of kind %" PRId64 " is not supported", details);
    tfr_vector scale = tfr_list(&f->flat, t, QUANT_SCALE, 4);
    tfr_vector zero = tfr_list(&f->flat, t, QUANT_ZERO_POINT, 8);
    if (scale.n == 0)
        return f->flat.status;
    if (zero.n != 0 && zero.n != 1 && zero.n != scale.n)
        return tfr_flat_fail(&f->flat, t.at, "the numbers of scales and zero points differ");
    float *scales = HONE_NEW_ARRAY(f->arena, float, scale.n);
    int64_t *zeros = HONE_NEW_ARRAY(f->arena, int64_t, scale.n);
    if (!scales || !zeros)
        return no_memory(f);
    for (size_t i = 0; i < scale.n; ++i) {
        scales[i] = tfr_at_f32(&f->flat, scale, i);
        zeros[i] = zero.n ? tfr_at_i64(&f->flat, zero, zero.n == 1 ? 0 : i) : 0;
        if (!(scales[i] >= 0 && scales[i] < TFL_SCALE_LIMIT) || zeros[i] < -65535 || zeros[i] > 65535)
            return tfr_flat_fail(&f->flat, t.at, "a scale or zero point that is not possible");
    }
    q->n_scales = (int)scale.n;
    q->scale = scales;
    q->zero_point = zeros;
    q->axis = (int)tfr_i32(&f->flat, t, QUANT_DIMENSION, 0);
    return f->flat.status;
}

static hone_status read_shape(tfr_file *f, tfr_table t, tfr_tensor *x) {
    tfr_vector shape = tfr_list(&f->flat, t, TENSOR_SHAPE, 4);
    tfr_vector signature = tfr_list(&f->flat, t, TENSOR_SIGNATURE, 4);
    if (shape.n > HONE_MAX_RANK)
        return hone_fail(f->flat.err, HONE_E_UNSUPPORTED, "a tensor of more than %d dims",
                         HONE_MAX_RANK);
    x->rank = (int)shape.n;
    for (size_t i = 0; i < shape.n; ++i) {
        x->dims[i] = tfr_at_i32(&f->flat, shape, i);
        if (x->dims[i] < 0)
            return tfr_flat_fail(&f->flat, shape.at, "a negative dim");
    }
    HONE_TRY(f->flat.status);
    for (size_t i = 0; signature.n == shape.n && i < shape.n; ++i) {
        if (tfr_at_i32(&f->flat, signature, i) == -1)
            x->dims[i] = -1;
    }
    return HONE_OK;
}

/* Contents: of the tensor's own buffer, in place or, in large files, at an offset from the start.
 */
static hone_status find_data(tfr_file *f, tfr_vector buffers, tfr_table t, tfr_tensor *x) {
    int64_t number = tfr_u32(&f->flat, t, TENSOR_BUFFER, 0);
    if (number == 0)
        return f->flat.status;
    if ((size_t)number >= buffers.n)
        return tfr_flat_fail(&f->flat, t.at, "there is no buffer of that number");
    tfr_table b = tfr_at(&f->flat, buffers, (size_t)number);
    tfr_vector data = tfr_list(&f->flat, b, BUFFER_DATA, 1);
    uint64_t offset = tfr_u64(&f->flat, b, BUFFER_OFFSET, 0);
    uint64_t size = tfr_u64(&f->flat, b, BUFFER_SIZE, 0);
    if (offset > 1) {
        if (offset > f->flat.n || size > f->flat.n - offset)
            return tfr_flat_fail(&f->flat, b.at, "a buffer lies outside the file");
        data = (tfr_vector){(size_t)offset, (size_t)size, true};
    }
    if (data.n == 0)
        return f->flat.status;
    tfr_table sparsity = tfr_sub(&f->flat, t, TENSOR_SPARSITY);
    if (sparsity.at) {
        x->data = tfr_densify(f, sparsity, x, f->flat.data + data.at, data.n);
        return f->flat.status;
    }
    int64_t count = 1;
    for (int i = 0; i < x->rank; ++i) {
        if (x->dims[i] < 0 || __builtin_mul_overflow(count, x->dims[i], &count))
            return tfr_flat_fail(&f->flat, t.at, "a constant of unknown or impossible size");
    }
    if (x->dtype == HONE_DTYPE_STRING)
        return hone_fail(f->flat.err, HONE_E_UNSUPPORTED, "text constants are not supported (%s)",
                         x->name);
    if (x->dtype == HONE_DTYPE_NONE || hone_dtype_bytes(x->dtype, count) != data.n)
        return hone_fail_at(f->flat.err, (int64_t)data.at, HONE_E_FORMAT,
                            "tensor %s has %zu bytes, its shape needs %zu", x->name, data.n,
                            hone_dtype_bytes(x->dtype, count));
    x->data = f->flat.data + data.at;
    return HONE_OK;
}

static hone_status read_tensor(tfr_file *f, tfr_vector buffers, tfr_table t, int n_tensors,
                               tfr_tensor *x) {
    int64_t type = tfr_i8(&f->flat, t, TENSOR_TYPE, 0);
    x->name = text(f, t, TENSOR_NAME);
    HONE_TRY(f->flat.status);
    if (type < 0 || type >= (int64_t)(sizeof dtypes / sizeof dtypes[0]))
        return hone_fail(f->flat.err, HONE_E_UNSUPPORTED, "tensor %s has unknown type %" PRId64,
                         x->name, type);
    x->dtype = dtypes[type];
    x->has_rank = tfr_u8(&f->flat, t, TENSOR_HAS_RANK, 0) != 0;
    x->is_variable = tfr_u8(&f->flat, t, TENSOR_IS_VARIABLE, 0) != 0;
    HONE_TRY(read_shape(f, t, x));
    HONE_TRY(find_data(f, buffers, t, x));
    return read_quant(f, t, n_tensors, &x->quant);
}

/* ---- operators, subgraphs, signatures ---------------------------------------------------------
 */

static hone_status read_op(tfr_file *f, tfr_vector codes, tfr_table t, int n_tensors, tfr_op *op) {
    int64_t number = tfr_u32(&f->flat, t, OPERATOR_CODE, 0);
    if ((size_t)number >= codes.n)
        return tfr_flat_fail(&f->flat, t.at, "there is no operator code of that number");
    tfr_table c = tfr_at(&f->flat, codes, (size_t)number);
    int64_t old = tfr_i8(&f->flat, c, CODE_DEPRECATED, 0);
    int64_t code = tfr_i32(&f->flat, c, CODE_BUILTIN, 0);
    op->code = (int)(code > old ? code : old);
    if (op->code == TFL_CUSTOM)
        op->custom = text(f, c, CODE_CUSTOM);
    op->in = indices(f, t, OPERATOR_INPUTS, -1, n_tensors, &op->n_in);
    op->out = indices(f, t, OPERATOR_OUTPUTS, -1, n_tensors, &op->n_out);
    op->intermediates = indices(f, t, OPERATOR_INTERMEDIATES, -1, n_tensors, &op->n_intermediates);
    op->options = tfr_sub(&f->flat, t, OPERATOR_OPTIONS);
    op->custom_options = tfr_list(&f->flat, t, OPERATOR_CUSTOM, 1);
    op->options_2 = tfr_sub(&f->flat, t, OPERATOR_OPTIONS_2);
    return f->flat.status;
}

static hone_status read_graph(tfr_file *f, tfr_table model, tfr_table t, tfr_graph *g) {
    tfr_vector buffers = tfr_list(&f->flat, model, MODEL_BUFFERS, 4);
    tfr_vector codes = tfr_list(&f->flat, model, MODEL_CODES, 4);
    tfr_vector tensors = tfr_list(&f->flat, t, GRAPH_TENSORS, 4);
    tfr_vector ops = tfr_list(&f->flat, t, GRAPH_OPERATORS, 4);
    HONE_TRY(f->flat.status);
    tfr_tensor *list = HONE_NEW_ARRAY(f->arena, tfr_tensor, tensors.n);
    tfr_op *op = HONE_NEW_ARRAY(f->arena, tfr_op, ops.n);
    if (!list || !op)
        return no_memory(f);
    g->tensors = list;
    g->ops = op;
    g->n_tensors = (int)tensors.n;
    g->n_ops = (int)ops.n;
    for (int i = 0; i < g->n_tensors; ++i)
        HONE_TRY(
            read_tensor(f, buffers, tfr_at(&f->flat, tensors, (size_t)i), g->n_tensors, &list[i]));
    for (int i = 0; i < g->n_ops; ++i)
        HONE_TRY(read_op(f, codes, tfr_at(&f->flat, ops, (size_t)i), g->n_tensors, &op[i]));
    g->inputs = indices(f, t, GRAPH_INPUTS, 0, g->n_tensors, &g->n_inputs);
    g->outputs = indices(f, t, GRAPH_OUTPUTS, 0, g->n_tensors, &g->n_outputs);
    return f->flat.status;
}

static const tfr_name *read_names(tfr_file *f, tfr_table t, int id, int n_tensors, int *n) {
    tfr_vector v = tfr_list(&f->flat, t, id, 4);
    tfr_name *list = HONE_NEW_ARRAY(f->arena, tfr_name, v.n);
    *n = 0;
    if (!list)
        return no_memory(f), NULL;
    for (size_t i = 0; i < v.n; ++i) {
        tfr_table pair = tfr_at(&f->flat, v, i);
        int64_t tensor = tfr_u32(&f->flat, pair, TENSOR_MAP_INDEX, 0);
        list[i].name = text(f, pair, TENSOR_MAP_NAME);
        list[i].tensor = (int)tensor;
        if (tensor >= n_tensors)
            return tfr_flat_fail(&f->flat, v.at, "a signature names a tensor that is not there"),
                   NULL;
    }
    *n = (int)v.n;
    return list;
}

static hone_status read_signatures(tfr_file *f, tfr_table model) {
    tfr_vector v = tfr_list(&f->flat, model, MODEL_SIGNATURES, 4);
    tfr_signature *list = HONE_NEW_ARRAY(f->arena, tfr_signature, v.n);
    if (!list)
        return no_memory(f);
    for (size_t i = 0; i < v.n; ++i) {
        tfr_table t = tfr_at(&f->flat, v, i);
        int64_t graph = tfr_u32(&f->flat, t, SIGNATURE_SUBGRAPH, 0);
        if (graph >= f->n_graphs)
            return tfr_flat_fail(&f->flat, v.at, "a signature of a subgraph that is not there");
        int n_tensors = f->graphs[graph].n_tensors;
        list[i].graph = (int)graph;
        list[i].key = text(f, t, SIGNATURE_KEY);
        list[i].inputs = read_names(f, t, SIGNATURE_INPUTS, n_tensors, &list[i].n_inputs);
        list[i].outputs = read_names(f, t, SIGNATURE_OUTPUTS, n_tensors, &list[i].n_outputs);
        HONE_TRY(f->flat.status);
    }
    f->signatures = list;
    f->n_signatures = (int)v.n;
    return f->flat.status;
}

hone_status hone_tflite_signatures(const uint8_t *bytes, size_t n, hone_arena *arena,
                                   const char *const **keys, int *n_keys, hone_error *err) {
    tfr_file file = {.flat = {bytes, n, HONE_OK, err}, .arena = arena};
    tfr_vector v = tfr_list(&file.flat, tfr_root(&file.flat), MODEL_SIGNATURES, 4);
    const char **list = HONE_NEW_ARRAY(arena, const char *, v.n + 1);
    if (!list)
        return no_memory(&file);
    for (size_t i = 0; i < v.n && file.flat.status == HONE_OK; ++i)
        list[i] = text(&file, tfr_at(&file.flat, v, i), SIGNATURE_KEY);
    *keys = list;
    *n_keys = (int)v.n;
    return file.flat.status;
}

hone_status tfr_file_read(tfr_file *file, hone_arena *arena, const uint8_t *bytes, size_t n,
                          hone_error *err) {
    *file = (tfr_file){.flat = {bytes, n, HONE_OK, err}, .arena = arena};
    tfr_table model = tfr_root(&file->flat);
    HONE_TRY(file->flat.status);
    int64_t version = tfr_u32(&file->flat, model, MODEL_VERSION, 0);
    if (!tfr_is_file(bytes, n) || version != TFL_SCHEMA_VERSION)
        return hone_fail(err, HONE_E_FORMAT, "not a TensorFlow Lite model of schema version %d",
                         TFL_SCHEMA_VERSION);
    file->description = text(file, model, MODEL_DESCRIPTION);
    tfr_vector v = tfr_list(&file->flat, model, MODEL_SUBGRAPHS, 4);
    HONE_TRY(file->flat.status);
    if (v.n == 0)
        return hone_fail(err, HONE_E_FORMAT, "the model has no graph inside");
    tfr_graph *graphs = HONE_NEW_ARRAY(arena, tfr_graph, v.n);
    if (!graphs)
        return no_memory(file);
    file->graphs = graphs;
    file->n_graphs = (int)v.n;
    for (size_t i = 0; i < v.n; ++i)
        HONE_TRY(read_graph(file, model, tfr_at(&file->flat, v, i), &graphs[i]));
    return read_signatures(file, model);
}

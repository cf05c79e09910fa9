/* Facts of the TensorFlow Lite file format: numbers of operators, element types and table fields.
 * Source: tensorflow/lite/schema/schema.fbs, version 3. */
#ifndef HONE_TFLITE_SCHEMA_H
#define HONE_TFLITE_SCHEMA_H

#define TFL_IDENTIFIER "TFL3" /* bytes 4 to 7 of the file */
enum { TFL_SCHEMA_VERSION = 3 };
#define TFL_SCALE_LIMIT 1e30f /* our own: no scale of a quantisation reaches it */

enum {
#define BUILTIN(name, code, options) TFL_##name = (code),
#include "tflite/builtin.def"
#undef BUILTIN
    TFL_LAST_I8_CODE = 127, /* higher codes stand in OperatorCode.builtin_code only */
};

typedef enum tfl_type {
    TFL_F32 = 0,
    TFL_F16 = 1,
    TFL_I32 = 2,
    TFL_U8 = 3,
    TFL_I64 = 4,
    TFL_STRING = 5,
    TFL_BOOL = 6,
    TFL_I16 = 7,
    TFL_C64 = 8,
    TFL_I8 = 9,
    TFL_F64 = 10,
    TFL_C128 = 11,
    TFL_U64 = 12,
    TFL_RESOURCE = 13,
    TFL_VARIANT = 14,
    TFL_U32 = 15,
    TFL_U16 = 16,
    TFL_I4 = 17,
    TFL_BF16 = 18,
    TFL_I2 = 19,
    TFL_U4 = 20,
    TFL_F8E4M3FN = 21,
    TFL_F8E5M2 = 22,
} tfl_type;

enum { TFL_SAME = 0, TFL_VALID = 1 }; /* Padding */
enum { TFL_ACT_NONE, TFL_ACT_RELU, TFL_ACT_RELU_N1_TO_1, TFL_ACT_RELU6, TFL_ACT_TANH };
enum { TFL_REFLECT = 0, TFL_SYMMETRIC = 1 }; /* MirrorPadMode */

/* Field ids by table. */
enum {
    MODEL_VERSION,
    MODEL_CODES,
    MODEL_SUBGRAPHS,
    MODEL_DESCRIPTION,
    MODEL_BUFFERS,
    MODEL_METADATA = 6,
    MODEL_SIGNATURES
};
enum { CODE_DEPRECATED, CODE_CUSTOM, CODE_VERSION, CODE_BUILTIN };
enum { GRAPH_TENSORS, GRAPH_INPUTS, GRAPH_OUTPUTS, GRAPH_OPERATORS, GRAPH_NAME };
enum {
    TENSOR_SHAPE,
    TENSOR_TYPE,
    TENSOR_BUFFER,
    TENSOR_NAME,
    TENSOR_QUANTIZATION,
    TENSOR_IS_VARIABLE,
    TENSOR_SPARSITY,
    TENSOR_SIGNATURE,
    TENSOR_HAS_RANK
};
enum {
    OPERATOR_CODE,
    OPERATOR_INPUTS,
    OPERATOR_OUTPUTS,
    OPERATOR_OPTIONS_TYPE,
    OPERATOR_OPTIONS,
    OPERATOR_CUSTOM,
    OPERATOR_INTERMEDIATES = 8,
    OPERATOR_OPTIONS_2 = 12
};
enum { COMPOSITE_NAME, COMPOSITE_SUBGRAPH }; /* StableHLOCompositeOptions */
enum { BUFFER_DATA, BUFFER_OFFSET, BUFFER_SIZE };
enum {
    QUANT_MIN,
    QUANT_MAX,
    QUANT_SCALE,
    QUANT_ZERO_POINT,
    QUANT_DETAILS_TYPE,
    QUANT_DETAILS,
    QUANT_DIMENSION
};
enum { METADATA_NAME, METADATA_BUFFER };
enum { SIGNATURE_INPUTS, SIGNATURE_OUTPUTS, SIGNATURE_KEY, SIGNATURE_SUBGRAPH = 4 };
enum { TENSOR_MAP_NAME, TENSOR_MAP_INDEX };

#endif

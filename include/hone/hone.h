/* hone: optimised inference for trained models.
 *
 * The only public header. Conventions:
 *   - Every fallible function returns hone_status and, when given one, fills a caller-owned
 *     hone_error that names the node, the reason and the cure. `err` may always be NULL.
 *   - The library never prints, exits or aborts.
 *   - Sizes are in elements unless a name ends in `_bytes`.
 *   - Objects come from *_create / *_load / *_open and go with the matching *_destroy, which
 *     accepts NULL.
 *   - hone_model and hone_engine are immutable once made and may be shared by threads;
 *     a hone_session belongs to one thread at a time.
 */
#ifndef HONE_H
#define HONE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define HONE_API __attribute__((visibility("default")))
#define HONE_NODISCARD __attribute__((warn_unused_result))
#else
#define HONE_API
#define HONE_NODISCARD
#endif

#define HONE_VERSION_MAJOR 0
#define HONE_VERSION_MINOR 1
#define HONE_VERSION_PATCH 0

/** Highest tensor rank; models with more dimensions are refused with HONE_E_UNSUPPORTED. */
#define HONE_MAX_RANK 10

typedef enum hone_status {
    HONE_OK = 0,
    HONE_E_ARGUMENT,    /* the caller passed something wrong */
    HONE_E_NOMEM,       /* out of memory or over a stated limit */
    HONE_E_IO,          /* a file could not be read or written */
    HONE_E_FORMAT,      /* bytes that are not what they claim to be */
    HONE_E_TYPE,        /* data types in conflict */
    HONE_E_SHAPE,       /* shapes in conflict, or outside the profile */
    HONE_E_UNSUPPORTED, /* valid, but not supported */
    HONE_E_RUNTIME,     /* a data-dependent error during a run: index out of range, ... */
    HONE_E_MISMATCH,    /* a verification found outputs that differ */
    HONE_E_VERSION,     /* a file of another format version or another machine */
    HONE_STATUS_COUNT
} hone_status;

/** Where and why something failed; filled by the first failure. */
typedef struct hone_error {
    hone_status code;
    int64_t offset;    /* byte offset in a parsed file, -1 when not applicable */
    char node[128];    /* node name, "" when not applicable */
    char op[64];       /* operator type, "" when not applicable */
    char message[640]; /* one line: what is wrong and what to do */
} hone_error;

/** "ok", "format error", ... ; never NULL. */
HONE_API const char *hone_status_name(hone_status status);

/** Element types; the numbers are those of ONNX TensorProto.DataType. */
typedef enum hone_dtype {
    HONE_DTYPE_NONE = 0,
    HONE_DTYPE_F32 = 1,
    HONE_DTYPE_U8 = 2,
    HONE_DTYPE_I8 = 3,
    HONE_DTYPE_U16 = 4,
    HONE_DTYPE_I16 = 5,
    HONE_DTYPE_I32 = 6,
    HONE_DTYPE_I64 = 7,
    HONE_DTYPE_STRING = 8, /* elements are hone_string */
    HONE_DTYPE_BOOL = 9,   /* one byte, 0 or 1 */
    HONE_DTYPE_F16 = 10,
    HONE_DTYPE_F64 = 11,
    HONE_DTYPE_U32 = 12,
    HONE_DTYPE_U64 = 13,
    HONE_DTYPE_C64 = 14,  /* two floats */
    HONE_DTYPE_C128 = 15, /* two doubles */
    HONE_DTYPE_BF16 = 16,
    HONE_DTYPE_F8E4M3FN = 17,
    HONE_DTYPE_F8E4M3FNUZ = 18,
    HONE_DTYPE_F8E5M2 = 19,
    HONE_DTYPE_F8E5M2FNUZ = 20,
    HONE_DTYPE_U4 = 21, /* two to a byte, first element in the low bits */
    HONE_DTYPE_I4 = 22,
    HONE_DTYPE_F4E2M1 = 23,
    HONE_DTYPE_F8E8M0 = 24,
    HONE_DTYPE_U2 = 25, /* four to a byte, first element in the low bits */
    HONE_DTYPE_I2 = 26,
    HONE_DTYPE_COUNT
} hone_dtype;

/** "float32", "bfloat16", ... (numpy and ml_dtypes names); "?" for a bad value. */
HONE_API const char *hone_dtype_name(hone_dtype dtype);
/** Bits an element takes; strings count as sizeof(hone_string) * 8; 0 for a bad value. */
HONE_API int hone_dtype_bits(hone_dtype dtype);
/** Bytes that n elements take (sub-byte types are packed); 0 when n < 0 or on overflow. */
HONE_API size_t hone_dtype_bytes(hone_dtype dtype, int64_t n);

/** An element of a string tensor: UTF-8, not NUL-terminated. */
typedef struct hone_string {
    const char *data;
    size_t len;
} hone_string;

typedef enum hone_kind {
    HONE_KIND_NONE = 0, /* nothing: an omitted input, an empty optional */
    HONE_KIND_TENSOR,
    HONE_KIND_SEQUENCE, /* data: `hone_tensor *` elements, count in dims[0] */
    HONE_KIND_MAP,      /* data: two `hone_tensor *`: keys [n], values [n] */
} hone_kind;

struct hone_buffer;

/** A value at run time: dense, row-major, contiguous. A non-empty optional is its content. */
typedef struct hone_tensor {
    hone_kind kind;
    hone_dtype dtype;
    int rank;
    int64_t dims[HONE_MAX_RANK];
    void *data;                /* borrowed unless `owner` is set; aligned to the element */
    struct hone_buffer *owner; /* internal: counted storage, NULL when borrowed */
} hone_tensor;

/** Number of elements (1 for a scalar); 0 for kinds without elements. */
HONE_API int64_t hone_tensor_count(const hone_tensor *t);

#ifdef __cplusplus
}
#endif
#endif

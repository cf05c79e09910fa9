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

/* ---- models ------------------------------------------------------------------------------------
 * A model is a file read, checked and brought to canonical form; nothing is optimised yet. */

typedef struct hone_model hone_model;

/** Read a model file (.onnx, .tflite; told apart by content). The file is mapped and must not change while the model lives. */
HONE_API HONE_NODISCARD hone_status hone_model_open(const char *path, hone_model **out,
                                                    hone_error *err);
/** Read a model from memory, which the caller keeps until the model, and every engine built from
 * it, is destroyed. `dir` is where external data files are looked for; NULL: they are refused. */
HONE_API HONE_NODISCARD hone_status hone_model_parse(const void *bytes, size_t n_bytes,
                                                     const char *dir, hone_model **out,
                                                     hone_error *err);
/** The same for one signature of a TensorFlow Lite file, by its key; NULL: the first. A file may hold
 * several graphs, each with inputs and outputs of its own. Their variables are not shared. */
HONE_API HONE_NODISCARD hone_status hone_model_open_signature(const char *path,
                                                              const char *signature,
                                                              hone_model **out, hone_error *err);
HONE_API HONE_NODISCARD hone_status hone_model_parse_signature(const void *bytes, size_t n_bytes,
                                                               const char *dir,
                                                               const char *signature,
                                                               hone_model **out, hone_error *err);
HONE_API void hone_model_destroy(hone_model *model);
/** Signatures that the file has; ONNX models have none. */
HONE_API int hone_model_signature_count(const hone_model *model);
/** Key of signature i; NULL when i is out of range. */
HONE_API const char *hone_model_signature(const hone_model *model, int i);
/** The signature that the model was opened with; -1: there are none. */
HONE_API int hone_model_signature_index(const hone_model *model);

/** One input or output. Pointers live as long as the object they came from. */
typedef struct hone_io_info {
    const char *name;
    hone_kind kind;
    hone_dtype dtype; /* of tensors; HONE_DTYPE_NONE when not known */
    int rank;         /* -1 when not known */
    int64_t dims[HONE_MAX_RANK];           /* -1: dynamic */
    const char *dim_names[HONE_MAX_RANK];  /* NULL for fixed and unnamed dims */
    bool is_optional;                      /* may be left unset: has a default, or may be empty */
    bool is_state;                         /* input: the session carries its value from run to run */
} hone_io_info;

HONE_API int hone_model_input_count(const hone_model *model);
HONE_API int hone_model_output_count(const hone_model *model);
/** false when i is out of range. */
HONE_API bool hone_model_input(const hone_model *model, int i, hone_io_info *info);
HONE_API bool hone_model_output(const hone_model *model, int i, hone_io_info *info);

/* ---- engines -----------------------------------------------------------------------------------
 * An engine is a model optimised for one machine: immutable, shared by any number of threads. */

typedef struct hone_engine hone_engine;

typedef enum hone_tune {
    HONE_TUNE_OFF = 0, /* the default kernel of each node */
    HONE_TUNE_QUICK,   /* time the candidates for the costliest nodes */
    HONE_TUNE_FULL,    /* time the candidates for every node */
} hone_tune;

/** Bounds of an input's dims: min <= opt <= max each; a fixed shape has all equal. */
typedef struct hone_shape_range {
    const char *input;
    int rank;
    int64_t min[HONE_MAX_RANK], opt[HONE_MAX_RANK], max[HONE_MAX_RANK];
} hone_shape_range;

/** What an engine computes in. BF16: activations and the weights of products are stored as bfloat16,
 * sums are FP32; inputs and outputs keep their types. */
typedef enum hone_precision { HONE_PRECISION_FP32, HONE_PRECISION_BF16 } hone_precision;

typedef struct hone_build_options {
    int optimize;         /* 0: none, reference kernels; 1: graph passes; 2: and kernels (default) */
    hone_tune tune;       /* default off */
    int n_threads;        /* to plan and tune for; 0: hone_default_threads */
    size_t max_ram_bytes; /* refuse plans whose activations need more, and runs whose values of
                             data-dependent shape or whose scratch memory do; 0: no limit */
    bool is_exact;        /* leave out Winograd and other reformulations of arithmetic */
    bool keeps_defaults;  /* inputs with a default stay inputs instead of becoming constants */
    const hone_shape_range *shapes;
    int n_shapes;
    const char *passes;   /* comma-separated list of passes to run; NULL: all */
    int stop_at;          /* run only the first N pass applications; < 0: all */
    /** Called now and then with a fraction in [0, 1]; may be NULL. */
    void (*progress)(void *arg, double fraction, const char *what);
    void *progress_arg;
    /** Lowest instruction-set level that the engine must run on: "ref", "avx2", "avx512", ...; NULL: that
     * of this CPU. Weights are packed for it; other kernels are chosen where the engine runs. */
    const char *isa;
    const char *tune_cache; /* file that keeps what tuning measures; NULL (default): none */
    /** Called with remarks, such as that the tuning cache is damaged; may be NULL. */
    void (*remark)(void *arg, const char *text);
    void *remark_arg;
    /** BF16 needs a CPU with AVX512-BF16; elsewhere the engine is FP32, and a remark says so. */
    hone_precision precision;
    const char *signature; /* of a .tflite file that hone_engine_open opens; NULL: the first */
} hone_build_options;

/** Fills in the defaults. */
HONE_API void hone_build_options_init(hone_build_options *options);
/** Build an engine. The model is only read, and must outlive the engine unless it is saved and
 * loaded. options NULL: defaults. */
HONE_API HONE_NODISCARD hone_status hone_engine_build(const hone_model *model,
                                                      const hone_build_options *options,
                                                      hone_engine **out, hone_error *err);
/** Write an engine file, atomically. */
HONE_API HONE_NODISCARD hone_status hone_engine_save(const hone_engine *engine, const char *path,
                                                     hone_error *err);
/** Map an engine file: weights are used where they lie. The file must not change meanwhile. */
HONE_API HONE_NODISCARD hone_status hone_engine_load(const char *path, hone_engine **out,
                                                     hone_error *err);
/** An engine from a model or engine file, told apart by content. */
HONE_API HONE_NODISCARD hone_status hone_engine_open(const char *path,
                                                     const hone_build_options *options,
                                                     hone_engine **out, hone_error *err);
HONE_API void hone_engine_destroy(hone_engine *engine);

HONE_API int hone_engine_input_count(const hone_engine *engine);
HONE_API int hone_engine_output_count(const hone_engine *engine);
HONE_API bool hone_engine_input(const hone_engine *engine, int i, hone_io_info *info);
HONE_API bool hone_engine_output(const hone_engine *engine, int i, hone_io_info *info);
/** Index by name, -1 when there is none. */
HONE_API int hone_engine_input_index(const hone_engine *engine, const char *name);
HONE_API int hone_engine_output_index(const hone_engine *engine, const char *name);

/* ---- sessions ----------------------------------------------------------------------------------
 * A session runs an engine: one thread at a time, with memory of its own. */

typedef struct hone_session hone_session;

/** n_threads 0: as many as the process may use (affinity and cgroup quota). */
HONE_API HONE_NODISCARD hone_status hone_session_create(const hone_engine *engine, int n_threads,
                                                        hone_session **out, hone_error *err);
HONE_API void hone_session_destroy(hone_session *session);

/** Use `tensor` (its struct is copied, its data borrowed until the next set or the session's end) as
 * input i. NULL unsets an optional input. The type is checked by the run. State (is_state) holds after a
 * run what the run gave as its next value, whatever was set before; NULL sets it back to its default. */
HONE_API HONE_NODISCARD hone_status hone_session_set_input(hone_session *session, int i,
                                                           const hone_tensor *tensor,
                                                           hone_error *err);
/** Write output i straight into the caller's buffer, whose size must be the output's exactly. NULL:
 * the session's own memory again. */
HONE_API HONE_NODISCARD hone_status hone_session_set_output(hone_session *session, int i,
                                                            void *data, size_t bytes,
                                                            hone_error *err);
/** Plan for the inputs set so far (only their types are read) without running, so that the first
 * run takes no longer than the others. */
HONE_API HONE_NODISCARD hone_status hone_session_prepare(hone_session *session, hone_error *err);
/** Run. No allocation once a plan for these input shapes exists. */
HONE_API HONE_NODISCARD hone_status hone_session_run(hone_session *session, hone_error *err);
/** Result i of the last run: valid until the next run; kind NONE for an empty optional. NULL when
 * i is out of range or nothing ran. */
HONE_API const hone_tensor *hone_session_output(const hone_session *session, int i);

/** Bytes of planned activations and scratch memory in use now. */
HONE_API size_t hone_session_arena_bytes(const hone_session *session);
HONE_API int hone_session_threads(const hone_session *session);

/** A node that ran, as the profiler sees it. Pointers live as long as the engine. */
typedef struct hone_profile_entry {
    const char *node;   /* name */
    const char *op;     /* operator */
    const char *kernel; /* "reference" or the kernel's name */
    const char *isa;    /* instruction set of the kernel, "c" for portable code */
    const char *origin; /* the model's nodes it stands for */
    int depth;          /* nesting in subgraphs */
    int64_t start_ns, end_ns; /* monotonic clock */
    int64_t macs;       /* multiply-accumulates, 0 when not counted */
    int64_t bytes;      /* read and written */
    char shapes[128];   /* "1x64x56x56, 64x64x3x3 -> 1x64x56x56" */
} hone_profile_entry;

/** Called after each node of a run, in the running thread; NULL turns profiling off. */
typedef void (*hone_profile_fn)(void *arg, const hone_profile_entry *entry);
HONE_API void hone_session_set_profiler(hone_session *session, hone_profile_fn fn, void *arg);

/** Called with each value as it is computed (name in the optimised graph), for comparisons. */
typedef void (*hone_watch_fn)(void *arg, const char *name, const hone_tensor *value);
HONE_API void hone_session_set_watch(hone_session *session, hone_watch_fn fn, void *arg);

#ifdef __cplusplus
}
#endif
#endif

/* Element-wise chains: a short program run tile by tile, so that memory is touched once. A single
 * operation is a program of one step. */
#ifndef HONE_KERNELS_ELTWISE_H
#define HONE_KERNELS_ELTWISE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* X(name, function, arity). x, y, z are the operands, a and b the step's constants. NaN operands
 * give NaN except where noted; comparisons give 1 or 0. Error bounds are in ulp of the result
 * unless they are marked as absolute. */
#define HONE_EW_OPS(X)                                                                             \
    X(COPY, copy, 1)                                                                               \
    X(RELU, relu, 1)                                                                               \
    X(LEAKY, leaky, 1)               /* x < 0 ? a x : x */                                         \
    X(ELU, elu, 1)                   /* x < 0 ? a (e^x - 1) : x; 2e-7 |a| absolute */              \
    X(SIGMOID, sigmoid, 1)           /* 3 */                                                       \
    X(TANH, tanh, 1)                 /* 4 */                                                       \
    X(ERF, erf, 1)                   /* 4 */                                                       \
    X(GELU, gelu, 1)                 /* x (1 + erf(x / sqrt 2)) / 2; 3e-7 max(1, |x|) absolute */  \
    X(GELU_TANH, gelu_tanh, 1)       /* 3e-7 max(1, |x|) absolute */                               \
    X(SILU, silu, 1)                 /* x sigmoid(a x); 5 */                                       \
    X(HARD_SWISH, hard_swish, 1)     /* x clip(a x + b, 0, 1) */                                   \
    X(HARD_SIGMOID, hard_sigmoid, 1) /* clip(a x + b, 0, 1) */                                     \
    X(SOFTPLUS, softplus, 1)         /* log(1 + e^x); 3e-7 max(1, |x|) absolute */                 \
    X(MISH, mish, 1)                 /* x tanh(softplus(x)); 8, or 1e-42 absolute */               \
    X(EXP, exp, 1)                   /* 3 */                                                       \
    X(LOG, log, 1)                   /* 3 */                                                       \
    X(SQRT, sqrt, 1)                 /* 0.5 */                                                     \
    X(RSQRT, rsqrt, 1)               /* 1.5 */                                                     \
    X(RECIP, recip, 1)               /* 0.5 */                                                     \
    X(ABS, abs, 1)                                                                                 \
    X(NEG, neg, 1)                                                                                 \
    X(FLOOR, floor, 1)                                                                             \
    X(CEIL, ceil, 1)                                                                               \
    X(ROUND, round, 1) /* half to even */                                                          \
    X(SIN, sin, 1)     /* libm */                                                                  \
    X(COS, cos, 1)     /* libm */                                                                  \
    X(SIGN, sign, 1)                                                                               \
    X(NOT, not, 1) /* x == 0 */                                                                    \
    X(IS_NAN, is_nan, 1)                                                                           \
    X(CLIP, clip, 1)     /* min(max(x, a), b) */                                                   \
    X(AFFINE, affine, 1) /* a x + b, fused where the ISA has FMA */                                \
    X(ADD, add, 2)                                                                                 \
    X(SUB, sub, 2)                                                                                 \
    X(MUL, mul, 2)                                                                                 \
    X(DIV, div, 2)                                                                                 \
    X(MAX, max, 2)                                                                                 \
    X(MIN, min, 2)                                                                                 \
    X(POW, pow, 2)     /* libm; exact x x for y = 2 */                                             \
    X(PRELU, prelu, 2) /* x < 0 ? y x : x */                                                       \
    X(EQ, eq, 2)                                                                                   \
    X(NE, ne, 2)                                                                                   \
    X(LT, lt, 2)                                                                                   \
    X(LE, le, 2)                                                                                   \
    X(GT, gt, 2)                                                                                   \
    X(GE, ge, 2)                                                                                   \
    X(AND, and, 2)                                                                                 \
    X(OR, or, 2)                                                                                   \
    X(XOR, xor, 2)                                                                                 \
    X(WHERE, where, 3) /* x != 0 ? y : z; NaN counts as true */                                    \
    X(FMA, fma, 3)     /* x y + z, fused where the ISA has FMA */

typedef enum hone_ew_op {
#define X(name, function, arity) HONE_EW_##name,
    HONE_EW_OPS(X)
#undef X
        HONE_EW_OP_COUNT
} hone_ew_op;

typedef enum hone_ew_type {
    HONE_EW_F32,
    HONE_EW_U8,  /* a boolean, 0 or 1 */
    HONE_EW_BF16 /* steps compute in FP32 */
} hone_ew_type;

enum {
    HONE_EW_MAX_IN = 8,
    HONE_EW_MAX_OUT = 4,
    HONE_EW_MAX_STEPS = 16,
    HONE_EW_MAX_RANK = 8,
    HONE_EW_TILE = 1024,
    HONE_EW_STRIDE = HONE_EW_TILE + 80, /* floats between tiles: not a multiple of 4096 bytes */
    HONE_EW_ROOM = 2                    /* tiles of an input: rows repeat, starting anywhere */
};

/* How an input is walked. A row is one short last dimension that every row of the result repeats.
 */
enum hone_ew_kind { HONE_EW_DENSE, HONE_EW_SCALAR, HONE_EW_STRIDED, HONE_EW_ROW };

/* Values are numbered: inputs first, then one a step. */
typedef struct hone_ew_step {
    uint8_t op;     /* hone_ew_op */
    uint8_t src[3]; /* values, of which the operator's arity counts */
    float a, b;
} hone_ew_step;

typedef struct hone_ew_program {
    /* Set by the caller, then checked and simplified by hone_ew_prepare. */
    int n_in, n_out, n_steps, rank;
    int64_t dims[HONE_EW_MAX_RANK];                    /* of every output, dense */
    int64_t strides[HONE_EW_MAX_IN][HONE_EW_MAX_RANK]; /* elements; 0: broadcast */
    uint8_t in_type[HONE_EW_MAX_IN], out_type[HONE_EW_MAX_OUT];
    uint8_t out_value[HONE_EW_MAX_OUT]; /* a value made by a step; no two alike */
    hone_ew_step steps[HONE_EW_MAX_STEPS];
    /* Set by hone_ew_prepare. */
    int64_t n_elements;
    bool by_rows;                     /* tiles end where the last dimension does */
    uint8_t in_kind[HONE_EW_MAX_IN];  /* hone_ew_kind */
    uint8_t reg[HONE_EW_MAX_STEPS];   /* register of each step's value */
    int8_t direct[HONE_EW_MAX_STEPS]; /* output that the step writes itself, or -1 */
    int n_regs;
} hone_ew_program;

/** Check the program, merge dimensions and assign registers. False when a count, operator, value or
 * dimension is out of range, or the element count overflows. */
bool hone_ew_prepare(hone_ew_program *p);
size_t hone_ew_scratch_bytes(const hone_ew_program *p);
/** Number of operands; 0 for an unknown operator. */
int hone_ew_arity(int op);
const char *hone_ew_name(int op);

/** Compute output elements [begin, end) of a prepared program. Any split gives the same bits. An
 * output may be the same memory as a dense input of its type when no step after the one that makes
 * the output reads that input; otherwise outputs overlap nothing. Scratch is 64-byte aligned. */
typedef void hone_ew_fn(const hone_ew_program *p, const void *const *in, void *const *out,
                        int64_t begin, int64_t end, void *scratch);

#endif

/* Convolutions and matrix products on channels-last data, with packed weights. Sums are FP32; data
 * is stored as FP32 or BF16 (the upper half of an FP32, rounded half to even; VDPBF16PS takes and
 * gives denormals as zero). Kernels on BF16 data may round the weights to BF16.
 *
 * A product C[M,N] = A[M,K] B[K,N] is the 1x1 convolution with n = ih = oh = 1, iw = ow = M, ic =
 * K, oc = N (hone_conv_gemm fills that in).
 *
 * Use: hone_conv_check() once; choose a kernel with hone_conv_candidates(); allocate packed_bytes()
 * and pack(); then call run() for every task of n_tasks(), each thread with scratch_bytes() of its
 * own. Nothing allocates. Results do not depend on which thread runs which task. */
#ifndef HONE_KERNELS_CONV_H
#define HONE_KERNELS_CONV_H

#include "base/cpu.h"
#include "base/status.h"

typedef enum hone_act {
    HONE_ACT_NONE,
    HONE_ACT_RELU,
    HONE_ACT_CLIP,         /* to [a, b] */
    HONE_ACT_LEAKY,        /* x < 0 ? a * x : x */
    HONE_ACT_HARD_SIGMOID, /* clip(a * x + b, 0, 1) */
    HONE_ACT_HARD_SWISH,   /* x * clip(x / 6 + 1 / 2, 0, 1) */
    HONE_ACT_SIGMOID,
    HONE_ACT_SILU, /* x * sigmoid(x) */
    HONE_ACT_TANH,
    HONE_ACT_GELU, /* by erf */
    HONE_ACT_GELU_TANH,
    HONE_ACT_COUNT
} hone_act;

typedef enum hone_elem { HONE_ELEM_F32, HONE_ELEM_BF16 } hone_elem;

typedef struct hone_conv {
    int64_t n, ih, iw, ic, oh, ow, oc, groups;
    int64_t kh, kw, sh, sw, dh, dw; /* kernel, stride, dilation */
    int64_t pt, pl;        /* zero padding above and to the left; the rest follows from oh, ow */
    int64_t ldx, ldy, ldr; /* elements from pixel to pixel of x, y and the residual */
    int64_t ic2, ldx2;     /* the last ic2 of the ic channels are in x2; 0: all are in x */
    hone_act act;
    float a, b; /* of act */
    bool has_residual;
    bool is_planar;                 /* x is [n][ic][ih][iw], and ldx without meaning */
    hone_elem x_storage, y_storage; /* of y and the residual */
} hone_conv;

typedef struct hone_conv_args {
    const void *x;        /* [n][ih][iw] pixels of ic channels, stored as x_storage; or planar */
    const void *x2;       /* pixels of the last ic2 of them, stored likewise */
    const float *packed;  /* by pack(), 64-byte aligned */
    const void *residual; /* [n][oh][ow] pixels of oc channels, added before act; may equal y */
    void *y;              /* [n][oh][ow] pixels of oc channels; must not overlap x */
} hone_conv_args;

/* Where the weight of (output channel o, input channel i of its group, ky, kx) lies: at
 * data[o * so + i * si + ky * sky + kx * skx]. Output channels of group g start at g * oc / groups.
 */
typedef struct hone_conv_weights {
    const float *data, *bias; /* bias: oc elements, or NULL */
    int64_t so, si, sky, skx;
} hone_conv_weights;

/* What a kernel reads and writes. */
typedef enum hone_conv_storages {
    HONE_CONV_F32,  /* FP32 only */
    HONE_CONV_BF16, /* BF16 only */
    HONE_CONV_MIXED /* BF16 on one side at least */
} hone_conv_storages;

typedef struct hone_conv_kernel {
    const char *name;
    hone_isa isa;
    hone_conv_storages storages;
    bool is_planar;  /* takes planar x, and nothing else */
    bool takes_more; /* takes ic2 > 0 */
    bool is_exact;   /* sums products of inputs and weights only; false: Winograd */
    /** NULL, or why not, storage apart: callers use hone_conv_refusal(). The problem has passed
     * hone_conv_check(). */
    const char *(*supports)(const hone_conv *p);
    /** NULL, or why nothing should be packed for it though it would run: its packed weights gain
     * too little for their size. The member may be NULL: always worth it. */
    const char *(*wastes)(const hone_conv *p);
    size_t (*packed_bytes)(const hone_conv *p);
    void (*pack)(const hone_conv *p, const hone_conv_weights *w, float *packed);
    size_t (*scratch_bytes)(const hone_conv *p); /* 64-byte aligned, for each thread */
    int64_t (*n_tasks)(const hone_conv *p);
    void (*run)(const hone_conv *p, const hone_conv_args *args, int64_t task, void *scratch);
} hone_conv_kernel;

/** Whether a kernel for planar x takes the convolution: pictures at the start of a network. */
static inline bool hone_conv_takes_planar(int64_t ic, int64_t kh, int64_t kw, int64_t groups) {
    return groups == 1 && ic <= 4 && kh <= 64 && kw <= 64 && ic * kh * kw <= 256;
}
/** y[m,n] = act(x[m,k] B[k,n] + bias); row strides are set to the dense ones. */
hone_conv hone_conv_gemm(int64_t m, int64_t n, int64_t k);
/** Refuses sizes that are not positive, inconsistent, or so large that addresses overflow. */
HONE_NODISCARD hone_status hone_conv_check(const hone_conv *p, hone_error *err);
/** NULL when the kernel takes p, else why it does not. */
const char *hone_conv_refusal(const hone_conv_kernel *k, const hone_conv *p);
/** Kernels of level `isa` and below that take p, best first, at most max, but for those that waste
 * memory on it; returns how many. At least one takes every problem of one storage. */
int hone_conv_candidates(const hone_conv *p, hone_isa isa, bool is_exact,
                         const hone_conv_kernel **out, int max);
/** All kernels of this build, in the order of kernels.def. */
const hone_conv_kernel *const *hone_conv_kernels(int *n);

#endif

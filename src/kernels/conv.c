#include "kernels/conv.h"

#define HONE_CONV_KERNEL(symbol) extern const hone_conv_kernel symbol;
#include "kernels/kernels.def"
#undef HONE_CONV_KERNEL

static const hone_conv_kernel *const kernels[] = {
#define HONE_CONV_KERNEL(symbol) &symbol,
#include "kernels/kernels.def"
#undef HONE_CONV_KERNEL
};
enum { N_KERNELS = sizeof kernels / sizeof *kernels };

const hone_conv_kernel *const *hone_conv_kernels(int *n) {
    *n = N_KERNELS;
    return kernels;
}

hone_conv hone_conv_gemm(int64_t m, int64_t n, int64_t k) {
    return (hone_conv){.n = 1,
                       .ih = 1,
                       .iw = m,
                       .ic = k,
                       .oh = 1,
                       .ow = m,
                       .oc = n,
                       .groups = 1,
                       .kh = 1,
                       .kw = 1,
                       .sh = 1,
                       .sw = 1,
                       .dh = 1,
                       .dw = 1,
                       .ldx = k,
                       .ldy = n,
                       .ldr = n};
}

/* The product of n sizes stays below 2^44, so that bytes and sums of a few of them fit too. */
static bool fits(int n, const int64_t *sizes) {
    const int64_t limit = (int64_t)1 << 44;
    int64_t product = 1;
    for (int i = 0; i < n; ++i) {
        if (sizes[i] <= 0 || __builtin_mul_overflow(product, sizes[i], &product) || product > limit)
            return false;
    }
    return true;
}

/* Every output position starts at or before the last input position, and the first one no further
 * than the kernel reaches before it; keeps positions small enough to compute with. */
static bool is_axis_sane(int64_t in, int64_t out, int64_t k, int64_t stride, int64_t dilation,
                         int64_t pad) {
    const int64_t limit = (int64_t)1 << 40;
    int64_t reach[] = {k, dilation}, walk[] = {out, stride};
    return fits(2, reach) && fits(2, walk) && in < limit && pad >= 0 && pad < limit;
}

hone_status hone_conv_check(const hone_conv *p, hone_error *err) {
    const int64_t x[] = {p->n, p->ih, p->iw, p->ldx},
                  x2[] = {p->n, p->ih, p->iw, p->ic2 ? p->ldx2 : 1},
                  y[] = {p->n, p->oh, p->ow, p->ldy}, w[] = {p->kh, p->kw, p->ic, p->oc},
                  table[] = {p->kh, p->kw, p->ic, 4096};
    if (!fits(4, x) || !fits(4, x2) || !fits(4, y) || !fits(4, w) || !fits(4, table))
        return hone_fail(err, HONE_E_ARGUMENT, "convolution: a size is not positive, or too large");
    if (p->groups <= 0 || p->ic % p->groups || p->oc % p->groups)
        return hone_fail(err, HONE_E_ARGUMENT,
                         "convolution: %lld and %lld channels do not divide into %lld groups",
                         (long long)p->ic, (long long)p->oc, (long long)p->groups);
    if (p->ic2 < 0 || p->ic2 >= p->ic || p->ldx2 < p->ic2)
        return hone_fail(err, HONE_E_ARGUMENT, "convolution: channels in two parts do not fit");
    if (p->ldx < p->ic - p->ic2 || p->ldy < p->oc || (p->has_residual && p->ldr < p->oc))
        return hone_fail(err, HONE_E_ARGUMENT, "convolution: pixels overlap");
    if (!is_axis_sane(p->ih, p->oh, p->kh, p->sh, p->dh, p->pt) ||
        !is_axis_sane(p->iw, p->ow, p->kw, p->sw, p->dw, p->pl))
        return hone_fail(err, HONE_E_ARGUMENT,
                         "convolution: stride, dilation or padding too large");
    if ((int)p->act < 0 || p->act >= HONE_ACT_COUNT)
        return hone_fail(err, HONE_E_ARGUMENT, "convolution: unknown activation");
    return HONE_OK;
}

const char *hone_conv_refusal(const hone_conv_kernel *k, const hone_conv *p) {
    bool is_f32 = p->x_storage == HONE_ELEM_F32 && p->y_storage == HONE_ELEM_F32;
    bool is_bf16 = p->x_storage == HONE_ELEM_BF16 && p->y_storage == HONE_ELEM_BF16;
    if (p->ic2 && !k->takes_more)
        return "channels in two parts";
    if (p->is_planar != k->is_planar)
        return k->is_planar ? "for planar pictures" : "not for planar pictures";
    if (is_f32 != (k->storages == HONE_CONV_F32))
        return is_f32 ? "for data stored as BF16" : "for data stored as FP32";
    if (k->storages == HONE_CONV_BF16 && !is_bf16)
        return "input and output are stored differently";
    return k->supports(p);
}

int hone_conv_candidates(const hone_conv *p, hone_isa isa, bool is_exact,
                         const hone_conv_kernel **out, int max) {
    int n = 0;
    for (int i = 0; i < N_KERNELS && n < max; ++i) {
        const hone_conv_kernel *k = kernels[i];
        bool is_wasteful = k->wastes && k->wastes(p);
        if (k->isa <= isa && (k->is_exact || !is_exact) && !is_wasteful && !hone_conv_refusal(k, p))
            out[n++] = k;
    }
    return n;
}

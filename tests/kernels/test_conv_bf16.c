/* Every convolution kernel that takes BF16 data against a sum in double of what is stored, at
 * awkward sizes: pixels apart, canaries around the output, NaN where nothing may be read. With an
 * argument: a benchmark of common layers on one thread. */
#include "kernels/conv.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "check.h"

static uint64_t seed = 1;

static float noise(void) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (float)(int32_t)(seed >> 32) * 0x1p-31f;
}

/* The contract: the upper half of an FP32, rounded half to even. */
static uint16_t bf16_of(float x) {
    uint32_t w;
    memcpy(&w, &x, sizeof w);
    return (uint16_t)((x != x ? w | 0x400000u : w + 0x7fffu + (w >> 16 & 1u)) >> 16);
}
static float f32_of(uint16_t h) {
    uint32_t w = (uint32_t)h << 16;
    float x;
    memcpy(&x, &w, sizeof x);
    return x;
}

static void *aligned(size_t bytes) {
    void *p = aligned_alloc(64, (bytes + 127) / 64 * 64);
    if (!p)
        exit(2);
    return p;
}

/* Data of either storage. */
typedef struct array {
    void *data;
    hone_elem storage;
} array;

static float get(const array *a, int64_t i) {
    return a->storage == HONE_ELEM_F32 ? ((float *)a->data)[i] : f32_of(((uint16_t *)a->data)[i]);
}
static void set(const array *a, int64_t i, float x) {
    if (a->storage == HONE_ELEM_F32)
        ((float *)a->data)[i] = x;
    else
        ((uint16_t *)a->data)[i] = bf16_of(x);
}
/* Pixels `ld` apart, n of them in use. */
static array filled(hone_elem storage, int64_t pixels, int64_t ld, int64_t n) {
    array a = {aligned((size_t)(pixels * ld + 64) * sizeof(float)), storage};
    for (int64_t i = 0; i < pixels * ld; ++i)
        set(&a, i, i % ld < n ? noise() : NAN);
    return a;
}

typedef struct problem {
    hone_conv p;
    array x, y, residual;
    float *w, *bias;
} problem;

static hone_conv_weights weights_of(const problem *q) {
    int64_t area = q->p.kh * q->p.kw;
    return (hone_conv_weights){q->w, q->bias, q->p.ic / q->p.groups * area, area, q->p.kw, 1};
}

static problem make(const hone_conv *p) {
    problem q = {.p = *p};
    int64_t m = p->n * p->oh * p->ow, each = p->ic / p->groups * p->kh * p->kw;
    q.x = filled(p->x_storage, p->n * p->ih * p->iw, p->ldx, p->ic);
    q.residual = filled(p->y_storage, m, p->ldr, p->oc);
    q.y = filled(p->y_storage, m, p->ldy, p->oc);
    q.w = aligned((size_t)(p->oc * each) * sizeof *q.w);
    q.bias = aligned((size_t)p->oc * sizeof *q.bias);
    for (int64_t i = 0; i < p->oc * each; ++i)
        q.w[i] = f32_of(bf16_of(noise() / sqrtf((float)each))); /* exact in BF16 */
    for (int64_t i = 0; i < p->oc; ++i)
        q.bias[i] = noise();
    return q;
}

static void drop(problem *q) {
    free(q->x.data);
    free(q->y.data);
    free(q->residual.data);
    free(q->w);
    free(q->bias);
}

static double act(const hone_conv *p, double x) {
    switch (p->act) {
    case HONE_ACT_RELU:
        return fmax(x, 0);
    case HONE_ACT_CLIP:
        return fmin(fmax(x, (double)p->a), (double)p->b);
    case HONE_ACT_SILU:
        return x / (1 + exp(-x));
    case HONE_ACT_GELU:
        return 0.5 * x * (1 + erf(x / sqrt(2)));
    default:
        return x;
    }
}

/* x as VDPBF16PS gets it. */
static double operand(const problem *q, int64_t i, bool rounds_x) {
    float x = get(&q->x, i);
    return (double)(rounds_x ? f32_of(bf16_of(x)) : x);
}

static double expected(const problem *q, int64_t m, int64_t o) {
    const hone_conv *p = &q->p;
    hone_conv_weights w = weights_of(q);
    int64_t ox = m % p->ow, oy = m / p->ow % p->oh, in = m / p->ow / p->oh;
    int64_t icg = p->ic / p->groups, g = o / (p->oc / p->groups);
    double sum = (double)q->bias[o];
    for (int64_t ky = 0; ky < p->kh; ++ky) {
        for (int64_t kx = 0; kx < p->kw; ++kx) {
            int64_t iy = oy * p->sh - p->pt + ky * p->dh, ix = ox * p->sw - p->pl + kx * p->dw;
            if (iy < 0 || iy >= p->ih || ix < 0 || ix >= p->iw)
                continue;
            int64_t x = ((in * p->ih + iy) * p->iw + ix) * p->ldx + g * icg, step = 1;
            if (p->is_planar) {
                x = (in * p->ic * p->ih + iy) * p->iw + ix;
                step = p->ih * p->iw;
            }
            for (int64_t i = 0; i < icg; ++i)
                sum += operand(q, x + i * step, true) *
                       (double)w.data[o * w.so + i * w.si + ky * w.sky + kx];
        }
    }
    if (p->has_residual)
        sum += (double)get(&q->residual, m * p->ldr + o);
    return act(p, sum);
}

/* The output's rounding; that of the sum before an activation that is no clipping; and the error of
 * the FP32 sum. */
static double bound(const hone_conv_kernel *k, const hone_conv *p, double y) {
    double sum = 2e-6 + 2e-7 * sqrt((double)(p->kh * p->kw * p->ic));
    double stored = p->y_storage == HONE_ELEM_F32 ? 0 : 0x1p-8 * 1.01;
    return stored * fabs(y) + (p->act > HONE_ACT_CLIP ? stored * (fabs(y) + 1) : 0) +
           sum * (k->is_exact ? 1 : 5);
}

static void run(const hone_conv_kernel *k, problem *q, bool is_backward) {
    float *packed = aligned(k->packed_bytes(&q->p));
    void *scratch = aligned(k->scratch_bytes(&q->p));
    memset(packed, 0xff, k->packed_bytes(&q->p));
    memset(scratch, 0xff, k->scratch_bytes(&q->p));
    hone_conv_weights w = weights_of(q);
    k->pack(&q->p, &w, packed);
    hone_conv_args args = {
        .x = q->x.data, .packed = packed, .residual = q->residual.data, .y = q->y.data};
    int64_t n = k->n_tasks(&q->p);
    for (int64_t i = 0; i < n; ++i)
        k->run(&q->p, &args, is_backward ? n - 1 - i : i, scratch);
    free(packed);
    free(scratch);
}

static void check_kernel(const hone_conv_kernel *k, problem *q) {
    const hone_conv *p = &q->p;
    int64_t m = p->n * p->oh * p->ow;
    double worst = 0;
    bool is_clean = true;
    array again = {aligned((size_t)(m * p->ldy + 64) * sizeof(float)), p->y_storage};
    array kept = q->y;
    for (int64_t i = 0; i < m * p->ldy + 16; ++i) {
        set(&kept, i, -12345.0f);
        set(&again, i, -12345.0f);
    }
    run(k, q, false);
    q->y = again;
    run(k, q, true);
    q->y = kept;
    for (int64_t i = 0; i < m * p->ldy + 16; ++i) {
        double y = (double)get(&q->y, i);
        is_clean = is_clean && (float)y == get(&again, i);
        if (i % p->ldy >= p->oc || i / p->ldy >= m) {
            is_clean = is_clean && (float)y == f32_of(bf16_of(-12345.0f)) +
                                                   (p->y_storage == HONE_ELEM_F32
                                                        ? -12345.0f - f32_of(bf16_of(-12345.0f))
                                                        : 0.0f);
            continue;
        }
        double want = expected(q, i / p->ldy, i % p->ldy);
        double e = fabs(y - want) / bound(k, p, want);
        worst = e <= worst ? worst : e; /* NaN counts */
    }
    free(again.data);
    if (!(worst <= 1) || !is_clean)
        fprintf(stderr, "%s: error %g of the bound, %s: %lldx%lldx%lld -> %lldx%lldx%lld k %lld\n",
                k->name, worst, is_clean ? "clean" : "not clean", (long long)p->ih,
                (long long)p->iw, (long long)p->ic, (long long)p->oh, (long long)p->ow,
                (long long)p->oc, (long long)p->kh);
    CHECK(worst <= 1 && is_clean);
}

static void check(const hone_conv *problem_of) {
    int n;
    const hone_conv_kernel *const *k = hone_conv_kernels(&n);
    for (int s = 1; s < 4; ++s) {
        hone_conv p = *problem_of;
        p.x_storage = s & 1 ? HONE_ELEM_BF16 : HONE_ELEM_F32;
        p.y_storage = s & 2 ? HONE_ELEM_BF16 : HONE_ELEM_F32;
        CHECK(hone_conv_check(&p, NULL) == HONE_OK);
        problem q = make(&p);
        for (int i = 0; i < n; ++i) {
            if (k[i]->isa <= hone_cpu_isa() && !hone_conv_refusal(k[i], &p))
                check_kernel(k[i], &q);
        }
        drop(&q);
    }
}

static hone_conv conv(int64_t hw, int64_t ic, int64_t oc, int64_t k, int64_t stride, int64_t pad,
                      int64_t groups) {
    hone_conv p = hone_conv_gemm(1, oc, ic);
    p.ih = p.iw = hw;
    p.kh = p.kw = k;
    p.sh = p.sw = stride;
    p.pt = p.pl = pad;
    p.groups = groups;
    p.oh = p.ow = (hw + 2 * pad - k) / stride + 1;
    return p;
}

static void check_products(void) {
    static const int64_t m[] = {1, 2, 5, 12, 13, 37, 250}, n[] = {1, 7, 16, 24, 33, 48, 65, 130},
                         k[] = {1, 2, 3, 16, 31, 70};
    for (size_t i = 0; i < sizeof m / sizeof *m; ++i) {
        for (size_t j = 0; j < sizeof n / sizeof *n; ++j) {
            hone_conv p = hone_conv_gemm(m[i], n[j], k[(i + j) % (sizeof k / sizeof *k)]);
            p.has_residual = (i + j) % 3 == 0;
            p.act = (i + j) % 4 == 0 ? HONE_ACT_GELU : (i + j) % 4 == 1 ? HONE_ACT_RELU : p.act;
            p.ldx += (int64_t)(i % 2) * 2;
            p.ldy += (int64_t)(j % 2) * 3;
            check(&p);
        }
    }
}

/* Pictures as they come: an odd number of rows has a half without a partner. */
static void check_planar(void) {
    static const hone_act acts[] = {HONE_ACT_NONE, HONE_ACT_RELU, HONE_ACT_SILU, HONE_ACT_GELU};
    for (int i = 0; i < 60; ++i) {
        hone_conv p = conv(9 + i % 7, 1 + i % 4, 15 + i * 3, 1 + i % 7, 1 + i % 3, i % 4, 1);
        p.is_planar = true;
        p.n = 1 + i % 2;
        p.act = acts[i % 4];
        p.has_residual = i % 5 == 0;
        p.ldy += i % 3, p.ldr += i % 5;
        if (p.oh > 0)
            check(&p);
    }
}

static void check_convolutions(void) {
    const hone_conv list[] = {
        conv(9, 3, 17, 3, 2, 1, 1),   conv(8, 4, 16, 7, 2, 3, 1),    conv(7, 16, 33, 3, 1, 1, 1),
        conv(13, 24, 40, 3, 1, 1, 1), conv(9, 18, 20, 5, 1, 2, 1),   conv(10, 32, 64, 1, 2, 0, 1),
        conv(11, 8, 12, 3, 1, 1, 2),  conv(12, 20, 20, 3, 1, 1, 20), conv(13, 40, 40, 5, 2, 2, 40),
        conv(6, 9, 6, 1, 1, 0, 3),    conv(15, 33, 33, 3, 2, 1, 33), conv(17, 64, 96, 3, 1, 1, 1),
    };
    for (size_t i = 0; i < sizeof list / sizeof *list; ++i) {
        hone_conv p = list[i];
        p.act = i % 3 == 0 ? HONE_ACT_SILU : i % 3 == 1 ? HONE_ACT_CLIP : HONE_ACT_NONE;
        p.a = -0.5f;
        p.b = 0.75f;
        p.has_residual = i % 2;
        check(&p);
    }
    /* Dilated; windows of which only some rows, or none, lie in the picture. */
    for (int64_t d = 1; d <= 12; ++d) {
        hone_conv p = conv(7, 16, 70, 3, 1, d, 1);
        p.dh = p.dw = d;
        p.pt = d % 3 == 0 ? 3 * d : d;
        p.oh = 7 + (p.pt - d) + (d % 4 == 0 ? 2 * d : 0);
        check(&p);
    }
}

/* Windows that dwdot has code for, rows of all lengths modulo its groups of pixels, heights with
 * and without a partner for the last row, channels in whole blocks and in parts. */
static void check_depthwise(void) {
    static const int64_t channels[] = {17, 24, 32, 33, 64, 70, 150};
    for (int i = 0; i < 210; ++i) {
        int64_t kw = 3 + i % 3 * 2, c = channels[i % 7];
        hone_conv p = conv(5 + i % 6, c, c, 1 + i % 8, 1 + (i % 2 && kw < 7), 0, c);
        p.kw = kw;
        p.iw = 1 + i % 23;
        p.pt = i % p.kh;
        p.pl = i % 5 ? kw / 2 : kw - 1;
        p.oh = (p.ih + p.pt + i % 2 - p.kh) / p.sh + 1;
        p.ow = (p.iw + p.pl + kw / 2 - kw) / p.sw + 1;
        p.n = 1 + i % 2;
        p.ldx += i % 4, p.ldy += i % 3, p.ldr += i % 5;
        p.has_residual = i % 3 == 0;
        p.act = i % 4 == 0 ? HONE_ACT_SILU : i % 4 == 1 ? HONE_ACT_RELU : HONE_ACT_NONE;
        if (p.oh > 0 && p.ow > 0)
            check(&p);
    }
}

static double now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static void bench(const hone_conv *base, const char *name) {
    int n;
    const hone_conv_kernel *const *k = hone_conv_kernels(&n);
    for (int s = 0; s < 2; ++s) {
        hone_conv p = *base;
        p.x_storage = p.y_storage = s ? HONE_ELEM_BF16 : HONE_ELEM_F32;
        problem q = make(&p);
        for (int i = 0; i < n; ++i) {
            if (hone_conv_refusal(k[i], &p) || k[i]->isa < HONE_ISA_AVX512)
                continue;
            float *packed = aligned(k[i]->packed_bytes(&p));
            void *scratch = aligned(k[i]->scratch_bytes(&p));
            hone_conv_weights w = weights_of(&q);
            k[i]->pack(&p, &w, packed);
            hone_conv_args args = {
                .x = q.x.data, .packed = packed, .residual = q.residual.data, .y = q.y.data};
            double best = 1e9, start = now_ms();
            while (now_ms() - start < 100) {
                double t = now_ms();
                for (int64_t j = 0; j < k[i]->n_tasks(&p); ++j)
                    k[i]->run(&p, &args, j, scratch);
                t = now_ms() - t;
                best = t < best ? t : best;
            }
            double macs =
                (double)(p.n * p.oh * p.ow * p.oc) * (double)(p.ic / p.groups * p.kh * p.kw);
            printf("%-24s %-24s %8.4f ms %7.1f GF/s\n", name, k[i]->name, best, macs * 2e-6 / best);
            free(packed);
            free(scratch);
        }
        drop(&q);
    }
}

static void bench_all(void) {
    static const struct {
        const char *name;
        int64_t hw, ic, oc, k, stride, groups;
    } rows[] = {
        {"56 64->256", 56, 64, 256, 1, 1, 1},     {"56 256->64", 56, 256, 64, 1, 1, 1},
        {"28 128->512", 28, 128, 512, 1, 1, 1},   {"14 1024->256", 14, 1024, 256, 1, 1, 1},
        {"7 2048->512", 7, 2048, 512, 1, 1, 1},   {"56 64 3x3", 56, 64, 64, 3, 1, 1},
        {"14 256 3x3", 14, 256, 256, 3, 1, 1},    {"7 512 3x3", 7, 512, 512, 3, 1, 1},
        {"56 128 3x3 s2", 56, 128, 128, 3, 2, 1}, {"224 3->64 7x7", 224, 3, 64, 7, 2, 1},
        {"112 32->16", 112, 32, 16, 1, 1, 1},     {"56 144->24", 56, 144, 24, 1, 1, 1},
        {"14 96->576", 14, 96, 576, 1, 1, 1},     {"224 3->32 3x3 s2", 224, 3, 32, 3, 2, 1},
        {"112 16->96", 112, 16, 96, 1, 1, 1},     {"56 24->144", 56, 24, 144, 1, 1, 1},
        {"112 dw 3x3 s2", 112, 96, 96, 3, 2, 96}, {"256 3->32 3x3", 256, 3, 32, 3, 1, 1},
        {"256 32 3x3", 256, 32, 32, 3, 1, 1},     {"28 dw 5x5 s2", 28, 240, 240, 5, 2, 240},
        {"1 1280->1000", 1, 1280, 1000, 1, 1, 1}, {"112 dw 3x3", 112, 32, 32, 3, 1, 32},
        {"56 dw 3x3", 56, 144, 144, 3, 1, 144},   {"14 dw 5x5", 14, 480, 480, 5, 1, 480},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; ++i) {
        hone_conv p = conv(rows[i].hw, rows[i].ic, rows[i].oc, rows[i].k, rows[i].stride,
                           rows[i].k / 2, rows[i].groups);
        bench(&p, rows[i].name);
    }
    const int64_t bert[][2] = {{768, 768}, {768, 3072}, {3072, 768}};
    for (int i = 0; i < 3; ++i) {
        hone_conv p = hone_conv_gemm(128, bert[i][1], bert[i][0]);
        bench(&p, "bert");
    }
}

int main(int argc, char **argv) {
    (void)argv;
    if (argc > 1) {
        bench_all();
        return 0;
    }
    check_products();
    check_convolutions();
    check_planar();
    check_depthwise();
    return CHECK_RESULT();
}

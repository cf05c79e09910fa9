/* Every convolution kernel against a naive sum in double: awkward sizes, strides between pixels,
 * canaries around the output, NaN where nothing may be read, all epilogues, repeated runs.
 * With an argument: a benchmark of common layers on one thread. */
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

static void *aligned(size_t bytes) {
    void *p = aligned_alloc(64, (bytes + 127) / 64 * 64);
    if (!p)
        exit(2);
    return p;
}

static double act(const hone_conv *p, double x) {
    double a = p->a, b = p->b;
    switch (p->act) {
    case HONE_ACT_RELU:
        return fmax(x, 0);
    case HONE_ACT_CLIP:
        return fmin(fmax(x, a), b);
    case HONE_ACT_LEAKY:
        return x < 0 ? a * x : x;
    case HONE_ACT_HARD_SIGMOID:
        return fmin(fmax(a * x + b, 0), 1);
    case HONE_ACT_HARD_SWISH:
        return x * fmin(fmax(x / 6 + 0.5, 0), 1);
    case HONE_ACT_SIGMOID:
        return 1 / (1 + exp(-x));
    case HONE_ACT_SILU:
        return x / (1 + exp(-x));
    case HONE_ACT_TANH:
        return tanh(x);
    case HONE_ACT_GELU:
        return 0.5 * x * (1 + erf(x / sqrt(2)));
    case HONE_ACT_GELU_TANH:
        return 0.5 * x * (1 + tanh(sqrt(2 / acos(-1)) * (x + 0.044715 * x * x * x)));
    default:
        return x;
    }
}

typedef struct buffers {
    float *x, *x2, *w, *bias, *residual, *y, *again, *packed;
    void *scratch;
    size_t n_x, n_y;
} buffers;

/* Weights as ONNX has them: [oc][ic / groups][kh][kw]. */
static hone_conv_weights weights_of(const hone_conv *p, const buffers *b) {
    int64_t area = p->kh * p->kw;
    return (hone_conv_weights){b->w, b->bias, p->ic / p->groups * area, area, p->kw, 1};
}

/* Channel c of an input pixel. */
static double x_at(const hone_conv *p, const buffers *b, int64_t in, int64_t iy, int64_t ix,
                   int64_t c) {
    const int64_t pixel = (in * p->ih + iy) * p->iw + ix, ic1 = p->ic - p->ic2;
    if (c >= ic1)
        return (double)b->x2[pixel * p->ldx2 + c - ic1];
    return (double)
        b->x[p->is_planar ? ((in * p->ic + c) * p->ih + iy) * p->iw + ix : pixel * p->ldx + c];
}

static double expected(const hone_conv *p, const buffers *b, int64_t m, int64_t o) {
    hone_conv_weights w = weights_of(p, b);
    int64_t ox = m % p->ow, oy = m / p->ow % p->oh, in = m / p->ow / p->oh;
    int64_t icg = p->ic / p->groups, g = o / (p->oc / p->groups);
    double sum = w.bias[o];
    for (int64_t ky = 0; ky < p->kh; ++ky) {
        for (int64_t kx = 0; kx < p->kw; ++kx) {
            int64_t iy = oy * p->sh - p->pt + ky * p->dh, ix = ox * p->sw - p->pl + kx * p->dw;
            if (iy < 0 || iy >= p->ih || ix < 0 || ix >= p->iw)
                continue;
            for (int64_t i = 0; i < icg; ++i)
                sum += x_at(p, b, in, iy, ix, g * icg + i) *
                       (double)w.data[o * w.so + i * w.si + ky * w.sky + kx];
        }
    }
    if (p->has_residual)
        sum += (double)b->residual[m * p->ldr + o];
    return act(p, sum);
}

static buffers make(const hone_conv *p) {
    int64_t pixels = p->n * p->ih * p->iw, m = p->n * p->oh * p->ow;
    buffers b = {.n_x = (size_t)(pixels * p->ldx), .n_y = (size_t)(m * p->ldy + 64)};
    size_t n_w = (size_t)(p->oc * (p->ic / p->groups) * p->kh * p->kw), n_r = (size_t)(m * p->ldr);
    b.x = aligned(b.n_x * sizeof *b.x);
    b.w = aligned(n_w * sizeof *b.w);
    b.bias = aligned((size_t)p->oc * sizeof *b.bias);
    b.residual = aligned((n_r + 1) * sizeof *b.residual);
    b.y = aligned(b.n_y * sizeof *b.y);
    b.again = aligned(b.n_y * sizeof *b.again);
    float scale = 1 / sqrtf((float)(p->ic / p->groups * p->kh * p->kw));
    for (size_t i = 0; i < b.n_x; ++i)
        b.x[i] = (int64_t)i % p->ldx < p->ic - p->ic2 ? noise() : NAN;
    b.x2 = aligned((size_t)(pixels * p->ldx2 + 1) * sizeof *b.x2);
    for (int64_t i = 0; i < pixels * p->ldx2; ++i)
        b.x2[i] = i % p->ldx2 < p->ic2 ? noise() : NAN;
    for (size_t i = 0; i < n_w; ++i)
        b.w[i] = noise() * scale;
    for (int64_t i = 0; i < p->oc; ++i)
        b.bias[i] = noise();
    for (size_t i = 0; i < n_r; ++i)
        b.residual[i] = (int64_t)i % p->ldr < p->oc ? noise() : NAN;
    return b;
}

static void drop(buffers *b) {
    free(b->x);
    free(b->x2);
    free(b->w);
    free(b->bias);
    free(b->residual);
    free(b->y);
    free(b->again);
    free(b->packed);
    free(b->scratch);
    b->packed = NULL;
    b->scratch = NULL;
}

static void prepare(const hone_conv_kernel *k, const hone_conv *p, buffers *b) {
    free(b->packed);
    free(b->scratch);
    b->packed = aligned(k->packed_bytes(p));
    b->scratch = aligned(k->scratch_bytes(p));
    memset(b->packed, 0xff, k->packed_bytes(p));
    memset(b->scratch, 0xff, k->scratch_bytes(p)); /* NaN */
    hone_conv_weights w = weights_of(p, b);
    k->pack(p, &w, b->packed);
}

static void run(const hone_conv_kernel *k, const hone_conv *p, const buffers *b, float *y,
                bool is_backward) {
    hone_conv_args args = {
        .x = b->x, .x2 = b->x2, .packed = b->packed, .residual = b->residual, .y = y + 32};
    int64_t n = k->n_tasks(p);
    for (int64_t i = 0; i < n; ++i)
        k->run(p, &args, is_backward ? n - 1 - i : i, b->scratch);
}

static void check_kernel(const hone_conv_kernel *k, const hone_conv *p, buffers *b) {
    const float canary = -12345.0f;
    prepare(k, p, b);
    for (size_t i = 0; i < b->n_y; ++i)
        b->y[i] = b->again[i] = canary;
    run(k, p, b, b->y, false);
    run(k, p, b, b->again, true);
    CHECK(memcmp(b->y, b->again, b->n_y * sizeof *b->y) == 0);
    double worst = 0;
    bool is_clean = true;
    for (size_t i = 0; i < b->n_y; ++i) {
        int64_t at = (int64_t)i - 32, m = at / p->ldy, o = at % p->ldy;
        if (at < 0 || m >= p->n * p->oh * p->ow || o >= p->oc) {
            is_clean = is_clean && b->y[i] == canary;
            continue;
        }
        double e = fabs((double)b->y[i] - expected(p, b, m, o));
        worst = e <= worst ? worst : e; /* NaN counts */
    }
    /* Rounding errors of a sum of `terms` products of variance 1 / terms each grow as its root. */
    double terms = (double)(p->kh * p->kw * (p->ic / p->groups));
    double bound = 1.5e-6 + 1.2e-7 * sqrt(terms);
    if (!k->is_exact)
        bound *= 5;
    if (!(worst <= bound) || !is_clean)
        fprintf(stderr,
                "%s: error %g, canaries %s: %lldx%lldx%lldx%lld -> %lldx%lldx%lld g %lld k "
                "%lldx%lld s %lldx%lld act %d\n",
                k->name, worst, is_clean ? "kept" : "overwritten", (long long)p->n,
                (long long)p->ih, (long long)p->iw, (long long)p->ic, (long long)p->oh,
                (long long)p->ow, (long long)p->oc, (long long)p->groups, (long long)p->kh,
                (long long)p->kw, (long long)p->sh, (long long)p->sw, (int)p->act);
    CHECK(worst <= bound && is_clean);
}

static void check(const hone_conv *p) {
    CHECK(hone_conv_check(p, NULL) == HONE_OK);
    const hone_conv_kernel *first;
    int n;
    const hone_conv_kernel *const *k = hone_conv_kernels(&n);
    CHECK(hone_conv_candidates(p, hone_cpu_isa(), false, &first, 1) == 1);
    buffers b = make(p);
    for (int i = 0; i < n; ++i) {
        if (k[i]->isa <= hone_cpu_isa() && !hone_conv_refusal(k[i], p))
            check_kernel(k[i], p, &b);
    }
    drop(&b);
}

static void out_size(hone_conv *p, int64_t pb, int64_t pr) {
    p->oh = (p->ih + p->pt + pb - (p->kh - 1) * p->dh - 1) / p->sh + 1;
    p->ow = (p->iw + p->pl + pr - (p->kw - 1) * p->dw - 1) / p->sw + 1;
}

static hone_conv conv(int64_t n, int64_t hw, int64_t ic, int64_t oc, int64_t k, int64_t stride,
                      int64_t pad, int64_t groups) {
    hone_conv p = hone_conv_gemm(1, oc, ic);
    p.n = n;
    p.ih = p.iw = hw;
    p.kh = p.kw = k;
    p.sh = p.sw = stride;
    p.pt = p.pl = pad;
    p.groups = groups;
    out_size(&p, pad, pad);
    return p;
}

static void test_gemm(void) {
    static const int64_t sizes[] = {1, 5, 6, 7, 8, 9, 13, 16, 17, 47, 48, 63, 64, 65, 97};
    const int n = sizeof sizes / sizeof *sizes;
    for (int i = 0; i < n; ++i) {
        for (int j = 0; j < n; ++j) {
            hone_conv p = hone_conv_gemm(sizes[i], sizes[j], sizes[(i + j) % n]);
            check(&p);
        }
    }
    hone_conv p = hone_conv_gemm(300, 130, 1024); /* several blocks of rows and of columns */
    check(&p);
    p = hone_conv_gemm(47, 83, 3073); /* sums in parts */
    p.act = HONE_ACT_GELU;
    p.has_residual = true;
    p.ldy += 3;
    check(&p);
}

/* B may lie either way round in memory; the packed bytes are the same. */
static void test_pack(void) {
    enum { K = 19, N = 70 };
    static float b[K * N], bt[N * K];
    for (int k = 0; k < K; ++k) {
        for (int n = 0; n < N; ++n)
            b[k * N + n] = bt[n * K + k] = noise();
    }
    hone_conv p = hone_conv_gemm(5, N, K);
    const hone_conv_kernel *kernel[16];
    int n = hone_conv_candidates(&p, hone_cpu_isa(), true, kernel, 16);
    for (int i = 0; i < n; ++i) {
        size_t bytes = kernel[i]->packed_bytes(&p);
        float *one = aligned(bytes), *two = aligned(bytes);
        hone_conv_weights w = {.data = b, .so = 1, .si = N}, wt = {.data = bt, .so = K, .si = 1};
        kernel[i]->pack(&p, &w, one);
        kernel[i]->pack(&p, &wt, two);
        CHECK(memcmp(one, two, bytes) == 0);
        free(one);
        free(two);
    }
}

/* Pictures smaller than a tile reach kernels that were chosen for larger ones. */
static void test_tiny(void) {
    for (int64_t h = 1; h <= 5; ++h) {
        for (int64_t w = 1; w <= 5; ++w) {
            hone_conv p = conv(2, 5, 24, 40, 3, 1, 1, 1);
            p.ih = p.oh = h;
            p.iw = p.ow = w;
            check(&p);
        }
    }
}

static void test_epilogues(void) {
    for (int a = 0; a < HONE_ACT_COUNT; ++a) {
        for (int r = 0; r < 2; ++r) {
            hone_conv p = conv(1, 9, 19, 83, 3, 1, 1, 1), d = conv(1, 9, 37, 37, 3, 1, 1, 37);
            p.act = d.act = (hone_act)a;
            p.has_residual = d.has_residual = r == 1;
            p.a = d.a = a == HONE_ACT_CLIP ? -0.5f : 0.2f;
            p.b = d.b = 0.5f;
            p.ldx += 3, p.ldy += 5, p.ldr += 7;
            d.ldx += 3, d.ldy += 5, d.ldr += 7;
            check(&p);
            check(&d);
        }
    }
}

/* Depthwise: passes over every second or third pixel, the last of them shorter. */
static void test_dilated(void) {
    for (int64_t k = 3; k <= 7; k += 2) {
        for (int64_t d = 2; d <= 3; ++d) {
            for (int64_t w = 1; w <= 40; w += w < 4 ? 1 : 7) {
                hone_conv p = conv(2, 6, 37, 37, k, 1, k / 2 * d, 37);
                p.iw = w, p.dh = p.dw = d;
                p.has_residual = w % 2;
                out_size(&p, k / 2 * d, k / 2 * d);
                p.ldy += 3, p.ldr += 5;
                check(&p);
            }
        }
    }
}

/* Windows of which only some rows, or none, lie in the picture. */
static void test_padding(void) {
    for (int64_t d = 1; d <= 12; ++d) {
        hone_conv p = conv(2, 7, d % 2 ? 24 : 5, 70, 3, 1, d, 1);
        p.dh = p.dw = d;
        p.pt = d % 3 == 0 ? 3 * d : d;
        out_size(&p, d % 4 == 0 ? 3 * d : d, d);
        check(&p);
    }
}

static void test_shapes(void) {
    static const int64_t channels[][3] = {
        {1, 1, 1},   {3, 32, 1},  {4, 7, 1},    {8, 65, 1},   {9, 16, 1}, {17, 33, 1}, {32, 48, 1},
        {64, 64, 1}, {12, 18, 3}, {16, 16, 16}, {35, 35, 35}, {8, 16, 8}, {64, 128, 2}};
    for (size_t c = 0; c < sizeof channels / sizeof *channels; ++c) {
        for (int64_t k = 1; k <= 5; k += 2) {
            for (int64_t s = 1; s <= 2; ++s) {
                hone_conv p =
                    conv(2, 11, channels[c][0], channels[c][1], k, s, k / 2, channels[c][2]);
                check(&p);
                p.iw = 14, p.dh = 2, p.pt = 3, p.pl = 0; /* uneven padding */
                out_size(&p, 1, 2);
                check(&p);
                p.iw = 3, p.dw = 3, p.pl = 9; /* windows wholly in the padding */
                out_size(&p, 1, 9);
                check(&p);
            }
        }
    }
}

/* The last channels in a tensor of their own. */
static void test_more(void) {
    for (int i = 0; i < 24 && hone_cpu_isa() > HONE_ISA_REF; ++i) {
        hone_conv p = conv(1 + i % 2, 7 + i % 6, 49 + i, 32 + i, 3, 1, 1, 1);
        p.ic2 = p.ic - 16 * (1 + i % 3);
        p.ldx = p.ic - p.ic2 + i % 4;
        p.ldx2 = p.ic2 + i % 5;
        p.has_residual = i % 2 == 0;
        check(&p);
    }
}

/* Pictures as they come. */
static void test_planar(void) {
    static const int64_t oc[] = {1, 15, 16, 17, 33, 64};
    for (int i = 0; i < 240; ++i) {
        int64_t k = 1 + i % 7, stride = 1 + i % 4;
        hone_conv p = conv(1 + i % 2, 9 + i % 5, 1 + i % 4, oc[i % 6], k, stride, k / 2, 1);
        p.is_planar = true;
        p.iw = 7 + i % 23;
        p.kw = 1 + i % 5;
        p.dw = 1 + i % 11 / 10;
        p.dh = 1 + i % 13 / 12;
        p.pl = i % 17 ? i % 4 : 60;
        p.act = (hone_act)(i % HONE_ACT_COUNT);
        p.a = 0.2f, p.b = 0.7f;
        p.has_residual = i % 3 == 0;
        p.ldy += i % 3, p.ldr += i % 5;
        out_size(&p, i % 3, i % 2);
        if (p.oh > 0 && p.ow > 0)
            check(&p);
    }
    hone_conv p = conv(1, 224, 3, 64, 7, 2, 3, 1);
    p.is_planar = true;
    check(&p);
}

/* Rows of every length modulo the pixels that a depthwise kernel takes at a time. */
static void test_depthwise(void) {
    for (int64_t k = 2; k <= 7; ++k) {
        for (int64_t width = 1; width <= 18; ++width) {
            hone_conv p = conv(1, 5, 19, 19, k, 1 + width % 2, k / 2, 19);
            p.iw = width;
            p.has_residual = width % 3 == 0;
            out_size(&p, k / 2, k / 2);
            check(&p);
        }
    }
    hone_conv p = conv(1, 9, 150, 150, 3, 1, 1, 150); /* several passes over a row */
    p.act = HONE_ACT_SILU;
    check(&p);
}

static void test_refusals(void) {
    hone_conv p = hone_conv_gemm(4, 4, 4);
    p.groups = 3;
    CHECK(hone_conv_check(&p, NULL) != HONE_OK);
    p = hone_conv_gemm(INT64_MAX / 2, 4, 4);
    CHECK(hone_conv_check(&p, NULL) != HONE_OK);
    p = hone_conv_gemm(4, 4, 0);
    CHECK(hone_conv_check(&p, NULL) != HONE_OK);
    p = hone_conv_gemm(4, 4, 4);
    p.sh = INT64_MAX;
    CHECK(hone_conv_check(&p, NULL) != HONE_OK);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void bench1(hone_conv p) {
    const hone_conv_kernel *k[16];
    int n = hone_conv_candidates(&p, hone_cpu_isa(), false, k, 16);
    buffers b = make(&p);
    double flops = 2.0 * (double)(p.n * p.oh * p.ow * p.oc * p.kh * p.kw * (p.ic / p.groups));
    for (int i = 0; i < n && k[i]->isa == k[0]->isa; ++i) {
        prepare(k[i], &p, &b);
        double best = 1e9, start = now();
        for (int r = 0; r < 5 || now() - start < 0.1; ++r) {
            double t = now();
            run(k[i], &p, &b, b.y, false);
            best = fmin(best, now() - t);
        }
        printf("%3lldx%-3lld %4lld -> %-4lld k%lld s%lld g%-4lld %-22s %8.3f ms %7.1f GFLOP/s\n",
               (long long)p.ih, (long long)p.iw, (long long)p.ic, (long long)p.oc, (long long)p.kh,
               (long long)p.sh, (long long)p.groups, k[i]->name, best * 1e3, flops / best * 1e-9);
    }
    drop(&b);
}

static int bench(void) {
    bench1(conv(1, 56, 64, 256, 1, 1, 0, 1));
    bench1(conv(1, 56, 256, 64, 1, 1, 0, 1));
    bench1(conv(1, 28, 512, 128, 1, 1, 0, 1));
    bench1(conv(1, 28, 128, 512, 1, 1, 0, 1));
    bench1(conv(1, 14, 1024, 256, 1, 1, 0, 1));
    bench1(conv(1, 14, 256, 1024, 1, 1, 0, 1));
    bench1(conv(1, 7, 2048, 512, 1, 1, 0, 1));
    bench1(hone_conv_gemm(128, 768, 768));
    bench1(hone_conv_gemm(128, 3072, 768));
    bench1(hone_conv_gemm(128, 768, 3072));
    bench1(hone_conv_gemm(1, 768, 768));
    bench1(conv(1, 224, 3, 64, 7, 2, 3, 1));
    bench1(conv(1, 56, 64, 64, 3, 1, 1, 1));
    bench1(conv(1, 28, 128, 128, 3, 1, 1, 1));
    bench1(conv(1, 14, 256, 256, 3, 1, 1, 1));
    bench1(conv(1, 7, 512, 512, 3, 1, 1, 1));
    bench1(conv(1, 128, 64, 64, 3, 1, 1, 1));
    bench1(conv(1, 56, 128, 128, 3, 2, 1, 1));
    bench1(conv(1, 56, 144, 144, 3, 1, 1, 144));
    bench1(conv(1, 56, 144, 144, 3, 2, 1, 144));
    return 0;
}

int main(int argc, char **argv) {
    (void)argv;
    if (argc > 1)
        return bench();
    test_gemm();
    test_pack();
    test_epilogues();
    test_dilated();
    test_padding();
    test_tiny();
    test_shapes();
    test_depthwise();
    test_more();
    test_planar();
    test_refusals();
    return CHECK_RESULT();
}

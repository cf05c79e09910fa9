/* Pooling, resizing, transposes and conversions against plain loops. */
#include "vec_test.h"

static void test_pool(const hone_vec_kernels *k, const char *isa, int64_t channels, int mode) {
    int64_t h = 9, w = 7, pixel = channels + 1, row = w * pixel + 2, image = h * row;
    hone_pool2d p = {.n_batch = 2,
                     .height = h,
                     .width = w,
                     .channels = channels,
                     .kernel_h = mode & 1 ? 3 : 2,
                     .kernel_w = mode & 1 ? 2 : 5,
                     .stride_h = mode & 2 ? 2 : 1,
                     .stride_w = mode & 2 ? 1 : 3,
                     .dilation_h = mode & 4 ? 2 : 1,
                     .dilation_w = mode & 4 ? 1 : 2,
                     .pad_top = mode & 1 ? 4 : 0,
                     .pad_left = 1,
                     .pad_bottom = 1,
                     .pad_right = 2,
                     .x_pixel = pixel,
                     .x_row = row,
                     .x_image = image,
                     .is_max = mode & 8,
                     .count_include_pad = mode & 16};
    p.out_height = (h + p.pad_top + 1 - p.dilation_h * (p.kernel_h - 1) - 1) / p.stride_h + 1;
    p.out_width = (w + 3 - p.dilation_w * (p.kernel_w - 1) - 1) / p.stride_w + 1;
    p.y_pixel = channels, p.y_row = p.out_width * channels, p.y_image = p.out_height * p.y_row;
    float *x = random_array(2 * image, -1, 1);
    x[image / 2] = NAN;
    guarded y = guarded_new((size_t)(2 * p.y_image) * 4);
    p.x = x, p.y = (float *)(void *)y.p;
    k->pool2d(&p, 3, 2 * p.out_height);
    k->pool2d(&p, 0, 3);
    for (int64_t i = 0; i < 2 * p.y_image; ++i) {
        int64_t c = i % channels, ox = i / channels % p.out_width;
        int64_t oy = i / p.y_row % p.out_height, n = 0, padded = 0;
        double want = p.is_max ? -INFINITY : 0;
        for (int64_t a = 0; a < p.kernel_h; ++a) {
            for (int64_t b = 0; b < p.kernel_w; ++b) {
                int64_t iy = oy * p.stride_h - p.pad_top + a * p.dilation_h;
                int64_t ix = ox * p.stride_w - p.pad_left + b * p.dilation_w;
                padded += iy < h + p.pad_bottom && ix < w + p.pad_right;
                if (iy < 0 || iy >= h || ix < 0 || ix >= w)
                    continue;
                double v = x[i / p.y_image * image + iy * row + ix * pixel + c];
                ++n;
                want = !p.is_max ? want + v : isnan(v) || isnan(want) ? NAN : fmax(want, v);
            }
        }
        n = p.count_include_pad ? padded : n;
        if (!p.is_max)
            want = n ? want / (double)n : 0;
        check_close((const float *)p.y + i, &want, 1, p.is_max ? 0 : 1e-6,
                    p.is_max ? "max pool" : "mean pool", isa);
    }
    guarded_free(&y, "pool");
    free(x);
}

static void test_resize(const hone_vec_kernels *k, const char *isa, int64_t channels, int64_t oh,
                        int64_t ow, hone_resize_coord coord, bool is_nearest) {
    enum { H = 5, W = 4, MOST = 16 };
    int64_t ylo[MOST], yhi[MOST], xlo[MOST], xhi[MOST], n = oh * ow * channels;
    float wy[MOST], wx[MOST], *x = random_array(H * W * channels, -1, 1);
    guarded y = guarded_new((size_t)n * 4);
    if (is_nearest) {
        hone_resize_nearest_table(coord, HONE_RESIZE_FLOOR, H, oh, (double)oh / H, ylo);
        hone_resize_nearest_table(coord, HONE_RESIZE_FLOOR, W, ow, (double)ow / W, xlo);
    } else {
        hone_resize_linear_table(coord, H, oh, (double)oh / H, ylo, yhi, wy);
        hone_resize_linear_table(coord, W, ow, (double)ow / W, xlo, xhi, wx);
    }
    hone_resize p = {.x = x,
                     .y = (float *)(void *)y.p,
                     .n_batch = 1,
                     .channels = channels,
                     .out_height = oh,
                     .out_width = ow,
                     .x_pixel = channels,
                     .x_row = W * channels,
                     .x_image = H * W * channels,
                     .y_pixel = channels,
                     .y_row = ow * channels,
                     .y_image = n,
                     .y_lo = ylo,
                     .y_hi = yhi,
                     .x_lo = xlo,
                     .x_hi = xhi,
                     .y_weight = wy,
                     .x_weight = wx,
                     .is_nearest = is_nearest};
    k->resize(&p, 0, oh);
    for (int64_t i = 0; i < n; ++i) {
        int64_t c = i % channels, ox = i / channels % ow, oy = i / channels / ow;
        double fy, fx, py = (double)oy, px = (double)ox;
        double sy = (py + 0.5) * H / (double)oh - 0.5, sx = (px + 0.5) * W / (double)ow - 0.5;
        if (coord == HONE_RESIZE_ASYMMETRIC)
            sy = py * H / (double)oh, sx = px * W / (double)ow;
        if (coord == HONE_RESIZE_ALIGN_CORNERS)
            sy = oh > 1 ? py * (H - 1.0) / (double)(oh - 1) : 0,
            sx = ow > 1 ? px * (W - 1.0) / (double)(ow - 1) : 0;
        sy = fmin(fmax(sy, 0), H - 1), sx = fmin(fmax(sx, 0), W - 1);
        int64_t y0 = (int64_t)sy, x0 = (int64_t)sx, y1 = y0 + 1 < H ? y0 + 1 : y0;
        int64_t x1 = x0 + 1 < W ? x0 + 1 : x0;
        fy = is_nearest ? 0 : sy - (double)y0, fx = is_nearest ? 0 : sx - (double)x0;
#define AT(a, b) (double)x[((a)*W + (b)) * channels + c]
        double want = (1 - fy) * ((1 - fx) * AT(y0, x0) + fx * AT(y0, x1)) +
                      fy * ((1 - fx) * AT(y1, x0) + fx * AT(y1, x1));
#undef AT
        check_close((const float *)p.y + i, &want, 1, is_nearest ? 0 : 5e-7, "resize", isa);
    }
    guarded_free(&y, "resize");
    free(x);
}

static void test_transpose(const hone_vec_kernels *k, const char *isa, int rank,
                           const int64_t *dims, const int *perm, int size) {
    int64_t n = 1, in_stride[8], stride[8];
    for (int d = rank - 1; d >= 0; --d)
        in_stride[d] = n, n *= dims[d];
    for (int d = 0; d < rank; ++d)
        stride[d] = in_stride[perm[d]];
    unsigned char *x = malloc((size_t)(n * size) + 1);
    guarded y = guarded_new((size_t)(n * size));
    for (int64_t i = 0; x && i < n * size; ++i)
        x[i] = (unsigned char)random_u32();
    hone_transpose t;
    CHECK(hone_transpose_prepare(&t, rank, dims, perm, size), "prepare");
    unsigned char *to = y.p;
    if (size == 8) /* the guard leaves it aligned to 4 only */
        to = malloc((size_t)(n * size) + 1);
    k->transpose(&t, x, to, 0, t.n_tasks / 2);
    k->transpose(&t, x, to, t.n_tasks / 2, t.n_tasks);
    for (int64_t i = 0; i < n; ++i) {
        int64_t rest = i, at = 0;
        for (int d = rank - 1; d >= 0; --d) {
            at += rest % dims[perm[d]] * stride[d];
            rest /= dims[perm[d]];
        }
        CHECK(memcmp(to + i * size, x + at * size, (size_t)size) == 0, "%s transpose of %d [%lld]",
              isa, size, (long long)i);
    }
    if (size == 8)
        free(to);
    guarded_free(&y, "transpose");
    free(x);
}

static void test_transposes(const hone_vec_kernels *k, const char *isa) {
    const struct {
        int rank;
        int64_t dims[5];
        int perm[5];
    } cases[] = {{2, {33, 70}, {1, 0}},
                 {4, {2, 3, 17, 19}, {0, 2, 3, 1}},
                 {4, {2, 17, 19, 3}, {0, 3, 1, 2}},
                 {4, {1, 64, 16, 16}, {0, 2, 3, 1}},
                 {3, {5, 6, 7}, {2, 1, 0}},
                 {3, {5, 6, 7}, {1, 0, 2}},
                 {5, {2, 3, 4, 5, 6}, {4, 2, 0, 3, 1}},
                 {2, {1, 5}, {1, 0}},
                 {1, {9}, {0}},
                 {3, {4, 0, 3}, {2, 0, 1}},
                 {4, {2, 300, 4, 20}, {0, 2, 1, 3}},
                 {2, {300, 80}, {1, 0}}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i) {
        for (int size = 1; size <= 8; size *= 2)
            test_transpose(k, isa, cases[i].rank, cases[i].dims, cases[i].perm, size);
    }
    hone_transpose t;
    CHECK(!hone_transpose_prepare(&t, 2, (int64_t[]){2, 2}, (int[]){1, 1}, 4), "bad permutation");
    CHECK(!hone_transpose_prepare(&t, 2, (int64_t[]){1LL << 40, 1LL << 40}, (int[]){1, 0}, 4),
          "overflow");
}

/* Every half, and its neighbourhood back. */
static void test_halves(const hone_vec_kernels *k, const char *isa) {
    enum { N = 65536 };
    static uint16_t half[N], back[N];
    static float f[N];
    for (int b = 0; b < 2; ++b) {
        for (int i = 0; i < N; ++i)
            half[i] = (uint16_t)i;
        (b ? k->bf16_to_f32 : k->f16_to_f32)(half, f, N - 3);
        (b ? k->f32_to_bf16 : k->f32_to_f16)(f, back, N - 3);
        for (int i = 0; i < N - 3; ++i) {
            int e = b ? (i >> 7) & 255 : (i >> 10) & 31, m = b ? i & 127 : i & 1023;
            double want = b ? ldexp(e ? m + 128 : m, (e ? e : 1) - 134)
                            : ldexp(e ? m + 1024 : m, (e ? e : 1) - 25);
            if (e == (b ? 255 : 31)) {
                CHECK(m ? isnan(f[i]) : isinf(f[i]), "%s half %04x", isa, (unsigned)i);
                int quiet = m ? i | (b ? 64 : 512) : i;
                CHECK(back[i] == quiet, "%s half %04x: %04x", isa, (unsigned)i, back[i]);
                continue;
            }
            bool is_dropped = b && e == 0 && k->isa == HONE_ISA_AVX512_BF16;
            CHECK((double)f[i] == (i >> 15 ? -want : want) &&
                      back[i] == (is_dropped ? i & 0x8000 : i),
                  "%s half %04x: %g %04x", isa, (unsigned)i, (double)f[i], back[i]);
        }
        /* halfway between neighbours rounds to even; a little above rounds up */
        int last = b ? 0x7f7f : 0x7bff;
        for (int i = 0; i < last; ++i)
            f[i] = (float)(0.5 * ((double)f[i] + (double)f[i + 1]));
        (b ? k->f32_to_bf16 : k->f32_to_f16)(f, back, last);
        int first = b && k->isa == HONE_ISA_AVX512_BF16 ? 128 : 0; /* denormals become 0 */
        for (int i = first; i < last; ++i)
            CHECK(back[i] == ((i + 1) & ~1), "%s tie above half %04x: %04x", isa, (unsigned)i,
                  back[i]);
        f[0] = b ? 3.4e38f : 65520.0f, f[1] = b ? -3.4028234e38f : -1e30f;
        (b ? k->f32_to_bf16 : k->f32_to_f16)(f, back, 2);
        CHECK(back[0] == (b ? 0x7f80 : 0x7c00) || (b && back[0] == 0x7f80), "%s overflow %04x", isa,
              back[0]);
        CHECK(back[1] == (b ? 0xff80 : 0xfc00), "%s overflow %04x", isa, back[1]);
    }
}

static void test_quantize(const hone_vec_kernels *k, const char *isa) {
    for (int s = 0; s < N_AWKWARD; ++s) {
        int64_t n = awkward[s];
        float *x = random_array(n, -200, 200), *back = random_array(n, 0, 0);
        for (int64_t i = 0; i < n; i += 2)
            x[i] = (float)((int)(random_u32() % 801) - 400) * 0.25f; /* many ties */
        if (n > 16)
            x[1] = NAN, x[3] = INFINITY, x[5] = -INFINITY, x[7] = 1e30f;
        guarded u = guarded_new((size_t)n), t = guarded_new((size_t)n);
        k->quantize_u8(x, u.p, n, 0.5f, 7);
        k->quantize_i8(x, (int8_t *)t.p, n, 0.5f, -3);
        for (int64_t i = 0; i < n; ++i) {
            double r = rint(x[i] / 0.5f);
            double wu = isnan(r) ? 0 : fmin(fmax(r + 7, 0), 255);
            double wi = isnan(r) ? -128 : fmin(fmax(r - 3, -128), 127);
            CHECK(u.p[i] == wu, "%s quantize u8 %g: %d", isa, (double)x[i], u.p[i]);
            CHECK((int8_t)t.p[i] == wi, "%s quantize i8 %g: %d", isa, (double)x[i], (int8_t)t.p[i]);
        }
        k->dequantize_u8(u.p, back, n, 0.3f, 7);
        for (int64_t i = 0; i < n; ++i)
            CHECK(back[i] == (float)(u.p[i] - 7) * 0.3f, "%s dequantize u8", isa);
        k->dequantize_i8((int8_t *)t.p, back, n, 0.3f, -3);
        for (int64_t i = 0; i < n; ++i)
            CHECK(back[i] == (float)((int8_t)t.p[i] + 3) * 0.3f, "%s dequantize i8", isa);
        guarded_free(&u, "quantize"), guarded_free(&t, "quantize");
        free(x), free(back);
    }
}

static void test_isa(const hone_vec_kernels *k, const char *isa) {
    const int64_t channels[] = {1, 3, 15, 16, 17, 67, 131};
    for (int i = 0; i < 7; ++i) {
        for (int mode = 0; mode < 32; ++mode)
            test_pool(k, isa, channels[i], mode);
        for (int coord = 0; coord < 4; ++coord) {
            test_resize(k, isa, channels[i], 10, 8, (hone_resize_coord)coord, false);
            test_resize(k, isa, channels[i], 3, 13, (hone_resize_coord)coord, false);
        }
        test_resize(k, isa, channels[i], 10, 3, HONE_RESIZE_ASYMMETRIC, true);
    }
    test_transposes(k, isa);
    test_halves(k, isa);
    test_quantize(k, isa);
}

int main(void) {
    return for_each_isa(test_isa);
}

/* exp, log, tanh, sigmoid, erf and GELU on vectors. Polynomials are minimax fits made for this
 * file; argument reduction is the textbook one (Muller, "Elementary Functions"). Bounds are those
 * that tests/kernels/test_vec_eltwise.c checks: exp, sigmoid 3 ulp; log 3 ulp; tanh 4 ulp; erf 4
 * ulp. */
#if VMATH_LIBM

static inline vf vf_exp(vf x) {
    return expf(x);
}
static inline vf vf_log(vf x) {
    return logf(x);
}
static inline vf vf_tanh(vf x) {
    return tanhf(x);
}
static inline vf vf_erf(vf x) {
    return erff(x);
}
static inline vf vf_sigmoid(vf x) {
    vf t = expf(-fabsf(x));
    return (x < 0.0f ? t : 1.0f) / (1.0f + t);
}
static inline vf vf_gelu(vf x) {
    return 0.5f * x * (1.0f + erff(x * 0.70710678f));
}

#else

static inline vf vf_poly(vf x, const float *c, int n) {
    vf r = vf_set1(c[n - 1]);
#pragma GCC unroll 16
    for (int i = n - 2; i >= 0; --i)
        r = vf_fma(r, x, vf_set1(c[i]));
    return r;
}

/* exp(r) = 1 + r + r^2 P(r) for |r| <= ln(2) / 2. */
static inline vf vf_exp(vf x) {
    static const float c[] = {5.000000101e-01f, 1.666651289e-01f, 4.166618728e-02f,
                              8.369598410e-03f, 1.395171725e-03f};
    x = vf_max(vf_set1(-104.0f), vf_min(vf_set1(89.0f), x));
    vf n = vf_rint(vf_mul(x, vf_set1(1.44269504f)));
    vf r = vf_fnma(n, vf_set1(0x1.62e43p-1f), x);
    r = vf_fnma(n, vf_set1(-0x1.05c610p-29f), r);
    vf y = vf_fma(vf_mul(r, r), vf_poly(r, c, 5), r);
    return vf_scale2(vf_add(y, vf_set1(1.0f)), n);
}

/* log(1 + f) = f - f^2 / 2 + f^3 P(f) for 1 + f between sqrt(1/2) and sqrt(2). */
static inline vf vf_log(vf x) {
    static const float c[] = {3.333331044e-01f,  -2.499998660e-01f, 2.000222661e-01f,
                              -1.666925082e-01f, 1.421865809e-01f,  -1.238434847e-01f,
                              1.187297629e-01f,  -1.178980770e-01f, 6.915368072e-02f};
    const vf one = vf_set1(1.0f), inf = vf_set1(__builtin_inff());
    vf e, m = vf_split(x, &e);
    vm low = vf_lt(m, vf_set1(0.707106781f));
    m = vf_sel(low, vf_add(m, m), m);
    e = vf_sel(low, vf_sub(e, one), e);
    vf f = vf_sub(m, one), f2 = vf_mul(f, f);
    vf y = vf_mul(vf_mul(f2, f), vf_poly(f, c, 9));
    y = vf_fma(e, vf_set1(-2.12194440e-4f), y);
    y = vf_fma(f2, vf_set1(-0.5f), y);
    y = vf_fma(e, vf_set1(0.693359375f), vf_add(f, y));
    y = vf_sel(vf_lt(x, inf), y, x);
    y = vf_sel(vf_eq(x, vf_set1(0.0f)), vf_neg(inf), y);
    y = vf_sel(vf_lt(x, vf_set1(0.0f)), vf_set1(__builtin_nanf("")), y);
    return y;
}

static inline vf vf_tanh(vf x) {
    static const float c[] = {-3.333328392e-01f, 1.333149125e-01f, -5.374349526e-02f,
                              2.065057900e-02f, -5.717036560e-03f};
    const vf one = vf_set1(1.0f);
    vf a = vf_abs(x), z = vf_mul(x, x);
    vf small = vf_fma(vf_mul(x, z), vf_poly(z, c, 5), x);
    vf large = vf_sub(one, vf_div(vf_set1(2.0f), vf_add(vf_exp(vf_add(a, a)), one)));
    return vf_sel(vf_lt(a, vf_set1(0.625f)), small, vf_copysign(large, x));
}

/* x + x P(x^2) near 0, else 1 - exp(-Q(|x|)), where Q fits -log(erfc(x)) up to 4. */
static inline vf vf_erf(vf x) {
    static const float p[] = {1.283791666e-01f,  -3.761263370e-01f, 1.128369394e-01f,
                              -2.685927078e-02f, 5.200634306e-03f,  -8.137437568e-04f,
                              8.345224908e-05f};
    static const float q[] = {-1.774280269e-04f, 1.129527308e+00f,  6.333246700e-01f,
                              1.082994563e-01f,  -2.512630517e-02f, 4.169734551e-03f,
                              -4.324445406e-04f, 2.044713578e-05f,  7.161888922e-08f};
    vf a = vf_abs(x), z = vf_mul(x, x), t = vf_min(vf_set1(4.0f), a);
    vf small = vf_fma(x, vf_poly(z, p, 7), x);
    vf large = vf_sub(vf_set1(1.0f), vf_exp(vf_neg(vf_poly(t, q, 9))));
    return vf_sel(vf_lt(a, vf_set1(0.92f)), small, vf_copysign(large, x));
}

/* 1 / (1 + 2^t), t = -x log2(e) = n + r, where 2^r = 1 + r P(r) for |r| <= 1/2; 0 below -88.8. */
static inline vf vf_sigmoid(vf x) {
    static const float c[] = {1.0f,
                              6.931470037e-01f,
                              2.402224243e-01f,
                              5.550733581e-02f,
                              9.671512991e-03f,
                              1.326472731e-03f};
    const vf one = vf_set1(1.0f), log2e = vf_set1(-0x1.715476p+0f);
    x = vf_max(vf_set1(-104.0f), vf_min(vf_set1(104.0f), x));
    vf n = vf_rint(vf_mul(x, log2e));
    vf r = vf_fma(x, log2e, vf_neg(n));
    r = vf_fma(x, vf_set1(-0x1.4ae0cp-26f), r); /* what log2(e) lost by rounding */
    return vf_div(one, vf_add(one, vf_scale2(vf_poly(r, c, 6), n)));
}

/* x / 2 (1 + erf(x / sqrt(2))), erf(x / sqrt(2)) = x P(x^2) / Q(x^2) up to 5.6, where it is 1;
 * below -5.6 the result is 0 to within the bound, 3e-7 max(1, |x|). */
static inline vf vf_gelu(vf x) {
    static const float p[] = {7.978842920e-01f, 7.398993196e-02f, 9.159529501e-03f,
                              3.623444312e-04f, 6.688276834e-06f, -4.389755105e-08f,
                              2.159849132e-10f};
    static const float q[] = {1.0f, 2.593969522e-01f, 2.971712108e-02f, 1.894286645e-03f,
                              6.578381032e-05f};
    x = vf_max(vf_set1(-5.6f), x);
    vf t = vf_min(vf_set1(5.6f), x), u = vf_mul(t, t), half = vf_mul(vf_set1(0.5f), x);
    return vf_fma(half, vf_div(vf_mul(t, vf_poly(u, p, 7)), vf_poly(u, q, 5)), half);
}

#endif

/* By tanh, which is a sigmoid: x / 2 (1 + tanh(y)) = x sigmoid(2 y). */
static inline vf vf_gelu_tanh(vf x) {
    vf cube = vf_mul(vf_mul(x, x), x);
    vf y = vf_fma(vf_set1(0.044715f), cube, x);
    return vf_mul(x, vf_sigmoid(vf_mul(vf_set1(1.59576912f), y)));
}

/* Element-wise programs against libm in double: accuracy, special values, tails, broadcasting,
 * chains, splits. */
#include "vec_test.h"

static double sigmoid(double x) {
    return 1 / (1 + exp(-x));
}
static double clip(double x, double a, double b) {
    return x < a ? a : x > b ? b : x;
}

static double reference(int op, double x, double y, double z, double a, double b) {
    switch (op) {
    case HONE_EW_RELU:
        return x < 0 ? 0 : x;
    case HONE_EW_LEAKY:
        return x < 0 ? a * x : x;
    case HONE_EW_ELU:
        return x < 0 ? a * expm1(x) : x;
    case HONE_EW_SIGMOID:
        return sigmoid(x);
    case HONE_EW_TANH:
        return tanh(x);
    case HONE_EW_ERF:
        return erf(x);
    case HONE_EW_GELU:
        return 0.5 * x * erfc(-x * 0.70710678118654752);
    case HONE_EW_GELU_TANH:
        return 0.5 * x * (1 + tanh(0.79788456080286536 * (x + 0.044715 * x * x * x)));
    case HONE_EW_SILU:
        return x * sigmoid(a * x);
    case HONE_EW_HARD_SWISH:
        return x * clip(a * x + b, 0, 1);
    case HONE_EW_HARD_SIGMOID:
        return clip(a * x + b, 0, 1);
    case HONE_EW_SOFTPLUS:
        return x > 30 ? x + log1p(exp(-x)) : log1p(exp(x));
    case HONE_EW_MISH:
        return x * tanh(x > 30 ? x : log1p(exp(x)));
    case HONE_EW_EXP:
        return exp(x);
    case HONE_EW_LOG:
        return log(x);
    case HONE_EW_SQRT:
        return sqrt(x);
    case HONE_EW_RSQRT:
        return 1 / sqrt(x);
    case HONE_EW_RECIP:
        return 1 / x;
    case HONE_EW_ABS:
        return fabs(x);
    case HONE_EW_NEG:
        return -x;
    case HONE_EW_FLOOR:
        return floor(x);
    case HONE_EW_CEIL:
        return ceil(x);
    case HONE_EW_ROUND:
        return rint(x);
    case HONE_EW_SIN:
        return sin(x);
    case HONE_EW_COS:
        return cos(x);
    case HONE_EW_SIGN:
        return isnan(x) ? x : (x > 0) - (x < 0);
    case HONE_EW_NOT:
        return x == 0;
    case HONE_EW_IS_NAN:
        return isnan(x);
    case HONE_EW_CLIP:
        return clip(x, a, b);
    case HONE_EW_AFFINE:
        return a * x + b;
    case HONE_EW_ADD:
        return x + y;
    case HONE_EW_SUB:
        return x - y;
    case HONE_EW_MUL:
        return x * y;
    case HONE_EW_DIV:
        return x / y;
    case HONE_EW_MAX:
        return isnan(x) || isnan(y) ? NAN : x > y ? x : y;
    case HONE_EW_MIN:
        return isnan(x) || isnan(y) ? NAN : x < y ? x : y;
    case HONE_EW_POW:
        return pow(x, y);
    case HONE_EW_PRELU:
        return x < 0 ? y * x : x;
    case HONE_EW_EQ:
        return x == y;
    case HONE_EW_NE:
        return x != y;
    case HONE_EW_LT:
        return x < y;
    case HONE_EW_LE:
        return x <= y;
    case HONE_EW_GT:
        return x > y;
    case HONE_EW_GE:
        return x >= y;
    case HONE_EW_AND:
        return x != 0 && y != 0;
    case HONE_EW_OR:
        return x != 0 || y != 0;
    case HONE_EW_XOR:
        return (x != 0) != (y != 0);
    case HONE_EW_WHERE:
        return x != 0 ? y : z;
    case HONE_EW_FMA:
        return x * y + z;
    default:
        return x;
    }
}

/* The header's bounds: in ulp, or relative to max(1, |x|). */
static bool within(int op, float x, float got, double want) {
    double off = fabs((double)got - want), ulp = ulp_error(got, want);
    switch (op) {
    case HONE_EW_ELU:
        return ulp <= 0.5 || off <= 2e-7;
    case HONE_EW_GELU:
    case HONE_EW_GELU_TANH:
    case HONE_EW_SOFTPLUS:
        return ulp <= 1 || off <= 3e-7 * fmax(1, fabs((double)x));
    case HONE_EW_SIGMOID:
    case HONE_EW_EXP:
    case HONE_EW_LOG:
        return ulp <= 3;
    case HONE_EW_TANH:
    case HONE_EW_ERF:
        return ulp <= 4;
    case HONE_EW_SILU:
        return ulp <= 5;
    case HONE_EW_MISH:
        return ulp <= 8 || off <= 1e-42; /* e^x is denormal */
    case HONE_EW_RSQRT:
        return ulp <= 1.5;
    case HONE_EW_POW:
    case HONE_EW_SIN:
    case HONE_EW_COS:
        return ulp <= 2;
    case HONE_EW_AFFINE:
    case HONE_EW_FMA:
    case HONE_EW_HARD_SIGMOID:
    case HONE_EW_HARD_SWISH:
        return ulp <= 1 || off <= 1e-6 * fmax(1, fabs((double)x));
    default:
        return ulp <= 0.5;
    }
}

static hone_ew_program single(int op, int64_t n, int n_in) {
    hone_ew_program p = {.n_in = n_in, .n_out = 1, .n_steps = 1, .rank = 1, .dims = {n}};
    p.out_value[0] = (uint8_t)n_in;
    p.steps[0] = (hone_ew_step){.op = (uint8_t)op, .src = {0, 1, 2}, .a = 0.25f, .b = 0.5f};
    for (int k = 0; k < n_in; ++k)
        p.strides[k][0] = 1;
    return p;
}

static void run(const hone_vec_kernels *k, const hone_ew_program *p, const void *const *in,
                void *const *out) {
    void *scratch = scratch_new(hone_ew_scratch_bytes(p));
    int64_t middle = p->n_elements * 3 / 7;
    k->eltwise(p, in, out, 0, middle, scratch);
    k->eltwise(p, in, out, middle, p->n_elements, scratch);
    free(scratch);
}

static void special_values(float *x, int64_t n) {
    const float s[] = {NAN,   INFINITY, -INFINITY, 0.0f,   -0.0f, 1e-40f, -1e-40f,
                       3e38f, -3e38f,   1.0f,      -1.0f,  0.5f,  2.5f,   -1.5f,
                       88.7f, -87.5f,   -103.0f,   1e-20f, 20.0f};
    for (int64_t i = 0; i < n && i < (int64_t)(sizeof s / sizeof *s); ++i)
        x[i] = s[i];
}

static void test_ops(const hone_vec_kernels *k, const char *isa) {
    for (int op = 0; op < HONE_EW_OP_COUNT; ++op) {
        int arity = hone_ew_arity(op);
        for (int s = 0; s < N_AWKWARD; ++s) {
            int64_t n = awkward[s];
            float *in[3];
            for (int j = 0; j < 3; ++j)
                in[j] = random_array(n, op == HONE_EW_LOG ? 1e-3f : -12.0f, 12.0f);
            if (n > 1000)
                special_values(in[0], n);
            guarded y = guarded_new((size_t)n * 4);
            hone_ew_program p = single(op, n, arity);
            CHECK(hone_ew_prepare(&p), "prepare");
            run(k, &p, (const void *const *)in, (void *[]){y.p});
            float *once = random_array(n, 0, 0);
            void *scratch = scratch_new(hone_ew_scratch_bytes(&p));
            k->eltwise(&p, (const void *const *)in, (void *[]){once}, 0, n, scratch);
            CHECK(memcmp(once, y.p, (size_t)n * 4) == 0, "%s %s depends on the split", isa,
                  hone_ew_name(op));
            free(once), free(scratch);
            for (int64_t i = 0; i < n; ++i) {
                float got, x = in[0][i];
                memcpy(&got, y.p + 4 * i, 4);
                double want = reference(op, x, in[1][i], in[2][i], 0.25, 0.5);
                if (isinf(x) &&
                    (op == HONE_EW_GELU || op == HONE_EW_GELU_TANH || op == HONE_EW_SILU ||
                     op == HONE_EW_MISH || op == HONE_EW_HARD_SWISH))
                    continue; /* -infinity times 0 */
                CHECK(within(op, x, got, want), "%s %s(%.9g, %g): %.9g, not %.9g", isa,
                      hone_ew_name(op), (double)x, (double)in[1][i], (double)got, want);
            }
            guarded_free(&y, hone_ew_name(op));
            for (int j = 0; j < 3; ++j)
                free(in[j]);
        }
    }
}

/* y = sigmoid(x * row + column), mask = x < scalar; inputs broadcast over [a, b, c]. */
static void test_chain(const hone_vec_kernels *k, const char *isa, int64_t a, int64_t b,
                       int64_t c) {
    int64_t n = a * b * c;
    float *x = random_array(n, -3, 3), *row = random_array(c, -3, 3);
    float *column = random_array(a * b, -3, 3), scalar = 0.25f;
    guarded y = guarded_new((size_t)n * 4), mask = guarded_new((size_t)n);
    hone_ew_program p = {.n_in = 4,
                         .n_out = 2,
                         .n_steps = 4,
                         .rank = 3,
                         .dims = {a, b, c},
                         .strides = {{b * c, c, 1}, {0, 0, 1}, {b, 1, 0}, {0, 0, 0}},
                         .out_value = {6, 7},
                         .out_type = {HONE_EW_F32, HONE_EW_U8}};
    p.steps[0] = (hone_ew_step){.op = HONE_EW_MUL, .src = {0, 1}};
    p.steps[1] = (hone_ew_step){.op = HONE_EW_ADD, .src = {4, 2}};
    p.steps[2] = (hone_ew_step){.op = HONE_EW_SIGMOID, .src = {5}};
    p.steps[3] = (hone_ew_step){.op = HONE_EW_LT, .src = {0, 3}};
    CHECK(hone_ew_prepare(&p), "prepare");
    run(k, &p, (const void *[]){x, row, column, &scalar}, (void *[]){y.p, mask.p});
    for (int64_t i = 0; i < n; ++i) {
        float got;
        memcpy(&got, y.p + 4 * i, 4);
        double want = sigmoid((double)x[i] * row[i % c] + column[i / c]);
        CHECK(fabs(got - want) < 1e-6, "%s chain [%lld]: %g, not %g", isa, (long long)i,
              (double)got, want);
        CHECK(mask.p[i] == (x[i] < scalar), "%s chain mask [%lld]", isa, (long long)i);
    }
    guarded_free(&y, "chain");
    guarded_free(&mask, "chain");
    free(x), free(row), free(column);
}

/* A transposed input, and a boolean one, through where. */
static void test_strided(const hone_vec_kernels *k, const char *isa, int64_t m, int64_t n) {
    float *x = random_array(m * n, -3, 3), *y = random_array(m * n, -3, 3);
    float *out = random_array(m * n, 0, 0);
    uint8_t *c = malloc((size_t)(m * n) + 1);
    for (int64_t i = 0; c && i < m * n; ++i)
        c[i] = (uint8_t)(random_u32() & 1);
    hone_ew_program p = single(HONE_EW_WHERE, 0, 3);
    p.rank = 2, p.dims[0] = m, p.dims[1] = n, p.in_type[0] = HONE_EW_U8;
    p.strides[0][0] = p.strides[2][0] = n, p.strides[0][1] = p.strides[2][1] = 1;
    p.strides[1][0] = 1, p.strides[1][1] = m;
    CHECK(hone_ew_prepare(&p), "prepare");
    run(k, &p, (const void *[]){c, x, y}, (void *[]){out});
    for (int64_t i = 0; c && i < m * n; ++i) {
        float want = c[i] ? x[i % n * m + i / n] : y[i];
        CHECK(out[i] == want, "%s strided where [%lld]", isa, (long long)i);
    }
    free(x), free(y), free(out), free(c);
}

static void test_prepare(void) {
    hone_ew_program p = single(HONE_EW_ADD, 5, 2);
    p.steps[0].src[1] = 2; /* reads itself */
    CHECK(!hone_ew_prepare(&p), "a step that reads itself is accepted");
    p = single(HONE_EW_RELU, -1, 1);
    CHECK(!hone_ew_prepare(&p), "a negative extent is accepted");
    p = single(HONE_EW_RELU, INT64_MAX, 1);
    p.rank = 2, p.dims[1] = 3;
    CHECK(!hone_ew_prepare(&p), "an overflow is accepted");
    p = single(HONE_EW_OP_COUNT, 1, 1);
    CHECK(!hone_ew_prepare(&p), "an unknown operator is accepted");
}

static void test_isa(const hone_vec_kernels *k, const char *isa) {
    test_ops(k, isa);
    const int64_t sizes[][3] = {{1, 1, 1}, {2, 3, 5},    {1, 7, 64},  {3, 2, 300},
                                {0, 3, 4}, {5, 1, 1031}, {2, 700, 3}, {1, 1, 5000}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; ++i)
        test_chain(k, isa, sizes[i][0], sizes[i][1], sizes[i][2]);
    test_strided(k, isa, 7, 13);
    test_strided(k, isa, 5, 1031);
    test_strided(k, isa, 1, 1);
}

int main(void) {
    test_prepare();
    return for_each_isa(test_isa);
}

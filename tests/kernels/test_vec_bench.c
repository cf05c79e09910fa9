/* Times the vector kernels on layer-sized data: `test_vec_bench --bench` prints GB/s (bytes read
 * and written once) or GFLOP/s, the best of several runs. Without the option each runs once. */
#include "vec_test.h"

typedef struct job {
    const hone_vec_kernels *k;
    const float *x, *w;
    float *y;
    void *scratch;
    int64_t n;
    hone_ew_program ew;
    hone_attention at;
    hone_lstm_step lstm;
    hone_transpose tr;
    hone_pool2d pool;
    hone_resize resize;
    hone_layer_norm norm;
} job;

enum { ROWS = 512, WIDTH = 768, N = ROWS * WIDTH };

static bool is_bench;

static void run_eltwise(job *j) {
    j->k->eltwise(&j->ew, (const void *[]){j->x, j->w}, (void *[]){j->y}, 0, N, j->scratch);
}
static void run_softmax(job *j) {
    j->k->softmax(j->x, j->y, WIDTH, 1, false, 0, ROWS);
}
static void run_layer_norm(job *j) {
    j->k->layer_norm(&j->norm, 0, ROWS);
}
static void run_reduce_rows(job *j) {
    j->k->reduce(HONE_REDUCE_MEAN, j->x, WIDTH, 1, j->y, 0, ROWS);
}
static void run_reduce_columns(job *j) {
    j->k->reduce(HONE_REDUCE_MEAN, j->x, ROWS, WIDTH, j->y, 0, WIDTH);
}
static void run_transpose(job *j) {
    j->k->transpose(&j->tr, j->x, j->y, 0, j->tr.n_tasks);
}
static void run_pool(job *j) {
    j->k->pool2d(&j->pool, 0, j->pool.out_height);
}
static void run_resize(job *j) {
    j->k->resize(&j->resize, 0, j->resize.out_height);
}
static void run_attention(job *j) {
    j->k->attention(&j->at, 0, hone_attention_tasks(&j->at), j->scratch);
}
static void run_lstm(job *j) {
    j->k->lstm_step(&j->lstm, 0, hone_rnn_tasks(j->lstm.hidden));
}
static void run_f16(job *j) {
    j->k->f32_to_f16(j->x, (uint16_t *)(void *)j->y, N);
}
static void run_quantize(job *j) {
    j->k->quantize_u8(j->x, (uint8_t *)j->y, N, 0.02f, 128);
}

static void report(const char *isa, const char *what, void (*fn)(job *), job *j, double amount,
                   const char *unit) {
    double best = 1e9;
    for (int i = 0; i < (is_bench ? 15 : 1); ++i) {
        double start = seconds();
        fn(j);
        double t = seconds() - start;
        best = t < best ? t : best;
    }
    if (is_bench)
        printf("%-7s %-24s %9.1f us %8.2f %s\n", isa, what, best * 1e6, amount / best * 1e-9, unit);
}

static void bench_eltwise(job *j, const char *isa) {
    const int ops[] = {HONE_EW_ADD,  HONE_EW_RELU, HONE_EW_GELU, HONE_EW_SILU,
                       HONE_EW_TANH, HONE_EW_EXP,  HONE_EW_LOG};
    for (size_t i = 0; i < sizeof ops / sizeof *ops; ++i) {
        int n_in = hone_ew_arity(ops[i]);
        j->ew = (hone_ew_program){.n_in = n_in,
                                  .n_out = 1,
                                  .n_steps = 1,
                                  .rank = 1,
                                  .dims = {N},
                                  .strides = {{1}, {1}},
                                  .out_value = {(uint8_t)n_in}};
        j->ew.steps[0] = (hone_ew_step){.op = (uint8_t)ops[i], .src = {0, 1}, .a = 1};
        CHECK(hone_ew_prepare(&j->ew), "prepare");
        report(isa, hone_ew_name(ops[i]), run_eltwise, j, 4.0 * N * (n_in + 1), "GB/s");
    }
    j->ew = (hone_ew_program){.n_in = 2,
                              .n_out = 1,
                              .n_steps = 3,
                              .rank = 2,
                              .dims = {ROWS, WIDTH},
                              .strides = {{WIDTH, 1}, {0, 1}},
                              .out_value = {4}};
    j->ew.steps[0] = (hone_ew_step){.op = HONE_EW_MUL, .src = {0, 1}};
    j->ew.steps[1] = (hone_ew_step){.op = HONE_EW_ADD, .src = {2, 1}};
    j->ew.steps[2] = (hone_ew_step){.op = HONE_EW_HARD_SWISH, .src = {3}, .a = 1.0f / 6, .b = 0.5f};
    CHECK(hone_ew_prepare(&j->ew), "prepare");
    report(isa, "mul+add+hard_swish, row", run_eltwise, j, 8.0 * N, "GB/s");
}

static void bench_images(job *j, const char *isa) {
    int64_t index[112];
    float weight[112];
    CHECK(hone_transpose_prepare(&j->tr, 2, (int64_t[]){120, 3136}, (int[]){1, 0}, 4), "prepare");
    report(isa, "transpose NCHW>NHWC 56x56", run_transpose, j, 8.0 * 120 * 3136, "GB/s");
    CHECK(hone_transpose_prepare(&j->tr, 3, (int64_t[]){512, 12, 64}, (int[]){1, 0, 2}, 4),
          "prepare");
    report(isa, "transpose heads", run_transpose, j, 8.0 * 512 * 768, "GB/s");
    j->pool = (hone_pool2d){.x = j->x,
                            .y = j->y,
                            .n_batch = 1,
                            .height = 56,
                            .width = 56,
                            .channels = 64,
                            .out_height = 28,
                            .out_width = 28,
                            .kernel_h = 3,
                            .kernel_w = 3,
                            .stride_h = 2,
                            .stride_w = 2,
                            .pad_top = 1,
                            .pad_left = 1,
                            .dilation_h = 1,
                            .dilation_w = 1,
                            .x_pixel = 64,
                            .x_row = 56 * 64,
                            .y_pixel = 64,
                            .y_row = 28 * 64,
                            .is_max = true};
    report(isa, "max pool 3x3 s2 56x56x64", run_pool, j, 4.0 * 64 * (3136 + 784), "GB/s");
    for (int64_t i = 0; i < 112; ++i)
        index[i] = i / 3, weight[i] = 0.25f;
    j->resize = (hone_resize){.x = j->x,
                              .y = j->y,
                              .n_batch = 1,
                              .channels = 64,
                              .out_height = 56,
                              .out_width = 56,
                              .x_pixel = 64,
                              .x_row = 28 * 64,
                              .y_pixel = 64,
                              .y_row = 56 * 64,
                              .y_lo = index,
                              .y_hi = index + 1,
                              .x_lo = index,
                              .x_hi = index + 1,
                              .y_weight = weight,
                              .x_weight = weight};
    report(isa, "bilinear x2 28x28x64", run_resize, j, 4.0 * 64 * (784 + 3136), "GB/s");
}

static void bench_attention(job *j, const char *isa, int64_t n_q, int64_t n_kv, int64_t size) {
    char what[64];
    int64_t heads = WIDTH / size;
    j->at = (hone_attention){.n_batch = 1,
                             .n_heads = heads,
                             .n_kv_heads = heads,
                             .n_q = n_q,
                             .n_kv = n_kv,
                             .size = size,
                             .v_size = size,
                             .q = j->x,
                             .k = j->w,
                             .v = j->x,
                             .y = j->y,
                             .scale = 0.125f,
                             .left = -1,
                             .right = -1,
                             .q_at = {0, size, WIDTH},
                             .k_at = {0, size, WIDTH},
                             .v_at = {0, size, WIDTH},
                             .y_at = {0, size, WIDTH}};
    void *scratch = j->scratch;
    j->scratch = scratch_new(hone_attention_scratch_bytes(&j->at));
    snprintf(what, sizeof what, "attention %dx%d h%d d%d", (int)n_q, (int)n_kv, (int)heads,
             (int)size);
    report(isa, what, run_attention, j, 4.0 * (double)(n_q * n_kv) * WIDTH, "GFLOP/s");
    free(j->scratch);
    j->scratch = scratch;
}

static void bench_lstm(job *j, const char *isa, int64_t batch, bool is_bf16) {
    enum { H = 256 };
    float *r = random_array(4 * H * H, -1, 1), *packed = random_array(4 * H * H, 0, 0);
    uint16_t *h = calloc((size_t)(2 * batch * H), sizeof *h);
    char what[64];
    hone_rnn_pack(r, H, 4, is_bf16, packed); /* any bits do */
    j->lstm = (hone_lstm_step){.n_batch = batch,
                               .hidden = H,
                               .gates = j->x,
                               .h = j->w,
                               .c = j->x,
                               .packed = packed,
                               .h_out = j->y,
                               .c_out = j->y + batch * H,
                               .gates_stride = 4 * H,
                               .h_stride = H,
                               .c_stride = H,
                               .h_out_stride = H,
                               .c_out_stride = H,
                               .bf16 = {is_bf16 ? h : NULL, h + batch * H}};
    snprintf(what, sizeof what, "lstm step 256%s, batch %d", is_bf16 ? " BF16" : "", (int)batch);
    report(isa, what, run_lstm, j, 8.0 * H * H * (double)batch, "GFLOP/s");
    free(r), free(packed), free(h);
}

static void bench_isa(const hone_vec_kernels *k, const char *isa) {
    float *x = random_array(N, 0.1f, 2), *w = random_array(N, -1, 1), *y = random_array(N, 0, 0);
    job j = {.k = k, .x = x, .w = w, .y = y};
    j.scratch = scratch_new((HONE_EW_MAX_IN + HONE_EW_MAX_STEPS) * HONE_EW_STRIDE * sizeof(float));
    bench_eltwise(&j, isa);
    j.norm = (hone_layer_norm){.x = x,
                               .scale = w,
                               .bias = w,
                               .y = y,
                               .n = WIDTH,
                               .x_stride = WIDTH,
                               .y_stride = WIDTH,
                               .eps = 1e-5f};
    report(isa, "layer norm 768", run_layer_norm, &j, 8.0 * N, "GB/s");
    report(isa, "softmax 768", run_softmax, &j, 8.0 * N, "GB/s");
    report(isa, "mean over rows", run_reduce_rows, &j, 4.0 * N, "GB/s");
    report(isa, "mean over columns", run_reduce_columns, &j, 4.0 * N, "GB/s");
    report(isa, "f32 to f16", run_f16, &j, 6.0 * N, "GB/s");
    report(isa, "quantize u8", run_quantize, &j, 5.0 * N, "GB/s");
    bench_images(&j, isa);
    bench_attention(&j, isa, 128, 128, 64);
    bench_attention(&j, isa, 512, 512, 64);
    bench_attention(&j, isa, 384, 512, 128);
    bench_attention(&j, isa, 1, 512, 64);
    for (int is_bf16 = 0; is_bf16 < 2; ++is_bf16) {
        bench_lstm(&j, isa, 1, is_bf16);
        bench_lstm(&j, isa, 8, is_bf16);
    }
    free(x), free(w), free(y), free(j.scratch);
}

int main(int argc, char **argv) {
    is_bench = argc > 1 && strcmp(argv[1], "--bench") == 0;
    return for_each_isa(bench_isa);
}

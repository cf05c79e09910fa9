/* hone.Conv, hone.Gemm, hone.ConvTranspose and MatMul of two activations on the convolution
 * kernels, and hone.Pool. */
#include <string.h>

#include "backend/cpu/impl.h"
#include "backend/cpu/problem.h"
#include "kernels/deconv.h"

/* ---- packed weights ---------------------------------------------------------------------------
 */

typedef struct conv_state {
    hone_conv p;
    const hone_conv_kernel *kernel;
    int64_t n_tasks;
    size_t scratch_bytes; /* of one thread */
} conv_state;

static size_t aligned(size_t n) {
    return (n + 63) / 64 * 64;
}

/* The kernel that the weights are packed for, on problem s->p. */
static hone_status find_kernel(hone_prepare_ctx *c, conv_state *s) {
    const char *name = hone_attr_string(c->node, "kernel_name", "");
    s->kernel = hone_conv_kernel_find(name);
    const hone_tensor *packed = c->value[HONE_IN_WEIGHT];
    if (!s->kernel || !packed || hone_conv_refusal(s->kernel, &s->p) ||
        hone_tensor_bytes(packed) != s->kernel->packed_bytes(&s->p))
        return hone_fail(c->err, HONE_E_VERSION,
                         "the engine is packed for kernel '%s', which this CPU or build lacks; "
                         "build it on this machine",
                         name);
    s->n_tasks = s->kernel->n_tasks(&s->p);
    s->scratch_bytes = aligned(s->kernel->scratch_bytes(&s->p));
    c->scratch_bytes = s->scratch_bytes * (size_t)c->n_threads + 64;
    return HONE_OK;
}

/* More channels come in a tensor like x. */
static hone_status check_more(hone_prepare_ctx *c, const hone_conv *p) {
    if (!p->ic2)
        return HONE_OK;
    const hone_type *x = &c->in[HONE_IN_X],
                    *more = c->n_in > HONE_IN_MORE ? &c->in[HONE_IN_MORE] : NULL;
    bool fits = more && more->kind == HONE_KIND_TENSOR && more->dtype == x->dtype &&
                more->rank == x->rank && more->dims[x->rank - 1] == p->ic2;
    for (int d = 0; fits && d + 1 < x->rank; ++d)
        fits = more->dims[d] == x->dims[d];
    return fits ? HONE_OK
                : hone_fail(c->err, HONE_E_FORMAT, "the parts of the input do not fit each other");
}

static bool is_empty(const hone_prepare_ctx *c) {
    return hone_count(&c->out[0]) == 0;
}

hone_status hone_prepare_conv(hone_prepare_ctx *c, void **state) {
    conv_state *s = HONE_NEW(c->arena, conv_state);
    if (!s)
        return hone_fail(c->err, HONE_E_NOMEM, "no memory for a kernel");
    *state = s;
    if (is_empty(c))
        return HONE_OK; /* nothing to compute: no kernel */
    HONE_TRY(hone_problem(c->node, &c->in[0], &c->out[0], &s->p, c->err));
    HONE_TRY(check_more(c, &s->p));
    return find_kernel(c, s);
}

typedef struct conv_job {
    const conv_state *s;
    hone_conv_args args;
    unsigned char *scratch;
} conv_job;

static void conv_task(void *arg, int64_t task, int worker) {
    const conv_job *j = arg;
    j->s->kernel->run(&j->s->p, &j->args, task, j->scratch + (size_t)worker * j->s->scratch_bytes);
}

hone_status hone_run_conv(hone_op_ctx *c) {
    const conv_state *s = c->state;
    if (!s->kernel)
        return HONE_OK;
    conv_job j = {.s = s,
                  .args = {.x = hone_in(c, HONE_IN_X)->data,
                           .packed = hone_in(c, HONE_IN_WEIGHT)->data,
                           .y = hone_out(c, 0)->data}};
    if (s->p.has_residual)
        j.args.residual = hone_in(c, HONE_IN_RESIDUAL)->data;
    if (s->p.ic2)
        j.args.x2 = hone_in(c, HONE_IN_MORE)->data;
    j.scratch = hone_op_scratch(c, s->scratch_bytes * (size_t)hone_pool_threads(c->pool) + 64);
    if (!j.scratch)
        return HONE_E_NOMEM;
    hone_op_parallel(c, s->n_tasks, conv_task, &j);
    return HONE_OK;
}

/* ---- transposed convolution: a product, then every tap to its pixel -----------------------------
 */

enum { WHOLE_BYTES = 1 << 20, BAND_BYTES = 1 << 18 };

/* A large product would go through memory twice: tiling windows are done in bands of input rows,
 * whose product stays in L2. */
typedef struct deconv_state {
    conv_state gemm; /* of a band, or of all */
    hone_conv p;
    int64_t band, n_bands;      /* input rows; 0: all at once */
    size_t z_bytes, line_bytes; /* line: an output row as floats, for each thread */
} deconv_state;

static hone_conv band_gemm(const deconv_state *s, int64_t rows) {
    hone_conv p = s->gemm.p;
    p.iw = p.ow = rows * s->p.iw;
    return p;
}

static size_t max_bytes(size_t a, size_t b) {
    return a > b ? a : b;
}

/* Bands, and room for the product of each thread's; the last band may be lower. */
static void cut_into_bands(hone_prepare_ctx *c, deconv_state *s) {
    const int64_t rows = s->p.n * s->p.ih, row_bytes = s->p.iw * s->gemm.p.oc * 4;
    if (!hone_deconv_is_tiling(&s->p) || rows * row_bytes <= WHOLE_BYTES)
        return;
    s->band = row_bytes < BAND_BYTES ? BAND_BYTES / row_bytes : 1;
    s->n_bands = (rows + s->band - 1) / s->band;
    const hone_conv most = band_gemm(s, s->band),
                    last = band_gemm(s, rows - (s->n_bands - 1) * s->band);
    const hone_conv_kernel *k = s->gemm.kernel;
    s->gemm.scratch_bytes = aligned(max_bytes(k->scratch_bytes(&most), k->scratch_bytes(&last)));
    s->z_bytes = aligned((size_t)(s->band * row_bytes));
    c->scratch_bytes =
        (s->gemm.scratch_bytes + s->z_bytes + s->line_bytes) * (size_t)c->n_threads + 128;
}

hone_status hone_prepare_deconv(hone_prepare_ctx *c, void **state) {
    deconv_state *s = HONE_NEW(c->arena, deconv_state);
    if (!s)
        return hone_fail(c->err, HONE_E_NOMEM, "no memory for a kernel");
    *state = s;
    if (is_empty(c))
        return HONE_OK;
    HONE_TRY(hone_problem(c->node, &c->in[0], &c->out[0], &s->p, c->err));
    s->gemm.p = hone_deconv_gemm(&s->p);
    HONE_TRY(hone_conv_check(&s->gemm.p, c->err));
    HONE_TRY(find_kernel(c, &s->gemm));
    s->z_bytes = aligned((size_t)s->gemm.p.ow * (size_t)s->gemm.p.oc * sizeof(float));
    if (s->p.y_storage == HONE_ELEM_BF16)
        s->line_bytes = aligned((size_t)(s->p.ow * s->p.ldy) * sizeof(float));
    c->scratch_bytes += s->z_bytes + s->line_bytes * (size_t)c->n_threads + 128;
    cut_into_bands(c, s);
    return HONE_OK;
}

typedef struct deconv_job {
    const deconv_state *s;
    hone_conv_args args; /* y: of the convolution */
    const float *bias;
    unsigned char *scratch, *z, *lines; /* for each thread; z: of all when there are no bands */
} deconv_job;

/* Output rows [begin, end) of p from z; y: where row 0 of p is. */
static void scatter(const deconv_job *j, const hone_conv *p, const float *z, unsigned char *y,
                    int64_t begin, int64_t end, int worker) {
    const int64_t row = p->ow * p->ldy;
    float *line = (float *)(void *)(j->lines + (size_t)worker * j->s->line_bytes);
    if (p->y_storage == HONE_ELEM_F32) {
        hone_deconv_scatter(p, z, j->bias, (float *)(void *)y + begin * row, begin, end);
        return;
    }
    for (int64_t i = begin; i < end; ++i) {
        hone_deconv_scatter(p, z, j->bias, line, i, i + 1);
        hone_vec()->f32_to_bf16(line, (uint16_t *)(void *)y + i * row, row);
    }
}

static void scatter_range(void *arg, int64_t begin, int64_t end, int worker) {
    const deconv_job *j = arg;
    scatter(j, &j->s->p, (const float *)(const void *)j->z, j->args.y, begin, end, worker);
}

static void gemm_task(void *arg, int64_t task, int worker) {
    const deconv_job *j = arg;
    const conv_state *g = &j->s->gemm;
    hone_conv_args args = j->args;
    args.y = j->z;
    g->kernel->run(&g->p, &args, task, j->scratch + (size_t)worker * g->scratch_bytes);
}

static size_t element_bytes(hone_elem e) {
    return e == HONE_ELEM_F32 ? 4 : 2;
}

static void band_task(void *arg, int64_t task, int worker) {
    const deconv_job *j = arg;
    const deconv_state *s = j->s;
    const conv_state *g = &s->gemm;
    const int64_t first = task * s->band, left = s->p.n * s->p.ih - first;
    hone_conv p = s->p;
    p.n = 1;
    p.ih = left < s->band ? left : s->band;
    p.oh = p.ih * p.sh;
    const hone_conv q = band_gemm(s, p.ih);
    const int64_t x_at = first * p.iw * p.ldx, y_at = first * p.sh * p.ow * p.ldy;
    hone_conv_args args = j->args;
    args.x = (const unsigned char *)args.x + (size_t)x_at * element_bytes(p.x_storage);
    args.y = j->z + (size_t)worker * s->z_bytes;
    for (int64_t i = 0; i < g->kernel->n_tasks(&q); ++i)
        g->kernel->run(&q, &args, i, j->scratch + (size_t)worker * g->scratch_bytes);
    scatter(j, &p, args.y, (unsigned char *)j->args.y + (size_t)y_at * element_bytes(p.y_storage),
            0, p.oh, worker);
}

hone_status hone_run_deconv(hone_op_ctx *c) {
    const deconv_state *s = c->state;
    if (!s->gemm.kernel)
        return HONE_OK;
    const size_t n_threads = (size_t)hone_pool_threads(c->pool);
    const hone_tensor *bias = hone_in(c, HONE_IN_BIAS);
    deconv_job j = {.s = s,
                    .args = {.x = hone_in(c, HONE_IN_X)->data,
                             .packed = hone_in(c, HONE_IN_WEIGHT)->data,
                             .y = hone_out(c, 0)->data},
                    .bias = bias ? bias->data : NULL};
    j.z = hone_op_scratch(c, s->z_bytes * (s->band ? n_threads : 1));
    j.scratch = hone_op_scratch(c, s->gemm.scratch_bytes * n_threads + 64);
    j.lines = hone_op_scratch(c, s->line_bytes * n_threads + 64);
    if (!j.z || !j.scratch || !j.lines)
        return HONE_E_NOMEM;
    if (s->band) {
        hone_op_parallel(c, s->n_bands, band_task, &j);
        return HONE_OK;
    }
    hone_op_parallel(c, s->gemm.n_tasks, gemm_task, &j);
    hone_parallel_range(c->pool, s->p.n * s->p.oh, 8, scatter_range, &j);
    return HONE_OK;
}

/* ---- products of two activations --------------------------------------------------------------
 */

typedef struct matmul_state {
    hone_conv p; /* one matrix product */
    const hone_conv_kernel *kernel;
    int64_t n_batches, n_tasks;
    int64_t a_step, b_step; /* elements from batch to batch; 0: the same matrix */
    size_t packed_bytes, scratch_bytes;
} matmul_state;

/* Batches that are counted by one index: equal leading dims, or one operand without any. */
static bool plain_batches(const hone_type *a, const hone_type *b, matmul_state *s) {
    int64_t na = hone_dims_count(a->dims, 0, a->rank - 2),
            nb = hone_dims_count(b->dims, 0, b->rank - 2);
    bool same = a->rank == b->rank;
    for (int i = 0; same && i < a->rank - 2; ++i)
        same = a->dims[i] == b->dims[i];
    if (!same && na != 1 && nb != 1)
        return false;
    s->n_batches = na > nb ? na : nb;
    s->a_step = na == 1 ? 0 : s->p.ow * s->p.ic;
    s->b_step = nb == 1 ? 0 : s->p.ic * s->p.oc;
    return true;
}

hone_status hone_prepare_matmul(hone_prepare_ctx *c, void **state) {
    const hone_type *a = &c->in[0], *b = &c->in[1];
    matmul_state *s = HONE_NEW(c->arena, matmul_state);
    if (!s)
        return hone_fail(c->err, HONE_E_NOMEM, "no memory for a kernel");
    HONE_REJECT_IF(!hone_is_f32(a) || !hone_is_f32(b) || a->rank < 2 || b->rank < 2,
                   "not float32 matrices");
    HONE_REJECT_IF(hone_count(&c->out[0]) == 0 || hone_count(a) == 0, "empty");
    s->p = hone_conv_gemm(a->dims[a->rank - 2], b->dims[b->rank - 1], a->dims[a->rank - 1]);
    HONE_REJECT_IF(!plain_batches(a, b, s), "batches are broadcast");
    HONE_TRY(hone_conv_check(&s->p, c->err));
    HONE_REJECT_IF(hone_conv_candidates(&s->p, hone_cpu_isa(), true, &s->kernel, 1) < 1,
                   "no kernel");
    s->n_tasks = s->kernel->n_tasks(&s->p);
    s->packed_bytes = aligned(s->kernel->packed_bytes(&s->p));
    s->scratch_bytes = aligned(s->kernel->scratch_bytes(&s->p));
    c->scratch_bytes = (s->packed_bytes + s->scratch_bytes) * (size_t)c->n_threads + 64;
    *state = s;
    return HONE_OK;
}

typedef struct matmul_job {
    const matmul_state *s;
    const float *a, *b;
    float *y;
    unsigned char *memory; /* packed, then scratch, for each thread */
} matmul_job;

static void matmul_batch(void *arg, int64_t batch, int worker) {
    const matmul_job *j = arg;
    const matmul_state *s = j->s;
    unsigned char *own = j->memory + (size_t)worker * (s->packed_bytes + s->scratch_bytes);
    float *packed = (float *)(void *)own;
    hone_conv_weights w = {.data = j->b + batch * s->b_step, .so = 1, .si = s->p.oc};
    hone_conv_args args = {
        .x = j->a + batch * s->a_step, .packed = packed, .y = j->y + batch * s->p.ow * s->p.oc};
    s->kernel->pack(&s->p, &w, packed);
    for (int64_t t = 0; t < s->n_tasks; ++t)
        s->kernel->run(&s->p, &args, t, own + s->packed_bytes);
}

hone_status hone_run_matmul(hone_op_ctx *c) {
    const matmul_state *s = c->state;
    size_t each = s->packed_bytes + s->scratch_bytes;
    matmul_job j = {
        .s = s, .a = hone_in(c, 0)->data, .b = hone_in(c, 1)->data, .y = hone_out(c, 0)->data};
    j.memory = hone_op_scratch(c, each * (size_t)hone_pool_threads(c->pool) + 64);
    if (!j.memory)
        return HONE_E_NOMEM;
    hone_op_parallel(c, s->n_batches, matmul_batch, &j);
    return HONE_OK;
}

/* ---- pooling ----------------------------------------------------------------------------------
 */

typedef struct pool_state {
    hone_pool2d p;
    hone_pool2d_fn *fn;
} pool_state;

hone_status hone_prepare_pool(hone_prepare_ctx *c, void **state) {
    const int64_t *k, *stride, *dilation, *pad;
    const hone_type *x = &c->in[0], *y = &c->out[0];
    pool_state *s = HONE_NEW(c->arena, pool_state);
    if (!s)
        return hone_fail(c->err, HONE_E_NOMEM, "no memory for a kernel");
    if (x->rank != 4 || hone_attr_ints(c->node, "kernel", &k) != 2 ||
        hone_attr_ints(c->node, "strides", &stride) != 2 ||
        hone_attr_ints(c->node, "dilations", &dilation) != 2 ||
        hone_attr_ints(c->node, "pads", &pad) != 4)
        return hone_fail(c->err, HONE_E_FORMAT, "the pooling window does not fit");
    s->p = (hone_pool2d){
        .n_batch = x->dims[0],
        .height = x->dims[1],
        .width = x->dims[2],
        .channels = x->dims[3],
        .out_height = y->dims[1],
        .out_width = y->dims[2],
        .kernel_h = k[0],
        .kernel_w = k[1],
        .stride_h = stride[0],
        .stride_w = stride[1],
        .pad_top = pad[0],
        .pad_left = pad[1],
        .pad_bottom = pad[2],
        .pad_right = pad[3],
        .dilation_h = dilation[0],
        .dilation_w = dilation[1],
        .x_pixel = x->dims[3],
        .x_row = x->dims[2] * x->dims[3],
        .x_image = x->dims[1] * x->dims[2] * x->dims[3],
        .y_pixel = y->dims[3],
        .y_row = y->dims[2] * y->dims[3],
        .y_image = y->dims[1] * y->dims[2] * y->dims[3],
        .is_max = hone_attr_int(c->node, "is_max", 0) != 0,
        .count_include_pad = hone_attr_int(c->node, "count_include_pad", 0) != 0,
    };
    s->fn = hone_is_bf16(x) ? hone_vec()->pool2d_bf16 : hone_vec()->pool2d;
    *state = s;
    return HONE_OK;
}

static void pool_range(void *arg, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const pool_state *s = arg;
    s->fn(&s->p, begin, end);
}

hone_status hone_run_pool(hone_op_ctx *c) {
    pool_state s = *(const pool_state *)c->state;
    s.p.x = hone_in(c, 0)->data;
    s.p.y = hone_out(c, 0)->data;
    hone_parallel_range(c->pool, s.p.n_batch * s.p.out_height, 1, pool_range, &s);
    return HONE_OK;
}

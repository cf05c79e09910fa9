/* Cast between float32 and the 16-bit floats. */
#include "backend/cpu/impl.h"

typedef struct convert_state {
    bool is_widening;
    int64_t n;
    hone_f16_to_f32_fn *widen;
    hone_f32_to_f16_fn *narrow;
} convert_state;

hone_status hone_prepare_convert(hone_prepare_ctx *c, void **state) {
    hone_dtype from = c->in[0].dtype, to = c->out[0].dtype;
    const hone_vec_kernels *vec = hone_vec();
    convert_state *s = HONE_NEW(c->arena, convert_state);
    if (!s)
        return hone_fail(c->err, HONE_E_NOMEM, "no memory for a kernel");
    s->is_widening = to == HONE_DTYPE_F32;
    hone_dtype narrow = s->is_widening ? from : to;
    HONE_REJECT_IF((s->is_widening ? to : from) != HONE_DTYPE_F32 ||
                       (narrow != HONE_DTYPE_F16 && narrow != HONE_DTYPE_BF16),
                   "not between float32 and a 16-bit float");
    s->widen = narrow == HONE_DTYPE_F16 ? vec->f16_to_f32 : vec->bf16_to_f32;
    s->narrow = narrow == HONE_DTYPE_F16 ? vec->f32_to_f16 : vec->f32_to_bf16;
    s->n = hone_count(&c->in[0]);
    *state = s;
    return HONE_OK;
}

typedef struct convert_job {
    const convert_state *s;
    const void *x;
    void *y;
} convert_job;

static void convert_range(void *arg, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const convert_job *j = arg;
    if (j->s->is_widening)
        j->s->widen((const uint16_t *)j->x + begin, (float *)j->y + begin, end - begin);
    else
        j->s->narrow((const float *)j->x + begin, (uint16_t *)j->y + begin, end - begin);
}

hone_status hone_run_convert(hone_op_ctx *c) {
    const convert_state *s = c->state;
    convert_job j = {s, hone_in(c, 0)->data, hone_out(c, 0)->data};
    hone_parallel_range(c->pool, s->n, 1 << 15, convert_range, &j);
    return HONE_OK;
}

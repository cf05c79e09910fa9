/* Cast between float32 and bfloat16, as the edges of BF16 engines have it. */
#include "backend/cpu/impl.h"

enum { GRAIN = 1 << 15 };

typedef struct convert_state {
    const hone_vec_kernels *kernels;
    int64_t n;
    bool narrows;
    const void *x;
    void *y;
} convert_state;

hone_status hone_prepare_convert(hone_prepare_ctx *c, void **state) {
    convert_state *s = HONE_NEW(c->arena, convert_state);
    if (!s)
        return hone_fail(c->err, HONE_E_NOMEM, "no memory for a kernel");
    s->narrows = hone_is_f32(&c->in[0]);
    HONE_REJECT_IF(!(s->narrows && hone_is_bf16(&c->out[0])) &&
                       !(hone_is_bf16(&c->in[0]) && hone_is_f32(&c->out[0])),
                   "not between float32 and bfloat16");
    s->n = hone_count(&c->out[0]);
    s->kernels = hone_vec();
    *state = s;
    return HONE_OK;
}

static void convert_range(void *arg, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const convert_state *s = arg;
    if (s->narrows)
        s->kernels->f32_to_bf16((const float *)s->x + begin, (uint16_t *)s->y + begin, end - begin);
    else
        s->kernels->bf16_to_f32((const uint16_t *)s->x + begin, (float *)s->y + begin, end - begin);
}

hone_status hone_run_convert(hone_op_ctx *c) {
    convert_state s = *(const convert_state *)c->state;
    s.x = hone_in(c, 0)->data;
    s.y = hone_out(c, 0)->data;
    hone_parallel_range(c->pool, s.n, GRAIN, convert_range, &s);
    return HONE_OK;
}

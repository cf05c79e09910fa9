/* Element-wise nodes, single and fused, on the chain kernel. */
#include <string.h>

#include "backend/cpu/eltwise_steps.h"
#include "backend/cpu/impl.h"
#include "backend/cpu/problem.h"

enum { GRAIN = 1 << 15 };

typedef struct eltwise_state {
    hone_ew_program program;
    hone_ew_fn *fn;
    int n_in;
    size_t scratch_bytes; /* of one thread */
} eltwise_state;

/* Strides of an operand against the result's dims; 0 where it is repeated. */
static void strides_of(const hone_type *t, const hone_type *out, int64_t *stride) {
    int64_t step = 1;
    for (int i = out->rank - 1; i >= 0; --i) {
        int k = i - (out->rank - t->rank);
        int64_t dim = k < 0 ? 1 : t->dims[k];
        stride[i] = dim == 1 ? 0 : step;
        step *= dim;
    }
}

/* The one step of a node of ai.onnx, or all those of a fused one. */
static hone_status set_steps(hone_prepare_ctx *c, hone_ew_program *p) {
    const char *reason = "";
    if (hone_is_lowered(c->node, "Eltwise")) {
        p->n_in = c->n_in;
        return hone_eltwise_read(c->node, p)
                   ? HONE_OK
                   : hone_fail(c->err, HONE_E_FORMAT, "the fused steps are damaged");
    }
    bool is_known = hone_eltwise_step(c->node, c->value, &p->steps[0], &reason);
    HONE_REJECT_IF(!is_known, reason);
    p->n_steps = 1;
    p->n_in = hone_ew_arity(p->steps[0].op);
    for (int i = 0; i < p->n_in; ++i)
        p->steps[0].src[i] = (uint8_t)i;
    return HONE_OK;
}

static bool element_type(const hone_type *t, uint8_t *type) {
    *type = hone_is_f32(t) ? HONE_EW_F32 : hone_is_bf16(t) ? HONE_EW_BF16 : HONE_EW_U8;
    return *type != HONE_EW_U8 || t->dtype == HONE_DTYPE_BOOL;
}

static hone_status set_operands(hone_prepare_ctx *c, hone_ew_program *p) {
    for (int i = 0; i < p->n_in; ++i) {
        const hone_type *t = &c->in[i];
        HONE_REJECT_IF(!element_type(t, &p->in_type[i]),
                       "an operand is neither float32, bfloat16 nor boolean");
        strides_of(t, &c->out[0], p->strides[i]);
    }
    return HONE_OK;
}

hone_status hone_prepare_eltwise(hone_prepare_ctx *c, void **state) {
    const hone_type *out = &c->out[0];
    eltwise_state *s = HONE_NEW(c->arena, eltwise_state);
    if (!s)
        return hone_fail(c->err, HONE_E_NOMEM, "no memory for a kernel");
    hone_ew_program *p = &s->program;
    HONE_TRY(set_steps(c, p));
    HONE_REJECT_IF(out->rank > HONE_EW_MAX_RANK, "the rank is too high");
    HONE_REJECT_IF(!element_type(out, &p->out_type[0]),
                   "the result is neither float32, bfloat16 nor boolean");
    p->rank = out->rank;
    memcpy(p->dims, out->dims, sizeof p->dims[0] * (size_t)out->rank);
    if (p->rank == 0) {
        p->rank = 1;
        p->dims[0] = 1;
    }
    HONE_TRY(set_operands(c, p));
    p->n_out = 1;
    p->out_value[0] = (uint8_t)(p->n_in + p->n_steps - 1);
    HONE_REJECT_IF(!hone_ew_prepare(p), "the program does not fit");
    s->n_in = p->n_in;
    s->fn = hone_vec()->eltwise;
    s->scratch_bytes = (hone_ew_scratch_bytes(p) + 63) / 64 * 64;
    c->scratch_bytes = s->scratch_bytes * (size_t)c->n_threads + 64;
    *state = s;
    return HONE_OK;
}

typedef struct eltwise_job {
    const eltwise_state *s;
    const void *in[HONE_EW_MAX_IN];
    void *out[1];
    unsigned char *scratch;
} eltwise_job;

static void eltwise_range(void *arg, int64_t begin, int64_t end, int worker) {
    eltwise_job *j = arg;
    j->s->fn(&j->s->program, j->in, j->out, begin, end,
             j->scratch + (size_t)worker * j->s->scratch_bytes);
}

hone_status hone_run_eltwise(hone_op_ctx *c) {
    const eltwise_state *s = c->state;
    eltwise_job j = {.s = s, .out = {hone_out(c, 0)->data}};
    for (int i = 0; i < s->n_in; ++i)
        j.in[i] = hone_in(c, i)->data;
    j.scratch = hone_op_scratch(c, s->scratch_bytes * (size_t)hone_pool_threads(c->pool) + 1);
    if (!j.scratch)
        return HONE_E_NOMEM;
    hone_parallel_range(c->pool, s->program.n_elements, GRAIN, eltwise_range, &j);
    return HONE_OK;
}

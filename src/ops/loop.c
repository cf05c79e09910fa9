/* Loop and Scan: iterate a body that carries state and gives per-iteration outputs. */
#include <inttypes.h>
#include <string.h>

#include "ops/control.h"
#include "ops/place.h"
#include "ops/steps.h"

/* A running loop: state variables, and what the body gave so far. */
typedef struct looper {
    const hone_graph *body;
    int n_state, n_scan; /* state variables, scan outputs */
    int first_out;       /* body outputs before the state: 1 for Loop's condition */
    hone_tensor *state;  /* handles */
    hone_tensor *result; /* room for the body's outputs */
    hone_steps *steps;   /* one per scan output */
} looper;

static hone_status looper_init(hone_op_ctx *c, looper *l) {
    size_t n_state = (size_t)l->n_state + 1, n_scan = (size_t)l->n_scan + 1;
    l->state = hone_op_scratch(c, n_state * sizeof *l->state);
    l->steps = hone_op_scratch(c, n_scan * sizeof *l->steps);
    if (!l->state || !l->steps)
        return HONE_E_NOMEM;
    memset(l->steps, 0, n_scan * sizeof *l->steps);
    for (size_t i = 0; i < n_state; ++i)
        l->state[i] = (hone_tensor){.kind = HONE_KIND_NONE};
    return hone_control_outputs(c, l->body, &l->result);
}

static void set_state(looper *l, int i, const hone_tensor *t) {
    hone_tensor_release(&l->state[i]);
    if (t)
        hone_tensor_share(&l->state[i], t);
}

/* The body's results become the next state and one more step of each scan output. */
static hone_status take_results(hone_op_ctx *c, looper *l) {
    hone_tensor *r = l->result + l->first_out;
    for (int i = 0; i < l->n_state; ++i) {
        hone_tensor_release(&l->state[i]);
        l->state[i] = r[i];
        r[i] = (hone_tensor){.kind = HONE_KIND_NONE};
    }
    for (int i = 0; i < l->n_scan; ++i)
        HONE_TRY(hone_steps_push(c, &l->steps[i], &r[l->n_state + i]));
    return HONE_OK;
}

static void looper_deinit(looper *l) {
    hone_release_all(l->state, l->n_state);
    hone_release_all(l->result, l->body->n_outputs);
    for (int i = 0; i < l->n_scan; ++i)
        hone_steps_release(&l->steps[i]);
}

static hone_status put_states(hone_op_ctx *c, const looper *l) {
    for (int i = 0; i < l->n_state; ++i)
        HONE_TRY(hone_put(c, i, &l->state[i]));
    return HONE_OK;
}

/* ---- Loop -------------------------------------------------------------------------------------
 */

hone_status hone_infer_loop(hone_infer_ctx *c) {
    const hone_graph *g = hone_attr_graph(c->node, "body");
    int n_state = c->n_in - 2;
    if (!g || n_state < 0 || g->n_inputs != c->n_in || g->n_outputs < 1 + n_state ||
        g->n_outputs - 1 < c->n_out)
        return hone_infer_fail(c, HONE_E_FORMAT,
                               "a body with %d inputs and at least %d outputs is needed", c->n_in,
                               1 + (c->n_out > n_state ? c->n_out : n_state));
    for (int i = 0; i < c->n_out; ++i) {
        const hone_type *t = &g->outputs[1 + i]->type;
        if (i >= n_state) {
            hone_steps_infer(c, i, t, 0, HONE_DIM_UNKNOWN);
            continue;
        }
        /* A body may turn an optional sequence into a sequence: that is what comes out. */
        c->out[i] = hone_common_type(t, &c->in[2 + i]);
        if (t->kind == HONE_KIND_SEQUENCE)
            c->out[i].optional = t->optional;
    }
    return HONE_OK;
}

static hone_status loop_limits(hone_op_ctx *c, int64_t *trips, bool *cond) {
    const hone_tensor *m = hone_in(c, 0);
    *trips = INT64_MAX;
    *cond = true;
    if (m) {
        if (m->kind != HONE_KIND_TENSOR || !hone_dtype_in(m->dtype, HONE_T_INT) ||
            hone_tensor_count(m) != 1)
            return hone_op_fail(c, HONE_E_TYPE, "the trip count must be one integer");
        *trips = hone_load_i64(m->dtype, m->data, 0);
    }
    return hone_in(c, 1) ? hone_read_bool(c, hone_in(c, 1), "the condition", cond) : HONE_OK;
}

static hone_status loop_run(hone_op_ctx *c, looper *l, const hone_tensor **in) {
    int64_t trips = 0, i = 0;
    bool cond = true;
    HONE_TRY(loop_limits(c, &trips, &cond));
    /* The body's condition ends the loop even when none was passed in: where the specification
     * would ignore it, exporters write a constant true. */
    hone_tensor number = hone_tensor_view(HONE_DTYPE_I64, 0, NULL, &i);
    hone_tensor flag = hone_tensor_view(HONE_DTYPE_BOOL, 0, NULL, &cond);
    in[0] = &number;
    in[1] = &flag;
    for (int k = 0; k < l->n_state; ++k)
        in[2 + k] = &l->state[k];
    for (; i < trips && cond; ++i) {
        HONE_TRY(c->host->run_graph(c, l->body, in, c->n_in, l->result, l->body->n_outputs));
        bool next = false;
        HONE_TRY(hone_read_bool(c, &l->result[0], "the body's condition", &next));
        hone_tensor_release(&l->result[0]);
        HONE_TRY(take_results(c, l));
        cond = next;
    }
    HONE_TRY(put_states(c, l));
    for (int k = 0; k < l->n_scan && l->n_state + k < c->n_out; ++k)
        HONE_TRY(hone_steps_stack(c, l->n_state + k, &l->steps[k], 0, false,
                                  &l->body->outputs[1 + l->n_state + k]->type));
    return HONE_OK;
}

hone_status hone_ref_loop(hone_op_ctx *c) {
    looper l = {.body = hone_attr_graph(c->node, "body"), .n_state = c->n_in - 2, .first_out = 1};
    l.n_scan = l.body->n_outputs - 1 - l.n_state;
    HONE_TRY(looper_init(c, &l));
    const hone_tensor **in = hone_op_scratch(c, (size_t)c->n_in * sizeof *in);
    if (!in)
        return HONE_E_NOMEM;
    for (int i = 0; i < l.n_state; ++i)
        set_state(&l, i, hone_in(c, 2 + i));
    hone_status status = loop_run(c, &l, in);
    looper_deinit(&l);
    return status;
}

/* ---- Scan -------------------------------------------------------------------------------------
 */

typedef struct scan_plan {
    int n_state, n_scan_in, n_scan_out;
    const int64_t *in_axis, *out_axis, *in_reverse, *out_reverse; /* NULL: all 0 */
    bool is_8; /* opset 8: a leading sequence_lens input, and a batch dim on everything */
} scan_plan;

/* Counts and attributes; false when they contradict each other. */
static bool plan_scan(const hone_node *n, int n_in, scan_plan *p) {
    const hone_graph *g = hone_attr_graph(n, "body");
    int64_t m = hone_attr_int(n, "num_scan_inputs", -1);
    *p = (scan_plan){.is_8 = hone_attr_int(n, "hone_scan8", 0) != 0};
    n_in -= p->is_8;
    if (!g || m < 1 || m > n_in || g->n_inputs != n_in)
        return false;
    p->n_scan_in = (int)m;
    p->n_state = n_in - p->n_scan_in;
    p->n_scan_out = g->n_outputs - p->n_state;
    if (p->n_scan_out < 0 || n->n_out > g->n_outputs)
        return false;
    int n_in_axis = hone_attr_ints(n, "scan_input_axes", &p->in_axis);
    int n_out_axis = hone_attr_ints(n, "scan_output_axes", &p->out_axis);
    int n_in_rev = hone_attr_ints(n, "scan_input_directions", &p->in_reverse);
    int n_out_rev = hone_attr_ints(n, "scan_output_directions", &p->out_reverse);
    if (p->is_8)
        n_in_rev = hone_attr_ints(n, "directions", &p->in_reverse);
    return (!n_in_axis || n_in_axis == p->n_scan_in) &&
           (!n_out_axis || n_out_axis == p->n_scan_out) &&
           (!n_in_rev || n_in_rev == p->n_scan_in) && (!n_out_rev || n_out_rev == p->n_scan_out);
}

static int64_t flag_at(const int64_t *list, int i) {
    return list ? list[i] : 0;
}

/* The scanned dim of input i, or unknown. */
static int64_t scanned_dim(const hone_type *t, int64_t axis) {
    if (t->kind != HONE_KIND_TENSOR || t->rank < 0 || axis < -t->rank || axis >= t->rank)
        return HONE_DIM_UNKNOWN;
    return t->dims[axis < 0 ? axis + t->rank : axis];
}

hone_status hone_infer_scan(hone_infer_ctx *c) {
    scan_plan p;
    if (!plan_scan(c->node, c->n_in, &p))
        return hone_infer_fail(c, HONE_E_FORMAT, "inputs, attributes and body do not match");
    const hone_graph *g = hone_attr_graph(c->node, "body");
    if (p.is_8)
        return HONE_OK; /* opset 8 has outputs with a batch dim: left to the run */
    int64_t n = scanned_dim(&c->in[p.n_state], flag_at(p.in_axis, 0));
    for (int i = 0; i < c->n_out; ++i) {
        const hone_type *t = &g->outputs[i]->type;
        if (i < p.n_state)
            c->out[i] = hone_common_type(t, &c->in[i]);
        else
            hone_steps_infer(c, i, t, flag_at(p.out_axis, i - p.n_state), n);
    }
    return HONE_OK;
}

/* One scan input: its slices along an axis, as views where they are contiguous. */
typedef struct slicer {
    const hone_tensor *from;
    int axis;
    bool reverse;
    hone_tensor slice;
    void *copy; /* scratch for slices that are not contiguous */
} slicer;

static hone_status slicer_init(hone_op_ctx *c, slicer *s, const hone_tensor *t, int64_t axis,
                               bool reverse, int64_t *n) {
    if (!t || t->kind != HONE_KIND_TENSOR || axis < -t->rank || axis >= t->rank)
        return hone_op_fail(c, HONE_E_SHAPE, "axis %" PRId64 " does not fit a scan input", axis);
    *s = (slicer){.from = t, .reverse = reverse};
    s->axis = (int)(axis < 0 ? axis + t->rank : axis);
    if (*n >= 0 && *n != t->dims[s->axis])
        return hone_op_fail(c, HONE_E_SHAPE, "scan inputs have %" PRId64 " and %" PRId64 " steps",
                            *n, t->dims[s->axis]);
    *n = t->dims[s->axis];
    s->slice = *t;
    s->slice.owner = NULL;
    s->slice.rank--;
    memmove(s->slice.dims + s->axis, s->slice.dims + s->axis + 1,
            (size_t)(s->slice.rank - s->axis) * sizeof s->slice.dims[0]);
    if (s->axis == 0 && hone_dtype_bits(t->dtype) >= 8)
        return HONE_OK;
    s->copy = hone_op_scratch(c, hone_tensor_bytes(&s->slice) + 1);
    return s->copy ? HONE_OK : HONE_E_NOMEM;
}

static void slicer_set(slicer *s, int64_t i, int64_t n) {
    int64_t at = s->reverse ? n - 1 - i : i;
    int64_t inner = hone_dims_count(s->slice.dims, s->axis, s->slice.rank);
    int64_t outer = hone_dims_count(s->slice.dims, 0, s->axis), dim = s->from->dims[s->axis];
    hone_dtype d = s->slice.dtype;
    if (!s->copy) {
        size_t bytes = hone_dtype_bytes(d, inner);
        s->slice.data = (unsigned char *)s->from->data + (size_t)at * bytes;
        return;
    }
    s->slice.data = s->copy;
    for (int64_t o = 0; o < outer; ++o)
        hone_copy_elems(d, s->copy, o * inner, s->from->data, (o * dim + at) * inner, inner);
}

static hone_status scan_steps(hone_op_ctx *c, looper *l, slicer *s, int n_slicers, int64_t n) {
    const hone_tensor **in = hone_op_scratch(c, (size_t)l->body->n_inputs * sizeof *in);
    if (!in)
        return HONE_E_NOMEM;
    for (int k = 0; k < l->n_state; ++k)
        in[k] = &l->state[k];
    for (int k = 0; k < n_slicers; ++k)
        in[l->n_state + k] = &s[k].slice;
    for (int64_t i = 0; i < n; ++i) {
        for (int k = 0; k < n_slicers; ++k)
            slicer_set(&s[k], i, n);
        HONE_TRY(
            c->host->run_graph(c, l->body, in, l->body->n_inputs, l->result, l->body->n_outputs));
        HONE_TRY(take_results(c, l));
    }
    return HONE_OK;
}

static hone_status scan_run(hone_op_ctx *c, looper *l, const scan_plan *p, slicer *s) {
    int64_t n = -1;
    for (int k = 0; k < p->n_scan_in; ++k)
        HONE_TRY(slicer_init(c, &s[k], hone_in(c, p->n_state + k), flag_at(p->in_axis, k),
                             flag_at(p->in_reverse, k) != 0, &n));
    for (int k = 0; k < p->n_state; ++k)
        set_state(l, k, hone_in(c, k));
    HONE_TRY(scan_steps(c, l, s, p->n_scan_in, n));
    HONE_TRY(put_states(c, l));
    for (int k = 0; k < p->n_scan_out && p->n_state + k < c->n_out; ++k)
        HONE_TRY(hone_steps_stack(c, p->n_state + k, &l->steps[k], flag_at(p->out_axis, k),
                                  flag_at(p->out_reverse, k) != 0,
                                  &l->body->outputs[p->n_state + k]->type));
    return HONE_OK;
}

/* ---- Scan of opset 8: a batch of scans of different lengths ---------------------------------- */

/* Item b of a tensor with a leading batch dim, as a view. */
static hone_status batch_item(hone_op_ctx *c, const hone_tensor *t, int64_t b, int64_t n_batch,
                              hone_tensor *item) {
    if (!t || t->kind != HONE_KIND_TENSOR || t->rank < 1 || t->dims[0] != n_batch ||
        hone_dtype_bits(t->dtype) < 8)
        return hone_op_fail(c, HONE_E_SHAPE, "all inputs need the same leading batch dim");
    *item = hone_tensor_view(t->dtype, t->rank - 1, t->dims + 1, NULL);
    item->data = (unsigned char *)t->data + (size_t)b * hone_tensor_bytes(item);
    return HONE_OK;
}

/* Put src into item b of output o, whose dims are n_batch x (pad_to x) src's; made on first use.
 */
static hone_status put_batch_item(hone_op_ctx *c, int o, int64_t b, int64_t n_batch, int64_t pad_to,
                                  int64_t at, const hone_tensor *src) {
    hone_tensor *out = hone_out(c, o);
    int lead = pad_to < 0 ? 1 : 2;
    int64_t dims[HONE_MAX_RANK] = {n_batch, pad_to};
    if (!out)
        return HONE_OK;
    if (src->kind != HONE_KIND_TENSOR || src->rank + lead > HONE_MAX_RANK)
        return hone_op_fail(c, HONE_E_SHAPE, "output %d is no tensor that can be batched", o);
    memcpy(dims + lead, src->dims, (size_t)src->rank * sizeof dims[0]);
    int64_t n = hone_tensor_count(src), steps = pad_to < 0 ? 1 : pad_to;
    if (out->kind == HONE_KIND_NONE) {
        HONE_TRY(hone_op_alloc(c, o, src->dtype, src->rank + lead, dims));
        if (hone_tensor_bytes(out) && out->dtype != HONE_DTYPE_STRING)
            memset(out->data, 0, hone_tensor_bytes(out));
    }
    hone_tensor want = hone_tensor_view(src->dtype, src->rank + lead, dims, NULL);
    if (!hone_same_dims(out, &want) || out->dtype != src->dtype)
        return hone_op_fail(c, HONE_E_SHAPE, "output %d changes its shape", o);
    return hone_place(c, out, (b * steps + at) * n, src, 0, n);
}

static hone_status scan8_item(hone_op_ctx *c, looper *l, const scan_plan *p, slicer *s,
                              hone_tensor *item, int64_t b, int64_t n_batch) {
    const hone_tensor *lens = hone_in(c, 0);
    int64_t n = -1;
    for (int k = 0; k < p->n_state + p->n_scan_in; ++k) {
        HONE_TRY(batch_item(c, hone_in(c, 1 + k), b, n_batch, &item[k]));
        if (k < p->n_state)
            set_state(l, k, &item[k]);
        else
            HONE_TRY(slicer_init(c, &s[k - p->n_state], &item[k], 0,
                                 flag_at(p->in_reverse, k - p->n_state) != 0, &n));
    }
    int64_t steps = n;
    if (lens) {
        if (lens->dtype != HONE_DTYPE_I64 || hone_tensor_count(lens) != n_batch)
            return hone_op_fail(c, HONE_E_SHAPE, "sequence_lens needs one int64 per batch item");
        steps = ((const int64_t *)lens->data)[b];
        if (steps < 0 || steps > n)
            return hone_op_fail(c, HONE_E_RUNTIME,
                                "sequence length %" PRId64 " is outside 0..%" PRId64, steps, n);
    }
    HONE_TRY(scan_steps(c, l, s, p->n_scan_in, steps));
    for (int k = 0; k < p->n_state; ++k)
        HONE_TRY(put_batch_item(c, k, b, n_batch, -1, 0, &l->state[k]));
    for (int k = 0; k < p->n_scan_out; ++k) {
        for (int64_t i = 0; i < l->steps[k].n; ++i)
            HONE_TRY(put_batch_item(c, p->n_state + k, b, n_batch, n, i, &l->steps[k].item[i]));
        hone_steps_release(&l->steps[k]);
    }
    return HONE_OK;
}

static hone_status scan8_run(hone_op_ctx *c, looper *l, const scan_plan *p, slicer *s) {
    const hone_tensor *first = hone_in(c, 1);
    hone_tensor *item = hone_op_scratch(c, (size_t)(p->n_state + p->n_scan_in) * sizeof *item);
    if (!item)
        return HONE_E_NOMEM;
    int64_t n_batch =
        first && first->kind == HONE_KIND_TENSOR && first->rank > 0 ? first->dims[0] : 0;
    for (int64_t b = 0; b < n_batch; ++b)
        HONE_TRY(scan8_item(c, l, p, s, item, b, n_batch));
    for (int o = 0; o < c->n_out; ++o) {
        if (hone_out(c, o) && hone_out(c, o)->kind == HONE_KIND_NONE)
            return hone_op_fail(c, HONE_E_UNSUPPORTED,
                                "output %d of a scan without iterations has no known type", o);
    }
    return HONE_OK;
}

hone_status hone_ref_scan(hone_op_ctx *c) {
    scan_plan p;
    if (!plan_scan(c->node, c->n_in, &p))
        return hone_op_fail(c, HONE_E_FORMAT, "inputs, attributes and body do not match");
    looper l = {
        .body = hone_attr_graph(c->node, "body"), .n_state = p.n_state, .n_scan = p.n_scan_out};
    HONE_TRY(looper_init(c, &l));
    slicer *s = hone_op_scratch(c, (size_t)p.n_scan_in * sizeof *s);
    if (!s)
        return HONE_E_NOMEM;
    hone_status status = p.is_8 ? scan8_run(c, &l, &p, s) : scan_run(c, &l, &p, s);
    looper_deinit(&l);
    return status;
}

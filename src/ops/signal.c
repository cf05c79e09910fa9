/* DFT, STFT and MelWeightMatrix (ONNX operator specification). */
#include <inttypes.h>
#include <math.h>

#include "ops/fft.h"

/* A scalar integer input: *v, or HONE_DIM_UNKNOWN when it is not known yet. */
static void known_scalar(const hone_infer_ctx *c, int i, int64_t *v) {
    const hone_tensor *t = hone_infer_value(c, i);
    *v = t && hone_tensor_count(t) == 1 && hone_dtype_in(t->dtype, HONE_T_INT)
             ? hone_load_i64(t->dtype, t->data, 0)
             : HONE_DIM_UNKNOWN;
}

static bool present(const hone_infer_ctx *c, int i) {
    return i < c->n_in && c->node->in[i];
}

/* ---- DFT ------------------------------------------------------------------------------------ */

static int64_t dft_bins(int64_t n, bool onesided, bool inverse) {
    return n < 0 ? HONE_DIM_UNKNOWN : onesided && !inverse ? n / 2 + 1 : n;
}

hone_status hone_infer_dft(hone_infer_ctx *c) {
    HONE_TRY(hone_infer_need(c, 0x1));
    const hone_type *x = &c->in[0];
    if (!hone_infer_has(c, 0) || x->rank < 0) {
        hone_infer_set(c, 0, x->dtype, -1, NULL);
        return HONE_OK;
    }
    if (x->rank < 2)
        return hone_infer_fail(c, HONE_E_SHAPE, "the input must have rank 2 or more");
    bool inverse = hone_attr_int(c->node, "inverse", 0) != 0;
    bool onesided = hone_attr_int(c->node, "onesided", 0) != 0;
    int64_t dims[HONE_MAX_RANK], axis_value = -2, n;
    int axis, last = x->rank - 1;
    memcpy(dims, x->dims, (size_t)x->rank * sizeof *dims);
    if (dims[last] >= 0 && dims[last] != 1 && dims[last] != 2)
        return hone_infer_fail(c, HONE_E_SHAPE, "the last dim must be 1 (real) or 2 (complex)");
    dims[last] = inverse && onesided ? 1 : 2;
    if (present(c, 2) && !hone_infer_value(c, 2)) {
        for (int i = 0; i < last; ++i)
            dims[i] = HONE_DIM_UNKNOWN;
        hone_infer_set(c, 0, x->dtype, x->rank, dims);
        return HONE_OK;
    }
    if (present(c, 2)) {
        if (hone_tensor_count(c->value[2]) != 1 || c->value[2]->dtype != HONE_DTYPE_I64)
            return hone_infer_fail(c, HONE_E_SHAPE, "axis must be one int64");
        axis_value = hone_load_i64(HONE_DTYPE_I64, c->value[2]->data, 0);
    }
    HONE_TRY(hone_infer_axis(c, axis_value, x->rank, false, &axis));
    if (axis == last)
        return hone_infer_fail(c, HONE_E_SHAPE, "the axis of the transform cannot be the last");
    if (present(c, 1))
        known_scalar(c, 1, &n);
    else
        n = dims[axis] < 0 ? dims[axis] : inverse && onesided ? 2 * (dims[axis] - 1) : dims[axis];
    if (n >= 0 || n == HONE_DIM_UNKNOWN || (onesided || inverse))
        n = dft_bins(n, onesided, inverse);
    if (present(c, 1) && hone_infer_value(c, 1) && n < 1)
        return hone_infer_fail(c, HONE_E_SHAPE, "dft_length must be 1 or more");
    dims[axis] = n;
    hone_infer_set(c, 0, x->dtype, x->rank, dims);
    return HONE_OK;
}

static double load_real(hone_dtype d, const void *data, int64_t i) {
    return d == HONE_DTYPE_F32 ? (double)((const float *)data)[i] : hone_load_f64(d, data, i);
}

static void store_real(hone_dtype d, void *data, int64_t i, double v) {
    if (d == HONE_DTYPE_F32)
        ((float *)data)[i] = (float)v;
    else
        hone_store_f64(d, data, i, v);
}

/* Many transforms: line `l` of the input starts at element in_at(l) and has n_in valid steps. */
typedef struct lines {
    const hone_fft *fft;
    const hone_tensor *x, *window; /* window may be NULL */
    hone_tensor *y;
    int64_t inner;           /* DFT: elements between two steps of the axis */
    int64_t n_axis, n_out;   /* steps in the input and the output */
    int64_t frames, hop;     /* STFT: frames of a signal, step between them */
    int parts_in, parts_out; /* 1 real, 2 complex */
    bool inverse, onesided;
    hone_cpx *work;
} lines;

static hone_cpx load_cpx(const lines *l, int64_t at) {
    hone_dtype d = l->x->dtype;
    double im = l->parts_in == 2 ? load_real(d, l->x->data, at * 2 + 1) : 0;
    return (hone_cpx){load_real(d, l->x->data, at * l->parts_in), im};
}

/* The upper half of a real signal's spectrum from the lower one. */
static void mirror(hone_cpx *v, int64_t n) {
    v[0].im = 0;
    if (n % 2 == 0)
        v[n / 2].im = 0;
    for (int64_t i = n / 2 + 1; i < n; ++i)
        v[i] = (hone_cpx){v[n - i].re, -v[n - i].im};
}

static void run_line(void *arg, int64_t line, int worker) {
    const lines *l = arg;
    int64_t n = l->fft->n;
    hone_cpx *v = l->work + worker * (n + l->fft->m), *temp = v + n;
    bool irfft = l->inverse && l->onesided;
    int64_t in_step = l->frames ? 1 : l->inner, out_step = in_step;
    int64_t in_at = l->frames ? line / l->frames * l->n_axis + line % l->frames * l->hop
                              : line / l->inner * l->n_axis * l->inner + line % l->inner;
    int64_t out_at =
        l->frames ? line * l->n_out : line / l->inner * l->n_out * l->inner + line % l->inner;
    int64_t n_in = irfft ? n / 2 + 1 : n;
    if (!l->frames && n_in > l->n_axis)
        n_in = l->n_axis;
    for (int64_t i = 0; i < n; ++i)
        v[i] = i < n_in ? load_cpx(l, in_at + i * in_step) : (hone_cpx){0, 0};
    for (int64_t i = 0; l->window && i < n; ++i) {
        double w = load_real(l->window->dtype, l->window->data, i);
        v[i] = (hone_cpx){v[i].re * w, v[i].im * w};
    }
    if (irfft)
        mirror(v, n);
    hone_fft_run(l->fft, v, l->inverse, temp);
    double scale = l->inverse ? 1 / (double)n : 1;
    for (int64_t i = 0; i < l->n_out; ++i) {
        int64_t at = (out_at + i * out_step) * l->parts_out;
        store_real(l->y->dtype, l->y->data, at, v[i].re * scale);
        if (l->parts_out == 2)
            store_real(l->y->dtype, l->y->data, at + 1, v[i].im * scale);
    }
}

static hone_status run_lines(hone_op_ctx *c, lines *l, int64_t n_lines, int64_t n) {
    hone_fft fft;
    if (n_lines == 0 || l->n_out == 0)
        return HONE_OK;
    HONE_TRY(hone_fft_init(c, &fft, n));
    l->fft = &fft;
    l->work = hone_op_array(c, n + fft.m, sizeof(hone_cpx) * (size_t)hone_pool_threads(c->pool));
    if (!l->work)
        return HONE_E_NOMEM;
    hone_op_parallel(c, n_lines, run_line, l);
    return HONE_OK;
}

hone_status hone_ref_dft(hone_op_ctx *c) {
    const hone_tensor *x = c->in[0], *length = hone_in(c, 1), *axis_in = hone_in(c, 2);
    lines l = {.x = x, .y = c->out[0]};
    if (!hone_dtype_in(x->dtype, HONE_T_FLOAT))
        return hone_op_bad_type(c, x->dtype);
    int64_t axis = axis_in ? hone_load_i64(axis_in->dtype, axis_in->data, 0) : -2;
    axis += axis < 0 ? x->rank : 0;
    l.inverse = hone_attr_int(c->node, "inverse", 0) != 0;
    l.onesided = hone_attr_int(c->node, "onesided", 0) != 0;
    l.parts_in = (int)x->dims[x->rank - 1];
    l.parts_out = (int)l.y->dims[x->rank - 1];
    l.inner = hone_dims_count(x->dims, (int)axis + 1, x->rank - 1);
    l.n_axis = x->dims[axis];
    l.n_out = l.y->dims[axis];
    int64_t n = l.onesided && !l.inverse ? l.n_axis : l.n_out;
    if (length)
        n = hone_load_i64(length->dtype, length->data, 0);
    return run_lines(c, &l, hone_dims_count(x->dims, 0, (int)axis) * l.inner, n);
}

/* ---- STFT ----------------------------------------------------------------------------------- */

hone_status hone_infer_stft(hone_infer_ctx *c) {
    HONE_TRY(hone_infer_need(c, 0x3));
    const hone_type *x = &c->in[0];
    int64_t dims[4] = {HONE_DIM_UNKNOWN, HONE_DIM_UNKNOWN, HONE_DIM_UNKNOWN, 2};
    int64_t step, frame = HONE_DIM_UNKNOWN, signal = HONE_DIM_UNKNOWN;
    if (hone_infer_has(c, 0) && x->rank >= 0) {
        if (x->rank != 3 || (x->dims[2] >= 0 && x->dims[2] != 1 && x->dims[2] != 2))
            return hone_infer_fail(c, HONE_E_SHAPE, "the signal must be [batch, length, 1 or 2]");
        dims[0] = x->dims[0];
        signal = x->dims[1];
    }
    known_scalar(c, 1, &step);
    if (present(c, 2) && hone_infer_has(c, 2) && c->in[2].rank >= 0) {
        if (c->in[2].rank != 1)
            return hone_infer_fail(c, HONE_E_SHAPE, "the window must have rank 1");
        frame = c->in[2].dims[0];
    }
    if (present(c, 3)) {
        int64_t n;
        known_scalar(c, 3, &n);
        HONE_TRY(hone_infer_same_dim(c, frame, n, &frame));
    } else if (!present(c, 2)) {
        frame = signal;
    }
    if ((hone_infer_value(c, 1) && step < 1) || frame == 0 || (hone_infer_value(c, 3) && frame < 1))
        return hone_infer_fail(c, HONE_E_SHAPE, "frame_step and frame length must be 1 or more");
    if (frame > 0)
        dims[2] = dft_bins(frame, hone_attr_int(c->node, "onesided", 1) != 0, false);
    if (frame > 0 && signal >= 0 && step > 0)
        dims[1] = signal < frame ? 0 : (signal - frame) / step + 1;
    hone_infer_set(c, 0, x->dtype, 4, dims);
    return HONE_OK;
}

hone_status hone_ref_stft(hone_op_ctx *c) {
    const hone_tensor *x = c->in[0], *length = hone_in(c, 3);
    lines l = {.x = x, .y = c->out[0], .window = hone_in(c, 2), .parts_out = 2};
    if (!hone_dtype_in(x->dtype, HONE_T_FLOAT))
        return hone_op_bad_type(c, x->dtype);
    l.hop = hone_load_i64(c->in[1]->dtype, c->in[1]->data, 0);
    l.onesided = hone_attr_int(c->node, "onesided", 1) != 0;
    l.parts_in = (int)x->dims[2];
    l.n_axis = x->dims[1];
    l.frames = l.y->dims[1];
    l.n_out = l.y->dims[2];
    int64_t n = l.window ? l.window->dims[0]
                : length ? hone_load_i64(length->dtype, length->data, 0)
                         : x->dims[1];
    return run_lines(c, &l, x->dims[0] * l.frames, n);
}

/* ---- MelWeightMatrix ------------------------------------------------------------------------ */

hone_status hone_infer_mel_weights(hone_infer_ctx *c) {
    HONE_TRY(hone_infer_need(c, 0x1f));
    int64_t dims[2], n;
    known_scalar(c, 0, &dims[1]);
    known_scalar(c, 1, &n);
    if ((hone_infer_value(c, 0) && dims[1] < 0) || (hone_infer_value(c, 1) && n < 0))
        return hone_infer_fail(c, HONE_E_SHAPE, "num_mel_bins and dft_length must not be negative");
    dims[0] = dft_bins(n, true, false);
    int64_t d = hone_attr_int(c->node, "output_datatype", HONE_DTYPE_F32);
    if (d < 0 || d >= HONE_DTYPE_COUNT || !hone_dtype_in((hone_dtype)d, HONE_T_NUM))
        return hone_infer_fail(c, HONE_E_FORMAT, "output_datatype %" PRId64 " is not numeric", d);
    hone_infer_set(c, 0, (hone_dtype)d, 2, dims);
    return HONE_OK;
}

typedef struct mel {
    double low, step, per_hertz; /* in mel; spectrogram bins a hertz */
} mel;

/* Spectrogram bin of edge i of the triangles. */
static double mel_edge(const mel *m, int64_t i) {
    double hertz = 700 * expm1((m->low + (double)i * m->step) / 2595 * log(10));
    return floor(hertz * m->per_hertz);
}

hone_status hone_ref_mel_weights(hone_op_ctx *c) {
    hone_tensor *y = c->out[0];
    double in[5];
    for (int i = 0; i < 5; ++i) {
        if (hone_tensor_count(c->in[i]) != 1)
            return hone_op_fail(c, HONE_E_SHAPE, "input %d must be a scalar", i);
        in[i] = hone_load_f64(c->in[i]->dtype, c->in[i]->data, 0);
    }
    int64_t bins = y->dims[0], n_mel = y->dims[1], n = bins * n_mel;
    mel m = {.low = 2595 * log1p(in[3] / 700) / log(10), .per_hertz = (in[1] + 1) / in[2]};
    m.step = (2595 * log1p(in[4] / 700) / log(10) - m.low) / (double)(n_mel + 2);
    double last = mel_edge(&m, n_mel + 1);
    if (in[2] <= 0 || !(mel_edge(&m, 0) >= 0) || !(last <= (double)bins) || !(m.step >= 0))
        return hone_op_fail(c, HONE_E_RUNTIME,
                            "edges of %g to %g Hz do not fit the spectrum of a sample rate of %g",
                            in[3], in[4], in[2]);
    for (int64_t i = 0; i < n; ++i)
        hone_store_f64(y->dtype, y->data, i, 0);
    for (int64_t i = 0; i < n_mel; ++i) {
        int64_t lo = (int64_t)mel_edge(&m, i), mid = (int64_t)mel_edge(&m, i + 1);
        int64_t hi = (int64_t)mel_edge(&m, i + 2);
        for (int64_t j = lo; j < hi && j < bins; ++j) {
            double v = j < mid ? (double)(j - lo) / (double)(mid - lo)
                               : (double)(hi - j) / (double)(hi - mid);
            hone_store_f64(y->dtype, y->data, j * n_mel + i, v);
        }
        if (mid < bins)
            hone_store_f64(y->dtype, y->data, mid * n_mel + i, 1);
    }
    return HONE_OK;
}

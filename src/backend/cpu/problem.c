#include <string.h>

#include "backend/cpu/problem.h"

#include "kernels/deconv.h"

static void read_act(const hone_node *n, hone_conv *p) {
    p->act = (hone_act)hone_attr_int(n, "act", HONE_ACT_NONE);
    p->a = hone_attr_float(n, "act_a", 0);
    p->b = hone_attr_float(n, "act_b", 0);
    p->has_residual = n->n_in > HONE_IN_RESIDUAL && n->in[HONE_IN_RESIDUAL];
}

static hone_elem elem_of(hone_dtype d) {
    return d == HONE_DTYPE_BF16 ? HONE_ELEM_BF16 : HONE_ELEM_F32;
}

static hone_status gemm_problem(const hone_node *n, const hone_type *x, hone_conv *p) {
    int64_t k = x->dims[x->rank - 1];
    *p = hone_conv_gemm(hone_dims_count(x->dims, 0, x->rank - 1),
                        hone_attr_int(n, "out_channels", 0), k);
    return HONE_OK;
}

/* One spatial axis is a row of a picture. */
static hone_status conv_problem(const hone_node *n, const hone_type *x, const hone_type *y,
                                hone_conv *p) {
    const int64_t *k, *s, *d, *pad;
    int axes = hone_attr_ints(n, "kernel", &k);
    if (axes < 1 || axes > 2 || x->rank != axes + 2 || y->rank != x->rank ||
        hone_attr_ints(n, "strides", &s) != axes || hone_attr_ints(n, "dilations", &d) != axes ||
        hone_attr_ints(n, "pads", &pad) != 2 * axes)
        return HONE_E_FORMAT;
    const int64_t more = hone_attr_int(n, "more_channels", 0);
    if (more < 0 || more > INT32_MAX)
        return HONE_E_FORMAT;
    int h = axes == 2 ? 0 : -1, w = axes - 1;
    bool is_planar = hone_attr_int(n, "planar", 0) != 0;
    int first = is_planar ? 2 : 1; /* spatial axis of x */
    *p = (hone_conv){
        .n = x->dims[0],
        .ih = h < 0 ? 1 : x->dims[first],
        .iw = x->dims[first + w],
        .ic = x->dims[is_planar ? 1 : axes + 1],
        .oh = h < 0 ? 1 : y->dims[1],
        .ow = y->dims[axes],
        .oc = y->dims[axes + 1],
        .groups = hone_attr_int(n, "group", 1),
        .kh = h < 0 ? 1 : k[h],
        .kw = k[w],
        .sh = h < 0 ? 1 : s[h],
        .sw = s[w],
        .dh = h < 0 ? 1 : d[h],
        .dw = d[w],
        .pt = h < 0 ? 0 : pad[h],
        .pl = pad[w],
        .is_planar = is_planar,
        .ic2 = more,
        .ldx2 = more,
    };
    p->ldx = p->ic;
    p->ic += more;
    p->ldy = p->ldr = p->oc;
    return HONE_OK;
}

hone_status hone_problem(const hone_node *n, const hone_type *x, const hone_type *y, hone_conv *p,
                         hone_error *err) {
    hone_status status =
        hone_is_lowered(n, "Gemm") ? gemm_problem(n, x, p) : conv_problem(n, x, y, p);
    if (status != HONE_OK)
        return hone_fail(err, status, "the node's attributes and shapes do not fit");
    read_act(n, p);
    p->x_storage = elem_of(x->dtype);
    p->y_storage = elem_of((hone_dtype)hone_attr_int(n, "to", (int64_t)x->dtype));
    return hone_conv_check(p, err);
}

enum { LIKELY_SIZE = 56, LIKELY_ROWS = 128 };

/* Input channels as the weight has them: the input's type may leave them open. */
static int64_t weight_channels(const hone_node *n) {
    const hone_tensor *w = n->in[HONE_IN_WEIGHT]->constant;
    if (hone_is_lowered(n, "ConvTranspose"))
        return w->dims[0];
    return w->dims[1] * hone_attr_int(n, "group", 1);
}

/* A size for an open spatial axis that the window fits into. */
static int64_t likely_size(const hone_node *n, int axis) {
    const int64_t *kernel, *dilation;
    int axes = hone_attr_ints(n, "kernel", &kernel);
    bool has_axis = axis < axes && hone_attr_ints(n, "dilations", &dilation) == axes;
    int64_t reach = has_axis ? kernel[axis] * dilation[axis] : 0;
    return reach > LIKELY_SIZE ? reach : LIKELY_SIZE;
}

hone_status hone_nominal_problem(const hone_node *n, const hone_type *x, hone_conv *p,
                                 hone_error *err) {
    hone_type in = *x, out;
    bool is_gemm = hone_is_lowered(n, "Gemm");
    int channels = hone_attr_int(n, "planar", 0) ? 1 : in.rank - 1;
    if (in.rank <= channels)
        return hone_fail(err, HONE_E_FORMAT, "the node's attributes and shapes do not fit");
    in.dims[channels] = is_gemm ? hone_attr_int(n, "k", 0) : weight_channels(n);
    for (int i = 0; i < in.rank; ++i) {
        int axis = i > channels ? i - 2 : i - 1; /* spatial */
        if (i != channels && in.dims[i] <= 0)
            in.dims[i] = i == 0 ? 1 : is_gemm ? LIKELY_ROWS : likely_size(n, axis);
    }
    out = in;
    if (is_gemm)
        return hone_problem(n, &in, &in, p, err);
    hone_infer_ctx c = {.node = n, .n_in = 1, .n_out = 1, .in = &in, .out = &out, .err = err};
    HONE_TRY(n->op->infer(&c));
    return hone_problem(n, &in, &out, p, err);
}

hone_status hone_dense_problem(const hone_node *n, hone_conv *p, hone_error *err) {
    HONE_TRY(hone_nominal_problem(n, &n->in[HONE_IN_X]->type, p, err));
    if (!hone_is_lowered(n, "ConvTranspose"))
        return HONE_OK;
    *p = hone_deconv_gemm(p);
    return hone_conv_check(p, err);
}

const hone_conv_kernel *hone_conv_kernel_find(const char *name) {
    int n;
    const hone_conv_kernel *const *all = hone_conv_kernels(&n);
    for (int i = 0; i < n; ++i) {
        if (strcmp(all[i]->name, name) == 0 && all[i]->isa <= hone_cpu_isa())
            return all[i];
    }
    return NULL;
}

/* Convolutions and pooling become hone.Conv, hone.ConvTranspose and hone.Pool, channels-last. */
#include <string.h>

#include "backend/cpu/layout_walk.h"
#include "kernels/conv.h"
#include "ops/conv_shape.h"

static hone_node *lowered_node(hone_layout *l, const hone_node *n, const char *op,
                               hone_value *const *in, int n_in, hone_value *out) {
    hone_node *made = hone_node_create(l->g, hone_op_find("hone", op), n->name, in, n_in, &out, 1);
    if (!made) {
        l->is_out_of_memory = true;
        return NULL;
    }
    made->origin = n->origin;
    return made;
}

static bool is_f32(const hone_value *v) {
    return v && v->type.kind == HONE_KIND_TENSOR && v->type.dtype == HONE_DTYPE_F32;
}

static void set_window(hone_layout *l, hone_node *n, const hone_window *w) {
    int64_t pads[2 * HONE_WINDOW_MAX];
    for (int d = 0; d < w->n; ++d) {
        pads[d] = w->pad[d];
        pads[w->n + d] = w->pad_end[d];
    }
    if (!hone_attr_set_ints(l->g, n, "kernel", w->kernel, w->n) ||
        !hone_attr_set_ints(l->g, n, "strides", w->stride, w->n) ||
        !hone_attr_set_ints(l->g, n, "dilations", w->dilation, w->n) ||
        !hone_attr_set_ints(l->g, n, "pads", pads, 2 * w->n))
        l->is_out_of_memory = true;
}

/* SAME padding depends on the input's size, so that has to be known. */
static bool read_window(const hone_node *n, const hone_type *x, const int64_t *kernel,
                        hone_window *w) {
    const char *auto_pad = hone_attr_string(n, "auto_pad", "NOTSET");
    for (int d = 2; strncmp(auto_pad, "SAME_", 5) == 0 && d < x->rank; ++d) {
        if (x->dims[d] < 0)
            return false;
    }
    if (hone_window_read(n, x->rank - 2, x->dims + 2, kernel, w))
        return false;
    for (int d = 0; d < w->n; ++d) {
        if (w->pad[d] < 0 || w->pad_end[d] < 0)
            return false;
    }
    return true;
}

/* A picture that nobody has made channels-last yet is read as it comes. */
static bool stays_planar(const hone_layout *l, const hone_node *n, const hone_window *w) {
    const hone_value *x = n->in[0];
    const hone_tensor *weight = n->in[1]->constant;
    return w->n == 2 && !hone_layout_has_twin(l, x) &&
           hone_conv_takes_planar(weight->dims[1], w->kernel[0], w->kernel[1],
                                  hone_attr_int(n, "group", 1));
}

static bool lower_conv(hone_layout *l, hone_node *n) {
    hone_value *x = n->in[0], *w = n->in[1], *bias = n->n_in > 2 ? n->in[2] : NULL;
    hone_window win;
    if (!is_f32(x) || x->type.rank < 3 || x->type.rank > 4 || !is_f32(w) || !w->constant ||
        (bias && (!bias->constant || bias->constant->dtype != HONE_DTYPE_F32)))
        return false;
    if (w->constant->rank != x->type.rank || hone_tensor_count(w->constant) == 0 ||
        !read_window(n, &x->type, w->constant->dims + 2, &win))
        return false;
    bool is_planar = stays_planar(l, n, &win);
    hone_value *in[3] = {is_planar ? x : hone_layout_last(l, x), w, bias};
    hone_node *made = lowered_node(l, n, "Conv", in, 3, hone_layout_output(l, n, 0));
    if (!made)
        return true;
    set_window(l, made, &win);
    if (is_planar && !hone_attr_set_int(l->g, made, "planar", 1))
        l->is_out_of_memory = true;
    if (!hone_attr_set_int(l->g, made, "group", hone_attr_int(n, "group", 1)) ||
        !hone_attr_set_int(l->g, made, "out_channels", w->constant->dims[0]))
        l->is_out_of_memory = true;
    hone_layout_emit(l, made);
    return true;
}

/* Padding by rule, or to a given shape, is left to the reference. */
static bool lower_deconv(hone_layout *l, hone_node *n) {
    hone_value *x = n->in[0], *w = n->in[1], *bias = n->n_in > 2 ? n->in[2] : NULL;
    const int64_t *unused, *extra;
    int64_t none[HONE_WINDOW_MAX] = {0};
    hone_window win;
    if (!is_f32(x) || x->type.rank < 3 || x->type.rank > 4 || !is_f32(w) || !w->constant ||
        (bias && (!bias->constant || bias->constant->dtype != HONE_DTYPE_F32)) ||
        hone_attr_int(n, "group", 1) != 1 || hone_attr_ints(n, "output_shape", &unused) ||
        strcmp(hone_attr_string(n, "auto_pad", "NOTSET"), "NOTSET") != 0)
        return false;
    if (w->constant->rank != x->type.rank || hone_tensor_count(w->constant) == 0 ||
        !read_window(n, &x->type, w->constant->dims + 2, &win))
        return false;
    if (hone_attr_ints(n, "output_padding", &extra) != win.n)
        extra = none;
    hone_value *in[3] = {hone_layout_last(l, x), w, bias};
    hone_node *made = lowered_node(l, n, "ConvTranspose", in, 3, hone_layout_output(l, n, 0));
    if (!made)
        return true;
    set_window(l, made, &win);
    if (!hone_attr_set_ints(l->g, made, "output_padding", extra, win.n) ||
        !hone_attr_set_int(l->g, made, "out_channels", w->constant->dims[1]))
        l->is_out_of_memory = true;
    hone_layout_emit(l, made);
    return true;
}

static bool lower_pool(hone_layout *l, hone_node *n) {
    hone_value *x = n->in[0];
    hone_window w;
    if (!is_f32(x) || x->type.rank != 4 || !hone_layout_has_twin(l, x) ||
        (n->n_out > 1 && n->out[1]) || !read_window(n, &x->type, NULL, &w))
        return false;
    hone_value *in = hone_layout_last(l, x);
    hone_node *made = lowered_node(l, n, "Pool", &in, 1, hone_layout_output(l, n, 0));
    if (!made)
        return true;
    set_window(l, made, &w);
    if (!hone_attr_set_int(l->g, made, "is_max", strcmp(n->op_name, "MaxPool") == 0) ||
        !hone_attr_set_int(l->g, made, "count_include_pad",
                           hone_attr_int(n, "count_include_pad", 0)) ||
        !hone_attr_set_int(l->g, made, "ceil_mode", hone_attr_int(n, "ceil_mode", 0)))
        l->is_out_of_memory = true;
    hone_layout_emit(l, made);
    return true;
}

bool hone_layout_window(hone_layout *l, hone_node *n) {
    if (strcmp(n->op_name, "Conv") == 0)
        return lower_conv(l, n);
    if (strcmp(n->op_name, "ConvTranspose") == 0)
        return lower_deconv(l, n);
    if (strcmp(n->op_name, "MaxPool") == 0 || strcmp(n->op_name, "AveragePool") == 0)
        return lower_pool(l, n);
    return false;
}

#include "tflite/window.h"

#include <float.h>
#include <string.h>

static const char *CURE_STATIC = "give the input's size: --shape NAME=1x3x224x224";

/* Attribute values for height and width; the last ones are the node's. */
static void read_pair(const hone_node *n, const char *name, int n_spatial, int64_t *pair) {
    const int64_t *v;
    int count = hone_attr_ints(n, name, &v);
    pair[0] = pair[1] = 1;
    for (int i = 0; i < n_spatial && i < count; ++i)
        pair[2 - n_spatial + i] = v[i];
}

static void read_pads(const hone_node *n, tfl_window *w) {
    const int64_t *v;
    int s = w->n_spatial, count = hone_attr_ints(n, "pads", &v);
    for (int i = 0; i < s && count == 2 * s; ++i) {
        w->begin[2 - s + i] = v[i];
        w->end[2 - s + i] = v[s + i];
    }
}

/* What SAME pads in all. */
static int64_t same_total(const tfl_window *w, int i) {
    int64_t out = (w->in[i] + w->stride[i] - 1) / w->stride[i];
    int64_t total = (out - 1) * w->stride[i] + (w->kernel[i] - 1) * w->dilation[i] + 1 - w->in[i];
    return total > 0 ? total : 0;
}

static void apply_auto_pad(const char *mode, tfl_window *w) {
    for (int i = 0; i < 2; ++i) {
        int64_t total = same_total(w, i), half = total / 2;
        bool is_lower = strcmp(mode, "SAME_LOWER") == 0;
        w->begin[i] = is_lower ? total - half : half;
        w->end[i] = is_lower ? half : total - half;
    }
}

/* Pooling with ceil_mode: a last window may reach beyond the padding: pad for it. */
static void cover_windows(tfl_window *w) {
    for (int i = 0; i < 2; ++i) {
        int64_t reach = (w->out[i] - 1) * w->stride[i] + (w->kernel[i] - 1) * w->dilation[i] + 1;
        int64_t have = w->in[i] + w->begin[i] + w->end[i];
        if (w->in[i] >= 0 && w->out[i] >= 0 && reach > have)
            w->end[i] += reach - have;
    }
}

bool tfl_window_read(tfl_legal *l, const hone_node *n, const int64_t *kernel, tfl_window *w) {
    const hone_value *x = n->in[0], *y = n->out[0];
    int s = tfl_rank(x) - 2;
    if (s < 1 || s > 2) {
        tfl_refuse(l, n, "unsupported-rank", "use one or two spatial dims",
                   "windows over %d spatial dims have no equivalent", s);
        return false;
    }
    *w = (tfl_window){.n_spatial = s, .in = {1, 1}, .out = {1, 1}};
    read_pair(n, "kernel_shape", s, w->kernel);
    read_pair(n, "strides", s, w->stride);
    read_pair(n, "dilations", s, w->dilation);
    for (int i = 0; i < s; ++i) {
        int at = 2 - s + i;
        w->in[at] = x->type.dims[2 + i] < 0 ? -1 : x->type.dims[2 + i];
        w->out[at] = y->type.dims[2 + i] < 0 ? -1 : y->type.dims[2 + i];
        if (kernel)
            w->kernel[at] = kernel[i];
    }
    const char *mode = hone_attr_string(n, "auto_pad", "NOTSET");
    bool is_same = strncmp(mode, "SAME", 4) == 0;
    if (is_same && (w->in[0] < 0 || w->in[1] < 0)) {
        tfl_refuse(l, n, "dynamic-size", CURE_STATIC, "auto_pad %s of an image of unknown size",
                   mode);
        return false;
    }
    if (is_same)
        apply_auto_pad(mode, w);
    else if (strcmp(mode, "NOTSET") == 0)
        read_pads(n, w);
    if (!kernel)
        cover_windows(w);
    return true;
}

static void to_four(const int32_t *dims, int rank, int32_t *four) {
    four[0] = dims[0];
    four[1] = rank == 4 ? dims[1] : 1;
    four[2] = dims[rank - 2];
    four[3] = dims[rank - 1];
}

int tfl_window_input(tfl_legal *l, const hone_value *x, const tfl_window *w) {
    int perm[TFL_MAX_RANK];
    tfl_channels_last(tfl_rank(x), perm);
    int tensor = tfl_take(l, x, perm);
    if (w->n_spatial == 2 || tensor < 0)
        return tensor;
    int32_t four[4];
    to_four(l->model.tensors[tensor].dims, 3, four);
    return tfl_reshape(l, tensor, 4, four);
}

int tfl_window_output(tfl_legal *l, const hone_value *y, const tfl_window *w) {
    int perm[TFL_MAX_RANK], rank = tfl_rank(y);
    int32_t dims[TFL_MAX_RANK] = {0}, four[4];
    tfl_channels_last(rank, perm);
    if (w->n_spatial == 2)
        return tfl_give(l, y, perm);
    for (int i = 0; i < rank; ++i)
        dims[i] = y->type.dims[perm[i]] < 0 ? -1 : (int32_t)y->type.dims[perm[i]];
    to_four(dims, rank, four);
    return tfl_result(l, 4, four);
}

void tfl_window_alias(tfl_legal *l, const hone_value *y, int tensor, const tfl_window *w) {
    int perm[TFL_MAX_RANK];
    if (w->n_spatial == 2 || tensor < 0)
        return;
    const int32_t *four = l->model.tensors[tensor].dims;
    int32_t dims[3] = {four[0], four[2], four[3]};
    tfl_channels_last(3, perm);
    tfl_alias(l, y, tfl_reshape(l, tensor, 3, dims), perm);
}

static bool pads_as_same(const tfl_window *w) {
    for (int i = 0; i < 2; ++i) {
        if (w->in[i] < 0)
            return false;
        int64_t total = same_total(w, i);
        if (w->begin[i] != total / 2 || w->end[i] != total - total / 2)
            return false;
    }
    return true;
}

/* TensorFlow Lite pads constants of any value, the pooling of maxima with what never wins. */
static void pad(tfl_legal *l, const tfl_window *w, bool fills_lowest, int *tensor) {
    int32_t *pads = tfl_alloc(l, 8, sizeof *pads);
    static const int32_t shape[2] = {4, 2};
    if (*tensor < 0 || !pads)
        return;
    tfl_tensor t = l->model.tensors[*tensor];
    for (int i = 0; i < 2; ++i) {
        pads[2 * (1 + i)] = (int32_t)w->begin[i];
        pads[2 * (1 + i) + 1] = (int32_t)w->end[i];
        if (t.dims[1 + i] >= 0)
            t.dims[1 + i] += pads[2 * (1 + i)] + pads[2 * (1 + i) + 1];
    }
    int in[3] = {*tensor, tfl_const(l, TFL_I32, 2, shape, pads), -1};
    int out = tfl_shaped_like(l, *tensor, 4, t.dims);
    if (fills_lowest)
        in[2] = tfl_const_like(l, *tensor, -FLT_MAX);
    tfl_op(l, fills_lowest ? TFL_PADV2 : TFL_PAD, in, fills_lowest ? 3 : 2, out);
    *tensor = out;
}

int tfl_window_padding(tfl_legal *l, const tfl_window *w, bool fills_lowest, int *tensor) {
    bool pads_nothing = !w->begin[0] && !w->begin[1] && !w->end[0] && !w->end[1];
    if (pads_nothing)
        return TFL_VALID;
    if (pads_as_same(w))
        return TFL_SAME;
    pad(l, w, fills_lowest, tensor);
    return TFL_VALID;
}

bool tfl_window_is_dilated(const tfl_window *w) {
    return w->dilation[0] != 1 || w->dilation[1] != 1;
}

#include "ops/conv_shape.h"

#include <string.h>

enum { LIMIT = 1 << 30 }; /* keeps all index arithmetic far from overflow */

static bool read_ints(const hone_node *n, const char *name, int count, int64_t missing, int64_t low,
                      int64_t *out) {
    const int64_t *v;
    int got = hone_attr_ints(n, name, &v);
    if (got && got != count)
        return false;
    for (int i = 0; i < count; ++i) {
        out[i] = got ? v[i] : missing;
        if (out[i] < low || out[i] > LIMIT)
            return false;
    }
    return true;
}

/* SAME: as many outputs as ceil(in / stride), the padding shared out. */
static void pad_same(hone_window *w, bool is_upper) {
    for (int d = 0; d < w->n; ++d) {
        w->out[d] = HONE_DIM_UNKNOWN;
        if (w->in[d] < 0)
            continue;
        w->out[d] = (w->in[d] + w->stride[d] - 1) / w->stride[d];
        int64_t total =
            (w->out[d] - 1) * w->stride[d] + (w->kernel[d] - 1) * w->dilation[d] + 1 - w->in[d];
        total = total < 0 ? 0 : total;
        w->pad[d] = is_upper ? total / 2 : total - total / 2;
        w->pad_end[d] = total - w->pad[d];
    }
}

static void count_outputs(hone_window *w, bool is_ceil) {
    for (int d = 0; d < w->n; ++d) {
        w->out[d] = HONE_DIM_UNKNOWN;
        if (w->in[d] < 0)
            continue;
        int64_t span =
            w->in[d] + w->pad[d] + w->pad_end[d] - (w->kernel[d] - 1) * w->dilation[d] - 1;
        w->out[d] = span < 0 ? 0 : span / w->stride[d] + 1;
        if (is_ceil && span >= 0 && span % w->stride[d]) {
            /* One more, unless it would start in the padding behind the input. */
            if (w->out[d] * w->stride[d] < w->in[d] + w->pad[d])
                w->out[d]++;
        }
    }
}

const char *hone_window_read(const hone_node *n, int n_axes, const int64_t *in,
                             const int64_t *kernel, hone_window *w) {
    memset(w, 0, sizeof *w);
    w->n = n_axes;
    if (n_axes < 1 || n_axes > HONE_WINDOW_MAX)
        return "the number of spatial axes is not supported";
    const int64_t *given;
    int n_given = hone_attr_ints(n, "kernel_shape", &given);
    if (n_given && n_given != n_axes)
        return "kernel_shape does not fit the input's rank";
    for (int d = 0; d < n_axes; ++d) {
        w->in[d] = in[d];
        w->kernel[d] = n_given ? given[d] : kernel ? kernel[d] : 0;
        if (w->kernel[d] < 1 || w->kernel[d] > LIMIT || w->in[d] > LIMIT)
            return "the kernel or the input has a size that is not possible";
        if (kernel && kernel[d] >= 0 && w->kernel[d] != kernel[d])
            return "kernel_shape differs from the weight's shape";
    }
    int64_t pads[2 * HONE_WINDOW_MAX];
    if (!read_ints(n, "strides", n_axes, 1, 1, w->stride) ||
        !read_ints(n, "dilations", n_axes, 1, 1, w->dilation) ||
        !read_ints(n, "pads", 2 * n_axes, 0, -LIMIT, pads))
        return "strides, dilations or pads are not possible";
    const char *auto_pad = hone_attr_string(n, "auto_pad", "NOTSET");
    if (strncmp(auto_pad, "SAME_", 5) == 0) {
        pad_same(w, strcmp(auto_pad, "SAME_UPPER") == 0);
        return NULL;
    }
    for (int d = 0; d < n_axes && strcmp(auto_pad, "VALID") != 0; ++d) {
        w->pad[d] = pads[d];
        w->pad_end[d] = pads[n_axes + d];
    }
    count_outputs(w, hone_attr_int(n, "ceil_mode", 0) != 0);
    return NULL;
}

void hone_window_as_3d(hone_window *w) {
    int shift = 3 - w->n;
    for (int d = 2; d >= 0; --d) {
        bool is_real = d >= shift;
        int s = d - shift;
        w->in[d] = is_real ? w->in[s] : 1;
        w->out[d] = is_real ? w->out[s] : 1;
        w->kernel[d] = is_real ? w->kernel[s] : 1;
        w->stride[d] = is_real ? w->stride[s] : 1;
        w->dilation[d] = is_real ? w->dilation[s] : 1;
        w->pad[d] = is_real ? w->pad[s] : 0;
        w->pad_end[d] = is_real ? w->pad_end[s] : 0;
    }
    w->n = 3;
}

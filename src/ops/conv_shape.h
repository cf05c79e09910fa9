/* Windows over spatial axes, shared by convolutions and pooling: kernel, strides, dilations, pads
 * (auto_pad resolved) and output sizes from a node's attributes. */
#ifndef HONE_OPS_CONV_SHAPE_H
#define HONE_OPS_CONV_SHAPE_H

#include "ir/op.h"

enum { HONE_WINDOW_MAX = 6 }; /* spatial axes */

typedef struct hone_window {
    int n; /* spatial axes */
    int64_t in[HONE_WINDOW_MAX], out[HONE_WINDOW_MAX];
    int64_t kernel[HONE_WINDOW_MAX], stride[HONE_WINDOW_MAX], dilation[HONE_WINDOW_MAX];
    int64_t pad[HONE_WINDOW_MAX], pad_end[HONE_WINDOW_MAX];
} hone_window;

/** Fill `w` from the attributes and the spatial sizes `in` (entries may be unknown: then `out` is
 * unknown too, and pads that depend on it are 0). kernel: sizes when the node has no kernel_shape.
 * NULL, or a message that says what is wrong. */
const char *hone_window_read(const hone_node *n, int n_axes, const int64_t *in,
                             const int64_t *kernel, hone_window *w);
/** The window as one of exactly three axes, leading ones of size 1 added. n must be <= 3. */
void hone_window_as_3d(hone_window *w);
/** Positions o in [first, end) of axis d whose tap k reads inside the input. */
static inline void hone_window_valid(const hone_window *w, int d, int64_t k, int64_t *first,
                                     int64_t *end) {
    int64_t shift = k * w->dilation[d] - w->pad[d]; /* input = o * stride + shift */
    int64_t s = w->stride[d];
    *first = shift >= 0 ? 0 : (-shift + s - 1) / s;
    *end = w->in[d] - shift <= 0 ? 0 : (w->in[d] - shift - 1) / s + 1;
    if (*end > w->out[d])
        *end = w->out[d];
    if (*first > *end)
        *first = *end;
}

#endif

/* Windows that slide over images: convolutions and pooling, of one or two spatial dims. One is
 * taken as two of which the first has size 1. */
#ifndef HONE_TFLITE_WINDOW_H
#define HONE_TFLITE_WINDOW_H

#include "tflite/legal.h"

/* Height and width. */
typedef struct tfl_window {
    int n_spatial;         /* of the ONNX tensor: 1 or 2 */
    int64_t in[2], out[2]; /* -1: known when it runs */
    int64_t kernel[2], stride[2], dilation[2];
    int64_t begin[2], end[2]; /* padding, that which rounding up needs included */
} tfl_window;

/** Reads the attributes of `n`; `kernel` has the spatial dims of the filter, NULL: from the node.
 * False: refused. */
bool tfl_window_read(tfl_legal *l, const hone_node *n, const int64_t *kernel, tfl_window *w);
/** The image x as [batch, height, width, channels]. */
int tfl_window_input(tfl_legal *l, const hone_value *x, const tfl_window *w);
/** A tensor [batch, height, width, channels] for the result, to be finished with _alias. */
int tfl_window_output(tfl_legal *l, const hone_value *y, const tfl_window *w);
void tfl_window_alias(tfl_legal *l, const hone_value *y, int tensor, const tfl_window *w);
/** TFL_SAME or TFL_VALID. Where neither pads as the node does, *tensor is padded first, with `fill`
 * (0 or the lowest number). */
int tfl_window_padding(tfl_legal *l, const tfl_window *w, bool fills_lowest, int *tensor);
bool tfl_window_is_dilated(const tfl_window *w);

#endif

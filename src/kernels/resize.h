/* Resizing of NHWC images by tables of source indices and weights. */
#ifndef HONE_KERNELS_RESIZE_H
#define HONE_KERNELS_RESIZE_H

#include <stdbool.h>
#include <stdint.h>

/* Coordinate transformations and nearest modes of the ONNX Resize operator. */
typedef enum hone_resize_coord {
    HONE_RESIZE_HALF_PIXEL,
    HONE_RESIZE_PYTORCH_HALF_PIXEL,
    HONE_RESIZE_ASYMMETRIC,
    HONE_RESIZE_ALIGN_CORNERS
} hone_resize_coord;
typedef enum hone_resize_nearest {
    HONE_RESIZE_ROUND_PREFER_FLOOR,
    HONE_RESIZE_ROUND_PREFER_CEIL,
    HONE_RESIZE_FLOOR,
    HONE_RESIZE_CEIL
} hone_resize_nearest;

/** Source position of each output along an axis: lo and hi neighbours and the weight of hi. `scale`
 * is the ONNX scale (output / input). in and out are at least 1. */
void hone_resize_linear_table(hone_resize_coord coord, int64_t in, int64_t out, double scale,
                              int64_t *lo, int64_t *hi, float *weight);
void hone_resize_nearest_table(hone_resize_coord coord, hone_resize_nearest nearest, int64_t in,
                               int64_t out, double scale, int64_t *index);

typedef struct hone_resize {
    const float *x;
    float *y;
    int64_t n_batch, channels, out_height, out_width;
    int64_t x_pixel, x_row, x_image, y_pixel, y_row, y_image; /* element strides */
    const int64_t *y_lo, *y_hi, *x_lo, *x_hi;                 /* hi and weights: linear only */
    const float *y_weight, *x_weight;
    bool is_nearest; /* else bilinear */
} hone_resize;

/** Output rows [begin, end) of n_batch * out_height. Bilinear: 2e-7 of the largest of the four. */
typedef void hone_resize_fn(const hone_resize *p, int64_t begin, int64_t end);

#endif

/* Pooling of NHWC images. */
#ifndef HONE_KERNELS_POOL_H
#define HONE_KERNELS_POOL_H

#include <stdbool.h>
#include <stdint.h>

typedef struct hone_pool2d {
    const void *x; /* floats, or for pool2d_bf16 BF16 */
    void *y;
    int64_t n_batch, height, width, channels, out_height, out_width;
    int64_t kernel_h, kernel_w, stride_h, stride_w, pad_top, pad_left, dilation_h, dilation_w;
    int64_t pad_bottom, pad_right;   /* count for count_include_pad only */
    int64_t x_pixel, x_row, x_image; /* element strides; channels are contiguous */
    int64_t y_pixel, y_row, y_image;
    bool is_max; /* else average */
    bool count_include_pad;
} hone_pool2d;

/** Output rows [begin, end) of n_batch * out_height. Padding is never read. Max gives NaN if any
 * element is NaN, and -infinity for a window of padding alone; average gives 0 for such a window.
 * With count_include_pad a window counts its elements inside the padded image. */
typedef void hone_pool2d_fn(const hone_pool2d *p, int64_t begin, int64_t end);

#endif

#include "kernels/resize.h"

#include <math.h>

static double source_of(hone_resize_coord coord, int64_t in, int64_t out, double scale, int64_t i) {
    double x = (double)i;
    switch (coord) {
    case HONE_RESIZE_ASYMMETRIC:
        return x / scale;
    case HONE_RESIZE_ALIGN_CORNERS:
        return out > 1 ? x * (double)(in - 1) / (double)(out - 1) : 0;
    case HONE_RESIZE_PYTORCH_HALF_PIXEL:
        return out > 1 ? (x + 0.5) / scale - 0.5 : 0;
    default:
        return (x + 0.5) / scale - 0.5;
    }
}

static int64_t clamp_index(double x, int64_t in) {
    return !(x > 0) ? 0 : x >= (double)(in - 1) ? in - 1 : (int64_t)x;
}

void hone_resize_linear_table(hone_resize_coord coord, int64_t in, int64_t out, double scale,
                              int64_t *lo, int64_t *hi, float *weight) {
    for (int64_t i = 0; i < out; ++i) {
        double x = source_of(coord, in, out, scale, i);
        x = !(x > 0) ? 0 : x > (double)(in - 1) ? (double)(in - 1) : x;
        lo[i] = clamp_index(floor(x), in);
        hi[i] = lo[i] + 1 < in ? lo[i] + 1 : lo[i];
        weight[i] = (float)(x - (double)lo[i]);
    }
}

void hone_resize_nearest_table(hone_resize_coord coord, hone_resize_nearest nearest, int64_t in,
                               int64_t out, double scale, int64_t *index) {
    for (int64_t i = 0; i < out; ++i) {
        double x = source_of(coord, in, out, scale, i);
        switch (nearest) {
        case HONE_RESIZE_FLOOR:
            x = floor(x);
            break;
        case HONE_RESIZE_CEIL:
            x = ceil(x);
            break;
        case HONE_RESIZE_ROUND_PREFER_CEIL:
            x = floor(x + 0.5);
            break;
        default:
            x = ceil(x - 0.5);
            break;
        }
        index[i] = clamp_index(x, in);
    }
}

/* Resize on the kernel, in both layouts and at sizes around the vector lengths. */
#include "backend/graph_test.h"

typedef struct rule {
    const char *mode, *coordinates, *nearest;
} rule;

static hone_value *scales(gt *b, float u, float v, float w, float x) {
    hone_value *s = gt_weight(b, GT_DIMS(4));
    memcpy(s->constant->data, (float[]){u, v, w, x}, 4 * sizeof(float));
    return s;
}

static void by_scales(const rule *r, bool is_last, int64_t channels, float h, float w) {
    gt b = gt_begin();
    hone_value *x = is_last ? gt_input(&b, HONE_DTYPE_F32, GT_DIMS(2, 5, 7, channels))
                            : gt_input(&b, HONE_DTYPE_F32, GT_DIMS(2, channels, 5, 7));
    hone_value *s = is_last ? scales(&b, 1, h, w, 1) : scales(&b, 1, 1, h, w);
    hone_value *y = gt_node(&b, "Resize", 3, x, NULL, s);
    gt_set_text(&b, "mode", r->mode);
    gt_set_text(&b, "coordinate_transformation_mode", r->coordinates);
    gt_set_text(&b, "nearest_mode", r->nearest);
    gt_finish(&b, r->coordinates, 1e-6, "Resize:resize_f32", 1, y);
}

static void by_sizes(const char *mode, int64_t h, int64_t w, const char *want) {
    gt b = gt_begin();
    hone_value *x = gt_input(&b, HONE_DTYPE_F32, GT_DIMS(1, 3, 6, 9));
    hone_value *y = gt_node(&b, "Resize", 4, x, NULL, NULL, gt_ints(&b, GT_DIMS(w, h)));
    gt_set_ints(&b, "axes", GT_DIMS(-1, 2));
    gt_set_text(&b, "mode", mode);
    gt_finish(&b, mode, 1e-6, want, 1, y);
}

int main(void) {
    static const rule rules[] = {
        {"nearest", "half_pixel", "round_prefer_floor"},
        {"nearest", "asymmetric", "floor"},
        {"nearest", "asymmetric", "ceil"},
        {"nearest", "pytorch_half_pixel", "round_prefer_ceil"},
        {"linear", "half_pixel", "floor"},
        {"linear", "align_corners", "floor"},
        {"linear", "pytorch_half_pixel", "floor"},
        {"linear", "asymmetric", "floor"},
    };
    static const int64_t channels[] = {1, 3, 16, 21, 40};
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; ++i) {
        for (int k = 0; k < 5; ++k) {
            by_scales(&rules[i], k % 2, channels[k], 2, 3);
            by_scales(&rules[i], true, channels[k], 1, 3);
            by_scales(&rules[i], false, channels[k], 4, 1);
        }
    }
    by_sizes("linear", 11, 4, "Resize:resize_f32");
    by_sizes("nearest", 3, 20, "Resize:resize_f32");
    by_sizes("linear", 1, 1, "Resize:resize_f32");
    by_sizes("cubic", 5, 5, "Resize:reference");
    return CHECK_RESULT();
}

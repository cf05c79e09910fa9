/* Custom operators that are well known. Their options are a FlexBuffers map. */
#include "tflite/flex_read.h"
#include "tflite/import_impl.h"

static double option(tfr_import *im, const char *key, double missing) {
    tfr_vector v = im->op->custom_options;
    double number;
    return v.n && tfr_flex_number(im->file->flat.data + v.at, v.n, key, &number) ? number : missing;
}

static void set_int(tfr_import *im, hone_value *v, const char *name, const char *key,
                    int64_t missing) {
    double number = option(im, key, (double)missing);
    tfr_int(im, v, name, number >= 0 && number < 2e9 ? (int64_t)number : -1);
}

static void set_float(tfr_import *im, hone_value *v, const char *name, const char *key) {
    tfr_float(im, v, name, (float)option(im, key, 0));
}

void tfr_build_detection(tfr_import *im) {
    hone_value *in[3], *out[4];
    for (int i = 0; i < 3; ++i)
        in[i] = tfr_in_float(im, i);
    tfr_make_many(im, "QDetectionPostProcess", in, 3, out, 4);
    set_int(im, out[0], "num_classes", "num_classes", 0);
    set_int(im, out[0], "max_detections", "max_detections", 0);
    set_int(im, out[0], "max_classes", "max_classes_per_detection", 1);
    set_int(im, out[0], "detections_per_class", "detections_per_class", 100);
    set_int(im, out[0], "regular", "use_regular_nms", 0);
    set_float(im, out[0], "score_threshold", "nms_score_threshold");
    set_float(im, out[0], "iou_threshold", "nms_iou_threshold");
    set_float(im, out[0], "y_scale", "y_scale");
    set_float(im, out[0], "x_scale", "x_scale");
    set_float(im, out[0], "h_scale", "h_scale");
    set_float(im, out[0], "w_scale", "w_scale");
    for (int i = 0; i < 4; ++i)
        tfr_out_raw(im, i, out[i]);
}

/* Det: Gaussian elimination with partial pivoting, in double. */
#include <math.h>

#include "ir/op.h"

hone_status hone_infer_det(hone_infer_ctx *c) {
    if (!hone_infer_has(c, 0))
        return HONE_OK;
    const hone_type *in = &c->in[0];
    int64_t n;
    hone_infer_set(c, 0, in->dtype, -1, NULL);
    if (in->rank < 0)
        return HONE_OK;
    if (in->rank < 2)
        return hone_infer_fail(c, HONE_E_SHAPE, "the input has rank %d, not 2 or more", in->rank);
    HONE_TRY(hone_infer_same_dim(c, in->dims[in->rank - 2], in->dims[in->rank - 1], &n));
    hone_infer_set(c, 0, in->dtype, in->rank - 2, in->dims);
    return HONE_OK;
}

static double determinant(double *m, int64_t n) {
    double det = 1;
    for (int64_t k = 0; k < n; ++k) {
        int64_t pivot = k;
        for (int64_t i = k + 1; i < n; ++i)
            pivot = fabs(m[i * n + k]) > fabs(m[pivot * n + k]) ? i : pivot;
        if (m[pivot * n + k] == 0)
            return 0;
        for (int64_t j = 0; pivot != k && j < n; ++j) {
            double t = m[k * n + j];
            m[k * n + j] = m[pivot * n + j];
            m[pivot * n + j] = t;
        }
        det *= pivot == k ? m[k * n + k] : -m[k * n + k];
        for (int64_t i = k + 1; i < n; ++i) {
            double f = m[i * n + k] / m[k * n + k];
            for (int64_t j = k; j < n; ++j)
                m[i * n + j] -= f * m[k * n + j];
        }
    }
    return det;
}

hone_status hone_ref_det(hone_op_ctx *c) {
    const hone_tensor *in = hone_in(c, 0);
    hone_tensor *out = hone_out(c, 0);
    int64_t n = in->dims[in->rank - 1];
    double *m = hone_op_scratch(c, (size_t)(n * n) * sizeof *m + 1);
    if (!m)
        return HONE_E_NOMEM;
    for (int64_t i = 0, count = hone_tensor_count(out); i < count; ++i) {
        for (int64_t k = 0; k < n * n; ++k)
            m[k] = hone_load_f64(in->dtype, in->data, i * n * n + k);
        hone_store_f64(out->dtype, out->data, i, determinant(m, n));
    }
    return HONE_OK;
}

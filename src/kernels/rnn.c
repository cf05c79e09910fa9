#include "kernels/rnn.h"

size_t hone_rnn_packed_floats(int64_t hidden, int n_gates) {
    return (size_t)hone_rnn_tasks(hidden) * (size_t)hidden * (size_t)n_gates * HONE_RNN_BLOCK;
}

void hone_rnn_pack(const float *r, int64_t hidden, int n_gates, float *packed) {
    for (int64_t block = 0; block < hone_rnn_tasks(hidden); ++block) {
        for (int64_t k = 0; k < hidden; ++k) {
            for (int g = 0; g < n_gates; ++g) {
                for (int64_t i = 0; i < HONE_RNN_BLOCK; ++i) {
                    int64_t unit = block * HONE_RNN_BLOCK + i;
                    *packed++ = unit < hidden ? r[(g * hidden + unit) * hidden + k] : 0.0f;
                }
            }
        }
    }
}

#include "kernels/rnn.h"

size_t hone_rnn_packed_count(int64_t hidden, int n_gates, bool is_bf16) {
    return (size_t)hone_rnn_tasks(hidden) * (size_t)hone_rnn_terms(hidden, is_bf16) *
           (size_t)n_gates * HONE_RNN_BLOCK;
}

void hone_rnn_pack(const void *r, int64_t hidden, int n_gates, bool is_bf16, void *packed) {
    typedef uint32_t __attribute__((may_alias)) word; /* floats or pairs: moved only */
    const word *from = r;
    word *to = packed;
    int64_t n_terms = hone_rnn_terms(hidden, is_bf16);
    for (int64_t block = 0; block < hone_rnn_tasks(hidden); ++block) {
        for (int64_t t = 0; t < n_terms; ++t) {
            for (int g = 0; g < n_gates; ++g) {
                for (int64_t i = 0; i < HONE_RNN_BLOCK; ++i) {
                    int64_t unit = block * HONE_RNN_BLOCK + i;
                    *to++ = unit < hidden ? from[(g * hidden + unit) * n_terms + t] : 0;
                }
            }
        }
    }
}

/* The most multiply-adds that the vector units can do: independent chains, all in registers. Ten
 * chains cover the latency of two units with 4 to 5 cycles. */

enum { PEAK_CHAINS = 10 };

static int64_t peak_run(int64_t n, float *sink) {
    vf acc[PEAK_CHAINS];
    vf scale = vf_set1(0.999f), shift = vf_set1(0.001f); /* stays near 1 */
    for (int k = 0; k < PEAK_CHAINS; ++k)
        acc[k] = vf_set1(1.0f + 0.01f * (float)k);
    for (int64_t i = 0; i < n; ++i) {
#pragma GCC unroll 10
        for (int k = 0; k < PEAK_CHAINS; ++k)
            acc[k] = vf_fma(acc[k], scale, shift);
    }
    vf sum = acc[0];
    for (int k = 1; k < PEAK_CHAINS; ++k)
        sum = vf_add(sum, acc[k]);
    *sink = vf_hsum(sum);
    return n * PEAK_CHAINS * VW;
}

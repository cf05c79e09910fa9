/* LSTM and GRU on the step kernels: directions, layouts, states, outputs, sizes. */
#include "backend/graph_test.h"

typedef struct layer {
    const char *op, *direction;
    int64_t layout, linear, time, batch, inputs, hidden;
    bool has_bias, has_states, has_y, is_bf16;
} layer;

static void check(const layer *l) {
    gt b = gt_begin();
    if (l->is_bf16)
        b.precision = HONE_PRECISION_BF16;
    int64_t d = strcmp(l->direction, "bidirectional") == 0 ? 2 : 1, n = l->hidden;
    int64_t gates = (l->op[0] == 'L' ? 4 : 3) * n, first = l->layout ? l->batch : l->time;
    hone_value *x =
        gt_input(&b, HONE_DTYPE_F32, GT_DIMS(first, l->time + l->batch - first, l->inputs));
    hone_value *in[7] = {x, gt_weight(&b, GT_DIMS(d, gates, l->inputs)),
                         gt_weight(&b, GT_DIMS(d, gates, n))};
    first = l->layout ? l->batch : d;
    if (l->has_bias)
        in[3] = gt_weight(&b, GT_DIMS(d, 2 * gates));
    for (int i = 5; l->has_states && i < (l->op[0] == 'L' ? 7 : 6); ++i)
        in[i] = gt_input(&b, HONE_DTYPE_F32, GT_DIMS(first, d + l->batch - first, n));
    hone_value *y = l->op[0] == 'L'
                        ? gt_node(&b, l->op, 7, in[0], in[1], in[2], in[3], NULL, in[5], in[6])
                        : gt_node(&b, l->op, 6, in[0], in[1], in[2], in[3], NULL, in[5]);
    gt_set(&b, "hidden_size", n);
    gt_set(&b, "layout", l->layout);
    gt_set(&b, "linear_before_reset", l->linear);
    gt_set_text(&b, "direction", l->direction);
    hone_value *last = gt_more(&b);
    char name[100];
    snprintf(name, sizeof name, "%s %s layout %d hidden %d batch %d", l->op, l->direction,
             (int)l->layout, (int)n, (int)l->batch);
    const char *want = l->is_bf16 ? "Cast:convert Gemm:gemm_f32 Recurrent:rnn_f32"
                                  : "Gemm:gemm_f32 Recurrent:rnn_f32";
    double bound = l->is_bf16 ? 0.03 : 1e-5;
    if (!l->has_y) {
        gt_last(&b)->out[0] = NULL;
        gt_finish(&b, name, bound, want, 1, last);
    } else if (l->op[0] == 'L') {
        gt_finish(&b, name, bound, want, 3, y, last, gt_more(&b));
    } else {
        gt_finish(&b, name, bound, want, 2, y, last);
    }
}

/* What the kernel does not know runs by the reference. */
static void check_lengths(void) {
    gt b = gt_begin();
    hone_value *x = gt_input(&b, HONE_DTYPE_F32, GT_DIMS(4, 2, 3));
    int32_t *lengths = HONE_NEW_ARRAY(b.g->arena, int32_t, 2);
    lengths[0] = 4;
    lengths[1] = 2;
    hone_tensor *t = HONE_NEW(b.g->arena, hone_tensor);
    *t = hone_tensor_view(HONE_DTYPE_I32, GT_DIMS(2), lengths);
    hone_value *y =
        gt_node(&b, "GRU", 5, x, gt_weight(&b, GT_DIMS(1, 15, 3)), gt_weight(&b, GT_DIMS(1, 15, 5)),
                NULL, hone_graph_constant(b.g, "n", t));
    gt_set(&b, "hidden_size", 5);
    gt_finish(&b, "sequence_lens", 0, "GRU:reference", 1, y);
}

int main(void) {
    static const char *const directions[] = {"forward", "reverse", "bidirectional"};
    static const int64_t sizes[][4] = {{3, 1, 5, 1},  {4, 2, 3, 16},  {2, 5, 7, 17},
                                       {5, 9, 2, 40}, {1, 1, 4, 300}, {7, 3, 64, 24}};
    for (int i = 0; i < 6; ++i) {
        for (int k = 0; k < 3; ++k) {
            for (int v = 0; v < 3; ++v) {
                layer l = {.op = v ? "GRU" : "LSTM",
                           .direction = directions[k],
                           .layout = (i + v) % 2,
                           .linear = v == 2,
                           .time = sizes[i][0],
                           .batch = sizes[i][1],
                           .inputs = sizes[i][2],
                           .hidden = sizes[i][3],
                           .has_bias = (i + k) % 3 != 0,
                           .has_states = (i + k + v) % 2,
                           .has_y = i != 1};
                check(&l);
                l.is_bf16 = true;
                if (hone_cpu_isa() >= HONE_ISA_AVX512_BF16)
                    check(&l);
            }
        }
    }
    check_lengths();
    return CHECK_RESULT();
}

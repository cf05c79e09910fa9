#include "engine/state.h"

#include <stdlib.h>

typedef struct entry {
    int input, output;
    hone_tensor buffer[2];
    int current;
} entry;

struct hone_state {
    hone_alloc *alloc;
    int n;
    entry *list;
};

hone_state *hone_state_create(const hone_graph *g, hone_alloc *alloc) {
    hone_state *s = calloc(1, sizeof *s);
    entry *list = calloc((size_t)g->n_inputs + 1, sizeof *list);
    if (!s || !list) {
        free(s);
        free(list);
        return NULL;
    }
    *s = (hone_state){.alloc = alloc, .list = list};
    for (int i = 0; i < g->n_inputs; ++i) {
        int next = g->inputs[i]->next;
        if (next > 0 && next <= g->n_outputs)
            list[s->n++] = (entry){.input = i, .output = next - 1};
    }
    return s;
}

void hone_state_destroy(hone_state *s) {
    if (!s)
        return;
    for (int i = 0; i < s->n; ++i) {
        hone_tensor_release(&s->list[i].buffer[0]);
        hone_tensor_release(&s->list[i].buffer[1]);
    }
    free(s->list);
    free(s);
}

hone_status hone_state_take(hone_state *s, const hone_frame *frame, const hone_tensor **in,
                            hone_error *err) {
    for (int i = 0; i < s->n; ++i) {
        entry *e = &s->list[i];
        const hone_tensor *value = hone_frame_output(frame, e->output);
        if (!value)
            return hone_fail(err, HONE_E_RUNTIME, "state %d has no next value", e->input);
        hone_tensor *to = &e->buffer[1 - e->current];
        hone_tensor_release(to);
        HONE_TRY(hone_tensor_copy(s->alloc, to, value, err));
        e->current = 1 - e->current;
        in[e->input] = to;
    }
    return HONE_OK;
}

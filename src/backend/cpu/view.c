#include "backend/cpu/view.h"

#include <string.h>

#include "ir/op.h"

enum { MAX_CHAIN = 16 };

static bool is_op(const hone_node *n, const char *name) {
    return n && n->domain[0] == '\0' && strcmp(n->op_name, name) == 0;
}

static void dense(hone_value *v, hone_view *w) {
    int64_t step = 1;
    *w = (hone_view){.base = v, .rank = v->type.rank};
    for (int i = w->rank - 1; i >= 0; --i) {
        w->dims[i] = v->type.dims[i];
        w->stride[i] = step;
        step *= w->dims[i];
    }
}

static bool transpose(const hone_node *n, hone_view *w) {
    const int64_t *perm;
    int count = hone_attr_ints(n, "perm", &perm);
    hone_view from = *w;
    if (count && count != w->rank)
        return false;
    for (int i = 0; i < w->rank; ++i) {
        int64_t p = count ? perm[i] : w->rank - 1 - i;
        p += p < 0 ? w->rank : 0;
        if (p < 0 || p >= w->rank)
            return false;
        w->dims[i] = from.dims[p];
        w->stride[i] = from.stride[p];
    }
    return true;
}

/* Gather of one index: the axis goes. */
static bool gather(const hone_node *n, hone_view *w) {
    const hone_tensor *t = n->n_in == 2 && n->in[1] ? n->in[1]->constant : NULL;
    int64_t axis = hone_attr_int(n, "axis", 0);
    axis += axis < 0 ? w->rank : 0;
    if (!t || t->rank != 0 || (t->dtype != HONE_DTYPE_I64 && t->dtype != HONE_DTYPE_I32) ||
        axis < 0 || axis >= w->rank)
        return false;
    int64_t index = hone_load_i64(t->dtype, t->data, 0);
    index += index < 0 ? w->dims[axis] : 0;
    if (index < 0 || index >= w->dims[axis])
        return false;
    w->offset += index * w->stride[axis];
    for (int i = (int)axis; i + 1 < w->rank; ++i) {
        w->dims[i] = w->dims[i + 1];
        w->stride[i] = w->stride[i + 1];
    }
    w->rank--;
    return true;
}

/* Output `out` of Split: a range of the axis, behind those of the outputs before it. */
static bool split(const hone_node *n, const hone_value *out, hone_view *w) {
    int64_t axis = hone_attr_int(n, "axis", 0), start = 0;
    axis += axis < 0 ? w->rank : 0;
    if (axis < 0 || axis >= w->rank)
        return false;
    for (int o = 0; o < n->n_out && n->out[o] != out; ++o) {
        if (!n->out[o] || !hone_type_is_static(&n->out[o]->type))
            return false;
        start += n->out[o]->type.dims[axis];
    }
    if (start + out->type.dims[axis] > w->dims[axis])
        return false;
    w->offset += start * w->stride[axis];
    w->dims[axis] = out->type.dims[axis];
    return true;
}

/* Runs of old and new dims with equal products are matched, ones being left out; the old dims of a
 * run must continue each other in memory. */
static bool reshape(const hone_type *to, hone_view *w) {
    hone_view from = {0};
    int64_t stride[HONE_MAX_RANK] = {0};
    for (int i = 0; i < w->rank; ++i) {
        if (w->dims[i] == 0)
            return false;
        if (w->dims[i] != 1) {
            from.dims[from.rank] = w->dims[i];
            from.stride[from.rank++] = w->stride[i];
        }
    }
    int first = 0;
    for (int i = 0; i < to->rank;) {
        int end = i + 1, last = first + 1;
        int64_t have = first < from.rank ? from.dims[first] : 1, want = to->dims[i];
        if (want == 1) {
            ++i;
            continue;
        }
        while (have != want) {
            if (want < have && end < to->rank)
                want *= to->dims[end++];
            else if (have < want && last < from.rank)
                have *= from.dims[last++];
            else
                return false;
        }
        for (int k = first; k + 1 < last && k + 1 < from.rank; ++k) {
            if (from.stride[k] != from.dims[k + 1] * from.stride[k + 1])
                return false;
        }
        int64_t step = last <= from.rank ? from.stride[last - 1] : 1;
        for (int k = end - 1; k >= i; --k) {
            stride[k] = step;
            step *= to->dims[k];
        }
        i = end;
        first = last;
    }
    w->rank = to->rank;
    memcpy(w->dims, to->dims, (size_t)to->rank * sizeof *w->dims);
    memcpy(w->stride, stride, sizeof stride);
    return first >= from.rank;
}

/* From a view of the producer's input to one of `out`, which it makes. */
static bool apply(const hone_value *out, hone_view *w) {
    const hone_node *n = out->producer;
    if (is_op(n, "Split"))
        return split(n, out, w);
    if (is_op(n, "Transpose"))
        return transpose(n, w);
    if (is_op(n, "Gather"))
        return gather(n, w);
    return reshape(&out->type, w);
}

static bool is_view_op(const hone_node *n) {
    static const char *const names[] = {"Transpose", "Gather",    "Split",  "Reshape",
                                        "Squeeze",   "Unsqueeze", "Flatten"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; ++i) {
        if (is_op(n, names[i]))
            return n->n_in >= 1 && n->in[0] && hone_type_is_static(&n->in[0]->type);
    }
    return false;
}

bool hone_view_trace(hone_value *v, hone_view *view) {
    hone_value *chain[MAX_CHAIN];
    int n = 0;
    if (!hone_type_is_static(&v->type))
        return false;
    hone_value *base = v;
    while (n < MAX_CHAIN && base->producer && is_view_op(base->producer)) {
        chain[n++] = base;
        base = base->producer->in[0];
    }
    dense(base, view);
    while (n > 0) {
        hone_value *step = chain[--n];
        if (!apply(step, view))
            dense(step, view);
    }
    return true;
}

#include "kernels/eltwise.h"

static const uint8_t arities[HONE_EW_OP_COUNT] = {
#define X(name, function, arity) arity,
    HONE_EW_OPS(X)
#undef X
};
static const char *const names[HONE_EW_OP_COUNT] = {
#define X(name, function, arity) #function,
    HONE_EW_OPS(X)
#undef X
};

int hone_ew_arity(int op) {
    return op >= 0 && op < HONE_EW_OP_COUNT ? arities[op] : 0;
}

const char *hone_ew_name(int op) {
    return op >= 0 && op < HONE_EW_OP_COUNT ? names[op] : "?";
}

static bool check(const hone_ew_program *p) {
    if (p->n_in < 0 || p->n_in > HONE_EW_MAX_IN || p->n_out < 1 || p->n_out > HONE_EW_MAX_OUT ||
        p->n_steps < 1 || p->n_steps > HONE_EW_MAX_STEPS || p->rank < 0 ||
        p->rank > HONE_EW_MAX_RANK)
        return false;
    for (int i = 0; i < p->n_steps; ++i) {
        int arity = hone_ew_arity(p->steps[i].op);
        if (arity == 0)
            return false;
        for (int k = 0; k < arity; ++k) {
            if (p->steps[i].src[k] >= p->n_in + i)
                return false;
        }
    }
    for (int o = 0; o < p->n_out; ++o) {
        if (p->out_value[o] < p->n_in || p->out_value[o] >= p->n_in + p->n_steps)
            return false;
        for (int q = 0; q < o; ++q) {
            if (p->out_value[q] == p->out_value[o])
                return false;
        }
    }
    return true;
}

static bool count(hone_ew_program *p) {
    p->n_elements = 1;
    for (int d = 0; d < p->rank; ++d) {
        if (p->dims[d] < 0 || __builtin_mul_overflow(p->n_elements, p->dims[d], &p->n_elements))
            return false;
    }
    return true;
}

static bool mergeable(const hone_ew_program *p, int to, int from) {
    for (int k = 0; k < p->n_in; ++k) {
        if (p->strides[k][to] != p->strides[k][from] * p->dims[from])
            return false;
    }
    return true;
}

/* Drop dimensions of 1 and merge neighbours that every input walks as one. */
static void collapse(hone_ew_program *p) {
    int n = 0;
    for (int d = 0; d < p->rank; ++d) {
        if (p->dims[d] == 1)
            continue;
        bool merge = n > 0;
        p->dims[n] = p->dims[d];
        for (int k = 0; k < p->n_in; ++k)
            p->strides[k][n] = p->strides[k][d];
        if (merge && mergeable(p, n - 1, n)) {
            p->dims[n - 1] *= p->dims[n];
            for (int k = 0; k < p->n_in; ++k)
                p->strides[k][n - 1] = p->strides[k][n];
        } else {
            ++n;
        }
    }
    if (n == 0) {
        p->dims[n++] = 1;
        for (int k = 0; k < p->n_in; ++k)
            p->strides[k][0] = 0;
    }
    p->rank = n;
}

static void classify(hone_ew_program *p) {
    bool strided = false;
    for (int k = 0; k < p->n_in; ++k) {
        bool dense = true, scalar = true,
             row =
                 p->rank > 1 && p->in_type[k] != HONE_EW_U8 && p->dims[p->rank - 1] <= HONE_EW_TILE;
        int64_t expect = 1;
        for (int d = p->rank - 1; d >= 0; --d) {
            dense = dense && p->strides[k][d] == expect;
            scalar = scalar && p->strides[k][d] == 0;
            row = row && p->strides[k][d] == (d == p->rank - 1);
            expect *= p->dims[d];
        }
        p->in_kind[k] = scalar  ? HONE_EW_SCALAR
                        : dense ? HONE_EW_DENSE
                        : row   ? HONE_EW_ROW
                                : HONE_EW_STRIDED;
        strided = strided || p->in_kind[k] == HONE_EW_STRIDED;
    }
    p->by_rows = strided && p->dims[p->rank - 1] >= HONE_EW_TILE / 4;
}

static bool read_after(const hone_ew_program *p, int value, int step) {
    for (int i = step + 1; i < p->n_steps; ++i) {
        for (int k = 0; k < arities[p->steps[i].op]; ++k) {
            if (p->steps[i].src[k] == value)
                return true;
        }
    }
    for (int o = 0; o < p->n_out; ++o) {
        if (p->out_value[o] == value)
            return true;
    }
    return false;
}

/* Linear scan: a register is free once nothing later reads the value in it. */
static void assign(hone_ew_program *p) {
    int holds[HONE_EW_MAX_STEPS];
    p->n_regs = 0;
    for (int i = 0; i < p->n_steps; ++i) {
        p->direct[i] = -1;
        for (int o = 0; o < p->n_out; ++o) {
            if (p->out_value[o] == p->n_in + i && p->out_type[o] == HONE_EW_F32)
                p->direct[i] = (int8_t)o;
        }
        p->reg[i] = 0;
        if (p->direct[i] >= 0)
            continue;
        int r = 0;
        while (r < p->n_regs && read_after(p, holds[r], i - 1))
            ++r;
        if (r == p->n_regs)
            ++p->n_regs;
        holds[r] = p->n_in + i;
        p->reg[i] = (uint8_t)r;
    }
}

bool hone_ew_prepare(hone_ew_program *p) {
    if (!check(p) || !count(p))
        return false;
    if (p->n_elements == 0)
        p->rank = 0;
    collapse(p);
    classify(p);
    assign(p);
    return true;
}

size_t hone_ew_scratch_bytes(const hone_ew_program *p) {
    return (size_t)(p->n_regs + HONE_EW_ROOM * p->n_in) * HONE_EW_STRIDE * sizeof(float);
}

/* Einsum: every label gets an index; the result is the sum, over the labels that it lacks, of the
 * operands' products. */
#include <ctype.h>
#include <inttypes.h>
#include <string.h>

#include "ir/op.h"

enum { MAX_OPERANDS = 16, MAX_LABELS = 52 + HONE_MAX_RANK };

typedef struct term {
    int n; /* axes */
    int label[HONE_MAX_RANK];
} term;

typedef struct equation {
    int n_in;
    term in[MAX_OPERANDS], out;
    int64_t dim[MAX_LABELS]; /* 0..51: letters; from 52 on: axes of the ellipsis, from the right */
    bool is_used[MAX_LABELS];
} equation;

static int letter(char c) {
    return c >= 'a' && c <= 'z' ? c - 'a' : c >= 'A' && c <= 'Z' ? c - 'A' + 26 : -1;
}

/* Reads labels up to one of `stops`; the ellipsis stands for n_ellipsis axes. NULL: malformed. */
static const char *read_term(const char *s, const char *stops, int n_ellipsis, term *t) {
    t->n = 0;
    for (; *s && !strchr(stops, *s); ++s) {
        if (isspace((unsigned char)*s))
            continue;
        if (strncmp(s, "...", 3) == 0) {
            for (int i = 0; i < n_ellipsis; ++i) {
                if (t->n == HONE_MAX_RANK)
                    return NULL;
                t->label[t->n++] = 52 + n_ellipsis - 1 - i;
            }
            s += 2;
            continue;
        }
        if (letter(*s) < 0 || t->n == HONE_MAX_RANK)
            return NULL;
        t->label[t->n++] = letter(*s);
    }
    return s;
}

/* Axes that the ellipsis of a term stands for in an operand of `rank`; -1: none there, -2: wrong.
 */
static int ellipsis_axes(const char *s, int rank) {
    int n = 0;
    bool has_ellipsis = false;
    for (; *s && *s != ',' && *s != '-'; ++s) {
        if (strncmp(s, "...", 3) == 0) {
            has_ellipsis = true;
            s += 2;
        } else if (letter(*s) >= 0) {
            ++n;
        }
    }
    if (n > rank || (!has_ellipsis && n != rank))
        return -2;
    return has_ellipsis ? rank - n : -1;
}

static bool bind_dims(equation *e, const term *t, const int64_t *dims) {
    for (int i = 0; i < t->n; ++i) {
        int64_t *d = &e->dim[t->label[i]];
        bool is_known = e->is_used[t->label[i]];
        if (!is_known || *d == 1 || *d == HONE_DIM_UNKNOWN)
            *d = is_known && dims[i] < 0 ? *d : dims[i];
        else if (dims[i] >= 0 && *d >= 0 && dims[i] != 1 && dims[i] != *d)
            return false;
        e->is_used[t->label[i]] = true;
    }
    return true;
}

/* Without an arrow: the ellipsis, then the letters that occur once, in order. */
static void implicit_output(equation *e, int n_ellipsis) {
    int count[MAX_LABELS] = {0};
    for (int i = 0; i < e->n_in; ++i) {
        for (int k = 0; k < e->in[i].n; ++k)
            count[e->in[i].label[k]]++;
    }
    e->out.n = 0;
    for (int i = 0; i < n_ellipsis; ++i)
        e->out.label[e->out.n++] = 52 + n_ellipsis - 1 - i;
    static const char order[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    for (const char *c = order; *c; ++c) {
        if (count[letter(*c)] == 1 && e->out.n < HONE_MAX_RANK)
            e->out.label[e->out.n++] = letter(*c);
    }
}

static const char *parse(const hone_node *n, const int *rank, const int64_t *const *dims, int n_in,
                         equation *e) {
    const char *s = hone_attr_string(n, "equation", ""), *terms[MAX_OPERANDS];
    int n_ellipsis = 0;
    memset(e, 0, sizeof *e);
    if (n_in > MAX_OPERANDS)
        return "too many operands";
    e->n_in = n_in;
    const char *at = s;
    for (int i = 0; i < n_in; ++i) {
        terms[i] = at;
        int axes = ellipsis_axes(at, rank[i]);
        if (axes == -2)
            return "a term does not fit its operand's rank";
        n_ellipsis = axes > n_ellipsis ? axes : n_ellipsis;
        at += strcspn(at, ",-");
        if (*at == ',' && i + 1 < n_in)
            ++at;
        else if (i + 1 < n_in)
            return "fewer terms than operands";
    }
    for (int i = 0; i < n_in; ++i) {
        int axes = ellipsis_axes(terms[i], rank[i]);
        if (!read_term(terms[i], ",-", axes < 0 ? 0 : axes, &e->in[i]) || e->in[i].n != rank[i])
            return "a term is malformed";
        if (!bind_dims(e, &e->in[i], dims[i]))
            return "a label has two different sizes";
    }
    if (strncmp(at, "->", 2) == 0) {
        if (!read_term(at + 2, "", n_ellipsis, &e->out))
            return "the result's term is malformed";
    } else if (*at) {
        return "more terms than operands";
    } else {
        implicit_output(e, n_ellipsis);
    }
    for (int i = 0; i < e->out.n; ++i) {
        if (!e->is_used[e->out.label[i]])
            return "the result has a label that no operand has";
    }
    return NULL;
}

hone_status hone_infer_einsum(hone_infer_ctx *c) {
    int rank[MAX_OPERANDS];
    const int64_t *dims[MAX_OPERANDS];
    equation e;
    int64_t out[HONE_MAX_RANK];
    hone_infer_set(c, 0, hone_infer_has(c, 0) ? c->in[0].dtype : HONE_DTYPE_NONE, -1, NULL);
    if (c->n_in > MAX_OPERANDS)
        return hone_infer_fail(c, HONE_E_UNSUPPORTED, "more than %d operands", MAX_OPERANDS);
    for (int i = 0; i < c->n_in; ++i) {
        if (!hone_infer_has(c, i) || c->in[i].rank < 0)
            return HONE_OK;
        if (c->in[i].dtype != c->in[0].dtype)
            return hone_infer_fail(c, HONE_E_TYPE, "the operands differ in type");
        rank[i] = c->in[i].rank;
        dims[i] = c->in[i].dims;
    }
    const char *wrong = parse(c->node, rank, dims, c->n_in, &e);
    if (wrong)
        return hone_infer_fail(c, HONE_E_SHAPE, "equation '%s': %s",
                               hone_attr_string(c->node, "equation", ""), wrong);
    for (int i = 0; i < e.out.n; ++i)
        out[i] = e.dim[e.out.label[i]];
    hone_infer_set(c, 0, c->in[0].dtype, e.out.n, out);
    return HONE_OK;
}

typedef struct einsum_job {
    equation e;
    const hone_tensor *const *in;
    hone_tensor *out;
    int n_sum, sum_label[MAX_LABELS];
    int64_t stride[MAX_OPERANDS][MAX_LABELS];
    int64_t n_terms; /* products to add up for each element */
} einsum_job;

/* Elements that one step of a label moves in an operand; labels that repeat add up (the diagonal).
 */
static void set_strides(einsum_job *j) {
    for (int i = 0; i < j->e.n_in; ++i) {
        int64_t step = 1;
        for (int k = j->e.in[i].n - 1; k >= 0; --k) {
            int64_t dim = j->in[i]->dims[k];
            if (dim != 1)
                j->stride[i][j->e.in[i].label[k]] += step;
            step *= dim;
        }
    }
}

static void sum_products(const einsum_job *j, const int64_t *base, int64_t at) {
    hone_dtype d = j->out->dtype;
    bool is_float = hone_dtype_is_float(d);
    double sum = 0;
    uint64_t whole = 0;
    for (int64_t t = 0; t < j->n_terms; ++t) {
        int64_t offset[MAX_OPERANDS], rest = t;
        memcpy(offset, base, sizeof offset);
        for (int k = j->n_sum - 1; k >= 0; --k) {
            int label = j->sum_label[k];
            int64_t index = rest % j->e.dim[label];
            rest /= j->e.dim[label];
            for (int i = 0; i < j->e.n_in; ++i)
                offset[i] += index * j->stride[i][label];
        }
        double product = 1;
        uint64_t whole_product = 1;
        for (int i = 0; i < j->e.n_in; ++i) {
            if (is_float)
                product *= hone_load_f64(d, j->in[i]->data, offset[i]);
            else
                whole_product *= (uint64_t)hone_load_i64(d, j->in[i]->data, offset[i]);
        }
        sum += product;
        whole += whole_product;
    }
    if (is_float)
        hone_store_f64(d, j->out->data, at, sum);
    else
        hone_store_i64(d, j->out->data, at, (int64_t)whole);
}

static void einsum_task(void *arg, int64_t at, int worker) {
    (void)worker;
    const einsum_job *j = arg;
    int64_t base[MAX_OPERANDS] = {0}, rest = at;
    for (int k = j->e.out.n - 1; k >= 0; --k) {
        int label = j->e.out.label[k];
        int64_t index = rest % j->out->dims[k];
        rest /= j->out->dims[k];
        for (int i = 0; i < j->e.n_in; ++i)
            base[i] += index * j->stride[i][label];
    }
    sum_products(j, base, at);
}

hone_status hone_ref_einsum(hone_op_ctx *c) {
    int rank[MAX_OPERANDS];
    const int64_t *dims[MAX_OPERANDS];
    einsum_job j = {.in = c->in, .out = hone_out(c, 0), .n_terms = 1};
    for (int i = 0; i < c->n_in; ++i) {
        rank[i] = c->in[i]->rank;
        dims[i] = c->in[i]->dims;
    }
    const char *wrong = parse(c->node, rank, dims, c->n_in, &j.e);
    if (wrong)
        return hone_op_fail(c, HONE_E_SHAPE, "%s", wrong);
    set_strides(&j);
    for (int label = 0; label < MAX_LABELS; ++label) {
        bool is_kept = !j.e.is_used[label];
        for (int k = 0; k < j.e.out.n; ++k)
            is_kept |= j.e.out.label[k] == label;
        if (is_kept)
            continue;
        j.sum_label[j.n_sum++] = label;
        if (__builtin_mul_overflow(j.n_terms, j.e.dim[label], &j.n_terms))
            return hone_op_fail(c, HONE_E_NOMEM, "the sum has too many terms");
    }
    hone_op_parallel(c, hone_tensor_count(j.out), einsum_task, &j);
    return HONE_OK;
}

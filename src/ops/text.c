/* StringConcat, StringNormalizer, StringSplit, RegexFullMatch. */
#include <inttypes.h>
#include <string.h>

#include "ops/place.h"
#include "ops/regex.h"
#include "ops/utf8.h"

/* The string attribute with its length; no data when it is absent. */
static hone_string string_attr(const hone_node *n, const char *name) {
    const hone_attr *a = hone_attr_find(n, name);
    return a && a->kind == HONE_ATTR_STRING ? a->s : (hone_string){NULL, 0};
}

/* ---- StringConcat -----------------------------------------------------------------------------
 */

hone_status hone_infer_text_concat(hone_infer_ctx *c) {
    int rank = -1;
    int64_t dims[HONE_MAX_RANK];
    if (hone_infer_has(c, 0) && hone_infer_has(c, 1))
        HONE_TRY(hone_broadcast_dims(c, c->in[0].rank, c->in[0].dims, c->in[1].rank, c->in[1].dims,
                                     &rank, dims));
    hone_infer_set(c, 0, HONE_DTYPE_STRING, rank, dims);
    return HONE_OK;
}

/* Strides of t in the space of `out`: 0 where it is broadcast. */
static void broadcast_strides(const hone_tensor *t, const hone_tensor *out, int64_t *stride) {
    int64_t step = 1;
    for (int i = out->rank - 1; i >= 0; --i) {
        int k = i - (out->rank - t->rank);
        stride[i] = k < 0 || t->dims[k] == 1 ? 0 : step;
        step *= k < 0 ? 1 : t->dims[k];
    }
}

hone_status hone_ref_text_concat(hone_op_ctx *c) {
    const hone_tensor *a = hone_in(c, 0), *b = hone_in(c, 1);
    hone_tensor *out = hone_out(c, 0);
    int64_t sa[HONE_MAX_RANK], sb[HONE_MAX_RANK], at[HONE_MAX_RANK] = {0}, ia = 0, ib = 0;
    size_t room_bytes = 0;
    char *room = NULL;
    broadcast_strides(a, out, sa);
    broadcast_strides(b, out, sb);
    for (int64_t i = 0, n = hone_tensor_count(out); i < n; ++i) {
        hone_string x = ((const hone_string *)a->data)[ia], y = ((const hone_string *)b->data)[ib];
        size_t bytes;
        if (!hone_add_size(x.len, y.len, &bytes))
            return hone_op_fail(c, HONE_E_NOMEM, "a string is too long");
        if (bytes >= room_bytes) {
            room_bytes = bytes * 2 + 64;
            room = hone_op_scratch(c, room_bytes);
            if (!room)
                return HONE_E_NOMEM;
        }
        if (x.len)
            memcpy(room, x.data, x.len);
        if (y.len)
            memcpy(room + x.len, y.data, y.len);
        HONE_TRY(hone_string_set(out, i, room, bytes, c->err));
        for (int d = out->rank - 1; d >= 0; --d) {
            ia += sa[d];
            ib += sb[d];
            if (++at[d] < out->dims[d])
                break;
            ia -= sa[d] * out->dims[d];
            ib -= sb[d] * out->dims[d];
            at[d] = 0;
        }
    }
    return HONE_OK;
}

/* ---- StringNormalizer -------------------------------------------------------------------------
 */

typedef enum case_action { CASE_NONE, CASE_LOWER, CASE_UPPER } case_action;

/* s with its case changed, in scratch memory: a character may grow from 1 byte (invalid ones are
 * kept) to 4 at most. */
static hone_status change_case(hone_op_ctx *c, hone_string s, case_action action,
                               hone_string *out) {
    *out = s;
    if (action == CASE_NONE || s.len == 0)
        return HONE_OK;
    if (s.len > SIZE_MAX / 8)
        return hone_op_fail(c, HONE_E_NOMEM, "a string is too long");
    char *text = hone_op_scratch(c, s.len * 2 + 4);
    if (!text)
        return HONE_E_NOMEM;
    size_t n = 0;
    for (size_t i = 0, size; i < s.len; i += size) {
        int32_t ch = hone_utf8_decode(s.data + i, s.len - i, &size);
        if (ch < 0)
            text[n++] = s.data[i];
        else
            n += hone_utf8_encode(action == CASE_LOWER ? hone_char_lower(ch) : hone_char_upper(ch),
                                  text + n);
    }
    *out = (hone_string){text, n};
    return HONE_OK;
}

hone_status hone_infer_text_normalizer(hone_infer_ctx *c) {
    int64_t dims[2] = {1, HONE_DIM_UNKNOWN};
    int rank = hone_infer_has(c, 0) ? c->in[0].rank : -1;
    if (rank == 0 || rank > 2)
        return hone_infer_fail(c, HONE_E_SHAPE, "the input must be [C] or [1,C]");
    hone_infer_set(c, 0, HONE_DTYPE_STRING, rank, rank == 1 ? dims + 1 : dims);
    return HONE_OK;
}

typedef struct normalizer {
    case_action action;
    bool is_sensitive;
    hone_string *stop; /* lower-cased unless is_sensitive */
    int n_stop;
} normalizer;

static hone_status normalizer_init(hone_op_ctx *c, normalizer *z) {
    const char *action = hone_attr_string(c->node, "case_change_action", "NONE");
    const hone_string *words;
    z->is_sensitive = hone_attr_int(c->node, "is_case_sensitive", 0) != 0;
    z->action = strcmp(action, "LOWER") == 0   ? CASE_LOWER
                : strcmp(action, "UPPER") == 0 ? CASE_UPPER
                                               : CASE_NONE;
    if (z->action == CASE_NONE && strcmp(action, "NONE") != 0)
        return hone_op_fail(c, HONE_E_FORMAT, "unknown case_change_action %s", action);
    z->n_stop = hone_attr_strings(c->node, "stopwords", &words);
    z->stop = hone_op_scratch(c, ((size_t)z->n_stop + 1) * sizeof *z->stop);
    if (!z->stop)
        return HONE_E_NOMEM;
    for (int i = 0; i < z->n_stop; ++i)
        HONE_TRY(change_case(c, words[i], z->is_sensitive ? CASE_NONE : CASE_LOWER, &z->stop[i]));
    return HONE_OK;
}

static hone_status is_stop_word(hone_op_ctx *c, const normalizer *z, hone_string s, bool *out) {
    *out = false;
    if (z->n_stop == 0)
        return HONE_OK;
    HONE_TRY(change_case(c, s, z->is_sensitive ? CASE_NONE : CASE_LOWER, &s));
    for (int i = 0; i < z->n_stop && !*out; ++i)
        *out = hone_string_equal(z->stop[i], s);
    return HONE_OK;
}

hone_status hone_ref_text_normalizer(hone_op_ctx *c) {
    const hone_tensor *x = hone_in(c, 0);
    if (x->rank < 1 || x->rank > 2 || (x->rank == 2 && x->dims[0] != 1))
        return hone_op_fail(c, HONE_E_SHAPE, "the input must be [C] or [1,C]");
    normalizer z = {0};
    HONE_TRY(normalizer_init(c, &z));
    int64_t n = hone_tensor_count(x), n_kept = 0;
    hone_string *kept = hone_op_scratch(c, ((size_t)n + 1) * sizeof *kept);
    if (!kept)
        return HONE_E_NOMEM;
    for (int64_t i = 0; i < n; ++i) {
        hone_string s = ((const hone_string *)x->data)[i];
        bool is_stop = false;
        HONE_TRY(is_stop_word(c, &z, s, &is_stop));
        if (!is_stop)
            HONE_TRY(change_case(c, s, z.action, &kept[n_kept++]));
    }
    if (n_kept == 0)
        kept[n_kept++] = (hone_string){"", 0};
    int64_t dims[2] = {1, n_kept};
    hone_tensor_release(hone_out(c, 0));
    HONE_TRY(hone_op_alloc(c, 0, HONE_DTYPE_STRING, x->rank, dims + (2 - x->rank)));
    for (int64_t i = 0; i < n_kept; ++i)
        HONE_TRY(hone_string_set(hone_out(c, 0), i, kept[i].data, kept[i].len, c->err));
    return HONE_OK;
}

/* ---- StringSplit ------------------------------------------------------------------------------
 */

hone_status hone_infer_text_split(hone_infer_ctx *c) {
    int rank = hone_infer_has(c, 0) ? c->in[0].rank : -1;
    if (rank >= HONE_MAX_RANK)
        return hone_infer_fail(c, HONE_E_UNSUPPORTED, "rank %d is beyond the limit", rank + 1);
    int64_t dims[HONE_MAX_RANK] = {0};
    for (int i = 0; i < rank; ++i)
        dims[i] = c->in[0].dims[i];
    hone_infer_set(c, 1, HONE_DTYPE_I64, rank, dims);
    if (rank >= 0)
        dims[rank] = HONE_DIM_UNKNOWN;
    hone_infer_set(c, 0, HONE_DTYPE_STRING, rank < 0 ? -1 : rank + 1, dims);
    return HONE_OK;
}

static bool is_space(int32_t ch) {
    return (ch >= 9 && ch <= 13) || (ch >= 0x1C && ch <= 0x20) || ch == 0x85 || ch == 0xA0 ||
           ch == 0x1680 || (ch >= 0x2000 && ch <= 0x200A) || ch == 0x2028 || ch == 0x2029 ||
           ch == 0x202F || ch == 0x205F || ch == 0x3000;
}

/* Walks over the pieces of one string. */
typedef struct splitter {
    hone_string rest, by; /* by.len 0: white space */
    int64_t splits_left;
    bool is_done;
} splitter;

/* The length of the run, from `at` on, of characters that are white space or are not. */
static size_t run_length(hone_string s, bool space) {
    size_t at = 0, size;
    while (at < s.len && is_space(hone_utf8_decode(s.data + at, s.len - at, &size)) == space)
        at += size;
    return at;
}

static void advance(hone_string *s, size_t n) {
    if (n) {
        s->data += n;
        s->len -= n;
    }
}

static bool next_word(splitter *p, hone_string *piece) {
    advance(&p->rest, run_length(p->rest, true));
    if (p->rest.len == 0)
        return false;
    size_t n = p->splits_left == 0 ? p->rest.len : run_length(p->rest, false);
    p->splits_left--;
    *piece = (hone_string){p->rest.data, n};
    advance(&p->rest, n);
    return true;
}

static bool next_piece(splitter *p, hone_string *piece) {
    if (p->by.len == 0)
        return next_word(p, piece);
    if (p->is_done)
        return false;
    const char *hit = p->splits_left == 0 || p->rest.len == 0
                          ? NULL
                          : memmem(p->rest.data, p->rest.len, p->by.data, p->by.len);
    p->splits_left--;
    p->is_done = hit == NULL;
    *piece = (hone_string){p->rest.data, hit ? (size_t)(hit - p->rest.data) : p->rest.len};
    if (hit)
        advance(&p->rest, piece->len + p->by.len);
    return true;
}

static splitter split_start(const hone_node *n, hone_string s) {
    /* No maxsplit is no limit, as is a negative one. */
    int64_t max = hone_attr_int(n, "maxsplit", -1);
    return (splitter){s, string_attr(n, "delimiter"), max < 0 ? INT64_MAX : max, false};
}

hone_status hone_ref_text_split(hone_op_ctx *c) {
    const hone_tensor *x = hone_in(c, 0);
    const hone_string *s = x->data;
    int64_t n = hone_tensor_count(x), widest = 0;
    int64_t *count = hone_op_scratch(c, ((size_t)n + 1) * sizeof *count);
    if (!count)
        return HONE_E_NOMEM;
    hone_string piece;
    for (int64_t i = 0; i < n; ++i) {
        splitter p = split_start(c->node, s[i]);
        for (count[i] = 0; next_piece(&p, &piece);)
            count[i]++;
        widest = count[i] > widest ? count[i] : widest;
    }
    int64_t dims[HONE_MAX_RANK];
    memcpy(dims, x->dims, sizeof dims);
    if (hone_out(c, 1)) {
        hone_tensor_release(hone_out(c, 1));
        HONE_TRY(hone_op_alloc(c, 1, HONE_DTYPE_I64, x->rank, dims));
        if (n)
            memcpy(hone_out(c, 1)->data, count, (size_t)n * sizeof *count);
    }
    hone_tensor *y = hone_out(c, 0);
    if (!y)
        return HONE_OK;
    dims[x->rank] = widest;
    hone_tensor_release(y);
    HONE_TRY(hone_op_alloc(c, 0, HONE_DTYPE_STRING, x->rank + 1, dims));
    for (int64_t i = 0; i < n; ++i) {
        splitter p = split_start(c->node, s[i]);
        for (int64_t k = 0; k < count[i] && next_piece(&p, &piece); ++k)
            HONE_TRY(hone_string_set(y, i * widest + k, piece.data, piece.len, c->err));
    }
    return HONE_OK;
}

/* ---- RegexFullMatch ---------------------------------------------------------------------------
 */

hone_status hone_infer_text_regex(hone_infer_ctx *c) {
    bool has = hone_infer_has(c, 0);
    hone_infer_set(c, 0, HONE_DTYPE_BOOL, has ? c->in[0].rank : -1, c->in[0].dims);
    return HONE_OK;
}

static void *regex_memory(void *arg, size_t bytes) {
    return hone_op_scratch(arg, bytes);
}

hone_status hone_ref_text_regex(hone_op_ctx *c) {
    const hone_tensor *x = hone_in(c, 0);
    unsigned char *y = hone_out(c, 0)->data;
    hone_regex *re = NULL;
    const char *why = NULL;
    hone_status status =
        hone_regex_compile(string_attr(c->node, "pattern"), regex_memory, c, &re, &why);
    if (status != HONE_OK)
        return hone_op_fail(c, status, "the pattern cannot be used: %s", why);
    for (int64_t i = 0, n = hone_tensor_count(x); i < n; ++i)
        y[i] = hone_regex_full_match(re, ((const hone_string *)x->data)[i]);
    return HONE_OK;
}

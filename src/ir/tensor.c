/* Counted tensor storage over a caching allocator. */
#include "ir/tensor.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"

enum { ALIGN = 64, N_CLASSES = 4 * 48 };

/* The header before every storage block; the elements follow at the next multiple of 64. */
typedef struct hone_buffer {
    hone_alloc *alloc;        /* NULL: plain malloc */
    struct hone_buffer *next; /* in a free list */
    hone_arena strings;       /* bytes of string elements */
    size_t capacity;
    int size_class;
    int n_refs;
} hone_buffer;

_Static_assert(sizeof(hone_buffer) <= 128, "the header has two cache lines");
enum { HEADER_BYTES = 128 };

struct hone_alloc {
    hone_buffer *free_list[N_CLASSES];
    size_t limit_bytes, live_bytes; /* live: handed out and cached */
    int64_t n_live;                 /* blocks handed out */
    bool destroyed;
};

/* Size classes: four per power of two, so that at most a quarter is wasted. */
static int class_of(size_t bytes, size_t *capacity) {
    size_t unit = ALIGN;
    int exponent = 0;
    while (unit * 2 < bytes) {
        unit *= 2;
        ++exponent;
        if (exponent >= N_CLASSES / 4 - 1)
            break;
    }
    for (int quarter = 0; quarter < 4; ++quarter) {
        size_t size = unit + unit / 4 * (size_t)(quarter + 1);
        if (bytes <= size || quarter == 3) {
            *capacity = (size + ALIGN - 1) / ALIGN * ALIGN;
            return exponent * 4 + quarter;
        }
    }
    return 0;
}

hone_alloc *hone_alloc_create(size_t limit_bytes) {
    hone_alloc *a = calloc(1, sizeof *a);
    if (a)
        a->limit_bytes = limit_bytes;
    return a;
}

static void free_buffer(hone_buffer *b) {
    hone_arena_deinit(&b->strings);
    free(b);
}

static void drop_cache(hone_alloc *a) {
    for (int i = 0; i < N_CLASSES; ++i) {
        for (hone_buffer *b = a->free_list[i]; b;) {
            hone_buffer *next = b->next;
            a->live_bytes -= b->capacity;
            free_buffer(b);
            b = next;
        }
        a->free_list[i] = NULL;
    }
}

void hone_alloc_destroy(hone_alloc *a) {
    if (!a)
        return;
    drop_cache(a);
    a->destroyed = true;
    if (a->n_live == 0)
        free(a);
}

static hone_buffer *buffer_get(hone_alloc *a, size_t bytes) {
    if (bytes > SIZE_MAX / 4)
        return NULL;
    size_t capacity = 0;
    int size_class = class_of(bytes, &capacity);
    if (a && a->free_list[size_class]) {
        hone_buffer *b = a->free_list[size_class];
        a->free_list[size_class] = b->next;
        b->n_refs = 1;
        a->n_live++;
        return b;
    }
    if (a && a->limit_bytes && a->live_bytes + capacity > a->limit_bytes) {
        drop_cache(a);
        if (a->live_bytes + capacity > a->limit_bytes)
            return NULL;
    }
    hone_buffer *b = aligned_alloc(ALIGN, HEADER_BYTES + capacity);
    if (!b)
        return NULL;
    *b = (hone_buffer){.alloc = a, .capacity = capacity, .size_class = size_class, .n_refs = 1};
    hone_arena_init(&b->strings, a ? a->limit_bytes : 0);
    if (a) {
        a->live_bytes += capacity;
        a->n_live++;
    }
    return b;
}

static void buffer_put(hone_buffer *b) {
    if (--b->n_refs > 0)
        return;
    hone_alloc *a = b->alloc;
    hone_arena_deinit(&b->strings);
    if (!a) {
        free(b);
        return;
    }
    a->n_live--;
    if (a->destroyed) {
        free(b);
        if (a->n_live == 0)
            free(a);
        return;
    }
    b->next = a->free_list[b->size_class];
    a->free_list[b->size_class] = b;
}

int64_t hone_dims_count(const int64_t *dims, int from, int to) {
    uint64_t n = 1; /* unsigned: huge dims beside a zero wrap, and the zero wins */
    for (int i = from; i < to; ++i)
        n *= (uint64_t)dims[i];
    return (int64_t)n;
}

int64_t hone_tensor_count(const hone_tensor *t) {
    return t && t->kind == HONE_KIND_TENSOR ? hone_dims_count(t->dims, 0, t->rank) : 0;
}

bool hone_dims_fit(int rank, const int64_t *dims) {
    int64_t n = 1;
    for (int i = 0; i < rank; ++i) {
        if (dims[i] < 0 || __builtin_mul_overflow(n, dims[i] ? dims[i] : 1, &n) ||
            n > (int64_t)1 << 46)
            return false;
    }
    return true;
}

size_t hone_tensor_bytes(const hone_tensor *t) {
    return hone_dtype_bytes(t->dtype, hone_tensor_count(t));
}

hone_status hone_tensor_storage(const hone_tensor *t, size_t *bytes, hone_error *err) {
    if (t->kind == HONE_KIND_SEQUENCE || t->kind == HONE_KIND_MAP) {
        int64_t n = t->kind == HONE_KIND_MAP ? 2 : t->dims[0];
        if (n < 0 || n > INT32_MAX)
            return hone_fail(err, HONE_E_NOMEM, "a sequence of %" PRId64 " elements is too long",
                             n);
        *bytes = (size_t)n * sizeof(hone_tensor *);
        return HONE_OK;
    }
    if (t->rank < 0 || t->rank > HONE_MAX_RANK)
        return hone_fail(err, HONE_E_UNSUPPORTED, "rank %d is beyond the limit of %d", t->rank,
                         HONE_MAX_RANK);
    for (int i = 0; i < t->rank; ++i) {
        if (t->dims[i] < 0)
            return hone_fail(err, HONE_E_SHAPE, "dim %d of a tensor to allocate is %" PRId64, i,
                             t->dims[i]);
    }
    *bytes = hone_tensor_bytes(t);
    if (!hone_dims_fit(t->rank, t->dims)) {
        char text[160];
        return hone_fail(err, HONE_E_NOMEM, "a tensor %s is too large",
                         hone_tensor_describe(t, text, sizeof text));
    }
    return HONE_OK;
}

hone_status hone_tensor_alloc(hone_alloc *a, hone_tensor *t, hone_error *err) {
    size_t bytes = 0;
    t->data = NULL;
    t->owner = NULL;
    HONE_TRY(hone_tensor_storage(t, &bytes, err));
    hone_buffer *b = buffer_get(a, bytes ? bytes : 1);
    if (!b) {
        char text[160];
        return hone_fail(err, HONE_E_NOMEM, "no memory for %s (%zu bytes)",
                         hone_tensor_describe(t, text, sizeof text), bytes);
    }
    t->owner = b;
    t->data = (unsigned char *)b + HEADER_BYTES;
    /* Pointers must start empty; packed types must not leak stale bits of a last partial byte. */
    if (t->kind != HONE_KIND_TENSOR || t->dtype == HONE_DTYPE_STRING)
        memset(t->data, 0, bytes);
    else if (hone_dtype_bits(t->dtype) < 8 && bytes)
        ((unsigned char *)t->data)[bytes - 1] = 0;
    return HONE_OK;
}

static int64_t n_children(const hone_tensor *t) {
    return t->kind == HONE_KIND_SEQUENCE ? t->dims[0] : t->kind == HONE_KIND_MAP ? 2 : 0;
}

void hone_tensor_release(hone_tensor *t) {
    if (t->owner) {
        if (t->owner->n_refs == 1) {
            /* Nesting is bounded by the types of the model, which the reader limits. */
            for (int64_t i = 0; i < n_children(t); ++i) {
                hone_tensor *child = hone_seq_at(t, i);
                if (child) {
                    hone_tensor_release(child);
                    free(child);
                }
            }
        }
        buffer_put(t->owner);
    }
    *t = (hone_tensor){.kind = HONE_KIND_NONE};
}

void hone_tensor_share(hone_tensor *dst, const hone_tensor *src) {
    *dst = *src;
    if (dst->owner)
        dst->owner->n_refs++;
}

hone_status hone_tensor_keep(hone_alloc *a, hone_tensor *dst, const hone_tensor *src,
                             hone_error *err) {
    if (src->kind == HONE_KIND_NONE || src->owner) {
        hone_tensor_share(dst, src);
        return HONE_OK;
    }
    return hone_tensor_copy(a, dst, src, err);
}

static hone_status copy_strings(hone_tensor *dst, const hone_tensor *src, hone_error *err) {
    const hone_string *s = src->data;
    for (int64_t i = 0, n = hone_tensor_count(src); i < n; ++i)
        HONE_TRY(hone_string_set(dst, i, s[i].data, s[i].len, err));
    return HONE_OK;
}

hone_status hone_tensor_copy(hone_alloc *a, hone_tensor *dst, const hone_tensor *src,
                             hone_error *err) {
    *dst = *src;
    dst->owner = NULL;
    if (src->kind == HONE_KIND_NONE)
        return HONE_OK;
    HONE_TRY(hone_tensor_alloc(a, dst, err));
    hone_status status = HONE_OK;
    if (src->kind != HONE_KIND_TENSOR) {
        for (int64_t i = 0; status == HONE_OK && i < n_children(src); ++i) {
            hone_tensor item;
            status = hone_tensor_copy(a, &item, hone_seq_at(src, i), err);
            if (status != HONE_OK)
                break;
            status = hone_seq_set(a, dst, i, &item, err);
            hone_tensor_release(&item);
        }
    } else if (src->dtype == HONE_DTYPE_STRING) {
        status = copy_strings(dst, src, err);
    } else if (hone_tensor_bytes(src)) {
        memcpy(dst->data, src->data, hone_tensor_bytes(src));
    }
    if (status != HONE_OK)
        hone_tensor_release(dst);
    return status;
}

hone_tensor *hone_seq_at(const hone_tensor *seq, int64_t i) {
    return ((hone_tensor **)seq->data)[i];
}

hone_status hone_seq_set(hone_alloc *a, hone_tensor *seq, int64_t i, const hone_tensor *item,
                         hone_error *err) {
    hone_tensor *slot = malloc(sizeof *slot);
    if (!slot)
        return hone_fail(err, HONE_E_NOMEM, "no memory for a sequence element");
    hone_status status = hone_tensor_keep(a, slot, item, err);
    if (status != HONE_OK) {
        free(slot);
        return status;
    }
    ((hone_tensor **)seq->data)[i] = slot;
    return HONE_OK;
}

hone_status hone_string_set(hone_tensor *t, int64_t i, const char *data, size_t len,
                            hone_error *err) {
    char *copy = hone_arena_strdup(&t->owner->strings, data, len);
    if (!copy)
        return hone_fail(err, HONE_E_NOMEM, "no memory for a string of %zu bytes", len);
    ((hone_string *)t->data)[i] = (hone_string){copy, len};
    return HONE_OK;
}

bool hone_string_equal(hone_string a, hone_string b) {
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

hone_tensor hone_tensor_view(hone_dtype d, int rank, const int64_t *dims, const void *data) {
    hone_tensor t = {.kind = HONE_KIND_TENSOR, .dtype = d, .rank = rank};
    for (int i = 0; i < rank; ++i)
        t.dims[i] = dims[i];
    /* Views of constants are never written: the graph and the executor treat inputs as const. */
    union {
        const void *c;
        void *m;
    } p = {data};
    t.data = p.m;
    return t;
}

bool hone_same_dims(const hone_tensor *a, const hone_tensor *b) {
    if (a->rank != b->rank)
        return false;
    for (int i = 0; i < a->rank; ++i) {
        if (a->dims[i] != b->dims[i])
            return false;
    }
    return true;
}

char *hone_tensor_describe(const hone_tensor *t, char *buf, size_t size) {
    if (t->kind != HONE_KIND_TENSOR) {
        snprintf(buf, size, "%s",
                 t->kind == HONE_KIND_SEQUENCE ? "sequence"
                 : t->kind == HONE_KIND_MAP    ? "map"
                                               : "nothing");
        return buf;
    }
    size_t at = (size_t)snprintf(buf, size, "%s[", hone_dtype_name(t->dtype));
    for (int i = 0; i < t->rank && at < size; ++i)
        at += (size_t)snprintf(buf + at, size - at, "%s%" PRId64, i ? "," : "", t->dims[i]);
    if (at < size)
        snprintf(buf + at, size - at, "]");
    return buf;
}

/* Run-time values: counted storage, allocation, sharing, copying.
 *
 * A hone_tensor is a small struct passed by pointer; its storage is either borrowed (owner NULL:
 * mapped weights, planned arena, caller's buffer) or counted. A tensor struct that holds counted
 * storage must be released once. Not thread-safe: storage belongs to one session. */
#ifndef HONE_IR_TENSOR_H
#define HONE_IR_TENSOR_H

#include "base/status.h"
#include "ir/dtype.h"

/** Caching allocator: freed blocks are kept by size class, so that a steady state needs no malloc.
 * NULL is accepted everywhere and means plain malloc/free. */
typedef struct hone_alloc hone_alloc;
hone_alloc *hone_alloc_create(size_t limit_bytes /* 0: none */);
/** Blocks still in use stay valid and are freed with their last reference. */
void hone_alloc_destroy(hone_alloc *a);

/** Give `t` (kind, dtype, rank and dims set by the caller) zero-initialised-or-not storage of its
 * own, aligned to 64 bytes. Sequence: room for dims[0] element pointers, all NULL; map: two. String
 * elements start empty. Fails on negative dims, overflow, or over the allocator's limit. */
HONE_NODISCARD hone_status hone_tensor_alloc(hone_alloc *a, hone_tensor *t, hone_error *err);
/** Bytes of storage for t's elements, pointers or strings; fails on negative dims, and where the
 * size overflows or is beyond any machine's memory. */
HONE_NODISCARD hone_status hone_tensor_storage(const hone_tensor *t, size_t *bytes,
                                               hone_error *err);
/** Drop the storage; elements of sequences and maps go with the last reference. Leaves kind NONE.
 */
void hone_tensor_release(hone_tensor *t);
/** dst becomes another handle of src: shares counted storage, copies borrowed storage (whose
 * lifetime is not known), so that dst may outlive src. */
HONE_NODISCARD hone_status hone_tensor_keep(hone_alloc *a, hone_tensor *dst, const hone_tensor *src,
                                            hone_error *err);
/** dst becomes a deep copy with storage of its own. */
HONE_NODISCARD hone_status hone_tensor_copy(hone_alloc *a, hone_tensor *dst, const hone_tensor *src,
                                            hone_error *err);
/** Another handle without copying, borrowed storage staying borrowed: dst must not outlive it. */
void hone_tensor_share(hone_tensor *dst, const hone_tensor *src);

/** Element i of a sequence (or 0 = keys, 1 = values of a map). */
hone_tensor *hone_seq_at(const hone_tensor *seq, int64_t i);
/** Put a handle of `item` (kept as by hone_tensor_keep) at index i of a sequence or map made by
 * hone_tensor_alloc whose slot is empty. */
HONE_NODISCARD hone_status hone_seq_set(hone_alloc *a, hone_tensor *seq, int64_t i,
                                        const hone_tensor *item, hone_error *err);

/** Set string element i to a copy of bytes that lives as long as t's counted storage. */
HONE_NODISCARD hone_status hone_string_set(hone_tensor *t, int64_t i, const char *data, size_t len,
                                           hone_error *err);
bool hone_string_equal(hone_string a, hone_string b);

/** Number of elements of the first n dims from `from` on (1 when empty). No overflow check: for
 * tensors that exist. */
int64_t hone_dims_count(const int64_t *dims, int from, int to);
/** Are the dims none below 0, and few enough elements in all for offsets and sizes to be computed
 * without overflow, also when some dim is 0 (zeros count as ones)? */
bool hone_dims_fit(int rank, const int64_t *dims);
/** Bytes of t's elements (tensors only). */
size_t hone_tensor_bytes(const hone_tensor *t);
/** A tensor struct over memory of the caller. */
hone_tensor hone_tensor_view(hone_dtype d, int rank, const int64_t *dims, const void *data);
bool hone_same_dims(const hone_tensor *a, const hone_tensor *b);
/** "float32[1,3,224,224]" into buf; returns buf. */
char *hone_tensor_describe(const hone_tensor *t, char *buf, size_t size);

#endif

/* NumPy archives (.npz): zip files of .npy members, stored or deflated; written stored. */
#ifndef HONE_IR_NPZ_H
#define HONE_IR_NPZ_H

#include "ir/npy.h"

typedef struct hone_npz_item {
    char *name; /* without ".npy" */
    hone_tensor value;
} hone_npz_item;

/** Read all members. The items go with hone_npz_free. */
HONE_NODISCARD hone_status hone_npz_parse(hone_alloc *a, const uint8_t *bytes, size_t n,
                                          hone_npz_item **items, int *n_items, hone_error *err);
void hone_npz_free(hone_npz_item *items, int n_items);
/** Members of 4 GB and more are not supported. */
HONE_NODISCARD hone_status hone_npz_emit(const hone_npz_item *items, int n_items,
                                         hone_npy_sink sink, void *arg, hone_error *err);

#endif

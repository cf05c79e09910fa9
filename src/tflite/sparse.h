/* Sparse constants, which are made dense when the file is read. */
#ifndef HONE_TFLITE_SPARSE_H
#define HONE_TFLITE_SPARSE_H

#include "tflite/file.h"

/** All elements of a tensor whose stored ones are the n bytes at `stored`, in the file's arena.
 * t: its SparsityParameters. NULL: f->flat.status says why not. */
const void *tfr_densify(tfr_file *f, tfr_table t, const tfr_tensor *x, const uint8_t *stored,
                        size_t n);

#endif

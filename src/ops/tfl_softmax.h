/* Functions on 16 bits as 512 lines, and the softmax that uses them. */
#ifndef HONE_OPS_TFL_SOFTMAX_H
#define HONE_OPS_TFL_SOFTMAX_H

#include "ir/op.h"

enum { TFL_LINES = 512 };

/** Ends of the lines, TFL_LINES + 1 numbers: real x = x_scale * (stored - x_zero), y = y_scale *
 * stored. */
void tfl_fill_lines(double (*of)(double), double x_scale, int32_t x_zero, double y_scale,
                    int16_t *line);
int16_t tfl_line(const int16_t *line, int16_t x);
/** Rows of n int16 numbers of that scale; the result's is 1 / 32768. */
void tfl_softmax16(const hone_tensor *x, hone_tensor *y, double scale, int64_t n);

#endif

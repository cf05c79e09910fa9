/* Checks of the C tests: a failed one is printed and counted, and the test goes on. */
#ifndef HONE_TESTS_CHECK_H
#define HONE_TESTS_CHECK_H

#include <stdio.h>

static int check_failures;

#define CHECK(condition)                                                                           \
    ((condition) ? (void)0                                                                         \
                 : (void)(++check_failures,                                                        \
                          fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition)))

/* For the end of main(). */
#define CHECK_RESULT() (check_failures ? (fprintf(stderr, "%d failed\n", check_failures), 1) : 0)

#endif

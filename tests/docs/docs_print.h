/* Pages of documentation that programs print from the code's tables. */
#ifndef HONE_TESTS_DOCS_PRINT_H
#define HONE_TESTS_DOCS_PRINT_H

#include <stdio.h>

/** Without an argument the page goes to stdout; with one the file must hold just that, else 1 is
 * returned and `how` to write it anew is said. */
int docs_print(int argc, char **argv, void (*print)(FILE *f), const char *how);

#endif

#include "docs_print.h"

#include <stdlib.h>
#include <string.h>

typedef struct text {
    char *data;
    size_t n;
} text;

static int is_same(const char *path, const text *want) {
    FILE *f = fopen(path, "rb");
    char *got = malloc(want->n + 1);
    size_t n = f && got ? fread(got, 1, want->n + 1, f) : 0;
    int same = n == want->n && memcmp(got, want->data, n) == 0;
    if (f)
        fclose(f);
    free(got);
    return same;
}

int docs_print(int argc, char **argv, void (*print)(FILE *f), const char *how) {
    text t = {0};
    FILE *f = open_memstream(&t.data, &t.n);
    if (!f)
        return 2;
    print(f);
    fclose(f);
    int failed = argc > 1 && !is_same(argv[1], &t);
    if (argc <= 1)
        fwrite(t.data, 1, t.n, stdout);
    if (failed)
        printf("%s is out of date: run %s\n", argv[1], how);
    free(t.data);
    return failed;
}

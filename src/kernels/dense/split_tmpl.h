/* How a product of m rows and `units` panels of columns is shared out as tasks. Nothing here
 * depends on the number of threads, nor does a sum depend on the blocks. */

enum { DN_MAX_TASKS = 16 }; /* as many as balance, where more blocks cost */

typedef struct dn_product {
    int64_t m, units, most_rows, mr; /* most_rows: of a block, for the cache; mr: of a tile */
    double work;                     /* in units of which 1e5 take about 2 us */
    double a_bytes, b_bytes;         /* all rows, all panels */
} dn_product;

typedef struct dn_split {
    int64_t n_mb, n_nb, mb; /* blocks of rows and of panels; mb: most rows of a block */
    bool is_by_panel;       /* tasks go through the rows of one block of panels after the other */
} dn_split;

static int64_t dn_power_of_2(int64_t n) {
    int64_t p = 1;
    while (2 * p <= n)
        p *= 2;
    return p;
}

/* Where rows are most of the data, as in pictures, all layers are cut along rows, so that a thread
 * finds in its cache what it wrote in the layer before; else along panels, so that every thread
 * reads its part of the weights only. */
static dn_split dn_split_of(const dn_product *p) {
    dn_split s = {.n_mb = dn_ceil(p->m, p->most_rows), .n_nb = 1};
    /* None too small to be worth handing over; a power of two, so that threads have equal shares.
     */
    int64_t most = p->work < 4e5 ? 1 : p->work < 3e6 ? (int64_t)(p->work / 2e5) : DN_MAX_TASKS;
    int64_t wanted = dn_power_of_2(most), full = p->m / (4 * p->mr);
    if (p->a_bytes >= p->b_bytes) {
        if (dn_round(s.n_mb, wanted) <= full)
            s.n_mb = dn_round(s.n_mb, wanted);
        else
            s.n_mb = dn_min(p->m, dn_power_of_2(full > s.n_mb ? full : 2 * s.n_mb - 1));
        s.n_nb = s.n_mb < wanted ? dn_min(p->units, wanted / s.n_mb) : 1;
    } else {
        s.n_nb = s.n_mb < wanted ? dn_min(p->units, dn_ceil(wanted, s.n_mb)) : 1;
        while (s.n_mb * s.n_nb % 4 && 2 * s.n_mb <= full && 2 * s.n_mb * s.n_nb <= most)
            s.n_mb *= 2;
    }
    s.mb = dn_ceil(p->m, s.n_mb);
    s.is_by_panel =
        p->b_bytes + (double)s.n_nb * p->a_bytes < p->a_bytes + (double)s.n_mb * p->b_bytes;
    return s;
}

typedef struct dn_range {
    int64_t from, to;
} dn_range;

static dn_range dn_part(int64_t n, int64_t i, int64_t parts) {
    return (dn_range){n * i / parts, n * (i + 1) / parts};
}

/* Block of rows and of panels of a task. */
static int64_t dn_row_block(const dn_split *s, int64_t task) {
    return s->is_by_panel ? task % s->n_mb : task / s->n_nb;
}
static int64_t dn_panel_block(const dn_split *s, int64_t task) {
    return s->is_by_panel ? task / s->n_mb : task % s->n_nb;
}

/* Rows in tiles of nearly equal numbers of rows, the first `more` of which have one row more than
 * `each`. */
typedef struct dn_cut {
    int64_t tiles, each, more;
} dn_cut;

static dn_cut dn_cut_of(int64_t rows, int64_t most) {
    int64_t tiles = dn_ceil(rows, most);
    return (dn_cut){tiles, rows / tiles, rows % tiles};
}
static inline int64_t dn_cut_rows(const dn_cut *cut, int64_t tile) {
    return cut->each + (tile < cut->more);
}

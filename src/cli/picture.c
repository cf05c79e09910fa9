/* Layered drawing: a node stands one row below the lowest of its producers, and in its row near
 * the mean column of its neighbours (the barycentre method of Sugiyama, Tagawa and Toda, 1981). */
#include "cli/picture.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A box: a node, a graph input or a graph output. */
typedef struct box {
    const char *op, *name;
    char type[96]; /* of what leaves it */
    int row;
    double x;    /* in columns */
    bool is_fed; /* depends on a graph input */
    int latest;  /* the row above its first consumer */
} box;

typedef struct edge {
    int from, to;
} edge;

/* One graph: the main one, or a body of a node in one before it. */
typedef struct picture {
    char title[200];
    hone_arena arena;
    box *boxes;
    int n_boxes;
    edge *edges;
    int n_edges, cap_edges;
    int *maker; /* by value id: the box it leaves, -1: constant or captured */
    int n_rows, n_columns;
} picture;

typedef struct album {
    picture *pictures;
    int n;
} album;

/* ---- boxes and edges --------------------------------------------------------------------------
 */

static bool link(picture *p, const hone_value *v, int to) {
    if (!v || p->maker[v->id] < 0)
        return true;
    edge e = {p->maker[v->id], to};
    int row = p->boxes[e.from].row + 1;
    p->boxes[to].row = row > p->boxes[to].row ? row : p->boxes[to].row;
    p->boxes[to].is_fed |= p->boxes[e.from].is_fed;
    return HONE_PUSH(&p->arena, p->edges, p->n_edges, p->cap_edges, e);
}

static bool link_captures(picture *p, const hone_graph *g, const hone_node *n, int to) {
    for (int k = 0; k < n->n_attrs; ++k) {
        const hone_graph *sub = n->attrs[k].kind == HONE_ATTR_GRAPH ? n->attrs[k].g : NULL;
        for (int i = 0; sub && sub->parent == g && i < sub->n_values; ++i) {
            if (sub->values[i]->outer && !link(p, sub->values[i]->outer, to))
                return false;
        }
    }
    return true;
}

static box *new_box(picture *p, const hone_graph *g, const char *op, const char *name,
                    const hone_value *out) {
    box *b = &p->boxes[p->n_boxes++];
    *b = (box){.op = op, .name = name, .latest = INT_MAX};
    if (out)
        hone_type_describe(g, &out->type, b->type, sizeof b->type);
    return b;
}

static bool fill(picture *p, const hone_graph *g) {
    for (int i = 0; i < g->n_inputs; ++i) {
        if (g->inputs[i]->initial) /* a weight, as old exporters write them */
            continue;
        p->maker[g->inputs[i]->id] = p->n_boxes;
        new_box(p, g, "input", g->inputs[i]->name, g->inputs[i])->is_fed = true;
    }
    for (int i = 0; i < g->n_nodes; ++i) {
        const hone_node *n = g->nodes[i];
        int at = p->n_boxes;
        new_box(p, g, n->op_name, n->name, n->n_out ? n->out[0] : NULL);
        for (int k = 0; k < n->n_in; ++k) {
            if (!link(p, n->in[k], at))
                return false;
        }
        if (!link_captures(p, g, n, at))
            return false;
        for (int k = 0; k < n->n_out; ++k) {
            if (n->out[k])
                p->maker[n->out[k]->id] = at;
        }
    }
    for (int i = 0; i < g->n_outputs; ++i) {
        int at = p->n_boxes;
        new_box(p, g, "output", g->outputs[i]->name, g->outputs[i]);
        if (!link(p, g->outputs[i], at))
            return false;
    }
    return true;
}

static void settle(box *b) {
    if (!b->is_fed && b->latest < INT_MAX)
        b->row = b->latest;
}

/* What depends on constants only moves down to where it is used. Edges are in the order of the
 * boxes that they lead to, so that from the end on a box's consumers come before it. */
static void sink_constants(picture *p) {
    for (int i = p->n_edges - 1; i >= 0; --i) {
        box *from = &p->boxes[p->edges[i].from], *to = &p->boxes[p->edges[i].to];
        settle(to);
        from->latest = to->row - 1 < from->latest ? to->row - 1 : from->latest;
    }
    for (int i = 0; i < p->n_boxes; ++i)
        settle(&p->boxes[i]);
}

static bool create(picture *p, const hone_graph *g) {
    hone_arena_init(&p->arena, 0);
    p->boxes = HONE_NEW_ARRAY(&p->arena, box, g->n_inputs + g->n_nodes + g->n_outputs + 1);
    p->maker = HONE_NEW_ARRAY(&p->arena, int, g->n_values + 1);
    for (int i = 0; p->maker && i < g->n_values; ++i)
        p->maker[i] = -1;
    if (!p->boxes || !p->maker || !fill(p, g))
        return false;
    sink_constants(p);
    return true;
}

/* ---- columns ----------------------------------------------------------------------------------
 */

typedef struct place {
    double want;
    int box;
} place;

static int by_want(const void *a, const void *b) {
    const place *x = a, *y = b;
    if (x->want != y->want)
        return x->want < y->want ? -1 : 1;
    return (x->box > y->box) - (x->box < y->box);
}

/* Boxes of a row keep their order of wishes and stand at least one column apart. */
static void set_row(picture *p, place *row, int n) {
    qsort(row, (size_t)n, sizeof *row, by_want);
    double mean = 0, at = -1e9, shift = 0;
    for (int i = 0; i < n; ++i)
        mean += row[i].want / n;
    for (int i = 0; i < n; ++i) {
        at = row[i].want > at + 1 ? row[i].want : at + 1;
        p->boxes[row[i].box].x = at;
        shift += (at) / n;
    }
    for (int i = 0; i < n; ++i)
        p->boxes[row[i].box].x -= shift - mean;
}

/* Mean column of the neighbours above (down = true) or below of every box. */
static void sum_neighbours(const picture *p, bool down, double *sum, int *count) {
    for (int i = 0; i < p->n_boxes; ++i) {
        sum[i] = 0;
        count[i] = 0;
    }
    for (int i = 0; i < p->n_edges; ++i) {
        int me = down ? p->edges[i].to : p->edges[i].from;
        int other = down ? p->edges[i].from : p->edges[i].to;
        sum[me] += p->boxes[other].x;
        count[me]++;
    }
}

static bool arrange(picture *p) {
    enum { SWEEPS = 6 };
    place *row = HONE_NEW_ARRAY(&p->arena, place, p->n_boxes + 1);
    double *sum = HONE_NEW_ARRAY(&p->arena, double, p->n_boxes + 1);
    int *count = HONE_NEW_ARRAY(&p->arena, int, p->n_boxes + 1);
    int *start = HONE_NEW_ARRAY(&p->arena, int, p->n_boxes + 2);
    if (!row || !sum || !count || !start)
        return false;
    for (int i = 0; i < p->n_boxes; ++i) {
        p->n_rows = p->boxes[i].row >= p->n_rows ? p->boxes[i].row + 1 : p->n_rows;
        start[p->boxes[i].row + 1]++;
    }
    for (int i = 0; i < p->n_rows; ++i)
        start[i + 1] += start[i];
    for (int sweep = 0; sweep < SWEEPS; ++sweep) {
        int *next = HONE_NEW_ARRAY(&p->arena, int, p->n_rows + 1);
        if (!next)
            return false;
        sum_neighbours(p, sweep % 2 == 0, sum, count);
        for (int i = 0; i < p->n_boxes; ++i) {
            int r = p->boxes[i].row;
            double want = count[i] ? sum[i] / count[i] : p->boxes[i].x;
            row[start[r] + next[r]++] = (place){want, i};
        }
        for (int r = 0; r < p->n_rows; ++r)
            set_row(p, row + start[r], start[r + 1] - start[r]);
    }
    double left = 0, right = 0;
    for (int i = 0; i < p->n_boxes; ++i) {
        left = p->boxes[i].x < left ? p->boxes[i].x : left;
        right = p->boxes[i].x > right ? p->boxes[i].x : right;
    }
    for (int i = 0; i < p->n_boxes; ++i)
        p->boxes[i].x -= left;
    p->n_columns = (int)(right - left) + 2;
    return true;
}

/* ---- SVG --------------------------------------------------------------------------------------
 */

enum { BOX_W = 150, BOX_H = 40, STEP_X = 170, STEP_Y = 66, EDGE = 20, TITLE_H = 24 };

static void put_xml(FILE *to, const char *s, int max) {
    for (int i = 0; s && *s; ++s) {
        i += ((unsigned char)*s & 0xc0) != 0x80;
        if (i > max) {
            fputs("…", to);
            return;
        }
        unsigned char c = (unsigned char)*s;
        if (c == '<' || c == '>' || c == '&' || c == '"' || c < 0x20)
            fprintf(to, "&#%u;", c < 0x20 ? ' ' : c);
        else
            putc(c, to);
    }
}

/* A pale colour of the operator's own. */
static unsigned hue_of(const char *op) {
    unsigned h = 2166136261u; /* FNV-1a */
    for (; *op; ++op)
        h = (h ^ (unsigned char)*op) * 16777619u;
    return h % 360;
}

static void put_box(FILE *to, const box *b) {
    double x = EDGE + b->x * STEP_X;
    int y = EDGE + b->row * STEP_Y;
    bool is_end = strcmp(b->op, "input") == 0 || strcmp(b->op, "output") == 0;
    fprintf(to, "<g><title>");
    put_xml(to, b->name, 400);
    fprintf(to, "\n");
    put_xml(to, b->type, 100);
    fprintf(to,
            "</title><rect x=\"%.0f\" y=\"%d\" width=\"%d\" height=\"%d\" rx=\"%d\" "
            "fill=\"hsl(%u,%d%%,88%%)\" stroke=\"#667\"/>",
            x, y, BOX_W, BOX_H, is_end ? BOX_H / 2 : 4, hue_of(b->op), is_end ? 0 : 55);
    fprintf(to, "<text x=\"%.0f\" y=\"%d\" class=\"op\">", x + BOX_W / 2.0, y + 17);
    put_xml(to, is_end ? b->name : b->op, 20);
    fprintf(to, "</text><text x=\"%.0f\" y=\"%d\">", x + BOX_W / 2.0, y + 32);
    put_xml(to, b->type, 26);
    fprintf(to, "</text></g>\n");
}

static int width_of(const picture *p) {
    return p->n_columns * STEP_X + 2 * EDGE;
}

static int height_of(const picture *p) {
    return p->n_rows * STEP_Y + 2 * EDGE + (p->title[0] ? TITLE_H : 0);
}

static void put_group(FILE *to, const picture *p, int y) {
    if (p->title[0]) {
        fprintf(to, "<text x=\"%d\" y=\"%d\" class=\"title\">", EDGE, y + TITLE_H - 4);
        put_xml(to, p->title, 200);
        fprintf(to, "</text>\n");
        y += TITLE_H;
    }
    fprintf(to, "<g transform=\"translate(0,%d)\">\n", y);
    for (int i = 0; i < p->n_edges; ++i) {
        const box *a = &p->boxes[p->edges[i].from], *b = &p->boxes[p->edges[i].to];
        double x1 = EDGE + a->x * STEP_X + BOX_W / 2.0, x2 = EDGE + b->x * STEP_X + BOX_W / 2.0;
        int y1 = EDGE + a->row * STEP_Y + BOX_H, y2 = EDGE + b->row * STEP_Y;
        fprintf(to, "<path d=\"M%.0f %dC%.0f %d %.0f %d %.0f %d\"/>\n", x1, y1, x1,
                y1 + (y2 - y1) / 2, x2, y2 - (y2 - y1) / 2, x2, y2);
    }
    for (int i = 0; i < p->n_boxes; ++i)
        put_box(to, &p->boxes[i]);
    fprintf(to, "</g>\n");
}

static void put_svg(FILE *to, const album *a) {
    int w = 0, h = 0;
    for (int i = 0; i < a->n; ++i) {
        w = width_of(&a->pictures[i]) > w ? width_of(&a->pictures[i]) : w;
        h += height_of(&a->pictures[i]);
    }
    fprintf(to,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
            "viewBox=\"0 0 %d %d\">\n"
            "<style>text{font:10px sans-serif;text-anchor:middle;fill:#444}"
            ".op{font-size:12px;font-weight:bold;fill:#000}"
            ".title{font-size:14px;font-weight:bold;text-anchor:start}"
            "path{fill:none;stroke:#99a}</style>\n"
            "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n",
            w, h, w, h);
    for (int i = 0, y = 0; i < a->n; y += height_of(&a->pictures[i++]))
        put_group(to, &a->pictures[i], y);
    fprintf(to, "</svg>\n");
}

/* ---- DOT --------------------------------------------------------------------------------------
 */

static void put_quoted(FILE *to, const char *s) {
    for (; s && *s; ++s) {
        unsigned char c = (unsigned char)*s;
        if (c == '"' || c == '\\')
            putc('\\', to);
        putc(c < 0x20 ? ' ' : c, to);
    }
}

static void put_cluster(FILE *to, const picture *p, int id) {
    if (p->title[0]) {
        fprintf(to, "  subgraph cluster_%d {\n  label=\"", id);
        put_quoted(to, p->title);
        fprintf(to, "\";\n");
    }
    for (int i = 0; i < p->n_boxes; ++i) {
        const box *b = &p->boxes[i];
        fprintf(to, "  n%d_%d [label=\"", id, i);
        put_quoted(to, b->op);
        fprintf(to, "\\n");
        put_quoted(to, b->name);
        fprintf(to, "\\n");
        put_quoted(to, b->type);
        fprintf(to, "\", fillcolor=\"%.3f 0.15 1.0\"];\n", hue_of(b->op) / 360.0);
    }
    for (int i = 0; i < p->n_edges; ++i)
        fprintf(to, "  n%d_%d -> n%d_%d;\n", id, p->edges[i].from, id, p->edges[i].to);
    if (p->title[0])
        fprintf(to, "  }\n");
}

static void put_dot(FILE *to, const album *a) {
    fprintf(to, "digraph model {\n  node [shape=box, style=\"rounded,filled\", "
                "fillcolor=white, fontname=\"sans-serif\"];\n");
    for (int i = 0; i < a->n; ++i)
        put_cluster(to, &a->pictures[i], i);
    fprintf(to, "}\n");
}

/* ---- subgraphs --------------------------------------------------------------------------------
 */

enum { MAX_PICTURES = 1000 };

static bool add_graph(album *a, const hone_graph *g, const char *title);

static bool add_bodies(album *a, const hone_node *n) {
    bool ok = true;
    for (int k = 0; k < n->n_attrs && ok; ++k) {
        char title[200];
        snprintf(title, sizeof title, "%.120s (%.40s): %.30s", n->name[0] ? n->name : "(unnamed)",
                 n->op_name, n->attrs[k].name);
        if (n->attrs[k].kind == HONE_ATTR_GRAPH)
            ok = add_graph(a, n->attrs[k].g, title);
    }
    return ok;
}

/* The graph, then the bodies of its nodes. */
static bool add_graph(album *a, const hone_graph *g, const char *title) {
    if (a->n == MAX_PICTURES)
        return true; /* who would look at more? */
    picture *grown = realloc(a->pictures, (size_t)(a->n + 1) * sizeof *grown);
    if (!grown)
        return false;
    a->pictures = grown;
    picture *p = &a->pictures[a->n++];
    *p = (picture){.n_boxes = 0};
    snprintf(p->title, sizeof p->title, "%s", title);
    bool ok = create(p, g) && arrange(p);
    for (int i = 0; i < g->n_nodes && ok; ++i)
        ok = add_bodies(a, g->nodes[i]);
    return ok;
}

/* ---- files ------------------------------------------------------------------------------------
 */

static bool ends_with(const char *s, const char *end) {
    size_t n = strlen(s), m = strlen(end);
    return n >= m && strcmp(s + n - m, end) == 0;
}

static hone_status save(const album *a, const char *path, bool is_svg, hone_error *err) {
    FILE *to = fopen(path, "w");
    if (!to)
        return hone_fail(err, HONE_E_IO, "cannot write %s: %s", path, strerror(errno));
    if (is_svg)
        put_svg(to, a);
    else
        put_dot(to, a);
    bool is_bad = ferror(to) != 0;
    if (fclose(to) != 0 || is_bad)
        return hone_fail(err, HONE_E_IO, "cannot write %s: %s", path, strerror(errno));
    return HONE_OK;
}

hone_status cli_picture_write(const hone_graph *g, const char *path, hone_error *err) {
    bool is_svg = ends_with(path, ".svg");
    album a = {.n = 0};
    if (!is_svg && !ends_with(path, ".dot"))
        return hone_fail(err, HONE_E_ARGUMENT, "--graph %s: the file ends in .dot or .svg", path);
    hone_status status = add_graph(&a, g, "")
                             ? save(&a, path, is_svg, err)
                             : hone_fail(err, HONE_E_NOMEM, "no memory for the picture");
    for (int i = 0; i < a.n; ++i)
        hone_arena_deinit(&a.pictures[i].arena);
    free(a.pictures);
    return status;
}

/* hone bench --assert-dispatch: is the kernel of every node as fast as the best that it might have?
 */
#include <stdlib.h>
#include <string.h>

#include "backend/cpu/choices.h"
#include "cli/explain.h"
#include "cli/nodes.h"

#define TOLERANCE 1.05

/* A first look at every problem, and a longer one at those that seem slow: what a disturbance made
 * slow is not slow twice. */
static const hone_timing_budget first_look = {.max_ms = 60, .min_rounds = 5, .max_rounds = 60},
                                second_look = {.max_ms = 600, .min_rounds = 20, .max_rounds = 250};

/* A problem, and the node that has it first. */
typedef struct dispatch {
    const hone_node *node;
    hone_choices choices;
    int n_nodes;
    bool is_slow;
} dispatch;

typedef struct dispatches {
    dispatch *list;
    int n;
} dispatches;

static void add(dispatches *d, const cli_node *seen, const hone_choices *c) {
    for (int i = 0; i < d->n; ++i) {
        if (d->list[i].choices.chosen == c->chosen &&
            memcmp(&d->list[i].choices.p, &c->p, sizeof c->p) == 0) {
            ++d->list[i].n_nodes;
            return;
        }
    }
    d->list[d->n++] = (dispatch){.node = seen->node, .choices = *c, .n_nodes = 1};
}

/* Nodes with a choice: at least two kernels may run them. */
static bool collect(const cli_nodes *nodes, bool is_exact, dispatches *d) {
    d->list = calloc((size_t)nodes->n + 1, sizeof *d->list);
    if (!d->list)
        return false;
    for (int i = 0; i < nodes->n; ++i) {
        hone_choices c;
        int n_possible = 0;
        hone_cpu_choices(nodes->list[i].node, &nodes->list[i].x, &nodes->list[i].y, is_exact, &c);
        for (int k = 0; k < c.n; ++k)
            n_possible += !c.list[k].refusal;
        if (nodes->list[i].impl && c.chosen >= 0 && n_possible > 1)
            add(d, &nodes->list[i], &c);
    }
    return true;
}

/* Slow by the least time and by the median. */
static bool is_slow(const hone_choices *c) {
    int best = hone_cpu_fastest_choice(c);
    const hone_choice *own = &c->list[c->chosen];
    return best >= 0 && own->min_ms > 0 && own->min_ms > TOLERANCE * c->list[best].min_ms &&
           own->median_ms > TOLERANCE * c->list[best].median_ms;
}

static bool look(dispatches *d, hone_pool *pool, bool is_cold) {
    hone_timing_budget first = first_look, second = second_look;
    first.is_cold = second.is_cold = is_cold;
    cli_progress progress;
    bool ok = true;
    cli_progress_start(&progress);
    for (int i = 0; i < d->n && ok; ++i) {
        hone_choices *c = &d->list[i].choices;
        cli_progress_show(&progress, (double)i / d->n, d->list[i].node->name);
        ok = hone_cpu_time_choices(c, pool, &first);
        if (ok && is_slow(c))
            ok = hone_cpu_time_choices(c, pool, &second);
        d->list[i].is_slow = ok && is_slow(c);
    }
    cli_progress_end(&progress);
    return ok;
}

static void print_text(const dispatches *d, int n_slow) {
    cli_table *t =
        n_slow ? cli_table_create("node|operator|>nodes|kernel|>ms|fastest|>ms|>slower") : NULL;
    for (int i = 0; i < d->n; ++i) {
        const hone_choices *c = &d->list[i].choices;
        const hone_choice *own = &c->list[c->chosen], *best = &c->list[hone_cpu_fastest_choice(c)];
        if (!d->list[i].is_slow)
            continue;
        cli_cell(t, "%s", cli_name(d->list[i].node->name));
        cli_cell(t, "%s", d->list[i].node->op_name);
        cli_cell(t, "%d", d->list[i].n_nodes);
        cli_cell(t, "%s", own->kernel->name);
        cli_cell(t, "%.4f", own->min_ms);
        cli_cell(t, "%s", best->kernel->name);
        cli_cell(t, "%.4f", best->min_ms);
        cli_cell(t, "%.0f %%", (own->min_ms / best->min_ms - 1) * 100);
    }
    cli_table_print(t, stdout);
    printf(
        "%d problems with a choice of kernels, %d of them with one more than %.0f %% slower than "
        "the fastest\n",
        d->n, n_slow, (TOLERANCE - 1) * 100);
}

static void print_json(const dispatches *d, const char *path, int n_slow) {
    cli_json j = {.to = stdout};
    cli_json_open(&j, NULL, '{');
    cli_json_text(&j, "model", path);
    cli_json_int(&j, "problems", d->n);
    cli_json_int(&j, "slow", n_slow);
    cli_json_open(&j, "dispatch", '[');
    for (int i = 0; i < d->n; ++i) {
        const hone_choices *c = &d->list[i].choices;
        const hone_choice *own = &c->list[c->chosen], *best = &c->list[hone_cpu_fastest_choice(c)];
        cli_json_open(&j, NULL, '{');
        cli_json_text(&j, "node", d->list[i].node->name);
        cli_json_int(&j, "nodes", d->list[i].n_nodes);
        cli_json_text(&j, "kernel", own->kernel->name);
        cli_json_number(&j, "ms", own->min_ms);
        cli_json_text(&j, "fastest", best->kernel->name);
        cli_json_number(&j, "fastest_ms", best->min_ms);
        cli_json_bool(&j, "slow", d->list[i].is_slow);
        cli_json_close(&j, '}');
    }
    cli_json_close(&j, ']');
    cli_json_close(&j, '}');
}

hone_status cli_assert_dispatch(cli_subject *s, const cli_args *args, int *n_slow,
                                hone_error *err) {
    cli_nodes nodes;
    dispatches d = {.n = 0};
    hone_pool *pool = NULL;
    *n_slow = 0;
    hone_status status = cli_nodes_record(s, 0, &nodes, err);
    if (status == HONE_OK)
        status = hone_pool_create(hone_session_threads(s->session), &pool, err);
    if (status == HONE_OK && (!collect(&nodes, args->exact, &d) || !look(&d, pool, cli_is_cold(s))))
        status = hone_fail(err, HONE_E_NOMEM, "no memory to time the kernels");
    for (int i = 0; i < d.n; ++i)
        *n_slow += d.list[i].is_slow;
    if (status == HONE_OK && args->json)
        print_json(&d, s->path, *n_slow);
    else if (status == HONE_OK)
        print_text(&d, *n_slow);
    hone_pool_destroy(pool);
    cli_nodes_free(&nodes);
    free(d.list);
    return status;
}

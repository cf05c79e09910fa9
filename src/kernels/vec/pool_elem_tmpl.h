/* Pooling of one storage: the includer, pool_tmpl.h, defines POOL_ELEM, POOL_NAME(function), and
 * POOL_LOAD, POOL_STORE and their forms for the first lanes. */

/* n_vectors (or `lanes` < VW) channels of one output pixel. */
VEC_INLINE void POOL_NAME(vectors)(const POOL_ELEM *x, int64_t n_y, int64_t step_y, int64_t n_x,
                                   int64_t step_x, bool is_max, float factor, int n_vectors,
                                   int64_t lanes, POOL_ELEM *y) {
    vf a[4];
    for (int k = 0; k < n_vectors; ++k)
        a[k] = vf_set1(is_max ? -__builtin_inff() : 0.0f);
    for (int64_t i = 0; i < n_y; ++i) {
        const POOL_ELEM *p = x + i * step_y;
        for (int64_t j = 0; j < n_x; ++j, p += step_x) {
            for (int k = 0; k < n_vectors; ++k) {
                vf v = lanes < VW ? POOL_LOAD_N(p, lanes) : POOL_LOAD(p + k * VW);
                a[k] = red_step(is_max ? HONE_REDUCE_MAX : HONE_REDUCE_SUM, a[k], v);
            }
        }
    }
    for (int k = 0; k < n_vectors; ++k) {
        vf v = is_max ? a[k] : vf_mul(a[k], vf_set1(factor));
        if (lanes < VW)
            POOL_STORE_N(y, v, lanes);
        else
            POOL_STORE(y + k * VW, v);
    }
}

VEC_INLINE void POOL_NAME(pixel)(const POOL_ELEM *x, int64_t n_y, int64_t step_y, int64_t n_x,
                                 int64_t step_x, int64_t channels, bool is_max, float factor,
                                 POOL_ELEM *y) {
    int64_t c = 0;
    for (; c + 4 * VW <= channels; c += 4 * VW)
        POOL_NAME(vectors)(x + c, n_y, step_y, n_x, step_x, is_max, factor, 4, VW, y + c);
    for (; c + VW <= channels; c += VW)
        POOL_NAME(vectors)(x + c, n_y, step_y, n_x, step_x, is_max, factor, 1, VW, y + c);
    if (c < channels)
        POOL_NAME(vectors)(x + c, n_y, step_y, n_x, step_x, is_max, factor, 1, channels - c, y + c);
}

static void POOL_NAME(run)(const hone_pool2d *p, int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
        int64_t image = row / p->out_height, oy = row % p->out_height, y0, y1, x0, x1;
        int64_t top = oy * p->stride_h - p->pad_top;
        pool_taps(top, p->kernel_h, p->dilation_h, p->height, &y0, &y1);
        const POOL_ELEM *x = (const POOL_ELEM *)p->x + image * p->x_image;
        POOL_ELEM *y = (POOL_ELEM *)p->y + image * p->y_image + oy * p->y_row;
        for (int64_t ox = 0; ox < p->out_width; ++ox, y += p->y_pixel) {
            int64_t left = ox * p->stride_w - p->pad_left;
            pool_taps(left, p->kernel_w, p->dilation_w, p->width, &x0, &x1);
            int64_t n_y = y1 - y0, n_x = x1 - x0, at = 0;
            if (n_y > 0 && n_x > 0)
                at = (top + y0 * p->dilation_h) * p->x_row +
                     (left + x0 * p->dilation_w) * p->x_pixel;
            else
                n_y = 0;
            int64_t step_y = p->dilation_h * p->x_row, step_x = p->dilation_w * p->x_pixel;
            if (p->is_max)
                POOL_NAME(pixel)(x + at, n_y, step_y, n_x, step_x, p->channels, true, 1.0f, y);
            else
                POOL_NAME(pixel)
                (x + at, n_y, step_y, n_x, step_x, p->channels, false,
                 pool_factor(p, top, left, n_y * n_x), y);
        }
    }
}

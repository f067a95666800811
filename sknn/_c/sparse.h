/* The first layer where X is mostly zeros, which are passed over: sparse rows, bytes of images, counts, indicators.
 *
 * While it runs, the block of that layer in the buffers of parameters is turned, so that a feature has its weights one
 * behind the other: (n_in, n_out), and the biases after them, as those of a feature that is 1 in every row. What the
 * layer makes of a batch, and the gradient there, are (b, n_out).
 */

#define VECTOR (64 / sizeof(real)) /* numbers in the widest vector of a CPU */
#define BLOCK 2048                 /* parameters that a thread updates at once */
#define UNROLL _Pragma("GCC unroll 8")

typedef real vector __attribute__((vector_size(64), aligned(sizeof(real)), may_alias));

static uint8_t places_in[256][8]; /* of the bits that are set in a byte, from the lowest */

__attribute__((constructor)) static void find_places(void) {
    for (int byte = 0; byte < 256; byte++)
        for (int bit = 0, n = 0; bit < 8; bit++)
            if (byte >> bit & 1)
                places_in[byte][n++] = bit;
}

/* Write the places of flags that are 1 among zeros, and return how many there are. */
EACH_CPU static int64_t find_flags(const uint8_t *flags, int64_t n_flags, int32_t *places) {
    int64_t n = 0;
    for (int64_t i = 0; i < n_flags; i += 8) {
        uint64_t eight;
        memcpy(&eight, flags + i, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        eight = __builtin_bswap64(eight);
#endif
        uint8_t set = eight * 0x0102040810204080 >> 56; /* the lowest bit of each byte */
        for (int l = 0; l < 8; l++)
            places[n + l] = i + places_in[set][l];
        n += __builtin_popcount(set);
    }
    return n;
}

#define FIND(type)                                                                                                     \
    for (int64_t j = first; j < stop; j++) {                                                                           \
        int64_t n = sparse->row_starts[j] = j * sparse->widest;                                                        \
        if (X->starts) {                                                                                               \
            int64_t start = index_at(X->starts, wide, rows[j]), end = index_at(X->starts, wide, rows[j] + 1);          \
            for (int64_t i = start; i < end; i++)                                                                      \
                entries[n++] = (Entry){index_at(X->indices, wide, i), (real)((const type *)X->values)[i]};             \
        } else {                                                                                                       \
            const type *from = (const type *)X->values + rows[j] * X->row_stride;                                      \
            for (int64_t i = 0; i < n_in; i++)                                                                         \
                flags[i] = from[i * stride] != 0;                                                                      \
            int64_t n_found = find_flags(flags, n_in, places);                                                         \
            for (int64_t i = 0; i < n_found; i++)                                                                      \
                entries[n++] = (Entry){places[i], (real)from[places[i] * stride]};                                     \
        }                                                                                                              \
        entries[n++] = (Entry){n_in, 1}; /* the bias */                                                                \
        sparse->row_stops[j] = n;                                                                                      \
    }

/* Find what is not zero in some rows of a batch; each share has memory of its own for the flags and their places. */
EACH_CPU static void find_entries(const Model *model, const int64_t *rows, int64_t first, int64_t stop, int64_t share) {
    const Sparse *sparse = model->sparse;
    const Rows *X = &model->X;
    int64_t n_in = model->layers->n_in, stride = X->stride, wide = X->wide_indices;
    Entry *restrict entries = sparse->by_row;
    uint8_t *restrict flags = sparse->flags + share * sparse->flags_stride;
    int32_t *restrict places = sparse->places + share * sparse->flags_stride;
    switch (X->kind) {
    case BYTES: FIND(uint8_t) break;
    case SINGLES: FIND(float) break;
    case DOUBLES: FIND(double) break;
    }
}

/* Sort the entries of a batch by their columns. */
static void sort_entries(const Sparse *sparse, int64_t n_columns, int64_t b) {
    int64_t *starts = sparse->column_starts;
    memset(starts, 0, (n_columns + 2) * sizeof(int64_t));
    for (int64_t j = 0; j < b; j++)
        for (int64_t k = sparse->row_starts[j]; k < sparse->row_stops[j]; k++)
            starts[sparse->by_row[k].place + 2]++;
    for (int64_t i = 0; i < n_columns; i++)
        starts[i + 2] += starts[i + 1];
    for (int64_t j = 0; j < b; j++)
        for (int64_t k = sparse->row_starts[j]; k < sparse->row_stops[j]; k++) {
            Entry entry = sparse->by_row[k];
            sparse->by_column[starts[entry.place + 1]++] = (Entry){j, entry.value};
        }
}

#define AT(array, l) (*(vector *)((array) + (l)*VECTOR))

/* Row i of `to` is the sum of value times row of `from`, over its entries; of that, N vectors from number t on. */
#define SUM_ROWS(N)                                                                                                    \
    for (int64_t i = first; i < stop; i++) {                                                                           \
        vector sums[N];                                                                                                \
        real *sum = to + (i - first) * to_stride + t;                                                                  \
        UNROLL for (int l = 0; l < N; l++) sums[l] = (vector){0};                                                      \
        for (int64_t k = starts[i]; k < stops[i]; k++) {                                                               \
            const real *row = from + entries[k].place * from_stride + t, value = entries[k].value;                     \
            UNROLL for (int l = 0; l < N; l++) sums[l] += value * AT(row, l);                                          \
        }                                                                                                              \
        UNROLL for (int l = 0; l < N - 1; l++) AT(sum, l) = sums[l];                                                   \
        if (n - t >= (int64_t)(N * VECTOR))                                                                            \
            AT(sum, N - 1) = sums[N - 1];                                                                              \
        else                                                                                                           \
            for (int64_t l = (N - 1) * VECTOR; l < n - t; l++)                                                         \
                sum[l] = sums[N - 1][l - (N - 1) * VECTOR];                                                            \
    }

/* Sum rows of n numbers as the entries from `starts` to `stops` say, for the rows from `first` to `stop`, the first of which
 * is at `to`; `from` may be read up to the next whole vector. */
EACH_CPU static void sum_entries(const int64_t *starts, const int64_t *stops, const Entry *entries, int64_t first,
                                 int64_t stop, int64_t n, const real *from, int64_t from_stride, real *to,
                                 int64_t to_stride) {
    for (int64_t t = 0; t < n; t += 8 * VECTOR)
        switch ((n - t + VECTOR - 1) / VECTOR) {
        case 1: SUM_ROWS(1) break;
        case 2: SUM_ROWS(2) break;
        case 3: SUM_ROWS(3) break;
        case 4: SUM_ROWS(4) break;
        case 5: SUM_ROWS(5) break;
        case 6: SUM_ROWS(6) break;
        case 7: SUM_ROWS(7) break;
        default: SUM_ROWS(8) break;
        }
}

typedef struct {
    const Model *model;
    const int64_t *rows;
    int64_t b;
    const real *grad;
    Update by;
} SparseTask;

/* The scores of the first layer for a share of a batch, (b, n_out) with rows of whole vectors. */
static void sparse_forward(const void *given, int64_t share, int64_t n_shares) {
    const SparseTask *task = given;
    const Layer *layer = task->model->layers;
    const Sparse *sparse = task->model->sparse;
    int64_t first = start_of(share, n_shares, task->b), stop = start_of(share + 1, n_shares, task->b), n = layer->n_out;
    find_entries(task->model, task->rows, first, stop, share);
    sum_entries(sparse->row_starts, sparse->row_stops, sparse->by_row, first, stop, n, layer->weight, n,
                layer->out + first * up_to_lanes(n), up_to_lanes(n));
}

/* How many features one thread updates the weights of at once: their number does not depend on that of threads. */
static int64_t features_of_block(int64_t n) { return n < BLOCK ? BLOCK / n : 1; }

/* Update the weights of a share of the features along their gradient, a block at a time, which stays in the cache. */
static void update_features(const void *given, int64_t share, int64_t n_shares) {
    const SparseTask *task = given;
    const Model *model = task->model;
    const Sparse *sparse = model->sparse;
    int64_t n = model->layers->n_out, n_in = model->layers->n_in, at_once = features_of_block(n);
    int64_t n_blocks = (n_in + at_once - 1) / at_once;
    real *block = sparse->blocks + share * at_once * n;
    for (int64_t i = start_of(share, n_shares, n_blocks); i < start_of(share + 1, n_shares, n_blocks); i++) {
        int64_t first = i * at_once, stop = first + at_once < n_in ? first + at_once : n_in;
        sum_entries(sparse->column_starts, sparse->column_starts + 1, sparse->by_column, first, stop, n, task->grad,
                    up_to_lanes(n), block, n);
        sparse->penalties[i] = update(model, task->by, first * n, (stop - first) * n, block, NULL);
    }
}

/* Update all parameters, of which the first layer's gradient is computed here, and return the penalty. */
static double sparse_update(const Model *model, Team *team, int64_t b, const real *grad, Update by) {
    int64_t n = model->layers->n_out, n_in = model->layers->n_in, n_weights = n_in * n;
    sort_entries(model->sparse, n_in + 1, b);
    share_out(team, update_features, &(SparseTask){.model = model, .b = b, .grad = grad, .by = by});
    const int64_t *starts = model->sparse->column_starts;
    sum_entries(starts, starts + 1, model->sparse->by_column, n_in, n_in + 1, n, grad, up_to_lanes(n),
                model->grad + n_weights, n);
    double sum = update(model, by, n_weights, model->n_parameters - n_weights, model->grad + n_weights,
                        model->decayed + n_weights);
    for (int64_t i = 0; i * features_of_block(n) < n_in; i++)
        sum += model->sparse->penalties[i];
    return sum;
}

#define TILE 16

/* Turn the block (n, m) that begins a buffer of parameters, in its place. */
EACH_CPU static void turn(real *restrict block, int64_t n, int64_t m, real *restrict memory) {
    memcpy(memory, block, n * m * sizeof(real));
    for (int64_t i = 0; i < n; i += TILE)
        for (int64_t j = 0; j < m; j += TILE)
            for (int64_t l = j; l < m && l < j + TILE; l++)
                for (int64_t k = i; k < n && k < i + TILE; k++)
                    block[l * n + k] = memory[k * m + l];
}

/* Turn the first layer wherever an update reads it; `back` is 1 to undo that. */
static void turn_first_layer(const Model *model, int back) {
    int64_t n = model->layers->n_out, m = model->layers->stride;
    real *buffers[] = {model->data, model->first_slot, model->second_slot};
    for (int i = 0; i < 3; i++)
        if (!i || buffers[i] != buffers[i - 1])
            turn(buffers[i], back ? m : n, back ? n : m, model->sparse->memory);
}

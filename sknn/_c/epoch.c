/* Epochs of plain multi-layer perceptrons: gather, forward, backward and update, batch by batch, with no call of Python
 * between them. Matrix products are those of the BLAS in scipy.
 */
#include "model.h"
#include "team.h"
#include "update.h"
#include "sparse.h"

/* Tells a library that was made of another state of these files. */
uint32_t source(void) { return SOURCE; }

/* --- exponentials, in loops that fill the vectors of the CPU --- */

#ifdef DOUBLE
#define N_TERMS 13
#define N_FRACTION 52
#define EXPONENT_OF_1 1023
static const real LOWEST = -708, HIGHEST = 709, TO_INTEGER = 0x1.8p52;
static const real LN2_HIGH = 0x1.62e42fee00000p-1, LN2_LOW = 0x1.a39ef35793c76p-33;
#else
#define N_TERMS 7
#define N_FRACTION 23
#define EXPONENT_OF_1 127
static const real LOWEST = -87, HIGHEST = 88, TO_INTEGER = 0x1.8p23f;
static const real LN2_HIGH = 0x1.62e4p-1f, LN2_LOW = 0x1.7f7d1cp-20f;
#endif

typedef struct {
    real scale, part;
} Exponential; /* exp(x) = scale + scale * part */

static inline Exponential exponential(real x) {
    static const real INVERSE_FACTORIAL[] = {1.0 / 1,      1.0 / 2,       1.0 / 6,        1.0 / 24,       1.0 / 120,
                                             1.0 / 720,    1.0 / 5040,    1.0 / 40320,    1.0 / 362880,   1.0 / 3628800,
                                             1.0 / 39916800, 1.0 / 479001600, 1.0 / 6227020800};
    x = x < LOWEST ? LOWEST : x > HIGHEST ? HIGHEST : x; /* NaN stays */
    real shifted = x * (real)M_LOG2E + TO_INTEGER, k = shifted - TO_INTEGER; /* rounds, and leaves k in the last bits */
    real r = x - k * LN2_HIGH - k * LN2_LOW, sum = INVERSE_FACTORIAL[N_TERMS - 1];
    for (int i = N_TERMS - 2; i >= 0; i--)
        sum = sum * r + INVERSE_FACTORIAL[i];
    bits exponent;
    Exponential result = {0, sum * r};
    memcpy(&exponent, &shifted, sizeof(real));
    exponent = (exponent + EXPONENT_OF_1) << N_FRACTION;
    memcpy(&result.scale, &exponent, sizeof(real));
    return result;
}

static inline real exp_of(real x) {
    Exponential e = exponential(x);
    return e.scale + e.scale * e.part;
}

static inline real logistic_of(real x) { return 1 / (1 + exp_of(-x)); }

static inline real tanh_of(real x) {
    Exponential e = exponential(2 * x);
    real less_one = (e.scale - 1) + e.scale * e.part;
    return less_one / (less_one + 2);
}

/* --- the parts of a step --- */

/* C (m, n) = A (m, k) B (k, n), row-major, with the transposes of A and B where asked for. */
static void multiply(const Model *model, int m, int n, int k, const real *A, char transpose_A, int stride_A,
                     const real *B, char transpose_B, int stride_B, real *C, int stride_C) {
    real one = 1, zero = 0; /* BLAS is column-major: C' = B' A' */
    model->product(&transpose_B, &transpose_A, &n, &m, &k, &one, (real *)B, &stride_B, (real *)A, &stride_A, &zero, C,
                   &stride_C);
}

#define GATHER(type)                                                                                                   \
    for (int64_t j = 0; j < b; j++, to += n_in)                                                                        \
        if (X->starts) {                                                                                               \
            int64_t start = index_at(X->starts, wide, rows[j]), stop = index_at(X->starts, wide, rows[j] + 1);         \
            memset(to, 0, n_in * sizeof(real));                                                                        \
            for (int64_t i = start; i < stop; i++)                                                                     \
                to[index_at(X->indices, wide, i)] += (real)((const type *)X->values)[i];                               \
        } else {                                                                                                       \
            const type *from = (const type *)X->values + rows[j] * X->row_stride;                                      \
            for (int64_t i = 0; i < n_in; i++)                                                                         \
                to[i] = (real)from[i * stride];                                                                        \
        }

EACH_CPU static void gather(const Model *model, const int64_t *rows, int64_t b) {
    const Rows *X = &model->X;
    int64_t n_in = model->layers[0].n_in, stride = X->stride, wide = X->wide_indices;
    real *to = model->inputs;
    switch (X->kind) {
    case BYTES: GATHER(uint8_t) break;
    case SINGLES: GATHER(float) break;
    case DOUBLES: GATHER(double) break;
    }
}

/* Fill `shares` with what the loss of each row is multiplied by, and return the weight of all rows. */
static double weigh(const Model *model, const int64_t *rows, int64_t b) {
    double total = 0;
    for (int64_t j = 0; j < b; j++)
        total += model->weight ? model->weight[rows[j]] : 1;
    for (int64_t j = 0; j < b; j++)
        model->shares[j] = (model->weight ? model->weight[rows[j]] : 1) / total;
    return total;
}

#define EACH(statement)                                                                                                \
    for (int64_t i = 0; i < n; i++) {                                                                                  \
        const real bias = biases[i * stride];                                                                          \
        real *z = out + i * b;                                                                                         \
        for (int64_t j = 0; j < b; j++)                                                                                \
            statement;                                                                                                 \
    }

EACH_CPU static void add_bias_and_activate(int64_t activation, const real *biases, int64_t stride, int64_t n, int64_t b,
                                           real *out) {
    switch (activation) {
    case IDENTITY: EACH(z[j] += bias) break;
    case RELU: EACH(z[j] = z[j] + bias < 0 ? 0 : z[j] + bias) break; /* NaN stays */
    case LOGISTIC: EACH(z[j] = logistic_of(z[j] + bias)) break;
    case TANH: EACH(z[j] = tanh_of(z[j] + bias)) break;
    }
}

EACH_CPU static void activate_backward(int64_t activation, const Layer *layer, int64_t b, int64_t row_stride) {
    const real *out = layer->out, *mask = layer->mask;
    real *grad = layer->grad;
    int64_t n = b * (row_stride ? row_stride : layer->n_out);
    for (int64_t i = 0; mask && i < n; i++)
        grad[i] *= mask[i];
    switch (activation) {
    case RELU:
        for (int64_t i = 0; i < n; i++)
            grad[i] = out[i] <= 0 ? 0 : grad[i];
        break;
    case LOGISTIC:
        for (int64_t i = 0; i < n; i++)
            grad[i] *= out[i] * (1 - out[i]);
        break;
    case TANH:
        for (int64_t i = 0; i < n; i++)
            grad[i] *= 1 - out[i] * out[i];
        break;
    }
}

EACH_CPU static void sum_rows(const real *values, int64_t n, int64_t b, real *sums, int64_t stride) {
    for (int64_t i = 0; i < n; i++, values += b) {
        real lanes[LANES] = {0}, sum = 0;
        int64_t j = 0;
        for (; j + LANES <= b; j += LANES)
            for (int l = 0; l < LANES; l++)
                lanes[l] += values[j + l];
        for (; j < b; j++)
            sum += values[j];
        for (int l = 0; l < LANES; l++)
            sum += lanes[l];
        sums[i * stride] = sum;
    }
}

/* The losses: each returns the sum of loss times share over a batch, and writes its gradient over the raw scores z. */

EACH_CPU static double softmax_log_loss(const Model *model, const int64_t *rows, int64_t c, int64_t b, real *z) {
    const int64_t *y = model->y;
    real *highest = model->highest, *sums = model->sums, *shares = model->shares;
    real smoothing = model->label_smoothing;
    double loss = 0;
    memcpy(highest, z, b * sizeof(real));
    for (int64_t i = 1; i < c; i++)
        for (int64_t j = 0; j < b; j++)
            highest[j] = z[i * b + j] > highest[j] ? z[i * b + j] : highest[j];
    for (int64_t j = 0; j < b; j++) {
        real mean = 0;
        for (int64_t i = 0; smoothing && i < c; i++)
            mean += (z[i * b + j] - highest[j]) / c;
        loss -= shares[j] * (double)((1 - smoothing) * (z[y[rows[j]] * b + j] - highest[j]) + smoothing * mean);
        sums[j] = 0;
    }
    for (int64_t i = 0; i < c; i++)
        for (int64_t j = 0; j < b; j++) {
            z[i * b + j] = exp_of(z[i * b + j] - highest[j]);
            sums[j] += z[i * b + j];
        }
    for (int64_t j = 0; j < b; j++)
        loss += shares[j] * log(sums[j]);
    for (int64_t i = 0; i < c; i++)
        for (int64_t j = 0; j < b; j++)
            z[i * b + j] = (z[i * b + j] / sums[j] - smoothing / c) * shares[j];
    for (int64_t j = 0; j < b; j++)
        z[y[rows[j]] * b + j] -= (1 - smoothing) * shares[j];
    return loss;
}

static double logistic_log_loss(const Model *model, const int64_t *rows, int64_t c, int64_t b, real *z) {
    real smoothing = model->label_smoothing;
    double loss = 0;
    for (int64_t i = 0; i < c; i++)
        for (int64_t j = 0; j < b; j++) { /* with its sign turned by the label the score has one loss for either */
            real sign = ((const real *)model->y)[rows[j] * c + i] > 0.5 ? -1 : 1, s = sign * z[i * b + j];
            real e = exp_of(s < 0 ? s : -s), slope = (s < 0 ? e : 1) / (1 + e);
            loss += model->shares[j] * (double)((s < 0 ? 0 : s) + log1p(e) - smoothing / 2 * s);
            z[i * b + j] = model->shares[j] * sign * (slope - smoothing / 2);
        }
    return loss;
}

static double squared_error(const Model *model, const int64_t *rows, int64_t c, int64_t b, real *z) {
    double loss = 0;
    for (int64_t i = 0; i < c; i++)
        for (int64_t j = 0; j < b; j++) {
            real error = z[i * b + j] - ((const real *)model->y)[rows[j] * c + i];
            z[i * b + j] = model->shares[j] * error;
            loss += 0.5 * error * z[i * b + j];
        }
    return loss;
}

static double loss_and_gradient(const Model *model, const int64_t *rows, int64_t b, const Layer *last) {
    switch (model->loss) {
    case SOFTMAX_LOG_LOSS: return softmax_log_loss(model, rows, last->n_out, b, last->out);
    case LOGISTIC_LOG_LOSS: return logistic_log_loss(model, rows, last->n_out, b, last->out);
    default: return squared_error(model, rows, last->n_out, b, last->out);
    }
}

EACH_CPU static void drop(const Layer *layer, int64_t b, const int16_t *random, int64_t row_stride) {
    int64_t n = layer->n_out, to_row = row_stride ? row_stride : 1, to_unit = row_stride ? 1 : b;
    for (int64_t j = 0; j < b; j++)
        for (int64_t i = 0; i < n; i++)
            layer->mask[i * to_unit + j * to_row] = random[j * n + i] < layer->lowest_kept ? 0 : layer->factor;
    for (int64_t i = 0; i < b * (row_stride ? row_stride : n); i++)
        layer->dropped[i] = layer->out[i] * layer->mask[i];
}

/* Return how far the rows of the inputs of layer l are apart if they are (b, n_in), as those of the first one; else 0. */
static int64_t row_stride(const Model *model, int64_t l) {
    int64_t n_in = model->layers[l].n_in;
    return l == 0 ? n_in : l == 1 && model->sparse ? up_to_lanes(n_in) : 0;
}

/* Return where the random numbers of the next batch are. */
static const int16_t *forward(const Model *model, Team *team, const int64_t *rows, int64_t b, const int16_t *random) {
    for (int64_t l = 0; l < model->n_layers; l++) {
        const Layer *layer = model->layers + l;
        int64_t activation = l + 1 < model->n_layers ? model->activation : IDENTITY, n = layer->n_out;
        int64_t stride = row_stride(model, l), made = l || !model->sparse ? 0 : up_to_lanes(n);
        if (made) {
            const real none = 0; /* the biases are in */
            share_out(team, sparse_forward, &(SparseTask){.model = model, .rows = rows, .b = b});
            add_bias_and_activate(activation, &none, 0, 1, made * b, layer->out);
        } else {
            multiply(model, n, b, layer->n_in, layer->weight, 'N', layer->stride, l ? layer[-1].dropped : model->inputs,
                     stride ? 'T' : 'N', stride ? stride : b, layer->out, b);
            add_bias_and_activate(activation, layer->bias, layer->bias_stride, n, b, layer->out);
        }
        if (layer->mask) {
            drop(layer, b, random, made);
            random += (n * b + 3) / 4 * 4;
        }
    }
    return random;
}

/* Set the gradient, that of the first layer aside where X is mostly zeros, and return that of its scores. */
static const real *backward(const Model *model, int64_t b) {
    const real *grad = model->layers[model->n_layers - 1].out;
    for (int64_t l = model->n_layers - 1; l >= (model->sparse != NULL); l--) {
        const Layer *layer = model->layers + l, *before = l ? layer - 1 : NULL;
        int64_t n_out = layer->n_out, n_in = layer->n_in, stride = row_stride(model, l);
        multiply(model, n_out, n_in, b, grad, 'N', b, l ? before->dropped : model->inputs, stride ? 'N' : 'T',
                 stride ? stride : b, layer->weight_grad, layer->stride);
        sum_rows(grad, n_out, b, layer->bias_grad, layer->bias_stride);
        if (!l)
            break;
        if (stride)
            multiply(model, b, n_in, n_out, grad, 'T', b, layer->weight, 'N', layer->stride, before->grad, stride);
        else
            multiply(model, n_in, b, n_out, layer->weight, 'T', layer->stride, grad, 'N', b, before->grad, b);
        activate_backward(model->activation, before, b, stride);
        grad = before->grad;
    }
    return grad;
}

/* Train on those rows, batch by batch, after `n_updates` updates; return the sum of each batch's objective times its
 * rows. The rate of each batch is at `rates`. */
double run_batches(const Model *model, const int64_t *rows, int64_t n_rows, int64_t batch_size, const double *rates,
                   int64_t n_updates) {
    const int16_t *random = model->random;
    double sum = 0;
    Team team;
    start_team(&team, model->n_threads);
    if (model->sparse)
        turn_first_layer(model, 0);
    for (int64_t start = 0; start < n_rows; start += batch_size, rows += batch_size) {
        int64_t b = n_rows - start < batch_size ? n_rows - start : batch_size;
        Update by = update_of(model, *rates++, model->alpha / weigh(model, rows, b), ++n_updates);
        if (!model->sparse)
            gather(model, rows, b);
        random = forward(model, &team, rows, b, random);
        double loss = loss_and_gradient(model, rows, b, model->layers + model->n_layers - 1);
        const real *grad = backward(model, b);
        loss += model->sparse ? sparse_update(model, &team, b, grad, by)
                              : update(model, by, 0, model->n_parameters, model->grad, model->decayed);
        sum += loss * b;
    }
    if (model->sparse)
        turn_first_layer(model, 1);
    end_team(&team);
    return sum;
}

typedef struct {
    const Model *models; /* of each thread, with memory of its own */
    const int64_t *rows;
    int64_t n_rows, batch_size;
    real *scores; /* (n_rows, n_out) */
} ScoreTask;

/* Write the raw scores of a share of the batches. */
static void score_share(const void *given, int64_t share, int64_t n_shares) {
    const ScoreTask *task = given;
    const Model *model = task->models + share;
    const Layer *last = model->layers + model->n_layers - 1;
    int64_t at_once = task->batch_size, n_batches = (task->n_rows + at_once - 1) / at_once;
    Team alone = {.n_shares = 1};
    for (int64_t k = start_of(share, n_shares, n_batches); k < start_of(share + 1, n_shares, n_batches); k++) {
        int64_t start = k * at_once, b = task->n_rows - start < at_once ? task->n_rows - start : at_once;
        forward(model, &alone, task->rows + start, b, NULL);
        for (int64_t j = 0; j < b; j++)
            for (int64_t i = 0; i < last->n_out; i++)
                task->scores[(start + j) * last->n_out + i] = last->out[i * b + j];
    }
}

/* Write the raw scores of those rows of X, which is mostly zeros, with a thread for each of the models; these are equal. */
void score_rows(const Model *models, int64_t n_models, const int64_t *rows, int64_t n_rows, int64_t batch_size,
                real *scores) {
    Team team;
    start_team(&team, n_models);
    share_out(&team, score_share, &(ScoreTask){models, rows, n_rows, batch_size, scores});
    end_team(&team);
}

/* What _library.py declares too, field by field, and what all parts of the epochs share.
 *
 * It is compiled for float, and with -DDOUBLE for double. Matrices are row-major, and in the layers rows of X are
 * columns, (n, b), as in _small.py.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <tgmath.h>

#ifdef DOUBLE
typedef double real;
typedef uint64_t bits;
#else
typedef float real;
typedef uint32_t bits;
#endif

/* The loops are compiled for several CPUs; the loader takes the fastest that this one has. */
#if defined(__x86_64__) && defined(__GLIBC__) && !defined(__clang__) && __GNUC__ >= 12
#define EACH_CPU __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define EACH_CPU
#endif

#define LANES 16 /* numbers that are summed side by side; parameters end in zeros up to as many */

enum { IDENTITY, RELU, LOGISTIC, TANH };
enum { SOFTMAX_LOG_LOSS, LOGISTIC_LOG_LOSS, SQUARED_ERROR };
enum { SGD, ADAM, ADAMW };
enum { BYTES, SINGLES, DOUBLES };

typedef void matrix_product(char *, char *, int *, int *, int *, real *, real *, int *, real *, int *, real *, real *,
                            int *);

typedef struct {
    int64_t n_in, n_out;
    int64_t stride, bias_stride; /* from a row of the weights to the next, and from a bias to the next */
    real *weight, *bias, *weight_grad, *bias_grad;
    real *out, *grad;            /* (n_out, b): what the layer makes of a batch, and the gradient there */
    real *mask, *dropped;        /* (n_out, b): of dropout, and `out` times that; else NULL, and `out` */
    double factor;               /* of elements that are kept */
    int64_t lowest_kept;         /* of the random numbers of 16 bits */
} Layer;

typedef struct {
    const void *values; /* of an array, with its strides; or of a CSR matrix, with its indices and row starts */
    const void *indices, *starts;
    int64_t kind, row_stride, stride, wide_indices;
} Rows;

typedef struct {
    int32_t place; /* its column, or its row in the batch */
    real value;
} Entry;

typedef struct {
    int64_t widest;                  /* entries of a row, at most */
    int64_t *row_starts, *row_stops; /* (b,): where its entries begin and end */
    int64_t *column_starts;          /* (n_in + 3,) */
    Entry *by_row, *by_column;       /* (b * widest,): what is not zero in a batch, and its biases */
    uint8_t *flags;                  /* for each thread (n_in,) up to eights, zeros at the end */
    int32_t *places;                 /* for each thread as many */
    int64_t flags_stride;            /* from a thread to the next */
    double *penalties;               /* (n_in,), of blocks */
    real *blocks;                    /* for each thread the gradient of a block */
    real *memory;                    /* as large as the first layer */
} Sparse;

typedef struct {
    matrix_product *product;
    int64_t n_threads, n_layers, activation, loss, solver, n_parameters, nesterov;
    double label_smoothing, alpha, momentum, beta_1, beta_2, epsilon, weight_decay;
    const Layer *layers;
    Rows X;                                       /* (n, n_in) */
    const void *y;                                /* (n, 1) indices for a softmax, else (n, n_out) numbers */
    const real *weight;                           /* (n,) of the rows, or NULL */
    real *inputs, *shares, *highest, *sums;       /* (b, n_in), or NULL, and (b,) each */
    real *data, *grad, *first_slot, *second_slot; /* (n_parameters,) each */
    const real *decayed;                          /* 1 for parameters that the penalty applies to, else 0 */
    const int16_t *random;                        /* of each batch, each layer with dropout: (b, n_out), up to fours */
    const Sparse *sparse;                         /* for X that is mostly zeros, or NULL */
} Model;

static inline int64_t index_at(const void *indices, int64_t wide, int64_t i) {
    return wide ? ((const int64_t *)indices)[i] : ((const int32_t *)indices)[i];
}

static inline int64_t up_to_lanes(int64_t n) { return (n + LANES - 1) / LANES * LANES; }

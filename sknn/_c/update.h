/* The update of the parameters: the penalty, the decay of "adamw" and the rule in one reading of them all. */

typedef struct {
    real rate, alpha;                    /* alpha as shared out to this batch */
    real corrected, correction, epsilon; /* of "adam" and "adamw": rate, second moment and epsilon, corrected for bias */
} Update;

/* Return update number `number`, from 1 on. */
static Update update_of(const Model *model, double rate, double alpha, double number) {
    double root = sqrt(1 - pow(model->beta_2, number));
    /* As in scikit-learn, "adam" adds epsilon before the second moment is corrected for its bias. */
    real epsilon = model->solver == ADAM ? model->epsilon / root : model->epsilon;
    return (Update){rate, alpha, rate / (1 - pow(model->beta_1, number)), 1 / root, epsilon};
}

/* Of `n` parameters from number `first` on, at most LANES, which are summed side by side. */
#define UPDATE(n)                                                                                                      \
    real slopes[LANES];                                                                                                \
    for (int64_t l = 0, i = first; l < n; l++, i++) {                                                                  \
        real share = decayed ? decayed[i] : 1, penalty = alpha * share * data[i];                                      \
        slopes[l] = grad[i] + penalty;                                                                                 \
        lanes[l] += penalty * data[i];                                                                                 \
        data[i] -= shrinkage * share * data[i];                                                                        \
    }                                                                                                                  \
    if (model->solver == SGD && !momentum)                                                                             \
        for (int64_t l = 0, i = first; l < n; l++, i++)                                                                \
            data[i] -= rate * slopes[l];                                                                               \
    else if (model->solver == SGD)                                                                                     \
        for (int64_t l = 0, i = first; l < n; l++, i++) {                                                              \
            real step = rate * slopes[l];                                                                              \
            first_slot[i] = momentum * first_slot[i] + step;                                                           \
            data[i] -= model->nesterov ? step + momentum * first_slot[i] : first_slot[i];                              \
        }                                                                                                              \
    else                                                                                                               \
        for (int64_t l = 0, i = first; l < n; l++, i++) {                                                              \
            first_slot[i] = beta_1 * first_slot[i] + rest_1 * slopes[l];                                               \
            square[i] = beta_2 * square[i] + rest_2 * slopes[l] * slopes[l];                                           \
            data[i] -= corrected * first_slot[i] / (sqrt(square[i]) * correction + epsilon);                           \
        }

/* Move `n_parameters` from number `start` on along their gradient and return their penalty, which applies to those that
 * `decayed` has a 1 for, or to all if it is NULL. */
EACH_CPU static double update(const Model *model, Update by, int64_t start, int64_t n_parameters,
                              const real *restrict grad, const real *restrict decayed) {
    real *restrict data = model->data + start, *restrict first_slot = model->first_slot + start;
    real *restrict square = model->second_slot + start;
    real rate = by.rate, alpha = by.alpha, momentum = model->momentum, shrinkage = rate * model->weight_decay;
    real beta_1 = model->beta_1, beta_2 = model->beta_2, rest_1 = 1 - model->beta_1, rest_2 = 1 - model->beta_2;
    real corrected = by.corrected, correction = by.correction, epsilon = by.epsilon, lanes[LANES] = {0};
    int64_t first = 0;
    double sum = 0;
    for (; first + LANES <= n_parameters; first += LANES) {
        UPDATE(LANES)
    }
    if (first < n_parameters) {
        UPDATE(n_parameters - first)
    }
    for (int l = 0; l < LANES; l++)
        sum += lanes[l];
    return sum / 2;
}

/* The update of the parameters: the penalty, the decay of "adamw" and the rule in one reading of them all. */

typedef struct {
    real rate, alpha; /* the penalty's share of it */
    double number;    /* from 1 on */
} Update;

/* Move the parameters from `start` to `stop`, a number of lanes, and return their penalty. */
EACH_CPU static double update(const Model *model, Update by, int64_t start, int64_t stop) {
    real *restrict data = model->data, *restrict first_slot = model->first_slot, *restrict square = model->second_slot;
    const real *restrict grad = model->grad, *restrict decayed = model->decayed;
    real rate = by.rate, alpha = by.alpha, momentum = model->momentum, shrinkage = rate * model->weight_decay;
    real beta_1 = model->beta_1, beta_2 = model->beta_2, rest_1 = 1 - model->beta_1, rest_2 = 1 - model->beta_2;
    real lanes[LANES] = {0};
    double root = sqrt(1 - pow(model->beta_2, by.number)), sum = 0;
    real corrected = rate / (1 - pow(model->beta_1, by.number)), correction = 1 / root;
    /* As in scikit-learn, "adam" adds epsilon before the second moment is corrected for its bias. */
    real epsilon = model->solver == ADAM ? model->epsilon / root : model->epsilon;
    for (int64_t first = start; first < stop; first += LANES) {
        real slopes[LANES];
        for (int64_t l = 0, i = first; l < LANES; l++, i++) {
            real penalty = alpha * decayed[i] * data[i];
            slopes[l] = grad[i] + penalty;
            lanes[l] += penalty * data[i];
            data[i] -= shrinkage * decayed[i] * data[i];
        }
        if (model->solver == SGD && !momentum)
            for (int64_t l = 0, i = first; l < LANES; l++, i++)
                data[i] -= rate * slopes[l];
        else if (model->solver == SGD)
            for (int64_t l = 0, i = first; l < LANES; l++, i++) {
                real step = rate * slopes[l];
                first_slot[i] = momentum * first_slot[i] + step;
                data[i] -= model->nesterov ? step + momentum * first_slot[i] : first_slot[i];
            }
        else
            for (int64_t l = 0, i = first; l < LANES; l++, i++) {
                first_slot[i] = beta_1 * first_slot[i] + rest_1 * slopes[l];
                square[i] = beta_2 * square[i] + rest_2 * slopes[l] * slopes[l];
                data[i] -= corrected * first_slot[i] / (sqrt(square[i]) * correction + epsilon);
            }
    }
    for (int l = 0; l < LANES; l++)
        sum += lanes[l];
    return sum / 2;
}

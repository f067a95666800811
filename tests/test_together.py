"""What stands between a search and its fits: lists, deliveries, and groups that fail."""

import threading
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris

import sknn._library
import sknn._together
from sknn import MLPTorchClassifier
from sknn._activations import ACTIVATIONS
from sknn._rehearsal import Delivery, Listing, StandIn
from sknn._together import Job, Outcome, fit_all
from sknn.model_selection import GridSearchCV

X, Y = load_iris(return_X_y=True)
NETWORK = MLPTorchClassifier((5,), max_iter=3, random_state=0)
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def jobs(n, **params):
    return [Job(clone(NETWORK).set_params(**{"alpha": 0.1 * k, **params}), X, Y, {}, 0) for k in range(n)]


def test_every_job_is_done_in_its_place():
    done = fit_all([*jobs(2), *jobs(1, batch_norm=True), *jobs(1, alpha=-1.0)], 1, None)
    assert [outcome.together for outcome in done] == [True, True, False, False]
    assert [outcome.error is None for outcome in done] == [True, True, True, False]
    for k, outcome in enumerate(done[:3]):
        alone = clone(outcome.estimator).fit(X, Y)
        assert outcome.estimator.alpha == (0.1 * k if k < 2 else 0.0)
        np.testing.assert_array_equal(outcome.estimator.predict_proba(X), alone.predict_proba(X))
        assert outcome.estimator.loss_curve_ == alone.loss_curve_
        assert outcome.seconds > 0


# A network of 4-5-3 with a batch of 150 rows counts as 7 * 43 + 5 * 150 * 8 numbers of 8 bytes, 50,408 in all.
@pytest.mark.parametrize(
    ("n_jobs", "batch_memory", "sizes"),
    [(1, None, [4]), (2, None, [2, 2]), (1, 1, [1, 1, 1, 1]), (1, 110_000, [2, 2])],
)
def test_groups_are_parted_by_jobs_and_memory(n_jobs, batch_memory, sizes, monkeypatch):
    parts, train = [], sknn._together._train_together

    def noted(part, given_up):
        parts.append(len(part))
        train(part, given_up)

    monkeypatch.setattr(sknn._together, "_train_together", noted)
    assert all(outcome.together for outcome in fit_all(jobs(4), n_jobs, batch_memory))
    assert parts == sizes


OPTIONS = [
    *({"activation": name} for name in ACTIVATIONS),
    *({"loss": "focal", "focal_gamma": gamma} for gamma in (0.5, 2.0)),
    {"dtype": "bfloat16"},
]


IN_C = [{"activation": name} for name in ("identity", "relu", "logistic", "tanh")]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("options", "compiled"),
    [*((options, True) for options in OPTIONS), *((options, False) for options in IN_C)],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else "" if value else "no C",
)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_weights_of_a_fit_among_others_are_those_alone_to_the_last_bit(
    options, compiled, dtype, n_classes, monkeypatch
):
    if not compiled:
        monkeypatch.setattr(sknn._library, "library", lambda dtype: None)
    rows = np.isin(Y, range(n_classes))
    data, labels = (X[rows] - X.mean(0)).astype(dtype), Y[rows]
    common = {"hidden_layer_sizes": (7,), "batch_size": 7, "max_iter": 9, **options}
    networks = [MLPTorchClassifier(**common, alpha=alpha, random_state=seed) for alpha in (0, 0.1) for seed in (0, 1)]
    for outcome in fit_all([Job(network, data, labels, {}, 0) for network in networks], 1, None):
        alone = clone(outcome.estimator).fit(data, labels)
        assert outcome.together
        assert outcome.estimator.loss_curve_ == alone.loss_curve_
        for one, other in zip(outcome.estimator.coefs_, alone.coefs_, strict=True):
            np.testing.assert_array_equal(one, other)


def test_precisions_are_not_mixed_in_a_program():
    data = (X - X.mean(0)).astype(np.float32)
    networks = [clone(NETWORK).set_params(dtype=dtype) for dtype in ("bfloat16", "float32")]
    for outcome in fit_all([Job(network, data, Y, {}, 0) for network in networks], 1, None):
        alone = clone(outcome.estimator).fit(data, Y)
        np.testing.assert_array_equal(outcome.estimator.predict_proba(data), alone.predict_proba(data))


def test_fits_in_threads_leave_the_filters_of_warnings_to_all():
    outside, inside = warnings.filters, []

    def record():
        with Outcome().recorded():
            inside.append(warnings.filters)

    thread = threading.Thread(target=record)
    thread.start()
    thread.join()
    assert inside[0] is outside


def test_fits_whose_program_fails_are_done_alone(monkeypatch):
    make_step = sknn._together.make_step

    def failing(fits):
        if len(fits) > 1:
            raise MemoryError
        return make_step(fits)

    monkeypatch.setattr("sknn._together.make_step", failing)
    done = fit_all(jobs(3), 1, None)
    for outcome in done:
        assert not outcome.together
        expected = clone(outcome.estimator).fit(X, Y).predict_proba(X)
        np.testing.assert_array_equal(outcome.estimator.predict_proba(X), expected)


@pytest.mark.parametrize("frame", [False, True], ids=["array", "DataFrame"])
def test_networks_share_the_rows_of_their_fold(frame, monkeypatch):
    seen = []
    rows = pd.DataFrame(X).astype({0: np.float32}) if frame else X  # of columns that are joined at every fit
    train = sknn._together.train

    def watched(step, solver, learners):
        seen.append({(id(learner.samples), id(learner.samples.X)) for learner in learners})
        return train(step, solver, learners)

    monkeypatch.setattr("sknn._together.train", watched)
    GridSearchCV(NETWORK, {"alpha": [0.1, 0.2, 0.3]}, cv=5, refit=False).fit(rows, Y)
    assert [len(samples) for samples in seen] == [5]


def test_a_list_keeps_the_rows_of_each_fold_once():
    listing = Listing(2)
    for _ in range(3):
        for part in (X[:100], X[50:]):
            StandIn(NETWORK, listing).fit(part.copy(), Y[:100])
    assert [job.fold for job in listing.jobs] == [0, 1] * 3
    assert len({id(job.X) for job in listing.jobs}) == 2


def test_a_delivery_for_other_rows_is_refused():
    delivery = Delivery(jobs(1), [Outcome(NETWORK)])
    with pytest.raises(RuntimeError, match="A fit of 150 rows was prepared, but one of 20 asked for"):
        StandIn(NETWORK, delivery).fit(X[:20], Y[:20])


def test_a_stand_in_passes_for_its_estimator():
    stand_in = StandIn(NETWORK, Listing(1))
    assert stand_in.get_params() == NETWORK.get_params()
    copied = clone(stand_in).set_params(alpha=7.0)
    assert copied.estimator.alpha == 7.0 != NETWORK.alpha
    assert copied.desk is stand_in.desk
    assert stand_in.__sklearn_tags__().classifier_tags == NETWORK.__sklearn_tags__().classifier_tags
    assert not hasattr(stand_in, "classes_")
    fitted = StandIn(clone(NETWORK), Delivery([], [])).fit(X, Y)
    assert type(fitted) is MLPTorchClassifier
    np.testing.assert_array_equal(fitted.predict_proba(X), clone(NETWORK).fit(X, Y).predict_proba(X))
    assert type(clone(fitted)) is MLPTorchClassifier

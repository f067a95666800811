"""What stands between a search and its fits: lists, deliveries, and groups that fail."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris

import sknn._together
from sknn import MLPTorchClassifier
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


def test_networks_share_the_rows_of_their_fold(monkeypatch):
    seen = []
    train = sknn._together.train

    def watched(step, solver, learners):
        seen.append({id(learner.samples) for learner in learners})
        return train(step, solver, learners)

    monkeypatch.setattr("sknn._together.train", watched)
    GridSearchCV(NETWORK, {"alpha": [0.1, 0.2, 0.3]}, cv=5, refit=False).fit(X, Y)
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
    np.testing.assert_array_equal(fitted.classes_, [0, 1, 2])
    assert fitted.score(X, Y) == fitted.fitted.score(X, Y)

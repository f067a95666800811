"""Ensembles against networks that are trained alone, and against means of what those predict."""

import io
import pickle

import numpy as np
import pytest
import torch
from scipy.special import expit, logit, softmax
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import sknn.model_selection
from sknn import LeNetClassifier, MLPTorchClassifier, MLPTorchRegressor, check_gradients
from sknn.callbacks import EarlyStoppingOnMetric, EpochLog
from sknn.datasets import fetch_fashion_mnist
from sknn.modules import MLP, Ensemble

X, Y = load_iris(return_X_y=True)
IMAGES, DIGITS = (rows[:100] for rows in load_digits(return_X_y=True))
LABELS = np.stack([Y == 0, Y == 1, X[:, 0] > 6], axis=1).astype(int)
TWO = np.stack([Y, X[:, 0].astype(int)], axis=1)
NETWORK = MLPTorchClassifier((5,), max_iter=12, batch_size=40, random_state=0)
REGRESSOR = MLPTorchRegressor(hidden_layer_sizes=(5,), max_iter=12, batch_size=40, random_state=0)
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def alone(ensemble):
    """Return a network for each member: the first has the ensemble's random state, the others draw theirs from it."""
    seeds = [ensemble.random_state, *np.random.RandomState(ensemble.random_state).randint(2**31 - 1, size=2)]
    return [clone(ensemble).set_params(n_ensemble=1, random_state=int(seed)) for seed in seeds]


def assert_equal_modules(one, other):
    for value, expected in zip(one.state_dict().values(), other.state_dict().values(), strict=True):
        assert torch.equal(value, expected)


@pytest.mark.parametrize(
    ("network", "given", "more"),
    [
        (NETWORK, (X, Y), {}),
        (NETWORK, (X, Y, np.linspace(0, 1, len(X))), {}),
        (NETWORK, (X.astype(np.float32), Y), {}),
        (clone(NETWORK).set_params(solver="sgd", learning_rate="adaptive", tol=0.1, n_iter_no_change=2), (X, Y), {}),
        (clone(NETWORK).set_params(tol=0.02, n_iter_no_change=1, max_iter=100), (X, Y), {}),
        (clone(NETWORK).set_params(early_stopping=True, n_iter_no_change=2, learning_rate_init=0.1, max_iter=60),
         (X[::2], Y[::2]), {"X_val": X[1::2], "y_val": Y[1::2]}),
        (clone(NETWORK).set_params(batch_norm=True, dropout=0.3), (X, Y), {}),
        (clone(NETWORK).set_params(hidden_layer_sizes=(500, 500), max_iter=3), (X, Y), {}),
        (clone(REGRESSOR).set_params(loss="huber"), (X[:, 1:], X[:, 0]), {}),
        (LeNetClassifier(max_iter=2, random_shift=1, random_state=0), (IMAGES, DIGITS), {}),
    ],
)  # fmt: skip
def test_members_are_networks_alone(network, given, more):
    ensemble = clone(network).set_params(n_ensemble=3).fit(*given, **more)
    members = [one.fit(*given, **more) for one in alone(ensemble)]
    for module, member in zip(ensemble.module_.members, members, strict=True):
        assert_equal_modules(module, member.module_)
    assert ensemble.n_iter_ == max(member.n_iter_ for member in members)
    for epoch, loss in enumerate(ensemble.loss_curve_):
        training = [member.loss_curve_[epoch] for member in members if epoch < member.n_iter_]
        assert loss == pytest.approx(np.mean(training), rel=1e-12)
    if more:
        best = [member.best_validation_score_ for member in members]
        assert ensemble.best_validation_score_ == pytest.approx(np.mean(best), rel=1e-12)


def test_attributes_of_one_network_are_those_of_the_first_member():
    ensemble = clone(NETWORK).set_params(n_ensemble=3).fit(X, Y)
    first = alone(ensemble)[0].fit(X, Y)
    for name in ("coefs_", "intercepts_"):
        for values, expected in zip(getattr(ensemble, name), getattr(first, name), strict=True):
            np.testing.assert_array_equal(values, expected)
    assert ensemble.n_layers_ == first.n_layers_
    lenet = LeNetClassifier(max_iter=1, n_ensemble=3, random_state=0).fit(IMAGES, DIGITS)
    first = alone(lenet)[0].fit(IMAGES, DIGITS)
    np.testing.assert_array_equal(lenet.feature_maps(IMAGES), first.feature_maps(IMAGES))
    np.testing.assert_array_equal(lenet.filters("c3"), first.filters("c3"))
    np.testing.assert_array_equal(lenet.mean_, first.mean_)
    np.testing.assert_array_equal(lenet.scale_, first.scale_)


@pytest.mark.parametrize("y", [Y > 0, Y, LABELS, TWO], ids=["binary", "multiclass", "multilabel", "multioutput"])
def test_probabilities_are_averaged(y):
    ensemble = clone(NETWORK).set_params(n_ensemble=3).fit(X, y)
    members = [one.fit(X, y) for one in alone(ensemble)]
    several = isinstance(ensemble.predict_proba(X), list)

    def listed(values):
        return values if several else [values]

    of_members = zip(*(listed(member.predict_proba(X)) for member in members), strict=True)
    means = [np.mean(parts, axis=0) for parts in of_members]
    for found, mean in zip(listed(ensemble.predict_proba(X)), means, strict=True):
        np.testing.assert_allclose(found, mean, rtol=1e-10)
    for found, mean in zip(listed(ensemble.predict_log_proba(X)), means, strict=True):
        np.testing.assert_allclose(found, np.log(mean), rtol=1e-9, atol=1e-12)
    for found, mean in zip(listed(ensemble.decision_function(X)), means, strict=True):
        if y is LABELS:
            np.testing.assert_allclose(expit(found), mean, rtol=1e-9)
        elif found.ndim == 1:
            np.testing.assert_allclose(found, logit(mean[:, 1]), rtol=1e-8)
        else:
            np.testing.assert_allclose(softmax(found, axis=1), mean, rtol=1e-9)
    if y is LABELS:
        np.testing.assert_array_equal(ensemble.predict(X), means[0] > 0.5)
    else:
        columns = zip(listed(ensemble.classes_), means, strict=True)
        expected = np.stack([classes[mean.argmax(1)] for classes, mean in columns], axis=1)
        np.testing.assert_array_equal(ensemble.predict(X).reshape(len(X), -1), expected)


@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
@pytest.mark.parametrize("y", [X[:, 0], X[:, :2]], ids=["one column", "two columns"])
def test_predictions_are_averaged(loss, y):
    ensemble = clone(REGRESSOR).set_params(n_ensemble=3, loss=loss).fit(X[:, 2:], y)
    mean = np.mean([one.fit(X[:, 2:], y).predict(X[:, 2:]) for one in alone(ensemble)], axis=0)
    np.testing.assert_allclose(ensemble.predict(X[:, 2:]), mean, rtol=1e-10)


def test_probabilities_that_round_to_zero_have_logarithms():
    member = MLP(1, 3, (), random_state=0)
    with torch.no_grad():
        member.layers[0].weight.copy_(torch.tensor([[1000.0], [0.0], [-1000.0]]))
        member.layers[0].bias.zero_()
    raw = Ensemble([member, member], "softmax", [3])(torch.ones(1, 1))
    np.testing.assert_allclose(raw.log_softmax(1).detach(), [[0, -1000, -2000]])


def test_warm_starts_go_on_with_every_member():
    ensemble = clone(NETWORK).set_params(n_ensemble=3, warm_start=True, solver="sgd", learning_rate="invscaling")
    members = alone(ensemble)
    for network in (ensemble, *members):
        network.fit(X, Y).fit(X, Y)
    for module, member in zip(ensemble.module_.members, members, strict=True):
        assert_equal_modules(module, member.module_)
    assert len(ensemble.loss_curve_) == 24


def test_streams_go_on_with_every_member():
    ensemble = clone(NETWORK).set_params(n_ensemble=3)
    members = alone(ensemble)
    for network in (ensemble, *members):
        for rows in (slice(0, 150, 3), slice(1, 150, 3), slice(2, 150, 3)):
            network.partial_fit(X[rows], Y[rows], classes=[0, 1, 2])
    for module, member in zip(ensemble.module_.members, members, strict=True):
        assert_equal_modules(module, member.module_)


def test_a_warm_start_of_another_number_is_an_error():
    ensemble = clone(NETWORK).set_params(n_ensemble=3, warm_start=True).fit(X, Y)
    with pytest.raises(ValueError, match="parameters now describe another"):
        ensemble.set_params(n_ensemble=2).fit(X, Y)


@pytest.mark.parametrize("options", [{}, {"dropout": 0.3}, {"early_stopping": True}], ids=str)
def test_fits_repeat_and_pickles_predict_the_same(options):
    ensemble = clone(NETWORK).set_params(n_ensemble=3, **options)
    one, other = clone(ensemble).fit(X, Y), clone(ensemble).fit(X, Y)
    assert_equal_modules(one.module_, other.module_)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(one)).predict_proba(X), one.predict_proba(X))
    first, second, _ = one.module_.members
    assert not torch.equal(first.layers[0].weight, second.layers[0].weight)


def test_a_random_state_that_goes_on_is_moved_as_by_a_network_alone():
    states = [np.random.RandomState(0) for _ in range(2)]
    for state, n_ensemble in zip(states, (1, 4), strict=True):
        clone(NETWORK).set_params(n_ensemble=n_ensemble, random_state=state).fit(X, Y)
    assert states[0].randint(2**31) == states[1].randint(2**31)


def test_callbacks_see_one_fit(capsys):
    log, stopping = io.StringIO(), EarlyStoppingOnMetric("neg_log_loss", n_iter_no_change=3)
    ensemble = clone(NETWORK).set_params(n_ensemble=3, learning_rate_init=0.3, max_iter=60, verbose=True)
    ensemble.set_callbacks(EpochLog(log), stopping).fit(X[::2], Y[::2], X_val=X[1::2], y_val=Y[1::2])
    assert len(log.getvalue().splitlines()) == len(capsys.readouterr().out.splitlines()) == ensemble.n_iter_ < 60
    assert stopping.best_score_ == pytest.approx(-log_loss(Y[1::2], ensemble.predict_proba(X[1::2])), rel=1e-9)


def test_a_member_that_never_trained_is_an_error():
    rows, heights = (X[:, 1:] * 100).astype(np.float32), X[:, 0].astype(np.float32)
    network = MLPTorchRegressor(
        hidden_layer_sizes=(1, 1), activation="leaky_relu", solver="sgd", momentum=0.0, nesterovs_momentum=False,
        learning_rate_init=0.5, max_iter=4, batch_size=10, n_ensemble=4, early_stopping=True, random_state=4,
    )  # fmt: skip
    with pytest.raises(ValueError, match="non-finite parameter weights"):
        network.fit(rows, heights, X_val=rows, y_val=heights)


class Copies:
    """Keep what callbacks see of the network after each epoch."""

    def __init__(self):
        self.fitted = []

    def setup(self, estimator, context): ...

    def teardown(self, estimator, context): ...

    def on_fit_task_begin(self, estimator, context): ...

    def on_fit_task_end(self, estimator, context, *, fitted_estimator):
        if context.task_name == "epoch":
            self.fitted.append(fitted_estimator)


def test_callbacks_see_members_where_they_stopped():
    ensemble = clone(NETWORK).set_params(n_ensemble=3, tol=0.02, n_iter_no_change=1, max_iter=100)
    ends = [one.fit(X, Y).n_iter_ for one in alone(ensemble)]
    assert len(set(ends)) > 1
    copies = Copies()
    ensemble.set_callbacks(copies).fit(X, Y)
    assert_equal_modules(copies.fitted[-1].module_, ensemble.module_)


def test_a_search_over_ensembles_is_scikit_learns():
    grid = {"n_ensemble": [1, 3], "alpha": [0.1, 1.0]}
    found, expected = (
        search(NETWORK, grid, cv=2).fit(X, Y) for search in (sknn.model_selection.GridSearchCV, GridSearchCV)
    )
    np.testing.assert_array_equal(found.cv_results_["mean_test_score"], expected.cv_results_["mean_test_score"])
    assert found.best_params_ == expected.best_params_


def test_gradients_are_those_of_the_first_member():
    network = clone(NETWORK).set_params(activation="tanh")
    ensemble = clone(network).set_params(n_ensemble=3)
    of_one, of_ensemble = (check_gradients(estimator, X[::10], Y[::10]) for estimator in (network, ensemble))
    np.testing.assert_array_equal(of_ensemble.analytic, of_one.analytic)
    assert of_ensemble.max_absolute_error < 1e-6


@pytest.mark.parametrize(
    ("parameters", "weight", "message"),
    [
        ({"n_ensemble": 0}, None, "'n_ensemble' parameter"),
        ({"solver": "lbfgs"}, None, "n_ensemble > 1 needs a solver .* got n_ensemble=3 with solver='lbfgs'"),
        ({}, np.where(np.arange(len(X)) < 3, -1.0, 1.0), "negative weights"),
    ],
)
def test_what_does_not_go_together_is_an_error(parameters, weight, message):
    with pytest.raises(ValueError, match=message):
        clone(NETWORK).set_params(**{"n_ensemble": 3, **parameters}).fit(X, Y, weight)


def test_an_unknown_link_is_an_error():
    with pytest.raises(ValueError, match=r"link must be one of .*'softmax'.* got 'tanh'"):
        Ensemble([MLP(1, 1, random_state=0)], "tanh")


# --- what it is for ---


def first_images():
    images = fetch_fashion_mnist(subset="train")
    return images.data[:4000].astype(np.float32), images.target[:4000]


SETS = {
    "wine": lambda: load_wine(return_X_y=True),
    "breast_cancer": lambda: load_breast_cancer(return_X_y=True),
    "digits": lambda: load_digits(return_X_y=True),
    "diabetes": lambda: load_diabetes(return_X_y=True, scaled=False),
    "Fashion-MNIST": first_images,
}


def gain(name, seed):
    """Return by how much 8 networks, fitted to a tenth of the rows, are more accurate than each is in the mean."""
    X, y = SETS[name]()
    kind = MLPTorchRegressor if name == "diabetes" else MLPTorchClassifier
    y = y / 100 if name == "diabetes" else y
    X_train, X_test, y_train, y_test = train_test_split(X, y, train_size=0.1, random_state=seed)
    network = kind(learning_rate_init=0.01, max_iter=60, n_ensemble=8, random_state=seed)
    model = make_pipeline(StandardScaler(), network).fit(X_train, y_train)
    together, ensemble, alone = model.score(X_test, y_test), network.module_, []
    for network.module_ in ensemble.members:
        alone.append(model.score(X_test, y_test))
    return together - np.mean(alone)


@pytest.mark.parametrize(
    ("name", "n_seeds"),
    [
        ("wine", 20),
        ("breast_cancer", 20),
        ("digits", 5),
        ("diabetes", 5),
        pytest.param("Fashion-MNIST", 4, marks=pytest.mark.mnist),
    ],
)
def test_it_is_more_accurate_than_one_network(name, n_seeds, request):
    if name == "Fashion-MNIST":
        request.getfixturevalue("fashion_mnist")  # skips where they are missing
    gains = np.array([gain(name, seed) for seed in range(n_seeds)])
    error_of_the_mean = gains.std(ddof=1) / np.sqrt(n_seeds)
    assert gains.mean() > 2 * error_of_the_mean

"""Checkpoint: fits that were killed, interrupted or failed, against the same fits that were not."""

import json
import os
import pickle
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from sknn import LeNetClassifier, MLPTorchClassifier, MLPTorchRegressor, TorchClassifier
from sknn.callbacks import Checkpoint, EarlyStoppingOnMetric

X, Y = load_iris(return_X_y=True)
IMAGES, DIGITS = (rows[:100] for rows in load_digits(return_X_y=True))
WEIGHT = np.random.default_rng(0).uniform(0, 2, len(X))
NETWORK = MLPTorchClassifier((5,), max_iter=12, batch_size=40, random_state=0)
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


class Dropping(nn.Sequential):
    """Draws from torch's global generator."""

    def __init__(self, n_features_in, n_outputs):
        super().__init__(nn.Linear(n_features_in, 30), nn.ReLU(), nn.Dropout(0.3), nn.Linear(30, n_outputs))


class Faulty:
    """End every fit in the middle, after so many epochs of it."""

    def __init__(self, n_epochs, fault=OSError):
        self.n_epochs, self.fault = n_epochs, fault

    def setup(self, estimator, context): ...

    def teardown(self, estimator, context): ...

    def on_fit_task_begin(self, estimator, context): ...

    def on_fit_task_end(self, estimator, context):
        if context.task_name == "epoch" and context.task_id == self.n_epochs - 1:
            raise self.fault("no room")


def fail(network, callbacks, *given, **more):
    """Begin a fit that fails, and return the network as the program has it when it is run again."""
    with pytest.raises(OSError, match="no room"):
        clone(network).set_callbacks(*callbacks, Faulty(7)).fit(*given, **more)
    return clone(network).set_callbacks(*callbacks)


def assert_equal_fits(one, other):
    assert one.n_iter_ == other.n_iter_
    assert one.loss_curve_ == other.loss_curve_
    assert one.validation_scores_ == other.validation_scores_
    assert one.t_ == other.t_
    for value, expected in zip(one.module_.state_dict().values(), other.module_.state_dict().values(), strict=True):
        assert torch.equal(value, expected)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.parametrize(("name", "n_kills"), [("mlp", 20), ("lenet", 4)])
def test_a_fit_killed_at_random_moments_ends_where_the_uninterrupted_one_does(name, n_kills, tmp_path):
    script = Path(__file__).with_name("killed_fits.py")
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    run = [sys.executable, "-W", "ignore", str(script), name, str(tmp_path), str(n_kills)]
    lines = subprocess.run(run, check=True, capture_output=True, text=True, env=environment).stdout.splitlines()
    uninterrupted, *others = map(json.loads, lines)
    assert others
    for other in others:
        assert other == uninterrupted
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


@pytest.mark.parametrize(
    ("network", "given", "more"),
    [
        (NETWORK, (X, Y), {}),
        (NETWORK, (X, Y, WEIGHT), {}),
        (NETWORK, (scipy.sparse.csr_array(X), Y), {}),
        (NETWORK, (X.astype(np.float32), Y), {"X_val": X[::3], "y_val": Y[::3]}),
        (clone(NETWORK).set_params(batch_size=150), (X, Y), {}),
        (clone(NETWORK).set_params(shuffle=False, solver="nadam"), (X, Y), {}),
        (clone(NETWORK).set_params(solver="sgd", learning_rate="invscaling"), (X, Y), {}),
        (clone(NETWORK).set_params(solver="adagrad", learning_rate="cosine"), (X, Y), {}),
        (clone(NETWORK).set_params(early_stopping=True, learning_rate_init=0.3), (X, Y), {}),
        (clone(NETWORK).set_params(dropout=0.3, batch_norm=True), (X, Y), {}),
        (clone(NETWORK).set_params(dropout=0.3), (X, Y), {}),
        (
            MLPTorchRegressor(max_iter=12, batch_size=40, random_state=0),
            (X[:, 1:], X[:, 0]),
            {},
        ),
        (LeNetClassifier(max_iter=9, random_rotation=10, dropout=0.1, random_state=0), (IMAGES, DIGITS), {}),
        (TorchClassifier(Dropping, max_iter=9, random_state=0), (X, Y), {}),
    ],
)
@pytest.mark.parametrize("every", [1, 4])
def test_a_fit_that_failed_goes_on(network, given, more, every, tmp_path):
    checkpoint = Checkpoint(tmp_path, every=every)
    again = fail(network, [checkpoint], *given, **more)
    assert len(list(tmp_path.iterdir())) == 1
    assert_equal_fits(again.fit(*given, **more), clone(network).fit(*given, **more))
    # What is written is what the next epoch would begin with, and the seventh epoch was the last.
    assert checkpoint.n_epochs_before_ == 6 // every * every
    assert not list(tmp_path.iterdir())


def test_a_warm_start_that_failed_goes_on(tmp_path):
    checkpoint, network = Checkpoint(tmp_path), clone(NETWORK).set_params(warm_start=True)
    expected = clone(network).fit(X, Y).fit(X, Y)
    first = clone(network).fit(X, Y)
    again = pickle.loads(pickle.dumps(first)).set_callbacks(checkpoint)
    with pytest.raises(OSError, match="no room"):
        first.set_callbacks(checkpoint, Faulty(7)).fit(X, Y)
    assert_equal_fits(again.fit(X, Y), expected)
    assert checkpoint.n_epochs_before_ == 6


def test_early_stopping_by_a_metric_goes_on_with_its_scores_and_its_best_weights(tmp_path):
    network = clone(NETWORK).set_params(max_iter=60, learning_rate_init=0.3)
    more = {"X_val": X[1::2], "y_val": Y[1::2]}
    alone, stopping = (EarlyStoppingOnMetric("neg_log_loss", n_iter_no_change=6) for _ in range(2))
    expected = clone(network).set_callbacks(alone).fit(X[::2], Y[::2], **more)
    assert alone.best_epoch_ < expected.n_iter_ < 60
    again = fail(network, [stopping, Checkpoint(tmp_path)], X[::2], Y[::2], **more).fit(X[::2], Y[::2], **more)
    assert_equal_fits(again, expected)
    assert (stopping.scores_, stopping.best_epoch_) == (alone.scores_, alone.best_epoch_)


def test_interrupted_by_the_user_it_keeps_its_file(tmp_path):
    checkpoint = Checkpoint(tmp_path)
    with pytest.warns(UserWarning, match="interrupted by user"):
        clone(NETWORK).set_callbacks(checkpoint, Faulty(7, KeyboardInterrupt)).fit(X, Y)
    assert_equal_fits(clone(NETWORK).set_callbacks(checkpoint).fit(X, Y), clone(NETWORK).fit(X, Y))
    assert checkpoint.n_epochs_before_ == 6


@pytest.mark.parametrize(
    ("parameters", "given"),
    [
        ({"alpha": 0.1}, (X, Y)),
        ({"random_state": 1}, (X, Y)),
        ({}, (X + 1, Y)),
        ({}, (X, (Y + 1) % 3)),
        ({}, (X, Y, WEIGHT)),
        ({}, (X[::-1], Y[::-1])),
    ],
)
def test_another_fit_begins_anew(parameters, given, tmp_path):
    checkpoint = Checkpoint(tmp_path)
    again = fail(NETWORK, [checkpoint], X, Y)
    other = clone(NETWORK).set_params(**parameters)
    assert_equal_fits(clone(other).set_callbacks(checkpoint).fit(*given), other.fit(*given))
    assert checkpoint.n_epochs_before_ == 0
    again.set_params(verbose=True).fit(X, Y)
    assert checkpoint.n_epochs_before_ == 6


class Weighted:
    """A loss with a number that its repr does not show."""

    def __init__(self, factor):
        self.factor = factor

    def __call__(self, scores, y):
        return self.factor * nn.functional.cross_entropy(scores, y, reduction="none")


def scaled(n_features_in, n_outputs, scale):
    return nn.Sequential(nn.Linear(n_features_in, n_outputs), nn.Threshold(float(scale.mean()), 0.0))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"loss": Weighted(1.0)}, {"loss": Weighted(3.0)}),
        ({"loss": nn.CrossEntropyLoss(reduction="none")},
         {"loss": nn.CrossEntropyLoss(reduction="none", label_smoothing=0.3)}),
        ({"loss": lambda scores, y: nn.functional.cross_entropy(scores, y, reduction="none")},
         {"loss": lambda scores, y: nn.functional.multi_margin_loss(scores, y, reduction="none")}),
        ({"module": scaled, "module_params": {"scale": np.zeros(2000)}},
         {"module": scaled, "module_params": {"scale": np.eye(1, 2000, 1000)[0] * -2000}}),
    ],
    ids=["attribute of a loss", "option of a loss", "name in a function", "number in an array"],
)  # fmt: skip
def test_what_a_repr_does_not_show_makes_another_fit(first, second, tmp_path):
    one, other = (
        TorchClassifier(**{"module": Dropping, **parameters}, max_iter=9, random_state=0)
        for parameters in (first, second)
    )
    checkpoint = Checkpoint(tmp_path)
    again = fail(one, [checkpoint], X, Y)
    assert_equal_fits(clone(other).set_callbacks(checkpoint).fit(X, Y), clone(other).fit(X, Y))
    assert checkpoint.n_epochs_before_ == 0
    assert_equal_fits(again.fit(X, Y), clone(one).fit(X, Y))
    assert checkpoint.n_epochs_before_ == 6


def test_another_metric_makes_another_fit(tmp_path):
    network, more = clone(NETWORK).set_params(learning_rate_init=0.3), {"X_val": X[1::2], "y_val": Y[1::2]}
    checkpoint, alone, stopping = Checkpoint(tmp_path), *(EarlyStoppingOnMetric("neg_log_loss") for _ in range(2))
    fail(network, [EarlyStoppingOnMetric("accuracy"), checkpoint], X[::2], Y[::2], **more)
    expected = clone(network).set_callbacks(alone).fit(X[::2], Y[::2], **more)
    assert_equal_fits(clone(network).set_callbacks(stopping, checkpoint).fit(X[::2], Y[::2], **more), expected)
    assert checkpoint.n_epochs_before_ == 0
    assert stopping.scores_ == alone.scores_


def test_numbers_of_numpy_are_read_again(tmp_path):
    checkpoint = Checkpoint(tmp_path)
    network = clone(NETWORK).set_params(solver="sgd", learning_rate="invscaling", power_t=np.float64(0.5))
    assert_equal_fits(fail(network, [checkpoint], X, Y).fit(X, Y), clone(network).fit(X, Y))
    assert checkpoint.n_epochs_before_ == 6


def test_targets_in_any_order_of_memory_are_taken(tmp_path):
    network = MLPTorchRegressor(max_iter=12, batch_size=40, random_state=0)
    more = {"X_val": X[:50, 1:], "y_val": X[:50, 0][::-1], "sample_weight_val": WEIGHT[:50][::-1]}
    again = fail(network, [Checkpoint(tmp_path)], X[:, 1:], X[:, 0], **more)
    assert_equal_fits(again.fit(X[:, 1:], X[:, 0], **more), clone(network).fit(X[:, 1:], X[:, 0], **more))


def test_equal_fits_side_by_side_do_not_disturb_one_another(tmp_path):
    networks = [clone(NETWORK).set_params(max_iter=30).set_callbacks(Checkpoint(tmp_path)) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        fitted = list(pool.map(lambda network: network.fit(X, Y), networks))
    for one in fitted:
        assert_equal_fits(one, clone(NETWORK).set_params(max_iter=30).fit(X, Y))


def test_two_folders_have_the_same_fit(tmp_path):
    first, second = (Checkpoint(tmp_path / name) for name in ("first", "second"))
    assert_equal_fits(fail(NETWORK, [first, second], X, Y).fit(X, Y), clone(NETWORK).fit(X, Y))
    assert not list(tmp_path.rglob("*.pt"))


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_fits_of_a_search_go_on(n_jobs, tmp_path):
    bare = GridSearchCV(make_pipeline(StandardScaler(), NETWORK), {"mlptorchclassifier__alpha": [0.1, 1.0]}, cv=2)
    expected = clone(bare).fit(X, Y)
    failing, going_on = (clone(bare).set_params(n_jobs=n_jobs) for _ in range(2))
    failing.estimator[-1].set_callbacks(Checkpoint(tmp_path), Faulty(7))
    with pytest.raises(ValueError, match="fits failed"):
        failing.fit(X, Y)
    assert len(list(tmp_path.iterdir())) == 4
    going_on.estimator[-1].set_callbacks(Checkpoint(tmp_path))
    going_on.fit(X, Y)
    np.testing.assert_array_equal(going_on.cv_results_["mean_test_score"], expected.cv_results_["mean_test_score"])
    assert_equal_fits(going_on.best_estimator_[-1], expected.best_estimator_[-1])
    assert not list(tmp_path.iterdir())


class Trap:
    """Would run code when it is loaded."""

    def __reduce__(self):
        return os.kill, (os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("content", [b"", b"no checkpoint", pickle.dumps(Trap())], ids=["empty", "text", "trap"])
def test_a_damaged_file_is_an_error_and_runs_no_code(content, tmp_path):
    network = fail(NETWORK, [Checkpoint(tmp_path)], X, Y)
    (path,) = tmp_path.iterdir()
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"{path.name} is no checkpoint that can be read"):
        network.fit(X, Y)


@pytest.mark.global_rng
@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"solver": "lbfgs"}, "solvers that update the weights batch by batch.*got solver='lbfgs'"),
        ({"n_ensemble": 2}, "one network, got n_ensemble=2"),
        ({"random_state": None}, "random_state to be an integer.*got random_state=None"),
    ],
)
def test_what_cannot_go_on_is_an_error(parameters, message, tmp_path):
    network = clone(NETWORK).set_params(**parameters).set_callbacks(Checkpoint(tmp_path))
    with pytest.raises(ValueError, match=message):
        network.fit(X, Y)
    assert not hasattr(network, "module_")


def test_parameters_are_checked():
    with pytest.raises(ValueError, match="'every' parameter"):
        Checkpoint(every=0)

"""Modules and losses of the user's own get all of the library: layers of any kind, images, weights, streams."""

import functools

import numpy as np
import pytest
import scipy.sparse
import torch
import torch.nn.functional as F
from own_modules import MASKS, SIZES, Maps, Noisy, Recurrent, Tied, Wide, assert_same_weights, drawn, fast, state_of
from sklearn.datasets import load_digits, load_iris
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from torch import nn

from sknn import TorchClassifier, TorchRegressor, check_gradients

X, LABELS = load_iris(return_X_y=True)
SHUFFLED = np.random.RandomState(0).permutation(len(X))[:75]
X, LABELS = (X - X.mean(axis=0))[SHUFFLED], LABELS[SHUFFLED]
REAL = X @ [1.0, -2.0, 0.5, 0.0] + np.sin(X[:, 0])
BOTH = {TorchClassifier: LABELS, TorchRegressor: REAL}
PIXELS, DIGITS = load_digits(return_X_y=True)
PIXELS, DIGITS = PIXELS[:100].astype(np.uint8), DIGITS[:100]
FLAGS = np.stack([LABELS == 1, LABELS > 0], axis=1).astype(int)
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
normalised = functools.partial(Wide, norm=nn.BatchNorm1d)


def masks_of(train):
    MASKS.clear()
    train()
    return [mask.numpy() for mask in MASKS]


def assert_all_differ(masks, n):
    assert len(masks) == n
    assert len({mask.tobytes() for mask in masks}) == n


class Shifted(nn.Linear):
    """Writes to what it is given."""

    def forward(self, X):
        return super().forward(X.sub_(1.0))


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("batch_size", [25, 67])
def test_modules_that_write_to_their_input_change_no_rows(solver, batch_size):
    rows = X.copy()
    options = {"solver": solver, "batch_size": batch_size, "max_iter": 9, "early_stopping": True}
    written, kept = (fast(module=drawn(Shifted, 4, 3), **options).fit(data, LABELS) for data in (rows, X))
    np.testing.assert_array_equal(rows, X)
    plain = fast(module=drawn(nn.Linear, 4, 3), **options).fit(X - 1.0, LABELS)
    np.testing.assert_allclose(kept.predict_proba(X), plain.predict_proba(X - 1.0), rtol=1e-9, atol=1e-12)
    rows.flags.writeable = False
    first = written.decision_function(rows)
    np.testing.assert_array_equal(written.decision_function(rows), first)
    np.testing.assert_array_equal(rows, X)


@pytest.mark.parametrize("Estimator", BOTH)
def test_dropout_follows_random_state_and_nothing_else(Estimator):
    fits = []
    for seed in (1, 2):
        with torch.random.fork_rng([]):
            torch.random.default_generator.manual_seed(seed)
            fits.append(fast(Estimator, Noisy).fit(X, BOTH[Estimator]))
    assert_same_weights(*fits)
    other = masks_of(lambda: fast(Estimator, Noisy, random_state=1).fit(X, BOTH[Estimator]))
    same = masks_of(lambda: fast(Estimator, Noisy).fit(X, BOTH[Estimator]))
    assert not np.array_equal(same[0], other[0])
    np.testing.assert_array_equal(fits[0].predict(X), fits[0].predict(X))  # without masks


def test_dropout_masks_differ_between_epochs_and_fits_and_calls():
    network = fast(module=Noisy, batch_size=75, warm_start=True)
    assert_all_differ(masks_of(lambda: [network.fit(X, LABELS) for _ in range(2)]), 6)
    stream = fast(module=Noisy, batch_size=75)
    assert_all_differ(masks_of(lambda: [stream.partial_fit(X, LABELS, classes=[0, 1, 2]) for _ in range(3)]), 3)


def test_batch_norm_trains_on_a_last_batch_of_one_row():
    SIZES.clear()
    network = fast(module=normalised, batch_size=12, max_iter=1).fit(X[:49], LABELS[:49])
    assert [size for size in SIZES if size > 2][:4] == [12, 12, 12, 13]
    assert network.t_ == 49
    fast(module=normalised, early_stopping=True, batch_size=12).fit(X[:54], LABELS[:54])  # 48 and 6
    assert network.predict(X[:1]) == network.predict(X)[:1]  # by running statistics, not those of the batch


@pytest.mark.parametrize("solver", ["adam", "sgd", "adamw", "lbfgs"])
def test_frozen_parameters_stay(solver):
    module = drawn(Wide, 4, 3)
    module.hidden.requires_grad_(False)
    network = fast(module=module, solver=solver, alpha=1.0).fit(X, LABELS)
    np.testing.assert_array_equal(network.module_.hidden.weight, module.hidden.weight)
    assert not np.allclose(network.module_.output.weight.detach(), module.output.weight.detach())
    assert not network.module_.hidden.weight.requires_grad
    assert set(check_gradients(network, X, LABELS).names) == {"output.weight", "output.bias"}


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_tied_parameters_stay_tied(solver):
    network = fast(module=Tied, solver=solver, warm_start=True).fit(X, LABELS)
    network.fit(X, LABELS)
    assert network.module_.first.weight is network.module_.second.weight
    assert check_gradients(network, X, LABELS).max_absolute_error < 1e-6


def lazy(n_outputs, norm=nn.LazyBatchNorm1d):
    return nn.Sequential(nn.LazyLinear(6), norm(), nn.Tanh(), nn.LazyLinear(n_outputs))


def test_lazy_modules_learn_their_sizes_and_warm_starts_go_on():
    made = fast(module=lazy).fit(X, LABELS)
    given = fast(module=lazy(3, nn.Identity)).fit(X, LABELS)  # torch copies no buffers without a size
    assert made.module_[0].in_features == given.module_[0].in_features == 4
    half, whole = (fast(module=lazy, warm_start=True, learning_rate_init=0.01, max_iter=n) for n in (3, 50))
    half.fit(X, LABELS)
    loss = half.set_params(max_iter=50).fit(X, LABELS).loss_curve_
    np.testing.assert_allclose(loss[:3], whole.fit(X, LABELS).loss_curve_[:3], rtol=1e-12)
    assert loss[3] < loss[0] and half.score(X, LABELS) > 0.9


class Codes(nn.Module):
    """One vector for each of six codes, and one for each of four."""

    def __init__(self, n_outputs, size=3):
        super().__init__()
        self.tables = nn.ModuleList([nn.Embedding(6, size), nn.Embedding(4, size)])
        self.output = nn.Linear(2 * size, n_outputs)

    def forward(self, X):
        vectors = [table(column) for table, column in zip(self.tables, X.long().unbind(1), strict=True)]
        return self.output(torch.cat(vectors, dim=1))


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.float32])
def test_embeddings_of_integer_columns(dtype):
    rng = np.random.RandomState(0)
    codes = np.stack([rng.randint(6, size=300), rng.randint(4, size=300)], axis=1)
    y = np.array([5, 0, 3, 1, 4, 2])[codes[:, 0]] + np.array([0.0, 2, -2, 1])[codes[:, 1]]  # of no linear order
    network = fast(TorchRegressor, Codes, max_iter=100, learning_rate_init=0.05).fit(codes.astype(dtype), y)
    assert network.score(codes.astype(dtype), y) > 0.99


def test_images_of_every_form_make_the_same_model():
    images = PIXELS.reshape(-1, 8, 8)
    forms = {
        "maps": (images[:, None], None),
        "images": (images, (1, 8, 8)),
        "rows": (PIXELS, (1, 8, 8)),
        "list of rows": (PIXELS.tolist(), [1, 8, 8]),
        "floats": (images[:, None].astype(np.float32), None),
        "tensor": (torch.from_numpy(images[:, None]), None),
        "sparse rows": (scipy.sparse.csr_matrix(PIXELS), np.array([1, 8, 8])),
    }
    options = {"dtype": "float64", "early_stopping": True, "max_iter": 2}
    networks = {
        name: fast(module=Maps, input_shape=shape, **options).fit(X, DIGITS) for name, (X, shape) in forms.items()
    }
    for name, network in networks.items():
        assert network.input_shape_ == (1, 8, 8), name
        assert network.n_features_in_ == 64
        assert_same_weights(network, networks["maps"])
        for X, _ in forms.values():
            np.testing.assert_array_equal(network.predict(X), networks["maps"].predict(images[:, None]))
    assert {p.dtype for p in fast(module=Maps).fit(images[:, None], DIGITS).module_.parameters()} == {torch.float32}


def test_images_of_another_form_are_refused():
    images = np.random.RandomState(0).rand(20, 3, 4, 4)
    network = fast(module=lambda n_outputs: nn.Sequential(nn.Flatten(), nn.LazyLinear(n_outputs)), batch_size=5)
    network.fit(images, DIGITS[:20])
    for wrong in (np.moveaxis(images, 1, -1), images[:, :1], images.reshape(20, 3, 16)):
        with pytest.raises(ValueError, match=r"rows of shape .*, expected \(3, 4, 4\)"):
            network.predict(wrong)
        with pytest.raises(ValueError, match=r"rows of shape .*, expected \(3, 4, 4\)"):
            network.fit(images, DIGITS[:20], X_val=wrong, y_val=DIGITS[:20])
    np.testing.assert_array_equal(network.predict(images.reshape(20, -1)), network.predict(images))
    with pytest.raises(NotFittedError):
        fast().predict(images)


def per_row(function, **options):
    """Return a reference: torch's function, summed over the outputs of each row."""

    def value(raw, y):
        y = y if function is F.cross_entropy else y.double()
        return function(raw.squeeze(-1), y, reduction="none", **options).reshape(len(y), -1).sum(1)

    return value


def margin(raw, y, reduction="none"):
    return F.multi_margin_loss(raw, y.long(), reduction=reduction)


PRIORS = torch.tensor([1.0, 2.0, 3.0])
LOSSES = {
    "cross entropy": (LABELS, nn.CrossEntropyLoss(), per_row(F.cross_entropy)),
    "smoothed": (LABELS, nn.CrossEntropyLoss(label_smoothing=0.1), per_row(F.cross_entropy, label_smoothing=0.1)),
    "weighted": (LABELS, nn.CrossEntropyLoss(weight=PRIORS), per_row(F.cross_entropy, weight=PRIORS.double())),
    "two classes": (LABELS > 0, nn.BCEWithLogitsLoss(), per_row(F.binary_cross_entropy_with_logits)),
    "labels": (FLAGS, nn.BCEWithLogitsLoss(reduction="sum"), per_row(F.binary_cross_entropy_with_logits)),
    "margin": (LABELS, margin, per_row(margin)),
    "squares": (REAL, nn.MSELoss(), per_row(F.mse_loss)),
    "smooth": (REAL, nn.SmoothL1Loss(beta=0.5), per_row(F.smooth_l1_loss, beta=0.5)),
    "two outputs": (np.stack([REAL, -REAL], axis=1), nn.MSELoss(), per_row(F.mse_loss)),
    "function": (REAL, lambda raw, y: (raw - y).abs(), per_row(F.l1_loss)),
}


@pytest.mark.parametrize("name", LOSSES)
def test_own_losses_are_means_over_rows_of_sums_over_outputs(name):
    y, loss, reference = LOSSES[name]
    y = y.astype(np.int64) if y.dtype == bool else y
    Estimator = TorchClassifier if y.dtype == np.int64 else TorchRegressor
    before = dict(vars(loss))
    network = fast(Estimator, loss=loss, alpha=0, batch_size=75, max_iter=1, learning_rate_init=1e-30).fit(X, y)
    with torch.no_grad():
        expected = reference(network.module_(torch.from_numpy(X)), torch.from_numpy(y)).mean()
    assert network.loss_ == pytest.approx(expected.item(), rel=1e-12)
    assert check_gradients(network, X, y).max_absolute_error < 1e-6
    curve = network.set_params(learning_rate_init=0.05, max_iter=20).fit(X, y).loss_curve_
    assert curve[-1] < 0.8 * curve[0]
    assert vars(loss) == before  # the user's own loss still means


@pytest.mark.parametrize(
    ("y", "own", "named"),
    [
        (LABELS, nn.CrossEntropyLoss(), "log_loss"),
        (np.stack([LABELS, LABELS % 2], axis=1), nn.CrossEntropyLoss(), "log_loss"),
        (FLAGS, nn.BCEWithLogitsLoss(), "log_loss"),
        (FLAGS[:, 1], nn.BCEWithLogitsLoss(), "log_loss"),
        (REAL, nn.HuberLoss(), "huber"),
        (np.stack([REAL, -REAL], axis=1), nn.L1Loss(), "absolute_error"),
    ],
)
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_own_losses_train_as_the_named_ones_do(y, own, named, solver):
    Estimator = TorchClassifier if y.dtype.kind == "i" else TorchRegressor
    one, other = (fast(Estimator, loss=loss, solver=solver).fit(X, y) for loss in (own, named))
    np.testing.assert_allclose(one.loss_curve_, other.loss_curve_, rtol=1e-9)
    np.testing.assert_allclose(one.predict(X), other.predict(X), rtol=1e-9)


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize(
    ("Estimator", "loss"), [(TorchClassifier, nn.CrossEntropyLoss()), (TorchRegressor, nn.MSELoss())]
)
def test_weights_of_an_own_loss_are_repeated_rows(Estimator, loss, solver):
    y, weight = BOTH[Estimator], np.arange(len(X)) % 3
    options = {"loss": loss, "solver": solver, "shuffle": False, "alpha": 0.1, "max_iter": 5, "batch_size": "auto"}
    weighted = fast(Estimator, **options).fit(X, y, sample_weight=weight)
    repeated = fast(Estimator, **options).fit(np.repeat(X, weight, axis=0), np.repeat(y, weight))
    torch.testing.assert_close(state_of(weighted), state_of(repeated), rtol=1e-7, atol=1e-9)
    assert not np.allclose(weighted.loss_curve_, fast(Estimator, **options).fit(X, y).loss_curve_)


@pytest.mark.parametrize("loss", ["log_loss", "focal", nn.CrossEntropyLoss()])
def test_class_weights_are_weights_of_rows(loss):
    by_class = fast(loss=loss, class_weight={0: 1.0, 1: 2.0, 2: 0.5}).fit(X, LABELS)
    by_row = fast(loss=loss).fit(X, LABELS, sample_weight=np.array([1.0, 2.0, 0.5])[LABELS])
    assert_same_weights(by_class, by_row)


@pytest.mark.parametrize("Estimator", BOTH)
def test_early_stopping_keeps_the_best_weights_of_any_module(Estimator):
    y = BOTH[Estimator]
    options = {"early_stopping": True, "learning_rate_init": 0.1, "max_iter": 300, "n_iter_no_change": 5}
    network = fast(Estimator, normalised, **options).fit(X[:50], y[:50], X_val=X[50:], y_val=y[50:])
    assert network.n_iter_ < 300
    assert network.score(X[50:], y[50:]) == pytest.approx(network.best_validation_score_, abs=1e-12)


class StopsAfterTwo:
    """A callback that keeps the model of each epoch and ends the fit after two."""

    def __init__(self):
        self.models = []

    def setup(self, estimator, context): ...

    def teardown(self, estimator, context): ...

    def on_fit_task_begin(self, estimator, context): ...

    def on_fit_task_end(self, estimator, context, *, X, y, metadata, fitted_estimator):
        if context.task_name == "epoch":
            self.models.append(fitted_estimator)
        return len(self.models) == 2


def test_callbacks_are_given_the_model_of_each_epoch():
    callback = StopsAfterTwo()
    network = fast(module=normalised, max_iter=10).set_callbacks(callback).fit(X, LABELS)
    assert network.n_iter_ == len(callback.models) == 2
    assert_same_weights(callback.models[0], fast(module=normalised, max_iter=1).fit(X, LABELS))
    assert_same_weights(callback.models[1], network)


@pytest.mark.parametrize("module", [Wide, normalised, Tied, Recurrent])
def test_calls_of_partial_fit_are_the_epochs_of_fit(module):
    stream = fast(module=module, shuffle=False)
    for _ in range(3):
        stream.partial_fit(X, LABELS, classes=[0, 1, 2])
    assert_same_weights(stream, fast(module=module, shuffle=False).fit(X, LABELS))


def test_training_goes_on_with_the_same_network_only():
    network = fast(module=Wide, warm_start=True).fit(X, LABELS)
    before = state_of(network)
    for module in (drawn(Wide, 4, 3, 17), normalised):
        with pytest.raises(ValueError, match="network of the fit before"):
            network.set_params(module=module).fit(X, LABELS)
    torch.testing.assert_close(state_of(network), before, rtol=0, atol=0)


def test_lbfgs_refuses_dropout_in_a_warm_start_too():
    network = fast(module=Noisy, warm_start=True).fit(X, LABELS).set_params(solver="lbfgs")
    with pytest.raises(ValueError, match="Dropout"):
        network.fit(X, LABELS)


@pytest.mark.parametrize("Estimator", BOTH)
@pytest.mark.parametrize(
    "module",
    [
        Wide,
        normalised,
        Noisy,  # off in a check
        Tied,
        Recurrent,
        lambda n_outputs: nn.Sequential(
            nn.Unflatten(1, (1, 4)), nn.Conv1d(1, 3, 2), nn.GELU(), nn.Flatten(), nn.LazyLinear(n_outputs)
        ),
    ],
)
def test_gradients_of_any_smooth_module_are_right(Estimator, module):
    network = fast(Estimator, module, alpha=0.1)
    check = check_gradients(network, X, BOTH[Estimator], h=1e-5)
    assert check.max_absolute_error < 1e-6
    assert np.abs(check.analytic).max() > 1e-2
    assert not hasattr(network, "module_")


def test_a_search_in_two_processes_is_that_in_one():
    local = lambda n_features_in, n_outputs, width: Wide(n_features_in, n_outputs, width)  # noqa: E731
    grid = {"module__width": [2, 6], "module": [Wide, local]}
    serial, parallel = (
        GridSearchCV(fast(max_iter=10), grid, cv=2, n_jobs=n_jobs, error_score="raise").fit(X, LABELS)
        for n_jobs in (1, 2)
    )
    np.testing.assert_array_equal(serial.cv_results_["mean_test_score"], parallel.cv_results_["mean_test_score"])
    assert_same_weights(serial.best_estimator_, parallel.best_estimator_)

"""The loop against plain PyTorch and scikit-learn, and K models trained together against each of them alone."""

import copy
import functools
import itertools
import warnings
from contextlib import closing

import numpy as np
import pytest
import torch
from sklearn.neural_network import MLPRegressor

from sknn._autograd import AutogradStep, raw_scores
from sknn._fused import FusedMLPStep
from sknn._learner import Learner, Recipe, TrainState
from sknn._losses import make_loss
from sknn._samples import Samples, place
from sknn._small import SmallMLPStep
from sknn._solvers import SOLVERS, Solver, SolverOptions
from sknn._train import train
from sknn.modules import MLP, Dropout

RNG = np.random.default_rng(0)
X = RNG.normal(size=(43, 5))
Y = np.stack([np.sin(X[:, 0]) + X[:, 1] ** 2, X[:, 2] * X[:, 3]], axis=1) + 0.3 * RNG.normal(size=(43, 2))
WEIGHT = RNG.uniform(0.5, 2.0, 43)
TRAINING, VALIDATION = np.arange(33), torch.arange(33, 43)
PLAIN = Recipe(
    batch_size=8,
    learning_rate="constant",
    learning_rate_init=0.02,
    lowers_rate=False,
    power_t=0.5,
    max_iter=30,
    max_fun=1,
    shuffle=True,
    tol=1e-4,
    n_iter_no_change=np.inf,
    max_grad_norm=np.inf,
    stop_on_score=False,
    pairs=False,
)


class Training:
    """K networks with all that `train` needs; remaining options are the recipe's."""

    def __init__(
        self, seeds, name="adam", *, dtype=torch.float64, alpha=0.1, weight=None, rows=TRAINING, network=None,
        n_outputs=2, momentum=0.9, step=AutogradStep, **recipe,
    ):  # fmt: skip
        network = {"hidden_layer_sizes": (6, 3), "activation": "tanh", **(network or {})}
        self.modules = [MLP(5, n_outputs, random_state=seed, dtype=dtype, **network) for seed in seeds]
        for module, seed in zip(self.modules, seeds, strict=True):
            for layer in module.modules():
                if isinstance(layer, Dropout):
                    layer.generator = torch.Generator().manual_seed(seed)
        decay, penalty = (alpha, 0.0) if name == "adamw" else (0.0, alpha)
        self.step = step(self.modules, make_loss("squared_error", "identity"), alpha=penalty)
        schedule, flat = recipe.get("learning_rate", "constant"), self.step.parameters
        options = [SolverOptions(schedule, momentum=momentum, weight_decay=decay)] * len(seeds)
        self.solver = Solver(name, flat.data, flat.grad, flat.decayed, options)
        y = torch.as_tensor(Y[:, :n_outputs], dtype=dtype)
        weight, cancels = (None, False) if weight is None else (torch.as_tensor(weight, dtype=dtype), weight.min() < 0)
        self.samples = Samples(place(X, torch.device("cpu"), dtype), y, weight, bool(cancels))
        self.recipe = PLAIN._replace(**recipe)
        self.states = [TrainState(self.recipe.learning_rate_init) for _ in seeds]
        self.rngs, self.rows = [np.random.RandomState(seed) for seed in seeds], rows

    def score(self, k):
        """Return minus the squared error of the validation rows."""
        error = raw_scores(self.modules[k], self.samples.X[VALIDATION]) - self.samples.y[VALIDATION]
        return -error.square().mean().item()

    def epochs(self):
        scores = [
            functools.partial(self.score, k) if self.recipe.stop_on_score else None for k in range(len(self.rngs))
        ]
        learners = [
            Learner(self.samples, self.rows, self.recipe, *of_model)
            for of_model in zip(self.states, self.rngs, scores, strict=True)
        ]
        return train(self.step, self.solver, learners)

    def run(self, n_epochs):
        """Return the records of at most that many epochs; afterwards the parameters are those the loop leaves."""
        with closing(self.epochs()) as epochs:
            return list(itertools.islice(epochs, n_epochs))

    @property
    def parameters(self):
        return torch.stack([torch.cat([p.detach().flatten() for p in module.parameters()]) for module in self.modules])


def column(records, name, k=0):
    return [getattr(record, name)[k] for record in records]


# --- against a loop in plain PyTorch ---

OPTIMIZERS = {
    "sgd": lambda groups: torch.optim.SGD(groups, lr=0.02),
    "adamw": lambda groups: torch.optim.AdamW(groups, lr=0.02),
    "rmsprop": lambda groups: torch.optim.RMSprop(groups, lr=0.02),
}
SCHEDULERS = {
    "constant": lambda optimizer, n: torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0),
    "cosine": lambda optimizer, n: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n),
    "onecycle": lambda optimizer, n: torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.02, n, cycle_momentum=False),
}


def plain_loop(module, name, schedule, n_epochs, *, batch_size, shuffle, max_grad_norm, weight):
    rng, order, curve, rates = np.random.RandomState(3), TRAINING, [], []
    weights = [p for p in module.parameters() if p.ndim == 2]
    biases = [p for p in module.parameters() if p.ndim == 1]
    decay, penalty = (0.1, 0.0) if name == "adamw" else (0.0, 0.1)
    optimizer = OPTIMIZERS[name](
        [{"params": weights, "weight_decay": decay}, {"params": biases, "weight_decay": 0.0}],
    )
    scheduler = SCHEDULERS[schedule](optimizer, -(-len(order) // batch_size) * PLAIN.max_iter)
    for _ in range(n_epochs):
        total = 0.0
        if shuffle:
            permutation = np.arange(len(order))
            rng.shuffle(permutation)
            order = order[permutation]
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            w = torch.ones(len(rows), dtype=torch.float64) if weight is None else torch.from_numpy(weight[rows])
            errors = module(torch.from_numpy(X[rows])) - torch.from_numpy(Y[rows])
            objective = (errors.square().sum(1) / 2 * w).sum() + penalty / 2 * sum(p.square().sum() for p in weights)
            objective = objective / w.sum()
            optimizer.zero_grad()
            objective.backward()
            torch.nn.utils.clip_grad_norm_(module.parameters(), max_grad_norm)
            optimizer.step()
            rate = optimizer.param_groups[0]["lr"]
            scheduler.step()
            total += objective.item() * len(rows)
        curve.append(total / len(order))
        rates.append(rate)
    return curve, rates


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("schedule", SCHEDULERS)
@pytest.mark.parametrize(
    "options",
    [
        {"shuffle": True, "max_grad_norm": np.inf, "weight": None, "batch_size": 8},
        {"shuffle": False, "max_grad_norm": 0.3, "weight": WEIGHT, "batch_size": 33},
        {"shuffle": True, "max_grad_norm": 0.3, "weight": WEIGHT, "batch_size": 7},
    ],
    ids=["plain", "all rows at once", "everything"],
)
def test_training_is_that_of_a_plain_loop(name, schedule, options):
    training = Training([3], name, momentum=0.0, learning_rate=schedule, **options)
    twin = copy.deepcopy(training.modules[0])
    curve, rates = plain_loop(twin, name, schedule, 6, **options)
    records = training.run(6)
    np.testing.assert_allclose(column(records, "loss"), curve, rtol=1e-9)
    np.testing.assert_allclose(column(records, "rate"), rates, rtol=1e-9)
    for parameter, expected in zip(training.modules[0].parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(parameter, expected, rtol=1e-8, atol=1e-9)


# --- against scikit-learn ---


@pytest.mark.parametrize(
    ("learning_rate", "options"),
    [
        ("constant", {}),
        ("constant", {"n_iter_no_change": 3, "tol": 1e-3}),
        ("invscaling", {}),
        ("invscaling", {"power_t": 0.1}),
        ("adaptive", {}),
        ("adaptive", {"learning_rate_init": 3e-6, "tol": 1.0}),  # ends with a rate that is too small
    ],
)
def test_rates_and_plateaus_are_scikit_learns(learning_rate, options, capsys):
    options = {"learning_rate_init": 0.05, "tol": 0.02, "n_iter_no_change": 1, "power_t": 0.5, **options}
    training = Training([0], "sgd", n_outputs=1, learning_rate=learning_rate, lowers_rate=True, **options)
    reference = MLPRegressor(
        "squared_error", (6, 3), "tanh", solver="sgd", alpha=0.1, batch_size=8, max_iter=60, random_state=0
    )
    reference.set_params(learning_rate=learning_rate, verbose=True, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reference.fit(X[TRAINING], Y[TRAINING, 0])
    # scikit-learn draws the weights from the generator that shuffles.
    MLP(5, 1, (6, 3), random_state=training.rngs[0])
    records = training.run(60)
    np.testing.assert_allclose(column(records, "loss"), reference.loss_curve_, rtol=1e-9)
    assert training.states[0].rate == pytest.approx(reference._optimizer.learning_rate, rel=1e-12)
    assert training.states[0].no_improvement == reference._no_improvement_count
    assert training.states[0].n_seen == reference.t_
    assert records[-1].stop[0] == (reference.n_iter_ < 60)
    printed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Training loss did not")]
    assert [record.messages[0] for record in records if record.messages[0]] == printed
    # Each epoch has the rate that it was left by the one before.
    twin = Training([0], "sgd", n_outputs=1, learning_rate=learning_rate, lowers_rate=True, **options)
    MLP(5, 1, (6, 3), random_state=twin.rngs[0])
    with closing(twin.epochs()) as epochs:
        rates = [options["learning_rate_init"], *(twin.states[0].rate for _ in itertools.islice(epochs, 60))]
    assert column(records, "rate") == rates[: len(records)]


# --- K models together ---


def assert_together_is_alone(seeds, n_epochs, **options):
    together = Training(seeds, **options)
    records = together.run(n_epochs)
    lengths = []
    for k, seed in enumerate(seeds):
        alone = Training([seed], **options)
        expected = alone.run(n_epochs)
        lengths.append(len(expected))
        assert torch.equal(alone.parameters[0], together.parameters[k])
        for buffer, other in zip(alone.modules[0].buffers(), together.modules[k].buffers(), strict=True):
            assert torch.equal(buffer, other)
        for name in ("loss", "rate", "score") if together.recipe.stop_on_score else ("loss", "rate"):
            assert column(expected, name) == column(records, name, k)[: len(expected)]
        assert column(records, "stop", k) == [*column(expected, "stop"), *[True] * (len(records) - len(expected))]
    assert len(records) == max(lengths)
    return lengths


@pytest.mark.parametrize("step", [AutogradStep, FusedMLPStep, SmallMLPStep])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", SOLVERS)
def test_together_is_alone_with_each_solver(name, dtype, step):
    assert_together_is_alone([0, 1, 2], 4, name=name, dtype=dtype, weight=WEIGHT, step=step)


@pytest.mark.parametrize("step", [FusedMLPStep, SmallMLPStep])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n_outputs", [1, 2])
@pytest.mark.parametrize("network", [{"hidden_layer_sizes": ()}, {"hidden_layer_sizes": (1, 17), "activation": "silu"}])
def test_together_is_alone_in_steps_by_hand(network, n_outputs, dtype, step):
    assert_together_is_alone([0, 1, 2], 4, n_outputs=n_outputs, dtype=dtype, network=network, step=step)


@pytest.mark.parametrize(
    "options",
    [
        {"network": {"dropout": 0.4}},
        {"network": {"dropout": 0.2, "batch_norm": True}, "pairs": True, "batch_size": 16},
        {"network": {"hidden_layer_sizes": ()}},
        {"max_grad_norm": 0.2},
        {"learning_rate": "onecycle"},
        {"shuffle": False},
        {"rows": np.arange(0, 33, 2)},
    ],
    ids=["dropout", "batch norm", "linear", "clipped", "onecycle", "unshuffled", "some rows"],
)
def test_together_is_alone_with(options):
    assert_together_is_alone([0, 1, 2], 5, **options)


@pytest.mark.parametrize("network", [{}, {"batch_norm": True, "dropout": 0.1}], ids=["plain", "batch norm"])
@pytest.mark.parametrize("stop_on_score", [False, True])
def test_together_is_alone_where_models_stop_at_different_epochs(stop_on_score, network):
    options = {"tol": 1e-2, "n_iter_no_change": 2, "learning_rate_init": 0.05, "network": network, "pairs": True}
    lengths = assert_together_is_alone([0, 1, 2, 3], 80, stop_on_score=stop_on_score, **options)
    assert len(set(lengths)) > 2
    assert max(lengths) < 80


def test_together_is_alone_where_rates_fall_at_different_epochs():
    options = {"learning_rate": "adaptive", "lowers_rate": True, "tol": 2e-2, "n_iter_no_change": 1}
    together = Training([0, 1, 2], "sgd", learning_rate_init=0.2, **options)
    together.run(12)
    assert len({state.rate for state in together.states}) > 1
    assert_together_is_alone([0, 1, 2], 100, name="sgd", learning_rate_init=0.2, **options)


def test_a_model_that_diverges_harms_no_other():
    def diverging(seeds):
        training = Training(seeds, "sgd", learning_rate_init=0.01)
        if seeds[0] == 0:
            training.modules[0].linear_layers()[-1].weight.data.fill_(1e200)
        return training

    together, alone = diverging([0, 1]), diverging([1])
    records = together.run(6)
    alone.run(6)
    assert torch.equal(together.parameters[1], alone.parameters[0])
    assert records[0].messages[0] == "The weights are no longer finite. Stopping."
    assert column(records, "stop", 0) == [True] * 6
    assert column(records, "stop", 1) == [False] * 6
    assert len(diverging([0]).run(6)) == 1


# --- what the loop leaves ---


@pytest.mark.parametrize("n_epochs", [3, 7, 80])
def test_ending_anywhere_leaves_the_best_weights(n_epochs):
    options = {"tol": 0.0, "n_iter_no_change": 4, "learning_rate_init": 0.1, "stop_on_score": True}
    training = Training([0, 1], **options)
    records = training.run(n_epochs)
    for k in range(2):
        score = training.score(k)
        until = column(records, "stop", k).index(True) + 1 if records[-1].stop[k] else len(records)
        assert score == max(column(records, "score", k)[:until]) == training.states[k].best_score
    assert (n_epochs == 80) == bool(records[-1].stop.all())


def test_a_loop_without_scores_leaves_the_last_weights():
    training = Training([0])
    epochs = training.epochs()
    for _ in range(3):
        next(epochs)
    last = training.parameters
    epochs.close()
    assert torch.equal(training.parameters, last)


def test_interrupted_inside_an_epoch_keeps_the_best_weights():
    class Interrupting(AutogradStep):
        calls = 0

        def __call__(self, *batch):
            self.calls += 1
            if self.calls == 3 * 5 + 2:
                raise KeyboardInterrupt
            return super().__call__(*batch)

    training = Training([0], stop_on_score=True)
    training.step = Interrupting(training.modules, make_loss("squared_error", "identity"), alpha=0.1)
    flat = training.step.parameters
    training.solver = Solver("adam", flat.data, flat.grad, flat.decayed, [SolverOptions()])
    scores = []
    with pytest.raises(KeyboardInterrupt):
        scores.extend(record.score[0] for record in training.epochs())
    uninterrupted = Training([0], stop_on_score=True)
    assert training.score(0) == max(column(uninterrupted.run(3), "score"))


def test_an_epoch_tells_number_loss_score_rate_and_seconds():
    records = Training([0, 1], stop_on_score=True).run(3)
    assert [record.number for record in records] == [1, 2, 3]
    for record in records:
        assert record.loss.shape == record.score.shape == record.stop.shape == record.rate.shape == (2,)
        assert record.loss.dtype == record.score.dtype == np.float64
        assert record.seconds > 0
        assert record.messages == ["", ""]
    assert Training([0]).run(1)[0].score is None


# --- batches ---


def test_batches_whose_weights_cancel_out_are_skipped():
    weight = WEIGHT.copy()
    weight[8:16] = [1, -1] * 4
    weight[16:24] = [-3, 1] * 4
    options = {"shuffle": False, "batch_size": 8}
    cancelling = Training([0], weight=weight, rows=np.arange(32), **options)
    without = Training([0], weight=WEIGHT, rows=np.r_[0:8, 24:32], **options)
    cancelling.run(3)
    without.run(3)
    assert cancelling.solver.steps == without.solver.steps == 3 * 2
    assert torch.equal(cancelling.parameters, without.parameters)


def test_weights_that_cancel_up_to_rounding_are_skipped_too():
    weight = np.ones(43)
    weight[:3] = [0.1, 0.2, -0.3]  # sums to 5.6e-17
    rough = Training([0], weight=weight, rows=np.arange(9), shuffle=False, batch_size=3)
    rough.run(3)
    assert rough.solver.steps == 3 * 2
    assert rough.parameters.abs().max() < 10


def test_models_with_negative_weights_are_not_trained_together():
    with pytest.raises(ValueError, match="negative weights"):
        Training([0, 1], weight=np.where(np.arange(43) % 3, 1.0, -1.5)).run(1)


def test_a_last_batch_of_one_row_joins_under_batch_norm():
    network = {"batch_norm": True}
    joined = Training([0], network=network, pairs=True, rows=np.arange(33), batch_size=16)
    joined.run(2)
    assert joined.solver.steps == 2 * 2
    batch_norm = next(part for part in joined.modules[0].modules() if isinstance(part, torch.nn.BatchNorm1d))
    assert batch_norm.num_batches_tracked == 2 * 2
    assert joined.parameters.isfinite().all()
    with pytest.raises(ValueError, match="Expected more than 1 value per channel"):
        Training([0], network=network, rows=np.arange(33), batch_size=16).run(1)


def test_only_the_given_rows_are_read():
    rows = np.arange(0, 33, 2)
    spoilt = Training([0], rows=rows)
    spoilt.samples.y[1:33:2] = torch.nan
    clean = Training([0], rows=rows)
    spoilt.run(3)
    clean.run(3)
    assert torch.equal(spoilt.parameters, clean.parameters)

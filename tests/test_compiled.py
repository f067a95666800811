"""The pass in C against batches that autograd differentiates and torch's rules follow."""

import itertools
import shutil
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
import torch
from passes import LOSSES, N_ROWS, RNG, RULES, SPARSE, WEIGHT, WIDE, X, after, assert_equal_to_autograd, make_pass

from sknn import MLPTorchClassifier, MLPTorchRegressor, _compiled, _library
from sknn._autograd import AutogradStep
from sknn._batches import BatchedPass
from sknn._compiled import CompiledPass, compiled_pass
from sknn._small import SmallMLPStep

pytestmark = [
    pytest.mark.skipif(_library.library(torch.float64) is None, reason="sknn was installed without a compiler"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]


@pytest.mark.parametrize("n_models", [1, 3])
@pytest.mark.parametrize("activation", ["identity", "relu", "logistic", "tanh"])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("loss", LOSSES)
def test_epochs_are_those_of_autograd(loss, rule, activation, n_models):
    for weight, alpha in ((None, 0.1), (WEIGHT, 0.0), (WEIGHT, 0.3)):
        assert_equal_to_autograd(
            loss=loss, rule=rule, activation=activation, n_models=n_models, weight=weight, alpha=alpha
        )


@pytest.mark.parametrize("hidden", [(), (1,), (40, 33, 3)])
@pytest.mark.parametrize("batch_size", [1, 16, 53, 100])
def test_networks_and_batches_of_any_size(hidden, batch_size):
    assert_equal_to_autograd(hidden=hidden, batch_size=batch_size)


@pytest.mark.parametrize("activation", ["identity", "relu", "logistic", "tanh"])
@pytest.mark.parametrize("dropouts", [(0.5,), (0.3, 0.0, 0.7), (1e-9,)])
def test_dropout_draws_the_masks_of_the_module(dropouts, activation):
    assert_equal_to_autograd(dropouts=dropouts, n_models=len(dropouts), activation=activation, hidden=(17, 3))


@pytest.mark.parametrize("schedule", ["cosine", "onecycle"])
def test_rates_follow_the_schedule(schedule):
    assert_equal_to_autograd(schedule=schedule, learning_rate=schedule)


def test_rows_may_be_some_of_all_and_in_their_order():
    assert_equal_to_autograd(rows=np.array([7, 3, 50, 21, 4, 4, 30, 11, 9, 2, 1, 0]), batch_size=5)
    assert_equal_to_autograd(shuffle=False)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "given",
    [
        (X * 50).astype(np.uint8),
        X.astype(np.float32),
        X,
        np.asfortranarray(X),
        np.ascontiguousarray(np.repeat(X, 2, axis=1))[::-1, ::2],
        X.astype(X.dtype.newbyteorder()),
        SPARSE,
        WIDE,
        scipy.sparse.csr_array((np.r_[1.0, 2.0, 3.0], [0, 0, 4], [0, 3, *[3] * (N_ROWS - 1)]), shape=X.shape),
    ],
    ids=["bytes", "float32", "float64", "columns in memory", "strides", "other byte order", "sparse", "wide indices",
         "a place twice"],
)  # fmt: skip
def test_rows_of_any_dtype_and_layout(given, dtype):
    tolerance = 1e-9 if dtype == torch.float64 else 2e-4
    assert_equal_to_autograd(X=given, dtype=dtype, rtol=tolerance, atol=tolerance, alpha=0.01)


def in_table(values, other):
    """Return the values as a column of a table: not one behind the other."""
    return np.stack([values, np.full_like(values, other)], axis=1)[:, 0]


@pytest.mark.parametrize(
    "arrays",
    [
        {"data": in_table(SPARSE.data, 7.0)},
        {"indices": in_table(SPARSE.indices, 0)},
        {"indices": SPARSE.indices.astype(np.int64)},
        {"indptr": SPARSE.indptr.astype(np.int64)},
    ],
    ids=["strided values", "strided indices", "wide indices alone", "wide starts alone"],
)
def test_sparse_rows_in_odd_arrays_are_read_as_they_are(arrays):
    odd, network = SPARSE.copy(), MLPTorchRegressor(hidden_layer_sizes=(5,), max_iter=5, random_state=0)
    vars(odd).update(arrays)
    found, expected = (network.fit(given, X[:, 0]).coefs_[0].copy() for given in (odd, SPARSE.toarray()))
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize("activation", ["relu", "logistic", "tanh"])
@pytest.mark.parametrize("loss", ["softmax", "smoothed softmax", "logistic", "smoothed logistic"])
def test_scores_of_thousands_stay_finite_and_exact(loss, activation):
    assert_equal_to_autograd(loss=loss, activation=activation, scale=300.0, rule="sgd", alpha=0.0, n_epochs=1)


def test_tiny_inputs_keep_their_digits():
    # tanh(z) is z there, in every digit
    assert_equal_to_autograd(
        X=X * 1e-12, activation="tanh", loss="squared error", rule="sgd", alpha=0.0, n_epochs=1, rtol=1e-7, atol=0
    )


def test_a_network_that_overflows_is_not_finite_for_either():
    for kind, step in ((BatchedPass, AutogradStep), (compiled_pass, SmallMLPStep)):
        sums, parts, _ = after(kind, step, X=X * 1e200, loss="squared error", rule="sgd", n_epochs=3)
        assert not np.isfinite(sums[-1, 0]).any()
        assert not all(part.isfinite().all() for part in parts)


@pytest.mark.parametrize("bound", ["_WORK_OF_A_CALL", "_DRAWN"])
def test_long_epochs_are_cut_into_calls(bound, monkeypatch):
    options = {"schedule": "cosine", "weight": WEIGHT, "dropouts": [0.4]}
    at_once = after(compiled_pass, SmallMLPStep, **options)
    monkeypatch.setattr(_compiled, bound, 1)
    in_parts = after(compiled_pass, SmallMLPStep, **options)
    np.testing.assert_allclose(in_parts[0], at_once[0], rtol=1e-14)
    for mine, theirs in zip(in_parts[1], at_once[1], strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_model_among_others_is_what_it_is_alone(dtype):
    together, n_models = make_pass(compiled_pass, SmallMLPStep, n_models=4, dtype=dtype), 4
    alone = [make_pass(compiled_pass, SmallMLPStep, n_models=k + 1, dtype=dtype) for k in range(n_models)]
    for _, (run, _, _, states) in itertools.product(range(3), [together, *alone]):
        run()
        for state in states:
            state.n_epochs += 1
    for k, (_, step, _, _) in enumerate(alone):
        assert torch.equal(step.parameters.data[k], together[1].parameters.data[k])


def test_models_that_have_stopped_stay_as_they_are():
    run, step, _, states = make_pass(compiled_pass, SmallMLPStep, n_models=3)
    states[1].stopped, before = True, step.parameters.data.clone()
    sums, rates = run()
    np.testing.assert_array_equal(np.isnan(sums), [False, True, False])
    np.testing.assert_array_equal(np.isnan(rates), [False, True, False])
    np.testing.assert_array_equal((step.parameters.data != before).any(1), [True, False, True])


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"solver": "adam"}, CompiledPass),
        ({"solver": "sgd", "activation": "tanh"}, CompiledPass),
        ({"solver": "nadam"}, BatchedPass),
        ({"activation": "gelu"}, BatchedPass),
        ({"dropout": 0.1}, CompiledPass),
        ({"max_grad_norm": 1.0}, BatchedPass),
        ({"batch_norm": True}, BatchedPass),
        ({"loss": "huber"}, BatchedPass),
        ({"X": scipy.sparse.csr_array(X)}, CompiledPass),
        ({"sample_weight": np.r_[-1.0, np.ones(N_ROWS - 1)]}, BatchedPass),
    ],
    ids=lambda options: next(iter(options)) if isinstance(options, dict) else "",
)
def test_what_c_does_not_compute_is_computed_elsewhere(options, kind, monkeypatch):
    runs = []
    for taken in (CompiledPass, BatchedPass):
        original = taken.__call__
        monkeypatch.setattr(taken, "__call__", lambda self, run=original: (runs.append(type(self)), run(self))[1])
    options = {"X": X, "sample_weight": None, **options}
    given, weight = options.pop("X"), options.pop("sample_weight")
    network = MLPTorchRegressor(hidden_layer_sizes=(5,), max_iter=2, random_state=0, **options)
    network.fit(given, X[:, 0], sample_weight=weight)
    assert set(runs) == {kind}


def test_an_interrupt_leaves_the_number_of_updates_that_were_made(monkeypatch):
    monkeypatch.setattr(_compiled, "_WORK_OF_A_CALL", 1)  # a call for each batch
    run, _, solver, _ = make_pass(compiled_pass, SmallMLPStep, batch_size=10)
    whole, calls = run._run_batches, []

    def until_third(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return whole(*arguments)

    run._run_batches = until_third
    with pytest.raises(KeyboardInterrupt):
        run()
    assert solver.steps == 2


def test_a_library_of_another_source_is_not_taken(tmp_path, monkeypatch):
    shutil.copytree(Path(_library.__file__).parent / "_c", tmp_path / "_c")
    monkeypatch.setattr(_library, "__file__", str(tmp_path / "_library.py"))
    load = _library.library.__wrapped__
    assert load(torch.float64) is not None
    with open(tmp_path / "_c" / "epoch.c", "a", encoding="utf-8") as source:
        source.write("/* changed */")
    assert load(torch.float64) is None
    (tmp_path / "_c" / "epoch_double.so").unlink()
    assert load(torch.float64) is None


def test_fits_are_those_without_it(monkeypatch):
    y = np.array(["a", "b", "c"])[RNG.integers(3, size=N_ROWS)]
    for options in ({}, {"solver": "sgd", "learning_rate": "adaptive"}, {"early_stopping": True, "n_ensemble": 3}):
        network = MLPTorchClassifier((20, 10), max_iter=40, random_state=0, **options)
        with_c = network.fit(X, y, sample_weight=WEIGHT).predict_proba(X)
        with monkeypatch.context() as without:
            without.setattr(_library, "library", lambda dtype: None)
            expected = network.fit(X, y, sample_weight=WEIGHT).predict_proba(X)
        np.testing.assert_allclose(with_c, expected, rtol=1e-8)
        assert not np.array_equal(with_c, expected)  # or it was not in use

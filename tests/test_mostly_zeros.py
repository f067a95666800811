"""X that is mostly zeros, which the pass in C reads entry by entry, against autograd over all of it."""

import numpy as np
import pytest
import scipy.sparse
import torch
from passes import N_FEATURES, N_ROWS, RNG, RULES, WEIGHT, after, assert_equal_to_autograd, make_pass, product_threads
from threadpoolctl import threadpool_limits

from sknn import MLPTorchClassifier, _compiled, _library, _sparse, _sparse_scores
from sknn._compiled import compiled_pass
from sknn._devices import compute_scope
from sknn._fused import FusedMLPStep
from sknn._samples import place
from sknn._small import SmallMLPStep
from sknn._sparse import is_mostly_zeros
from sknn._sparse_scores import sparse_scores
from sknn.model_selection import cross_val_predict
from sknn.modules import MLP

pytestmark = [
    pytest.mark.skipif(_library.library(torch.float64) is None, reason="sknn was installed without a compiler"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]

X = RNG.normal(size=(N_ROWS, 29)) * (RNG.random((N_ROWS, 29)) < 0.2)
X[[3, 20]] = 0
X[:, [0, 7, 28]] = 0
WIDE = scipy.sparse.csr_array(X.astype(np.float32))
WIDE.indices, WIDE.indptr = WIDE.indices.astype(np.int64), WIDE.indptr.astype(np.int64)
TWICE = scipy.sparse.csr_array(
    (np.r_[1.0, 2.0, 3.0, 0.0], [4, 0, 4, 9], [0, 4, *[4] * (N_ROWS - 1)]), shape=(N_ROWS, N_FEATURES + 5)
)


@pytest.fixture
def entries(monkeypatch):
    """Let all of X be read so, and return a list that gets an item for each fit that does."""
    used, memory = [], _sparse.sparse_memory
    for bound in ("ENOUGH_ROWS", "_ENOUGH_FEATURES"):
        monkeypatch.setattr(_sparse, bound, 1)
    monkeypatch.setattr(_sparse, "_MOSTLY_FOR_FEW", 0.5)
    monkeypatch.setattr(_sparse, "MOSTLY", 0.5)
    monkeypatch.setattr(_compiled, "sparse_memory", lambda *given: (used.append(1), memory(*given))[1])
    yield used
    assert used


@pytest.mark.parametrize("hidden", [(16,), (17, 6), (40, 16, 3), (130,), (300, 20)], ids=str)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("batch_size", [7, 20, 100])
def test_epochs_are_those_of_autograd(entries, hidden, rule, batch_size):
    assert_equal_to_autograd(X=X, hidden=hidden, rule=rule, batch_size=batch_size, weight=WEIGHT)


@pytest.mark.parametrize("activation", ["identity", "relu", "logistic", "tanh"])
@pytest.mark.parametrize("loss", ["smoothed softmax", "logistic", "squared error"])
@pytest.mark.parametrize("dropouts", [(0,), (0.5,), (0.3, 0.0, 0.7)])
def test_losses_activations_and_dropout_are_those_of_autograd(entries, loss, activation, dropouts):
    assert_equal_to_autograd(
        X=X, loss=loss, activation=activation, dropouts=dropouts, n_models=len(dropouts), hidden=(19, 5)
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "given",
    [
        (np.abs(X) * 50).astype(np.uint8), X.astype(np.float32), np.asfortranarray(X), np.repeat(X, 2, 1)[::-1, ::2],
        scipy.sparse.csr_array(X), WIDE, TWICE,
    ],
    ids=["bytes", "float32", "columns in memory", "strides", "sparse", "wide indices", "a place twice"],
)  # fmt: skip
def test_rows_of_any_dtype_and_layout(entries, given, dtype):
    tolerance = 1e-9 if dtype == torch.float64 else 2e-4
    assert_equal_to_autograd(X=given, dtype=dtype, rtol=tolerance, atol=tolerance, alpha=0.01)


@pytest.fixture
def set_threads():
    """Return torch's function, whose effect ends with the test."""
    outside = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(outside)


@pytest.mark.parametrize("step", [SmallMLPStep, FusedMLPStep])
@pytest.mark.parametrize("n_threads", [2, 3, 40])
def test_threads_change_no_bit(entries, step, n_threads, set_threads):
    options = {"X": X, "hidden": (300, 20), "weight": WEIGHT, "dropouts": (0.2, 0.0), "n_models": 2, "work": 10**9}
    set_threads(1)
    alone = after(compiled_pass, step, **options)
    set_threads(n_threads)
    shared = after(compiled_pass, step, **options)
    np.testing.assert_array_equal(shared[0], alone[0])
    for mine, theirs in zip(shared[1], alone[1], strict=True):
        assert torch.equal(mine, theirs)


def test_a_neighbour_that_reads_all_of_x_keeps_its_threads(entries, set_threads):
    set_threads(2)
    run, *_ = make_pass(compiled_pass, FusedMLPStep, X=X, hidden=(20,), n_models=2)
    compute, within = run._run_batches, []
    run._networks[1].model.n_threads = 1
    run._run_batches = lambda *given: (within.append(product_threads()), compute(*given))[1]
    with threadpool_limits(2, user_api="blas"):
        run()
    assert within == [{1}, {2}]


def test_calls_and_neighbours_change_no_bit(entries, monkeypatch):
    options = {"X": X, "hidden": (20, 5), "rule": "adamw"}
    together = after(compiled_pass, SmallMLPStep, n_models=3, **options)
    monkeypatch.setattr(_compiled, "_WORK_OF_A_CALL", 1)  # a call for each batch
    in_parts = after(compiled_pass, SmallMLPStep, n_models=3, **options)
    for mine, theirs in zip(in_parts[1], together[1], strict=True):
        assert torch.equal(mine, theirs)
    alone = make_pass(compiled_pass, SmallMLPStep, n_models=1, **options)
    with compute_scope(0, torch.device("cpu")):
        for _ in range(4):
            alone[0]()
            alone[3][0].n_epochs += 1
    # The parts of `after` begin with the parameters, (K, ...) each.
    for mine, theirs in zip(alone[1].parameters.views(alone[1].parameters.data), together[1], strict=False):
        assert torch.equal(mine[0], theirs[0])


def test_blas_has_one_thread_in_an_epoch_and_its_own_after_it(entries, set_threads):
    set_threads(2)
    run, *_ = make_pass(compiled_pass, FusedMLPStep, X=X, hidden=(20,))
    compute, within = run._run_batches, []
    run._run_batches = lambda *given: (within.append(product_threads()), compute(*given))[1]
    with threadpool_limits(2, user_api="blas"):
        run()
        assert product_threads() == {2}
    assert within == [{1}]


@pytest.mark.parametrize(
    ("share", "n_rows", "n_features", "n_units", "batch_size", "expected"),
    [
        (0.19, 1024, 128, 64, 200, True),
        (0.25, 1024, 128, 64, 200, False),
        (0.19, 1024, 128, 63, 200, False),
        (0.02, 1024, 128, 16, 200, True),
        (0.02, 1024, 128, 15, 200, False),
        (0.02, 1024, 127, 64, 200, False),
        (0.02, 1023, 128, 64, 200, False),
        (0.02, 2048, 128, 64, 2048, True),
        (0.02, 2048, 128, 65, 2048, False),
    ],
)
@pytest.mark.parametrize("kind", [np.asarray, scipy.sparse.csr_array])
def test_entries_are_read_where_that_is_faster(share, n_rows, n_features, n_units, batch_size, expected, kind):
    given = kind(np.random.default_rng(0).random((n_rows, n_features)) < share).astype(np.float32)
    assert is_mostly_zeros(given, np.arange(n_rows), n_units, batch_size) == expected


def test_the_rows_that_are_read_decide():
    given = np.ones((4096, 128), np.float32)
    given[::2] = 0
    assert is_mostly_zeros(given, np.arange(0, 4096, 2), 100, 200)
    assert not is_mostly_zeros(given, np.arange(4096), 100, 200)


def test_folds_and_fits_of_a_sparse_set_are_those_of_the_dense_one():
    rng = np.random.default_rng(0)
    given = scipy.sparse.random_array((3000, 150), density=0.1, rng=rng, format="csr")
    y = (given[:, :75].sum(1) > given[:, 75:].sum(1)).astype(int)
    network = MLPTorchClassifier((64,), max_iter=3, random_state=0)
    expected = network.fit(given.toarray(), y).coefs_[0]
    np.testing.assert_array_equal(network.fit(given, y).coefs_[0], expected)
    found = cross_val_predict(network, given, y, cv=3, method="predict_proba")
    np.testing.assert_allclose(found, cross_val_predict(network, given.toarray(), y, cv=3, method="predict_proba"))


MANY = np.random.default_rng(0).random((1500, 130)) * (np.random.default_rng(1).random((1500, 130)) < 0.1)


@pytest.fixture
def few_suffice(monkeypatch):
    """Let products be enough to compute scores of what is mostly zeros in C."""
    monkeypatch.setattr(_sparse_scores, "_MANY", 1)


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("activation", ["identity", "relu", "logistic", "tanh"])
@pytest.mark.parametrize("kind", [np.asarray, scipy.sparse.csr_array, lambda X: (X * 255).astype(np.uint8)])
def test_scores_are_those_of_the_module(few_suffice, kind, activation, dtype, n_threads, set_threads):
    set_threads(n_threads)
    module = MLP(130, 3, (70, 5), activation, dropout=0.3, random_state=0, dtype=dtype).eval()
    given = kind(MANY)
    if given.dtype != np.uint8:
        given = given.astype(str(dtype).removeprefix("torch."))
    dense = torch.from_numpy(given.toarray() if scipy.sparse.issparse(given) else given).to(dtype)
    rows = place(given, torch.device("cpu"), dtype)
    some = np.random.default_rng(0).permutation(1500)[:1100]
    with torch.no_grad():
        expected = module(dense)
    tolerance = {"rtol": 1e-4, "atol": 1e-4} if dtype == torch.float32 else {"rtol": 1e-10, "atol": 1e-10}
    torch.testing.assert_close(sparse_scores(module, rows), expected, **tolerance)
    torch.testing.assert_close(sparse_scores(module, rows, some), expected[some], **tolerance)


@pytest.mark.parametrize(
    ("options", "X"),
    [
        ({"hidden_layer_sizes": ()}, MANY),
        ({"hidden_layer_sizes": (8,)}, MANY),
        ({"activation": "gelu"}, MANY),
        ({"batch_norm": True}, MANY),
        ({"dtype": torch.float32}, MANY),
        ({}, MANY + 1),
        ({}, MANY[:1000]),
    ],
    ids=["no hidden layer", "few units", "activation", "batch_norm", "another dtype", "no zeros", "few rows"],
)
def test_other_networks_and_rows_are_left_to_the_module(few_suffice, options, X):
    options = {"hidden_layer_sizes": (70,), "dtype": torch.float64, **options}
    module = MLP(130, 3, **options, random_state=0).eval()
    assert sparse_scores(module, place(X, torch.device("cpu"), torch.float64)) is None


def test_a_module_in_training_or_for_little_work_is_left_to_itself(monkeypatch):
    rows = place(MANY, torch.device("cpu"), torch.float64)
    module = MLP(130, 3, (70,), dtype=torch.float64, random_state=0).eval()
    assert sparse_scores(module, rows) is None
    monkeypatch.setattr(_sparse_scores, "_MANY", 1)
    assert sparse_scores(module, rows) is not None
    assert sparse_scores(module.train(), rows) is None
    module = MLP(130, 3, (70,), dropout=0.5, dtype=torch.float64, random_state=0).eval()
    module.layers[2].train()  # to draw predictions
    assert sparse_scores(module, rows) is None
    assert sparse_scores(MLP(131, 3, (70,), dtype=torch.float64, random_state=0).eval(), rows) is None
    halves = place((MANY * 255).astype(np.uint8), torch.device("cpu"), torch.float16)
    assert sparse_scores(MLP(130, 3, (70,), random_state=0).half().eval(), halves) is None


def test_predictions_of_many_rows_are_those_of_few(few_suffice):
    given = np.tile(MANY, (4, 1))  # more than one pass of torch reads
    network = MLPTorchClassifier((70,), max_iter=2, random_state=0).fit(given, np.arange(6000) % 3)
    found = network.predict_proba(given)
    np.testing.assert_allclose(found, np.tile(network.predict_proba(MANY), (4, 1)), rtol=1e-9)
    assert sparse_scores(network.module_, place(given, torch.device("cpu"), torch.float64)) is not None

"""Devices, dtypes and the scope of a fit; what is global stays as it was."""

import os
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from passes import product_threads
from sklearn.datasets import load_digits
from threadpoolctl import OpenBLASController, threadpool_limits

from sknn import LeNetClassifier, MLPTorchClassifier, MLPTorchRegressor, check_gradients
from sknn._devices import _NO_SCOPE_WORK, compute_scope, product_limit, resolve_device, resolve_precision

X, Y = load_digits(return_X_y=True)
X = X[:300] / 16
Y = Y[:300]
CPU = torch.device("cpu")
SMALL, LARGE = 1, 10**12
# Everything that draws random numbers: initial weights, validation split, order and dropout.
RANDOM = {
    "hidden_layer_sizes": (20, 10),
    "dropout": 0.3,
    "batch_norm": True,
    "early_stopping": True,
    "learning_rate": "cosine",  # plans for its five epochs and does not warn
    "max_iter": 5,
}


def fit(random_state=0, **parameters):
    return MLPTorchClassifier(**{**RANDOM, **parameters}, random_state=random_state).fit(X, Y)


def test_auto_prefers_accelerators():
    accelerated = [name for name, module in (("cuda", torch.cuda), ("mps", torch.mps)) if module.is_available()]
    assert resolve_device("auto").type == [*accelerated, "cpu"][0]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(
    ("dtype", "given", "expected"),
    [
        ("auto", np.float64, (torch.float64, False)),
        ("auto", np.float32, (torch.float32, False)),
        ("auto", np.uint8, (torch.float32, False)),
        ("float32", np.float64, (torch.float32, False)),
        ("float64", np.uint8, (torch.float64, False)),
        ("bfloat16", np.float64, (torch.float32, True)),
    ],
)
def test_precision_on_the_cpu(dtype, given, expected):
    assert resolve_precision(dtype, np.dtype(given), CPU) == expected
    network = MLPTorchClassifier((5,), dtype=dtype, max_iter=1, solver="lbfgs", random_state=0)
    network.fit((X * 16).astype(given), Y)
    assert network.predict_proba((X * 16).astype(given)).dtype == str(expected[0]).removeprefix("torch.")
    assert network.coefs_[0].dtype == network.predict_proba(X).dtype


def test_accelerators_compute_in_float32():
    assert resolve_precision("auto", np.dtype(np.float64), torch.device("cuda")) == (torch.float32, False)
    with pytest.raises(ValueError, match=r"float64.*mps"):
        resolve_precision("float64", np.dtype(np.float64), torch.device("mps"))


def test_bfloat16_is_near_float32():
    exact, rough = (fit(dtype=dtype, dropout=0.0) for dtype in ("float32", "bfloat16"))
    difference = np.abs(exact.predict_proba(X) - rough.predict_proba(X)).max()
    assert 1e-4 < difference < 0.1


def test_small_fits_run_on_one_thread():
    outside = torch.get_num_threads()
    with compute_scope(SMALL, CPU):
        assert torch.get_num_threads() == 1
    with compute_scope(LARGE, CPU):
        assert torch.get_num_threads() == outside
    assert torch.get_num_threads() == outside


def test_threads_are_for_the_products_of_the_largest_layer():
    deep = MLPTorchClassifier((100,) * 20, batch_size=100, n_ensemble=3, random_state=0)
    fit = deep._prepare(X, Y, None, (None, None, None), first=True)
    assert fit.work == 100 * 100 * 100
    convolutional = LeNetClassifier(batch_size=100, random_state=0)._prepare(
        np.zeros((200, 1024)), np.arange(200) % 2, None, (None, None, None), first=True
    )
    assert convolutional.work > 100 * (16 * 6 * 25 * 100 + 6 * 25 * 28 * 28)  # of both layers of maps


def test_overlapping_scopes_restore_the_threads():
    outside = torch.get_num_threads()
    torch.set_num_threads(2)
    first_is_in, second_is_in = threading.Event(), threading.Event()

    def first():
        with compute_scope(SMALL, CPU):
            first_is_in.set()
            second_is_in.wait(10)
        return torch.get_num_threads()

    def second():
        first_is_in.wait(10)
        with compute_scope(SMALL, CPU):
            second_is_in.set()
            running.result(10)  # leaves after the scope that it is nested in by time
        return torch.get_num_threads()

    try:
        with ThreadPoolExecutor(2) as pool:
            running = pool.submit(first)
            last = pool.submit(second)
            assert [running.result(10), last.result(10)] == [2, 2]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(outside)


def test_small_products_of_numpy_take_one_thread_until_the_last_scope_ends():
    with threadpool_limits(2, user_api="blas"):
        outside = product_threads()
        assert max(outside) == 2
        with compute_scope(SMALL, CPU):
            assert product_threads() == {1}
        assert product_threads() == outside
        first = product_limit(1)
        first.__enter__()
        with product_limit(1):
            first.__exit__(None, None, None)  # as where two Python threads fit at once
            assert product_threads() == {1}
        assert product_threads() == outside
        with product_limit(2):
            with product_limit(1):
                assert product_threads() == {1}
            assert product_threads() == {2}  # as where rows are scored in the midst of a fit
        assert product_threads() == outside
        with compute_scope(_NO_SCOPE_WORK, CPU, once=True):
            assert product_threads() == outside


def test_limits_that_users_set_inside_a_scope_hold():
    with threadpool_limits(2, user_api="blas"), product_limit(2):
        with threadpool_limits(1, user_api="blas"):
            with product_limit(2):  # as where a callback fits
                assert product_threads() == {1}
            assert product_threads() == {1}
        assert product_threads() == {2}


def test_threads_that_an_interrupt_kept_are_restored_by_the_next_scope(monkeypatch):
    def interrupted(pool, number):
        raise KeyboardInterrupt

    with threadpool_limits(2, user_api="blas"):
        scope = product_limit(1)
        scope.__enter__()
        with monkeypatch.context() as patched:
            patched.setattr(OpenBLASController, "set_num_threads", interrupted)
            with pytest.raises(KeyboardInterrupt):
                scope.__exit__(None, None, None)
        assert product_threads() == {1}
        with product_limit(1):
            assert product_threads() == {1}
        assert product_threads() == {2}


@pytest.mark.parametrize(("of_torch", "of_products", "expected"), [(1, 2, 1), (2, 2, 2), (2, 1, 1)])
def test_large_products_take_as_many_threads_as_torch_and_no_more_than_they_have(of_torch, of_products, expected):
    outside = torch.get_num_threads()
    torch.set_num_threads(of_torch)
    try:
        with threadpool_limits(of_products, user_api="blas"), compute_scope(LARGE, CPU):
            assert product_threads() == {expected}
    finally:
        torch.set_num_threads(outside)


@pytest.mark.parametrize("flushed", [False, True])
def test_denormals_are_flushed_inside_only(flushed):
    def flushes():
        return bool(torch.full((), 1e-310, dtype=torch.float64) * 0.5 == 0)

    torch.set_flush_denormal(flushed)
    try:
        with compute_scope(SMALL, CPU):
            assert flushes()
        assert flushes() == flushed
    finally:
        torch.set_flush_denormal(False)


def test_a_fit_restores_everything_when_it_raises():
    before = torch.get_num_threads()
    with pytest.raises(ValueError, match="non-finite parameter weights"):
        MLPTorchRegressor(solver="sgd", random_state=0, max_iter=2).fit(X, np.linspace(0, 1e300, len(X)))
    assert torch.get_num_threads() == before


def test_fit_changes_no_global_state():
    """The fixture around every test compares threads, dtypes, flags and generators; here are the filters."""
    fit().predict_proba(X)  # torch imports sympy, which adds a filter, when a module of some kinds is first called
    before = list(warnings.filters)
    fit().predict_proba(X)
    assert list(warnings.filters) == before


def test_products_take_one_thread_in_other_threads_too():
    """Also after a fit of the main thread, and where the scope that ends last is another thread's."""
    first_is_in, second_is_in, first_is_out = threading.Event(), threading.Event(), threading.Event()

    def first():
        with compute_scope(SMALL, CPU):
            first_is_in.set()
            second_is_in.wait(60)
            seen = product_threads()
        first_is_out.set()
        return seen

    def second():
        first_is_in.wait(60)
        with compute_scope(SMALL, CPU):
            second_is_in.set()
            first_is_out.wait(60)
            return product_threads()

    with threadpool_limits(2, user_api="blas"):
        outside = product_threads()
        with compute_scope(SMALL, CPU):
            assert product_threads() == {1}
        with ThreadPoolExecutor(2) as pool:
            assert [task.result() for task in [pool.submit(first), pool.submit(second)]] == [{1}, {1}]
            assert product_threads() == outside
        with threadpool_limits(1, user_api="blas"):
            assert product_threads() == {1}
        assert product_threads() == outside


def test_random_state_repeats_bit_for_bit_in_threads():
    expected = fit().predict_proba(X)
    with ThreadPoolExecutor(4) as pool:
        for network in pool.map(fit, [0] * 8):
            np.testing.assert_array_equal(network.predict_proba(X), expected)


def test_random_state_repeats_bit_for_bit_in_another_process():
    program = "from tests.test_devices import *; import sys; sys.stdout.buffer.write(fit().predict_proba(X).tobytes())"
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, cwd=sys.path[0]).stdout
    assert output == fit().predict_proba(X).tobytes()


def test_random_state_matters():
    assert not np.array_equal(fit(0).predict_proba(X), fit(1).predict_proba(X))


@pytest.mark.global_rng
def test_no_random_state_draws_from_numpy_as_in_scikit_learn():
    np.random.seed(3)  # noqa: NPY002
    drawn = [fit(None).predict_proba(X) for _ in range(2)]
    assert not np.array_equal(*drawn)
    np.random.seed(3)  # noqa: NPY002
    np.testing.assert_array_equal(fit(None).predict_proba(X), drawn[0])


MODES = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "default device": lambda: torch.device("meta"),
}


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
def test_modes_of_the_caller_do_not_reach_a_fit(mode):
    parameters = {"dtype": "float32", "device": "cpu"}
    outside = fit(**parameters)
    with mode():
        inside = fit(**parameters)
        predicted = inside.predict_proba(X)
        checked = check_gradients(MLPTorchClassifier((5,), "tanh", random_state=0), X[:20], Y[:20])
    np.testing.assert_array_equal(predicted, outside.predict_proba(X))
    assert checked.max_absolute_error < 1e-6


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("solver", ["adam", "adamw", "nadam", "rmsprop", "adagrad"])
def test_default_dtype_of_the_caller_does_not_reach_a_fit(solver, dtype):
    """Steps counted in bfloat16 would end at 256."""
    parameters = {"solver": solver, "max_iter": 20, "batch_size": 15, "device": "cpu", "early_stopping": False}
    expected = fit(**parameters).predict_proba(X)
    default = torch.get_default_dtype()
    try:
        torch.set_default_dtype(dtype)
        np.testing.assert_array_equal(fit(**parameters).predict_proba(X), expected)
    finally:
        torch.set_default_dtype(default)


LARGE_FIT = """
import numpy as np
import torch
from sknn import MLPTorchClassifier
X = np.random.default_rng(0).normal(size=(2000, 200))
MLPTorchClassifier(max_iter=1, batch_size=1000, device="cpu", random_state=0).fit(X, X[:, 0] > 0)
denormal = torch.full((4_000_000,), 1e-310, dtype=torch.float64)
print(float(((denormal * 1) == 0).double().mean()))
"""


def test_no_thread_of_torch_goes_on_flushing_denormals():
    """Threads started within a fit would take over its flag, and keep it."""
    environment = {**os.environ, "OMP_NUM_THREADS": "2", "PYTHONWARNINGS": "ignore"}
    run = subprocess.run(
        [sys.executable, "-c", LARGE_FIT], env=environment, capture_output=True, text=True, timeout=120
    )
    assert float(run.stdout) == 0, run.stderr


def test_a_large_scope_within_a_small_one_has_all_threads():
    """As where two Python threads fit at once."""
    outside = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with compute_scope(SMALL, CPU):
            assert torch.get_num_threads() == 1
            with compute_scope(LARGE, CPU):
                assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(outside)


FORKED = """
import multiprocessing
from sklearn.datasets import load_iris
from sknn import MLPTorchClassifier
X, y = load_iris(return_X_y=True)
network = MLPTorchClassifier(max_iter=1, device="cpu").fit(X, y)
network.predict(X)
with multiprocessing.get_context("fork").Pool(1) as pool:
    print(pool.apply_async(network.score, (X, y)).get(60))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="forks of a process with threads are for Linux")
def test_a_forked_process_predicts():
    """Threads that the parent has started are missing in a fork, which would wait for them for ever."""
    environment = {**os.environ, "OMP_NUM_THREADS": "2", "PYTHONWARNINGS": "ignore"}
    run = subprocess.run([sys.executable, "-c", FORKED], env=environment, capture_output=True, text=True, timeout=120)
    assert 0 <= float(run.stdout) <= 1, run.stderr


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
@pytest.mark.parametrize("solver", ["adam", "sgd", "adamw", "nadam", "rmsprop", "adagrad", "lbfgs"])
def test_cuda_fits_like_the_cpu(solver):
    parameters = {"solver": solver, "dtype": "float64", "dropout": 0.0, "batch_norm": False, "early_stopping": False}
    on_cpu, on_gpu = fit(device="cpu", **parameters), fit(device="cuda", **parameters)
    np.testing.assert_allclose(on_gpu.predict_proba(X), on_cpu.predict_proba(X), atol=1e-6)
    assert on_gpu.device_.type == "cuda"

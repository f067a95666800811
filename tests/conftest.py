"""What every test relies on: where the images are, and that global state stays as it was."""

import os
from pathlib import Path

# Before anything imports scipy, so that a bare `pytest` sees what `make test` sees.
os.environ.setdefault("SCIPY_ARRAY_API", "1")

# For developers who keep the image files in a folder beside their clones.
_BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data"
if _BESIDE.is_dir():
    os.environ.setdefault("SKNN_DATA_HOME", str(_BESIDE))

import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402

if os.environ.get("NOT_COMPILED"):  # all tests as where there is no C compiler: see `make test-not-compiled`
    from sknn import _library

    _library.library = lambda dtype: None


@pytest.fixture(scope="session")
def mnist():
    """Return all of MNIST, read-only, or skip the test where the files are missing."""
    return _fetched("fetch_mnist")


@pytest.fixture(scope="session")
def fashion_mnist():
    """Return all of Fashion-MNIST, read-only, or skip the test where the files are missing."""
    return _fetched("fetch_fashion_mnist")


def _fetched(fetcher):
    from sknn import datasets

    try:
        bunch = getattr(datasets, fetcher)(download_if_missing=False)
    except FileNotFoundError as error:  # only missing files: a corrupt one has to fail
        pytest.skip(str(error))
    for value in bunch.values():
        if isinstance(value, np.ndarray):
            value.flags.writeable = False  # one copy serves all tests
    return bunch


@pytest.fixture
def figures():
    """Draw into memory, close all figures at the end, and fail a test that changes matplotlib's settings."""
    import matplotlib
    import matplotlib.pyplot as plt

    plt.switch_backend("agg")
    before = dict(matplotlib.rcParams)
    yield
    plt.close("all")
    assert dict(matplotlib.rcParams) == before


def pytest_collection_modifyitems(items):
    """Let `-m mnist` select every test that asks for the images."""
    for item in items:
        if {"mnist", "fashion_mnist"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.mnist)


@pytest.fixture(autouse=True)
def _images_where_marked(request):
    """Skip a test that is marked `mnist`, but finds the files by its own way, where they are missing."""
    if request.node.get_closest_marker("mnist"):
        request.getfixturevalue("mnist")


@pytest.fixture(autouse=True)
def _global_state_untouched(request):
    """Fail a test that changes global state, and restore it, so that only the culprit fails."""
    before = {name: read() for name, (read, _) in _GLOBAL_STATE.items()}
    yield
    changed = [name for name, (read, _) in _GLOBAL_STATE.items() if read() != before[name]]
    for name in changed:
        _GLOBAL_STATE[name][1](before[name])
    if request.node.get_closest_marker("global_rng"):
        changed = [name for name in changed if "global generator" not in name]
    if changed:
        pytest.fail(f"the test left changed: {', '.join(changed)}")


def _flushes_denormals():
    # torch has a setter only. The smallest normal number halved is a denormal; so many of them meet every thread.
    smallest = torch.full((2**18,), torch.finfo(torch.float64).tiny, dtype=torch.float64, device="cpu")
    return bool((smallest / 2 == 0).any())


def _numpy_generator():
    name, keys, *rest = np.random.get_state()  # noqa: NPY002
    return (name, tuple(keys), *rest)


def _cuda_generators():
    return [state.tolist() for state in torch.cuda.get_rng_state_all()] if torch.cuda.is_available() else []


_GLOBAL_STATE = {
    "torch's thread count": (torch.get_num_threads, torch.set_num_threads),
    "torch's default dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "torch's default device": (torch.get_default_device, torch.set_default_device),
    "torch's grad mode": (torch.is_grad_enabled, torch.set_grad_enabled),
    "torch's flush-denormal flag": (_flushes_denormals, torch.set_flush_denormal),
    "torch's global generator": (
        lambda: torch.get_rng_state().numpy().tobytes(),
        lambda state: torch.set_rng_state(torch.frombuffer(bytearray(state), dtype=torch.uint8)),
    ),
    "cuda's global generator": (
        _cuda_generators,
        lambda states: torch.cuda.set_rng_state_all([torch.tensor(state, dtype=torch.uint8) for state in states]),
    ),
    "numpy's global generator": (_numpy_generator, np.random.set_state),
}

"""Estimators of modules from anywhere, a file, a script, a function, load in processes that never saw them."""

import copy
import functools
import os
import pickle
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest
from own_modules import Wide, assert_same_weights, drawn, fast
from sklearn.datasets import load_iris
from torch import nn

X, LABELS = load_iris(return_X_y=True)
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

# The two processes are given the tests' folder to import from, as a user's files would be importable.
DUMPS = """
import functools, json, pickle, sys
import joblib, torch
from sklearn.datasets import load_iris
from torch import nn
from own_modules import Noisy, Wide, fast

class Here(Wide):
    pass

class Flexible(nn.Module):
    def __init__(self, n_features_in, n_outputs, activation):
        super().__init__()
        self.hidden, self.output = nn.Linear(n_features_in, 5), nn.Linear(5, n_outputs)
        self.activation = activation

    def forward(self, X):
        return self.output(self.activation(self.hidden(X)))

def make(n_features_in, n_outputs, width=5):
    return Wide(n_features_in, n_outputs, width)

def local():
    class Local(Wide):
        pass
    return Local

def halved(raw, y):
    return 0.5 * nn.functional.cross_entropy(raw, y, reduction="none")

class Halved(nn.Module):
    def forward(self, raw, y):
        return halved(raw, y)

class Caller:
    def __call__(self, raw, y):
        return halved(raw, y)

CASES = {
    "imported class": {"module": Wide},
    "imported class with dropout": {"module": Noisy},
    "class of the script": {"module": Here},
    "instance of the script": {"module": Here(4, 3)},
    "part of the script": {"module": nn.Sequential(Here(4, 3))},
    "function of the script": {"module": make},
    "partial of the script": {"module": functools.partial(make, width=4)},
    "partial of a class of the script": {"module": functools.partial(Here, width=4)},
    "lambda": {"module": lambda: Wide(4, 3)},
    "class of a function": {"module": local()},
    "parameter of the script": {"module": Flexible, "module_params": {"activation": lambda X: X.tanh()}},
    "parameters of the perceptron": {"module": None, "module_params": {"hidden_layer_sizes": (5,)}},
    "loss of the script": {"loss": halved},
    "loss lambda": {"loss": lambda raw, y: halved(raw, y)},
    "partial loss": {"loss": functools.partial(halved)},
    "loss module of the script": {"loss": Halved()},
    "loss object of the script": {"loss": Caller()},
}

if __name__ == "__main__":
    X, y = load_iris(return_X_y=True)
    for name, options in CASES.items():
        network = fast(**options).fit(X, y)
        pickle.dump((network, network.predict_proba(X)), open(f"{name}.pickle", "wb"))
        joblib.dump((network, network.predict_proba(X)), f"{name}.joblib")
        pickle.dump(fast(**options), open(f"{name}.unfitted", "wb"))
"""
LOADS = """
import pathlib, pickle, traceback
import joblib, numpy as np
from sklearn.base import clone
from sklearn.datasets import load_iris

X, y = load_iris(return_X_y=True)
for path in sorted(pathlib.Path().glob("*.joblib")):
    try:
        network, expected = pickle.loads(path.with_suffix(".pickle").read_bytes())
        unfitted = pickle.loads(path.with_suffix(".unfitted").read_bytes())
        for loaded in (network, joblib.load(path)[0], clone(network).fit(X, y), unfitted.fit(X, y),
                       pickle.loads(pickle.dumps(network))):
            np.testing.assert_array_equal(loaded.predict_proba(X), expected)
        network.set_params(warm_start=True).fit(X, y)
        print(path.stem, "is as it was")
    except Exception:
        traceback.print_exc()
"""
CASES = [line.split('"')[1] for line in DUMPS.splitlines() if line.startswith('    "')]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """Return what a process prints that loads the files of another."""
    folder = tmp_path_factory.mktemp("pickles")
    printed = ""
    for name, source in {"dumps.py": DUMPS, "loads.py": LOADS}.items():
        (folder / name).write_text(source, "utf-8")
        done = subprocess.run(
            [sys.executable, "-W", "ignore::UserWarning", name],
            capture_output=True,
            text=True,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        printed = done.stdout + done.stderr
    return printed


@pytest.mark.parametrize("case", CASES)
def test_a_process_loads_predicts_and_trains_what_another_dumped(case, loaded):
    assert f"{case} is as it was\n" in loaded, loaded


def local_class():
    class Local(Wide):
        pass

    return Local


LOCAL = local_class()


@pytest.mark.parametrize(
    "options",
    [
        {"module": LOCAL},
        {"module": drawn(LOCAL, 4, 3)},
        {"module": lambda: LOCAL(4, 3)},
        {"module": functools.partial(LOCAL, width=3)},
        {"loss": lambda raw, y: nn.functional.cross_entropy(raw, y, reduction="none")},
    ],
)
@pytest.mark.parametrize("make", [copy.copy, copy.deepcopy, lambda network: pickle.loads(pickle.dumps(network))])
def test_copies_predict_and_fit_alike(options, make):
    network = fast(**options).fit(X, LABELS)
    twin = make(network)
    assert_same_weights(twin, network)
    np.testing.assert_array_equal(twin.predict_proba(X), network.predict_proba(X))
    assert isinstance(twin.module_, type(network.module_))
    assert_same_weights(twin.fit(X, LABELS), network)


def test_a_memory_map_of_an_imported_module_is_read(tmp_path):
    network = fast().fit(X, LABELS)
    joblib.dump(network, tmp_path / "network.joblib")
    mapped = joblib.load(tmp_path / "network.joblib", mmap_mode="r")
    np.testing.assert_array_equal(mapped.predict(X), network.predict(X))


def test_a_pickle_names_what_other_processes_can_import_and_holds_no_gradients():
    network = fast(module_params={"width": 200}).fit(X, LABELS)
    stored = pickle.dumps(network)
    assert b"own_modules" in stored and b"cloudpickle" not in stored
    n_bytes = 8 * sum(parameter.numel() for parameter in network.module_.parameters())
    assert n_bytes < len(stored) < n_bytes + 20_000


class Streaming:
    """A loss that holds something of which there is no pickle."""

    def __init__(self):
        self.rows = (row for row in [])

    def __call__(self, raw, y):
        return nn.functional.cross_entropy(raw, y, reduction="none")


def test_what_has_no_pickle_says_so_itself():
    with pytest.raises(TypeError, match="cannot pickle 'generator' object"):
        pickle.dumps(fast(loss=Streaming()).fit(X, LABELS))

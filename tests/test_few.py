"""Raw scores of a few rows against those of torch's module."""

import gc
import weakref

import numpy as np
import pytest
import scipy.sparse
import torch
from sklearn.datasets import load_iris
from torch import nn

from sknn import MLPTorchClassifier, MLPTorchRegressor, _few
from sknn._activations import ACTIVATIONS
from sknn._few import few_scores
from sknn.modules import MLP, Dropout, Linear

CPU = torch.device("cpu")
X = np.random.default_rng(0).normal(size=(9, 4))


def network(activation="relu", hidden=(7, 3), dtype=torch.float64, **options):
    return MLP(4, 2, hidden, activation, random_state=0, dtype=dtype, **options).eval()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("hidden", [(), (7,), (7, 3)])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_scores_are_those_of_the_module(activation, hidden, dtype):
    module = network(activation, hidden, torch.from_numpy(X.astype(dtype)).dtype, dropout=0.3)
    for n_rows in (1, 8):
        rows = X[:n_rows].astype(dtype)
        scores = few_scores(module, rows, CPU)
        with torch.no_grad():
            torch.testing.assert_close(torch.from_numpy(scores), module(torch.from_numpy(rows)))
    np.testing.assert_array_equal(rows, X[:8].astype(dtype))


class Doubled(Linear):
    def forward(self, X):
        return 2 * super().forward(X)


def hooked(part):
    part.register_forward_hook(lambda part, inputs, output: 2 * output)


def without_parameters(layer):
    for name, parameter in list(layer.named_parameters()):
        delattr(layer, name)
        layer.register_buffer(name, parameter.data)


def changed(change):
    module = network(dropout=0.3)
    change(module)
    return module


@pytest.mark.parametrize(
    "module",
    [
        network(batch_norm=True),
        network().train(),
        changed(lambda module: hooked(module)),
        changed(lambda module: hooked(module.layers)),
        changed(lambda module: hooked(module.layers[0])),
        changed(lambda module: module.layers[0].register_forward_pre_hook(lambda part, inputs: (2 * inputs[0],))),
        changed(lambda module: module.layers.__setitem__(0, Doubled(4, 7, dtype=torch.float64))),
        changed(lambda module: module.layers.__setitem__(0, nn.Linear(4, 7, dtype=torch.float64))),
        changed(lambda module: module.layers.__setitem__(2, Dropout(0.5).train())),
        changed(lambda module: module.layers.insert(0, nn.ReLU())),
        changed(lambda module: without_parameters(module.layers[0])),
        nn.Sequential(nn.Linear(4, 2)),
    ],
    ids=["batch_norm", "training", "hook", "hook of layers", "hook of a layer", "hook before a layer",
         "a layer's own kind", "torch's layer", "dropout", "a layer before", "weights that are no parameters",
         "another module"],
)  # fmt: skip
def test_other_networks_are_left_to_the_module(module):
    assert few_scores(module, X[:1], CPU) is None


def test_many_rows_and_other_devices_are_left_to_the_module():
    many = np.zeros((4097, 4))
    assert few_scores(network(), many[1:], CPU) is not None
    assert few_scores(network(), many, CPU) is None
    assert few_scores(network(), X[:1], torch.device("cuda")) is None
    assert few_scores(network(dtype=torch.float32), X[:1], CPU) is None  # a number may be past the largest


def other_memory(module):
    for parameter in module.parameters():
        parameter.data = parameter.data + 1


def other_values(module):
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(1)


def transposed(module):
    module.layers[0].weight.data = module.layers[0].weight.data.T


@pytest.mark.parametrize("change", [other_memory, other_values, transposed, lambda module: module.float()])
def test_weights_are_those_that_the_layers_have_by_then(change):
    module = network(hidden=(4,))
    before = few_scores(module, X, CPU)
    change(module)
    rows = X.astype(module.layers[0].weight.detach().numpy().dtype)
    after = few_scores(module, rows, CPU)
    assert not np.array_equal(after, before)
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(after), module(torch.from_numpy(rows)))


def test_predictions_hold_no_weights_of_networks_that_are_gone():
    module = network()
    few_scores(module, X, CPU)
    weight = weakref.ref(module.layers[0].weight)
    n_known = len(_few._known)
    del module
    gc.collect()
    assert weight() is None
    assert len(_few._known) <= n_known - 3


@pytest.mark.parametrize(
    "kind", [scipy.sparse.csr_array, np.asfortranarray, lambda X: X.astype(np.float32), lambda X: (X * 50).astype("u1")]
)
def test_rows_of_every_kind_are_read(kind):
    rows, module = kind(X), network()
    dense = rows.toarray() if scipy.sparse.issparse(rows) else rows
    with torch.no_grad():
        expected = module(torch.from_numpy(np.array(dense, float)))
    torch.testing.assert_close(torch.from_numpy(few_scores(module, rows, CPU)), expected)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_predictions_of_a_few_rows_are_those_among_many():
    rows, y = load_iris(return_X_y=True)
    classifier = MLPTorchClassifier((9, 5), max_iter=9, random_state=0).fit(rows, y)
    regressor = MLPTorchRegressor(max_iter=9, random_state=0).fit(rows, y)
    many = np.tile(rows, (30, 1))
    np.testing.assert_allclose(classifier.predict_proba(rows), classifier.predict_proba(many)[:150], rtol=1e-12)
    np.testing.assert_allclose(regressor.predict(rows), regressor.predict(many)[:150], rtol=1e-12)
    hooked(classifier.module_)
    np.testing.assert_allclose(classifier.decision_function(rows), classifier.decision_function(many)[:150], rtol=1e-12)

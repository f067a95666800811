"""One buffer for all parameters: views that share its memory, the order of its columns, snapshots and clipping."""

import numpy as np
import pytest
import torch
from torch import nn

from sknn._parameters import FlatParameters
from sknn.modules import MLP


def networks(n_models, **options):
    sizes = {"hidden_layer_sizes": (5, 4), "dtype": torch.float64, **options}
    return [MLP(3, 2, random_state=seed, **sizes) for seed in range(n_models)]


class Tied(nn.Module):
    """An autoencoder of one matrix, used twice, with a frozen shift and a convolution."""

    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = nn.Linear(4, 3), nn.Linear(3, 4)
        self.convolution = nn.Conv1d(2, 3, 2)
        self.table = nn.Parameter(torch.zeros(2, 3))
        self.tied = self.table
        self.encoder.bias.requires_grad_(False)

    def forward(self, X):
        return self.decoder(self.encoder(X))


@pytest.fixture
def tied():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Tied()


@pytest.mark.parametrize("n_models", [1, 3])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_parameters_are_views_and_keep_their_values(n_models, batch_norm):
    modules = networks(n_models, batch_norm=batch_norm)
    before = [[p.detach().clone() for p in module.parameters()] for module in modules]
    flat = FlatParameters(modules)
    for module, values in zip(modules, before, strict=True):
        for parameter, value in zip(module.parameters(), values, strict=True):
            assert torch.equal(parameter, value)
            assert parameter.untyped_storage().data_ptr() == flat.data.untyped_storage().data_ptr()
            assert parameter.grad.untyped_storage().data_ptr() == flat.grad.untyped_storage().data_ptr()
    flat.data.fill_(7.0)
    flat.grad.fill_(5.0)
    for module in modules:
        assert all((p == 7).all() and (p.grad == 5).all() for p in module.parameters())


class Odd(nn.Module):
    """Parameters of no dimension, of no numbers, and with channels that lie innermost."""

    def __init__(self, seed):
        super().__init__()
        rng = np.random.default_rng(seed)
        drawn = [torch.from_numpy(rng.normal(size=shape)) for shape in [(), (0, 3), (2, 3, 4, 5), (7,)]]
        drawn[2] = drawn[2].to(memory_format=torch.channels_last)
        self.of_kinds = nn.ParameterList(drawn)


def test_views_are_the_memory_of_parameters_of_any_shape():
    modules = [Odd(seed) for seed in range(2)]
    flat = FlatParameters(modules)
    for k, (module, twin) in enumerate(zip(modules, [Odd(seed) for seed in range(2)], strict=True)):
        parts = zip(module.parameters(), twin.parameters(), flat.data_views, flat.grad_views, strict=True)
        for parameter, value, data, grad in parts:
            assert torch.equal(parameter, value)
            assert parameter.is_contiguous()
            assert (parameter.shape, parameter.data_ptr()) == (data[k].shape, data[k].data_ptr())
            assert (parameter.grad.shape, parameter.grad.data_ptr()) == (grad[k].shape, grad[k].data_ptr())
        expected = torch.cat([p.detach().flatten() for p in twin.parameters()])
        assert torch.equal(flat.data[k, : len(expected)], expected)


def test_columns_are_the_parameters_in_their_order():
    modules = networks(2, batch_norm=True)
    flat = FlatParameters(modules)
    for k, module in enumerate(modules):
        expected = torch.cat([p.detach().flatten() for p in module.parameters()])
        assert torch.equal(flat.data[k, : len(expected)], expected)
        decayed = torch.cat([torch.full((p.numel(),), float(p.ndim > 1)) for p in module.parameters()])
        torch.testing.assert_close(flat.decayed[: len(expected)], decayed.double(), rtol=0, atol=0)
        assert flat.decayed[len(expected) :].count_nonzero() == 0


def test_joined_layers_have_their_biases_as_a_last_column():
    modules = networks(2)
    flat = FlatParameters(modules, joined=True)
    columns = zip(flat.layers(flat.data), flat.layers(flat.decayed.expand(2, -1)), strict=True)
    for layers, (data, decayed) in zip(zip(*(m.linear_layers() for m in modules), strict=True), columns, strict=True):
        for layer, matrix, decays in zip(layers, data, decayed, strict=True):
            assert torch.equal(matrix, torch.column_stack([layer.weight, layer.bias]))
            assert torch.equal(decays, torch.column_stack([layer.weight != torch.inf, torch.zeros(len(matrix))]))
    names = flat.names()
    assert names[:4] == ["layers.0.weight"] * 3 + ["layers.0.bias"]
    assert names[-5:] == ["layers.4.weight"] * 4 + ["layers.4.bias"]


def test_rows_are_whole_vectors_that_end_in_zeros():
    flat = FlatParameters(networks(2))
    n_parameters = 3 * 5 + 5 + 5 * 4 + 4 + 4 * 2 + 2
    assert flat.data.shape == flat.grad.shape == (2, 64)
    assert flat.data.is_contiguous()
    assert flat.data[:, n_parameters:].count_nonzero() == 0
    assert len(flat.names()) == n_parameters


def test_names_tell_the_tensor_of_each_column():
    (module,) = networks(1, batch_norm=True)
    flat = FlatParameters([module])
    names, parameters = flat.names(), dict(module.named_parameters())
    assert names[:15] == ["layers.0.weight"] * 15
    assert set(names) == set(parameters)
    for column in (0, 20, len(names) - 1):
        flat.data[0, column] = 1e9
        assert [name for name, p in parameters.items() if (p == 1e9).any()] == [names[column]]
        flat.data[0, column] = 0


def test_gradients_land_in_the_buffer():
    modules = networks(3)
    flat = FlatParameters(modules)
    X = torch.from_numpy(np.random.default_rng(0).normal(size=(6, 3)))
    for module in modules:
        module(X).square().sum().backward()
    for k, twin in enumerate(networks(3)):
        twin(X).square().sum().backward()
        expected = torch.cat([p.grad.flatten() for p in twin.parameters()])
        torch.testing.assert_close(flat.grad[k, : len(expected)], expected)


def test_views_are_the_tensors_of_all_models():
    modules = networks(3)
    flat = FlatParameters(modules)
    views = flat.views(flat.data)
    for view, tensors in zip(views, zip(*(module.parameters() for module in modules), strict=True), strict=True):
        torch.testing.assert_close(view, torch.stack([tensor.detach() for tensor in tensors]), rtol=0, atol=0)
        view.fill_(7)
        assert all((tensor == 7).all() for tensor in tensors)


def test_tied_parameters_are_stored_once_and_frozen_ones_not_at_all(tied):
    frozen = tied.encoder.bias.detach().clone()
    flat = FlatParameters([tied])
    names = flat.names()
    assert names.count("table") == 6
    assert "tied" not in names
    assert "encoder.bias" not in names
    assert tied.tied is tied.table
    assert len(names) == 12 + 12 + 4 + 12 + 3 + 6
    flat.data.fill_(3.0)
    assert (tied.tied == 3).all()
    assert torch.equal(tied.encoder.bias, frozen)
    assert tied.encoder.bias.grad is None
    assert tied.convolution.weight.shape == (3, 2, 2)
    assert flat.decayed.sum() == 12 + 12 + 12 + 6  # the convolution's weights decay too, biases do not


def test_a_module_without_parameters_has_an_empty_buffer():
    flat = FlatParameters([nn.ReLU()])
    assert flat.data.shape == (1, 0)
    assert flat.names() == []
    assert flat.finite(0)


def state_of(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def train_a_little(modules, flat):
    """Change every parameter and every buffer."""
    flat.data.add_(1.0)
    for module in modules:
        module.train()(torch.arange(12.0, dtype=torch.float64).reshape(4, 3))


def assert_state(module, expected):
    for name, value in module.state_dict().items():
        assert torch.equal(value, expected[name]), name


def test_restore_brings_one_model_back_with_its_buffers():
    modules = networks(3, batch_norm=True)
    flat = FlatParameters(modules)
    snapshot, before = flat.snapshot(), [state_of(module) for module in modules]
    train_a_little(modules, flat)
    after = [state_of(module) for module in modules]
    for old, new in zip(before, after, strict=True):
        assert not any(torch.equal(old[name], new[name]) for name in old)
    flat.restore(snapshot, 1)
    for module, expected in zip(modules, (after[0], before[1], after[2]), strict=True):
        assert_state(module, expected)


def test_snapshot_of_one_model_is_renewed_alone():
    modules = networks(3, batch_norm=True)
    flat = FlatParameters(modules)
    snapshot, before = flat.snapshot(), [state_of(module) for module in modules]
    train_a_little(modules, flat)
    flat.update_snapshot(snapshot, 1)
    expected = [before[0], state_of(modules[1]), before[2]]
    train_a_little(modules, flat)
    for k, module in enumerate(modules):
        flat.restore(snapshot, k)
        assert_state(module, expected[k])


@pytest.mark.parametrize("max_norm", [0.5, 3.0, 100.0])
def test_clipping_is_torchs_for_each_model(max_norm):
    modules, twins = networks(3), networks(3)
    flat = FlatParameters(modules)
    X = torch.from_numpy(np.random.default_rng(0).normal(size=(6, 3)))
    for k, pair in enumerate(zip(modules, twins, strict=True)):
        for module in pair:
            (module(X) * (k + 1)).square().mean().backward()
    norms = [torch.linalg.vector_norm(flat.grad[k]).item() for k in range(3)]
    assert max_norm == 100 or max(norms) > max_norm
    flat.clip_gradient(max_norm)
    for module, twin in zip(modules, twins, strict=True):
        nn.utils.clip_grad_norm_(twin.parameters(), max_norm)
        for clipped, expected in zip(module.parameters(), twin.parameters(), strict=True):
            torch.testing.assert_close(clipped.grad, expected.grad, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_finite_looks_at_one_model(bad):
    flat = FlatParameters(networks(2))
    flat.data[1, 3] = bad
    assert flat.finite(0)
    assert not flat.finite(1)

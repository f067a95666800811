"""LeNet-5 as a plain torch module: the network of the paper, and its gradients against the plain version's."""

import re

import pytest
import torch
import torch.nn.functional as F

from sknn.modules import LeNet5

FUNCTIONS = {
    "identity": lambda X: X,
    "logistic": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "elu": F.elu,
    "selu": F.selu,
    "softplus": F.softplus,
    "silu": F.silu,
    "gelu": F.gelu,
}


def plain_lenet(weights, X, activation, pooling, batch_norm):
    """Return the maps of each layer and the raw scores, step by step as in the paper."""
    act, pool = FUNCTIONS[activation], {"max": F.max_pool2d, "average": F.avg_pool2d}[pooling]

    def normalised(X, name):
        if not batch_norm:
            return X
        return F.batch_norm(X, None, None, weights[f"{name}_norm.weight"], weights[f"{name}_norm.bias"], training=True)

    maps = {}
    for convolution, pooled in (("c1", "s2"), ("c3", "s4")):
        X = F.conv2d(X, weights[f"{convolution}.weight"], weights[f"{convolution}.bias"])
        X = maps[convolution] = act(normalised(X, convolution))
        X = maps[pooled] = pool(X, 2)
    X = X.reshape(len(X), -1)
    for dense in ("c5", "f6"):
        X = act(normalised(X @ weights[f"{dense}.weight"].T + weights[f"{dense}.bias"], dense))
    return maps, X @ weights["output.weight"].T + weights["output.bias"]


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("pooling", ["max", "average"])
@pytest.mark.parametrize("activation", FUNCTIONS)
def test_network_and_its_gradients_are_those_of_the_plain_version(activation, pooling, batch_norm):
    generator = torch.Generator().manual_seed(0)
    options = {"activation": activation, "pooling": pooling, "batch_norm": batch_norm}
    network = LeNet5((2, 21, 18), 3, **options, random_state=0, dtype=torch.float64)
    with torch.no_grad():
        for parameter in network.parameters():  # with negative factors of batch norm, and biases that are not zero
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    images = torch.randn((6, 2, 21, 18), generator=generator, dtype=torch.float64)
    weights = {name: value.detach().clone().requires_grad_() for name, value in network.named_parameters()}
    maps, scores = plain_lenet(weights, images, **options)
    got = network(images)
    torch.testing.assert_close(got, scores, rtol=1e-10, atol=1e-10)
    for layer, expected in maps.items():
        torch.testing.assert_close(network.feature_maps(images, layer), expected, rtol=1e-10, atol=1e-10)
    for raw in (got, scores):
        (raw.softmax(1)[:, 0].log().sum() + raw.square().sum()).backward()
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(parameter.grad, weights[name].grad, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_images_with_their_channels_innermost_are_the_same_images(batch_norm, channels):
    network = LeNet5((channels, 33, 47), 3, batch_norm=batch_norm, random_state=0)
    images = torch.randn((6, channels, 33, 47), generator=torch.Generator().manual_seed(0))
    inside = images.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(network(inside), network(images), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(network.eval()(inside), network(images), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("activation", ["relu", "logistic"])
def test_hooks_see_the_maps_that_there_are(activation):
    network, seen = LeNet5(activation=activation, random_state=0, dtype=torch.float64), []
    images = torch.randn((3, 1, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    without = network(images)
    network.c1.register_forward_hook(lambda layer, given, maps: seen.append(tuple(maps.shape)))
    torch.testing.assert_close(network(images), without, rtol=1e-12, atol=1e-12)
    assert seen == [(3, 6, 28, 28)]


def test_network_is_that_of_the_paper():
    network = LeNet5(random_state=0)
    sizes = {name: sum(p.numel() for p in part.parameters()) for name, part in network.named_children()}
    assert {name: n for name, n in sizes.items() if n} == {
        "c1": 156, "c3": 2416, "c5": 48_120, "f6": 10_164, "output": 850,
    }  # fmt: skip
    assert sum(p.numel() for p in network.parameters()) == 61_706
    maps = [tuple(network.feature_maps(torch.zeros(2, 1, 32, 32), layer).shape) for layer in ("c1", "s2", "c3", "s4")]
    assert maps == [(2, 6, 28, 28), (2, 6, 14, 14), (2, 16, 10, 10), (2, 16, 5, 5)]


@pytest.mark.parametrize(
    ("size", "n_dense"), [((16, 16), 1), ((28, 28), 16), ((33, 40), 35), ((35, 35), 25), ((36, 36), 36)]
)
def test_dense_layers_follow_the_size_of_the_images(size, n_dense):
    network = LeNet5((3, *size), 4, random_state=0)
    assert network.c5.in_features == 16 * n_dense
    assert network(torch.zeros(2, 3, *size)).shape == (2, 4)


@pytest.mark.parametrize("shape", [(1, 15, 32), (1, 32, 15), (3, 8, 8)])
def test_too_small_images_are_refused(shape):
    message = f"LeNet5 needs images of at least 16 x 16 pixels, got image_shape={shape}."
    with pytest.raises(ValueError, match=re.escape(message)):
        LeNet5(shape, 10, random_state=0)


@pytest.mark.parametrize(
    ("name", "valid"), [("activation", "softplus"), ("pooling", "average"), ("weight_init", "he_normal")]
)
def test_unknown_names_list_the_valid_ones(name, valid):
    with pytest.raises(ValueError, match=f"{name} must be one of .*'{valid}'.*, got 'other'"):
        LeNet5(**{name: "other"})

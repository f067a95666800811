"""Modules of a user's own for the tests, importable by other processes, and estimators that train them fast."""

import torch
from torch import nn

from sknn import TorchClassifier

MASKS, SIZES = [], []


class Wide(nn.Module):
    """One hidden layer, with whatever normalises it."""

    def __init__(self, n_features_in, n_outputs, width=6, norm=nn.Identity):
        super().__init__()
        self.hidden, self.norm = nn.Linear(n_features_in, width), norm(width)
        self.output = nn.Linear(width, n_outputs)

    def forward(self, X):
        SIZES.append(len(X))
        return self.output(self.norm(self.hidden(X)).tanh())


class Noisy(nn.Module):
    """A linear model of inputs that dropout masks; it writes the masks of training down."""

    def __init__(self, n_features_in, n_outputs, p=0.5):
        super().__init__()
        self.dropout, self.output = nn.Dropout(p), nn.Linear(n_features_in, n_outputs)

    def forward(self, X):
        mask = self.dropout(torch.ones_like(X))
        if self.training:
            MASKS.append(mask)
        return self.output(mask * X)


class Tied(nn.Module):
    """Two layers that share one weight."""

    def __init__(self, n_features_in, n_outputs):
        super().__init__()
        self.first, self.second = (nn.Linear(n_features_in, n_features_in) for _ in range(2))
        self.second.weight = self.first.weight
        self.output = nn.Linear(n_features_in, n_outputs)

    def forward(self, X):
        return self.output(self.second(self.first(X).tanh()).tanh())


class Maps(nn.Module):
    """A small convolutional network of images (n, 1, h, w)."""

    def __init__(self, n_outputs):
        super().__init__()
        self.maps = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.AdaptiveAvgPool2d(2))
        self.output = nn.Linear(12, n_outputs)

    def forward(self, X):
        assert X.ndim == 4, X.shape
        return self.output(self.maps(X).flatten(1))


class Recurrent(nn.Module):
    """A recurrent network that reads the features one after the other."""

    def __init__(self, n_outputs):
        super().__init__()
        self.cells, self.output = nn.LSTM(1, 5, batch_first=True), nn.Linear(5, n_outputs)

    def forward(self, X):
        return self.output(self.cells(X.unsqueeze(-1))[0][:, -1])


def state_of(estimator):
    return {name: tensor.cpu() for name, tensor in estimator.module_.state_dict().items()}


def assert_same_weights(one, other):
    torch.testing.assert_close(state_of(one), state_of(other), rtol=0, atol=0)


def drawn(make, *sizes, **parameters):
    """Make a module whose weights are the same in every run, and leave torch's global generator as it was."""
    with torch.random.fork_rng([]):
        torch.random.default_generator.manual_seed(0)
        return make(*sizes, **parameters)


def fast(Estimator=TorchClassifier, module=Wide, **options):
    return Estimator(module, **{"max_iter": 3, "random_state": 0, "batch_size": 25, "device": "cpu", **options})

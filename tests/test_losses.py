"""Every loss against independent formulas, its gradient against autograd and differences, and links against scipy."""

import itertools
import warnings

import numpy as np
import pytest
import scipy.special
import torch
import torch.nn.functional as F
from sklearn.metrics import mean_absolute_error, mean_pinball_loss, mean_poisson_deviance

from sknn._links import LINKS, LOG_LINKS
from sknn._losses import LOSSES, make_loss

CASES = [
    ("log_loss", "softmax", 0.0, (4,)),
    ("log_loss", "softmax", 0.3, (4,)),
    ("log_loss", "softmax", 0.0, (3, 2, 4)),
    ("log_loss", "softmax", 0.3, (3, 1, 4)),
    ("log_loss", "logistic", 0.0, ()),
    ("log_loss", "logistic", 0.3, ()),
    ("focal", "softmax", 0.0, (4,)),
    ("focal", "softmax", 0.5, (4,)),
    ("focal", "softmax", 2.0, (3, 2, 4)),
    ("focal", "logistic", 0.0, ()),
    ("focal", "logistic", 0.5, ()),
    ("focal", "logistic", 2.0, ()),
    ("squared_error", "identity", 0.0, ()),
    ("absolute_error", "identity", 0.0, ()),
    ("huber", "identity", 0.7, ()),
    ("quantile", "identity", 0.2, ()),
    ("poisson", "exp", 0.0, ()),
]
each_case = pytest.mark.parametrize(("name", "link", "parameter", "blocks"), CASES)


def draw(link, blocks, n_rows=40, n_models=2, seed=0):
    """Return raw scores (K, n, c) with encoded targets."""
    rng = np.random.default_rng(seed)
    if link == "softmax":
        raw = rng.normal(size=(n_models, n_rows, sum(blocks))) * 3
        y = np.stack([rng.integers(c, size=(n_models, n_rows)) for c in blocks], axis=-1)
    else:
        raw = rng.normal(size=(n_models, n_rows, 3)) * 2
        makers = {"logistic": lambda: rng.integers(2, size=raw.shape), "exp": lambda: rng.poisson(2.0, raw.shape)}
        y = makers.get(link, lambda: rng.normal(size=raw.shape))().astype(float)
    return torch.from_numpy(raw), torch.from_numpy(y)


def test_every_loss_is_here():
    assert {case[:2] for case in CASES} == set(LOSSES)


@each_case
def test_gradient_is_autograds(name, link, parameter, blocks):
    loss = make_loss(name, link, parameter, blocks)
    raw, y = draw(link, blocks)
    value = loss.value(raw.requires_grad_(), y)
    assert value.shape == raw.shape[:-1]
    (expected,) = torch.autograd.grad(value.sum(), raw)
    torch.testing.assert_close(loss.gradient(raw.detach(), y), expected, rtol=1e-10, atol=1e-10)


@each_case
def test_gradient_is_the_slope_of_the_value(name, link, parameter, blocks):
    loss, h = make_loss(name, link, parameter, blocks), 1e-5
    raw, y = draw(link, blocks, seed=1)
    for j in range(raw.shape[-1]):
        shift = torch.zeros(raw.shape[-1], dtype=raw.dtype)
        shift[j] = h
        slope = (loss.value(raw + shift, y) - loss.value(raw - shift, y)) / (2 * h)
        torch.testing.assert_close(loss.gradient(raw, y)[..., j], slope, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("blocks", [(4,), (3, 1, 4)])
def test_softmax_log_loss_is_torchs_cross_entropy(smoothing, blocks):
    raw, y = draw("softmax", blocks)
    value = make_loss("log_loss", "softmax", smoothing, blocks).value(raw, y)
    of_column = [
        F.cross_entropy(z.flatten(0, 1), y[..., j].flatten(), reduction="none", label_smoothing=smoothing)
        for j, z in enumerate(raw.split(blocks, -1))
    ]
    torch.testing.assert_close(value.flatten(), sum(of_column), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_logistic_log_loss_is_the_binary_cross_entropy(smoothing):
    raw, y = draw("logistic", ())
    value = make_loss("log_loss", "logistic", smoothing).value(raw, y)
    soft = torch.from_numpy(np.where(y == 1, 1 - smoothing / 2, smoothing / 2))
    expected = (soft * torch.logaddexp(-raw, torch.zeros(())) + (1 - soft) * torch.logaddexp(raw, torch.zeros(()))).sum(
        -1
    )
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-12)


def test_logistic_log_loss_keeps_its_digits_where_it_is_small():
    loss = make_loss("log_loss", "logistic")
    raw = torch.tensor([[12.0], [15.0], [20.0], [40.0]])
    expected = np.log1p(np.exp(-raw.double().numpy().ravel()))
    np.testing.assert_allclose(loss.value(raw, torch.ones(4, 1)), expected, rtol=1e-5)
    np.testing.assert_allclose(loss.value(-raw, torch.zeros(4, 1)), expected, rtol=1e-5)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("blocks", [(4,), (3, 2, 4), ()])
def test_focal_loss_is_its_formula(gamma, blocks):
    link = "softmax" if blocks else "logistic"
    raw, y = draw(link, blocks)
    value = make_loss("focal", link, gamma, blocks).value(raw, y)
    z, labels = raw.numpy(), y.numpy()
    if blocks:
        parts = [scipy.special.softmax(part, axis=-1) for part in np.split(z, np.cumsum(blocks)[:-1], axis=-1)]
        p = [np.take_along_axis(part, labels[..., [j]], -1) for j, part in enumerate(parts)]
        p = np.concatenate(p, axis=-1)
    else:
        p = np.where(labels == 1, scipy.special.expit(z), scipy.special.expit(-z))
    np.testing.assert_allclose(value, (-((1 - p) ** gamma) * np.log(p)).sum(axis=-1), rtol=1e-10)


def test_softmax_of_two_scores_is_the_logistic_of_their_difference():
    raw, y = draw("logistic", ())
    raw, y = raw[..., :1], y[..., :1]
    pairs = torch.cat([torch.zeros_like(raw), raw], -1)
    for name, parameter in [("log_loss", 0.0), ("log_loss", 0.3), ("focal", 1.5)]:
        logistic, softmax = make_loss(name, "logistic", parameter), make_loss(name, "softmax", parameter, (2,))
        torch.testing.assert_close(logistic.value(raw, y), softmax.value(pairs, y.long()))
        torch.testing.assert_close(logistic.gradient(raw, y), softmax.gradient(pairs, y.long())[..., 1:])


@pytest.mark.parametrize(
    ("name", "parameter", "expected"),
    [
        ("squared_error", 0.0, lambda raw, y: F.mse_loss(raw, y, reduction="none") / 2),
        ("absolute_error", 0.0, lambda raw, y: F.l1_loss(raw, y, reduction="none")),
        ("huber", 0.7, lambda raw, y: F.huber_loss(raw, y, reduction="none", delta=0.7)),
    ],
)
def test_losses_of_torch(name, parameter, expected):
    raw, y = draw("identity", ())
    value = make_loss(name, "identity", parameter).value(raw, y)
    torch.testing.assert_close(value, expected(raw, y).sum(-1), rtol=1e-12, atol=1e-12)


def test_poisson_and_quantile_are_scikit_learns():
    raw, y = draw("exp", ())
    total = make_loss("poisson", "exp").value(raw, y).mean().item() / raw.shape[-1]
    flat, truth = raw.numpy().ravel(), y.numpy().ravel()
    assert total == pytest.approx(mean_poisson_deviance(truth, np.exp(flat)) / 2, rel=1e-12)
    for level in (0.2, 0.5, 0.9):
        total = make_loss("quantile", "identity", level).value(raw, y).mean().item() / raw.shape[-1]
        assert total == pytest.approx(mean_pinball_loss(truth, flat, alpha=level), rel=1e-12)
    assert total != pytest.approx(mean_absolute_error(truth, flat))


@pytest.mark.parametrize("case", [case for case in CASES if case[1] in ("identity", "exp")])
def test_an_exact_prediction_has_no_loss_and_no_gradient(case):
    loss = make_loss(*case)
    y = torch.tensor([[0.5, 2.0, 3.0]], dtype=torch.float64)
    raw = y.log() if case[1] == "exp" else y.clone()
    torch.testing.assert_close(loss.value(raw, y), torch.zeros(1, dtype=torch.float64), atol=1e-14, rtol=0)
    torch.testing.assert_close(loss.gradient(raw, y), torch.zeros_like(y), atol=1e-14, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@each_case
def test_finite_for_extreme_scores(name, link, parameter, blocks, dtype):
    loss, extremes = make_loss(name, link, parameter, blocks), (-1e4, -100.0, 0.0, 100.0, 1e4)
    if link == "softmax":
        rows = [
            (scores, labels)
            for scores in itertools.product((-1e4, 0.0, 1e4), repeat=min(sum(blocks), 4))
            for labels in itertools.product(*map(range, blocks))
        ]
        raw = torch.tensor([(scores * 3)[: sum(blocks)] for scores, _ in rows], dtype=dtype)
        y = torch.tensor([labels for _, labels in rows])
    else:
        targets = {"logistic": (0.0, 1.0), "exp": (0.0, 1.0, 1e4)}.get(link, (-1e4, 0.0, 1e4))
        pairs = torch.tensor(list(itertools.product(extremes, targets)), dtype=dtype)
        raw, y = pairs[:, :1], pairs[:, 1:]
    value, gradient = loss.value(raw, y), loss.gradient(raw, y)
    assert value.dtype == gradient.dtype == dtype
    assert value.isfinite().all()
    assert gradient.isfinite().all()
    assert (value >= -1e-3).all()  # Poisson: a difference of numbers of the size of 1e5
    if name == "log_loss" and parameter == 0:  # no saturation: far wrong still pulls back with full strength
        assert value.max() >= 1e4
        assert gradient.abs().max() == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_links_are_torchs(dtype):
    raw = torch.linspace(-60, 60, 121, dtype=dtype).reshape(11, 11)
    for computed, expected in [
        (LINKS["identity"], raw),
        (LINKS["exp"], raw.exp()),
        (LINKS["logistic"], raw.sigmoid()),
        (LINKS["softmax"], raw.softmax(-1)),
        (LOG_LINKS["logistic"], torch.nn.functional.logsigmoid(raw)),
        (LOG_LINKS["softmax"], raw.log_softmax(-1)),
    ]:
        torch.testing.assert_close(torch.from_numpy(computed(raw.numpy())), expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("links", [LINKS, LOG_LINKS], ids=["links", "logarithms"])
def test_links_are_finite_for_extreme_scores(links, dtype):
    raw = np.array(list(itertools.product((-1e4, 0.0, 1e4), repeat=3)), dtype)
    for link in links.values():
        assert np.isfinite(link(raw)).all()
        assert link(raw).dtype == dtype


def test_links_of_scores_that_are_not_finite_are_silent():
    raw = np.array([[np.nan, 0.0], [np.inf, 1.0], [-np.inf, -np.inf], [-1e4, 1e4]])
    with warnings.catch_warnings(), np.errstate(all="warn"):
        warnings.simplefilter("error")
        for link in (*LINKS.values(), *LOG_LINKS.values()):
            assert np.isnan(link(raw)[0, 0])


def test_every_loss_has_a_link():
    assert {link for _, link in LOSSES} == set(LINKS)


@pytest.mark.parametrize(("name", "link"), [("hinge", "softmax"), ("focal", "identity")])
def test_unknown_names_list_the_valid_ones(name, link):
    valid = r"'absolute_error', 'focal', 'huber', 'log_loss', 'poisson', 'quantile', 'squared_error'"
    with pytest.raises(ValueError, match=rf"loss must be one of \[{valid}\], got '{name}'"):
        make_loss(name, link)

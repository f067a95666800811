"""What all displays keep to, and those of curves: the drawn data beside the estimators' own numbers."""

import functools
import re
import sys

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import scipy.special
import torch
from matplotlib.colors import to_rgb
from shown_networks import GRAY, X, Y, holders, lenet, mlp, rendered, share_of
from sklearn.base import clone
from sklearn.callback import ScoringMonitor
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import FitFailedWarning, NotFittedError
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler

import sknn.model_selection
from sknn import LeNetClassifier, MLPTorchClassifier, MLPTorchRegressor
from sknn._activations import ACTIVATIONS
from sknn.inspection import ActivationDisplay, FeatureMapDisplay, FilterDisplay, LossCurveDisplay, PredictionDisplay

pytestmark = [
    pytest.mark.usefixtures("figures"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]


# --- what all displays have in common ---

DISPLAYS = {
    "loss": lambda **options: LossCurveDisplay.from_estimator(mlp(), **options),
    "activation": lambda **options: ActivationDisplay.from_names("gelu", **options),
    "activation of an estimator": lambda **options: ActivationDisplay.from_estimator(mlp(), **options),
    "feature maps": lambda **options: FeatureMapDisplay.from_estimator(lenet(), GRAY, n_images=1, **options),
    "filters": lambda **options: FilterDisplay.from_estimator(mlp(), **options),
    "predictions": lambda **options: PredictionDisplay.from_estimator(mlp(), X[:5], Y[:5], **options),
}
every_display = pytest.mark.parametrize("draw", DISPLAYS.values(), ids=DISPLAYS)


@every_display
def test_a_figure_is_made_where_no_axes_are_given(draw):
    display = draw()
    assert plt.get_fignums() == [display.figure_.number]
    assert display.ax_.figure is display.figure_
    assert display.plot() is display
    assert len(plt.get_fignums()) == 2
    assert rendered(display.figure_).std() > 0.05


@every_display
def test_given_axes_are_drawn_in(draw):
    figure = matplotlib.figure.Figure()
    other, ax = figure.subplots(1, 2)
    display = draw(ax=ax)
    assert (display.ax_, display.figure_) == (ax, figure)
    assert not plt.get_fignums()
    assert not other.has_data()


@every_display
def test_without_matplotlib_the_error_says_what_to_install(draw, monkeypatch):
    display = draw()
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for attempt in (draw, display.plot):
        with pytest.raises(ImportError, match=re.escape('pip install "sknn-torch[plots]"')) as error:
            attempt()
        assert type(display).__name__ in str(error.value)


LINEAR = LogisticRegression(max_iter=2000)


@pytest.mark.parametrize(
    ("draw", "wrong", "possible"),
    [
        (LossCurveDisplay.from_estimator, LINEAR, "loss_curve_"),
        (ActivationDisplay.from_estimator, LINEAR, "MLPTorchClassifier"),
        (lambda network: FeatureMapDisplay.from_estimator(network, X), LINEAR, "LeNetClassifier"),
        (FilterDisplay.from_estimator, LINEAR, "LeNetClassifier, .*MLPTorchClassifier"),
        (FilterDisplay.from_estimator, GridSearchCV(LINEAR, {}, cv=2, refit=False), "the best estimator of a search"),
        (lambda network: PredictionDisplay.from_estimator(network, X, Y), LinearRegression(), "classifier"),
    ],
)
def test_an_estimator_that_cannot_be_drawn_is_told_what_can(draw, wrong, possible):
    for estimator in (wrong, make_pipeline(MinMaxScaler(), wrong)):
        with pytest.raises(ValueError, match=f"needs .*{possible}.* got {type(wrong).__name__}"):
            draw(clone(estimator).fit(X[:200], Y[:200]))
    assert not plt.get_fignums()


@pytest.mark.parametrize(
    "draw",
    [
        LossCurveDisplay.from_estimator,
        ActivationDisplay.from_estimator,
        lambda network: FeatureMapDisplay.from_estimator(network, X),
        FilterDisplay.from_estimator,
        lambda network: PredictionDisplay.from_estimator(network, X, Y),
    ],
)
def test_nothing_is_drawn_before_fit(draw):
    for estimator in (LeNetClassifier(), make_pipeline(LeNetClassifier()), GridSearchCV(LeNetClassifier(), {})):
        with pytest.raises(NotFittedError):
            draw(estimator)


# --- LossCurveDisplay ---


def test_curves_are_those_of_the_fit():
    monitor = ScoringMonitor(scoring="accuracy")
    network = clone(mlp()).set_callbacks(monitor).fit(X[:500], Y[:500], X_val=X[500:700], y_val=Y[500:700])
    accuracy = [task["accuracy"] for task in monitor.get_logs().data if task["task_name"] == "epoch"]
    display = LossCurveDisplay.from_estimator(network, training_scores=accuracy)
    drawn = {
        "training loss": (network.loss_curve_, display.ax_),
        "training score": (accuracy, display.score_ax_),
        "validation score": (network.validation_scores_, display.score_ax_),
    }
    assert display.lines_.keys() == {("MLPTorchClassifier", kind) for kind in drawn}
    for kind, (curve, ax) in drawn.items():
        line = display.lines_["MLPTorchClassifier", kind]
        np.testing.assert_array_equal(line.get_xydata(), np.stack([[1, 2, 3, 4], curve], axis=1))
        assert line in ax.get_lines()
        assert share_of(display.figure_, line.get_color()) > 1e-4
    # The last numbers are those of the fitted network.
    assert accuracy[-1] == network.score(X[:500], Y[:500])
    assert network.validation_scores_[-1] == network.score(X[500:700], Y[500:700])
    assert display.score_ax_.get_ylabel() == "accuracy"
    legend = {text.get_text() for text in display.score_ax_.get_legend().get_texts()}
    assert legend == {"training loss", "training accuracy", "validation accuracy"}


def test_a_sole_curve_needs_no_second_axis_and_no_legend():
    network = MLPTorchClassifier((5,), max_iter=3, random_state=0).fit(X[:100], Y[:100])
    display = LossCurveDisplay.from_estimator(network)
    assert display.score_ax_ is None
    assert display.ax_.get_legend() is None
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == ("epoch", "training loss")
    assert all(tick == int(tick) for tick in display.ax_.get_xticks())


def test_scores_that_began_later_belong_to_the_last_epochs():
    network = MLPTorchClassifier((5,), max_iter=3, warm_start=True, random_state=0).fit(X[:100], Y[:100])
    network.set_params(max_iter=2).fit(X[:100], Y[:100], X_val=X[100:200], y_val=Y[100:200])
    display = LossCurveDisplay.from_estimator(network)
    assert display.lines_["MLPTorchClassifier", "training loss"].get_xdata().tolist() == [1, 2, 3, 4, 5]
    scores = display.lines_["MLPTorchClassifier", "validation score"]
    assert scores.get_xdata().tolist() == [4, 5]
    assert scores.get_ydata()[-1] == network.score(X[100:200], Y[100:200])


def test_several_fits_share_the_axes():
    folds = cross_validate(
        MLPTorchClassifier(max_iter=3, random_state=0), X[:200], Y[:200], cv=3, return_estimator=True
    )
    display = LossCurveDisplay.from_estimator(folds["estimator"])
    assert list(display.losses) == [f"MLPTorchClassifier {i}" for i in (1, 2, 3)]
    for line, network in zip(display.ax_.get_lines(), folds["estimator"], strict=True):
        assert line.get_ydata().tolist() == network.loss_curve_
    assert len({line.get_color() for line in display.ax_.get_lines()}) == 3


def test_named_fits_are_told_apart_by_colours_and_kinds_by_line_styles():
    networks = {"ours": mlp(), "theirs": MLPClassifier((12,), max_iter=5, random_state=0).fit(X[:500], Y[:500])}
    display = LossCurveDisplay.from_estimator(networks, training_scores={"theirs": [0.5, 0.6]})
    lines = display.lines_
    assert lines["theirs", "training loss"].get_ydata().tolist() == networks["theirs"].loss_curve_
    assert lines["theirs", "training score"].get_xdata().tolist() == [4, 5]
    assert ("theirs", "validation score") not in lines
    for name in networks:
        assert len({line.get_color() for key, line in lines.items() if key[0] == name}) == 1
    assert len({line.get_color() for line in lines.values()}) == 2
    styles = {kind: {line.get_linestyle() for key, line in lines.items() if key[1] == kind} for _, kind in lines}
    assert sorted(map(len, styles.values())) == [1, 1, 1]
    assert len(set.union(*styles.values())) == 3
    legend = display.score_ax_.get_legend()
    entries = {text.get_text(): line for text, line in zip(legend.get_texts(), legend.get_lines(), strict=True)}
    assert list(entries) == ["ours", "theirs", "training loss", "training accuracy", "validation accuracy"]
    assert entries["ours"].get_color() == lines["ours", "validation score"].get_color()
    assert entries["validation accuracy"].get_linestyle() == lines["ours", "validation score"].get_linestyle()


def test_candidates_of_a_search_share_the_axes():
    grid = {"mlptorchclassifier__alpha": [0.1, 10.0], "mlptorchclassifier__learning_rate_init": [1e-3, 1e30]}
    network = MLPTorchClassifier((5,), max_iter=8, tol=0.05, n_iter_no_change=1, random_state=0)
    model = make_pipeline(MinMaxScaler(), network)
    search = sknn.model_selection.GridSearchCV(model, grid, cv=3, error_score=0)
    with pytest.warns(FitFailedWarning):
        search.fit(X, Y)
    display = LossCurveDisplay.from_search(search)
    names = ["alpha=0.1, learning_rate_init=0.001", "alpha=10.0, learning_rate_init=0.001"]
    assert [name for name, _ in display.lines_] == names  # the other rate makes weights that are not finite
    for name, alpha in zip(names, (0.1, 10.0), strict=True):
        one = clone(model).set_params(mlptorchclassifier__alpha=alpha)
        curves = [fit[-1].loss_curve_ for fit in cross_validate(one, X, Y, cv=3, return_estimator=True)["estimator"]]
        expected = [np.mean([curve[i] for curve in curves if i < len(curve)]) for i in range(max(map(len, curves)))]
        np.testing.assert_array_equal(display.lines_[name, "training loss"].get_ydata(), expected)


def test_candidates_of_one_short_name_keep_the_names_of_their_steps():
    model = Pipeline([("a", MinMaxScaler()), ("b", MinMaxScaler()), ("network", MLPTorchClassifier((5,), max_iter=2))])
    grid = [{"a__clip": [True]}, {"b__clip": [True]}]
    search = sknn.model_selection.GridSearchCV(model.set_params(network__random_state=0), grid, cv=2).fit(X, Y)
    display = LossCurveDisplay.from_search(search)
    assert [name for name, _ in display.lines_] == ["a__clip=True", "b__clip=True"]


def test_a_search_that_kept_no_losses_is_told_which_does():
    search = GridSearchCV(mlp(), {"alpha": [0.1]}, cv=2).fit(X, Y)
    with pytest.raises(ValueError, match=r"a fitted search of sknn\.model_selection.*got GridSearchCV"):
        LossCurveDisplay.from_search(search)


@pytest.mark.parametrize("n_fits", [7, 12])
def test_many_fits_have_a_colour_each(n_fits):
    display = LossCurveDisplay({str(i): [1.0, i] for i in range(n_fits)}).plot()
    assert len({to_rgb(line.get_color()) for line in display.lines_.values()}) == n_fits


def test_the_network_inside_is_found():
    for estimator in holders(MLPTorchClassifier((5,), max_iter=2, random_state=0)):
        network = getattr(estimator, "best_estimator_", estimator)[-1]
        display = LossCurveDisplay.from_estimator(estimator)
        assert display.losses == {"MLPTorchClassifier": network.loss_curve_}
    scaled = TransformedTargetRegressor(MLPTorchRegressor(max_iter=2, random_state=0), transformer=MinMaxScaler())
    display = LossCurveDisplay.from_estimator(scaled.fit(X[:100], Y[:100]))
    assert display.losses == {"MLPTorchRegressor": scaled.regressor_.loss_curve_}


@pytest.mark.parametrize(
    ("kinds", "name"),
    [
        ([MLPTorchClassifier], "accuracy"),
        ([MLPTorchRegressor], "R²"),
        ([MLPTorchClassifier, MLPTorchRegressor], "score"),
    ],
)
def test_scores_have_the_name_of_what_they_are(kinds, name):
    display = LossCurveDisplay.from_estimator([mlp(kind) for kind in kinds])
    assert display.score_ax_.get_ylabel() == name


def test_curves_that_grow_are_drawn_anew_in_the_same_axes():
    display = LossCurveDisplay({"fit": [3.0]}).plot()
    ax = display.ax_
    assert share_of(display.figure_, display.lines_["fit", "training loss"].get_color()) > 1e-5  # one point is seen
    (of_user,) = ax.plot([0, 1], [9, 9], color="red")
    for epoch in range(2, 6):
        display.losses["fit"].append(5.0 * epoch)
        display.validation_scores = {"fit": [0.1 * epoch]}
        assert display.plot(ax=ax) is display
    loss, score = display.lines_["fit", "training loss"], display.lines_["fit", "validation score"]
    assert ax.get_lines()[:] == [of_user, loss]
    assert display.score_ax_.get_lines()[:] == [score]
    assert display.figure_.axes == [ax, display.score_ax_]
    np.testing.assert_array_equal(loss.get_xydata().T, [[1, 2, 3, 4, 5], [3, 10, 15, 20, 25]])
    np.testing.assert_array_equal(score.get_xydata(), [[5, 0.5]])
    assert ax.get_ylim()[1] > 25
    display.losses["fit"][:] = [1.0, 2.0]
    display.plot(ax=ax)
    assert 9 < ax.get_ylim()[1] < 10
    assert len(display.score_ax_.get_legend().get_lines()) == 2


def test_cleared_axes_can_be_drawn_in_again():
    display = LossCurveDisplay.from_estimator(mlp())
    display.ax_.clear()
    display.score_ax_.clear()
    display.plot(ax=display.ax_)
    assert len(display.ax_.get_lines()) == len(display.score_ax_.get_lines()) == 1


def test_a_display_does_not_write_into_its_estimator():
    display = LossCurveDisplay.from_estimator(mlp())
    for curves in (display.losses, display.validation_scores):
        curves["MLPTorchClassifier"].append(1.0)
    assert len(mlp().loss_curve_) == len(mlp().validation_scores_) == 4


@pytest.mark.parametrize(
    ("estimator", "scores", "message"),
    [
        ([], None, "no estimator"),
        ({}, None, "no estimator"),
        (["mlp", "mlp"], [0.5], "must be a dict by name: .*MLPTorchClassifier 1"),
        (["mlp"], {"other": [0.5]}, "score of 'other', but the losses are of .*MLPTorchClassifier 1"),
        ("mlp", [0.5] * 5, "training score for 5 epochs, but a loss for 4"),
    ],
)
def test_scores_without_losses_are_an_error(estimator, scores, message):
    estimator = [mlp() for _ in estimator] if isinstance(estimator, list) else estimator or {}
    with pytest.raises(ValueError, match=message):
        LossCurveDisplay.from_estimator(mlp() if estimator == "mlp" else estimator, training_scores=scores)


# --- ActivationDisplay ---

FORMULAS = {
    "identity": lambda z: z,
    "logistic": scipy.special.expit,
    "tanh": np.tanh,
    "relu": lambda z: np.maximum(z, 0),
    "leaky_relu": lambda z: np.where(z > 0, z, 0.01 * z),
    "elu": lambda z: np.where(z > 0, z, np.expm1(z)),
    "selu": lambda z: 1.0507009873554805 * np.where(z > 0, z, 1.6732632423543772 * np.expm1(z)),
    "softplus": lambda z: np.logaddexp(0, z),
    "silu": lambda z: z * scipy.special.expit(z),
    "gelu": lambda z: z * scipy.special.ndtr(z),
}


def test_every_activation_is_drawn_with_its_derivative():
    display = ActivationDisplay.from_names()
    z = display.z
    assert (z.min(), z.max()) == (-8, 8)
    assert list(display.values) == list(ACTIVATIONS) == [ax.get_title() for ax in display.axes_]
    smooth = np.abs(z) > 0.01
    for ax, name in zip(display.axes_, ACTIVATIONS, strict=True):
        value, derivative = ax.get_lines()
        f, h = FORMULAS[name], 1e-6
        np.testing.assert_allclose(value.get_xydata(), np.stack([z, f(z)], axis=1), atol=1e-8)
        difference = (f(z + h) - f(z - h)) / (2 * h)
        np.testing.assert_allclose(derivative.get_ydata()[smooth], difference[smooth], atol=1e-8)
    for line in (value, derivative):
        assert share_of(display.figure_, line.get_color()) > 1e-3
    assert [text.get_text() for text in display.ax_.get_legend().get_texts()] == ["value", "derivative"]


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, functools.partial(torch.device, "meta")])
def test_modes_of_the_caller_do_not_reach_the_derivative(mode):
    with mode():
        display = ActivationDisplay.from_names("tanh")
    np.testing.assert_allclose(display.derivatives["tanh"], 1 - np.tanh(display.z) ** 2, atol=1e-12)


def test_the_activation_of_an_estimator_is_drawn():
    fitted = MLPTorchClassifier(activation="elu", max_iter=1, random_state=0).fit(X[:50], Y[:50])
    for estimator in (fitted, make_pipeline(MinMaxScaler(), fitted)):
        assert list(ActivationDisplay.from_estimator(estimator).values) == ["elu"]
    assert list(ActivationDisplay.from_estimator(lenet()).values) == ["relu"]


def test_as_many_axes_as_activations():
    axes = matplotlib.figure.Figure().subplots(2, 2)
    display = ActivationDisplay.from_names(["tanh", "relu", "gelu", "elu"], ax=axes)
    assert list(display.axes_) == list(axes.flat)
    with pytest.raises(ValueError, match="2 functions need 2 axes, got 4"):
        ActivationDisplay.from_names(("tanh", "relu"), ax=axes)
    display = ActivationDisplay.from_names(list(ACTIVATIONS)[:7])
    assert len(display.figure_.axes) == len(display.axes_) == 7


@pytest.mark.parametrize("names", ["swish", ["tanh", "swish"], []])
def test_an_unknown_activation_is_told_the_known_ones(names):
    with pytest.raises(ValueError, match=re.escape(str(sorted(ACTIVATIONS)))):
        ActivationDisplay.from_names(names)

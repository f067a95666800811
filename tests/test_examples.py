"""Every example runs as it stands, without a warning, and prints the figures that its lesson promises."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import joblib
import pytest
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"

# Draws what `plt.show()` would show, so that mistakes of drawing are seen too.
BACKEND = """
from matplotlib._pylab_helpers import Gcf
from matplotlib.backends.backend_agg import FigureCanvasAgg as FigureCanvas, FigureManagerBase as FigureManager

def show():
    for manager in Gcf.get_all_fig_managers():
        manager.canvas.print_png(f"figure_{manager.num}.png")
"""


class Figure(NamedTuple):
    """A number that an example prints, in the last line that matches, and its bounds on each kind of images.

    None says that no line matches.
    """

    pattern: str
    on_digits: tuple[float, float] | None
    on_mnist: tuple[float, float] | None


def same(pattern, low, high):
    return Figure(pattern, (low, high), (low, high))


def difference(of):
    return same(rf"^{of}: largest difference (\S+)$", 0, 1e-7)


LESSONS = {
    "demo": [
        same(r"(\S+) on the test images$", 0.96, 1),
        same(r"the same predictions for all (\d+) test images$", 450, 450),
        same(r"^   network: (\S+)$", 0.45, 1),
        Figure(r"^   test accuracy: (\S+)$", None, (0.965, 1)),
    ],
    "plot_01_first_network": [
        Figure(r"^Iteration (\d+)/", (20, 20), (5, 5)),
        Figure(r"^test accuracy: (\S+)$", (0.95, 1), (0.965, 1)),
        same(r"^the first ten: \[(?:\d ){9}\d\], and what they are: \[(?:\d ){9}(\d)\]$", 0, 9),
    ],
    "plot_02_clothes": [
        Figure(r"^epoch (\d+):", (20, 20), (10, 10)),
        same(r"^epoch .* train loss (\S+),", 0, 0.5),
        Figure(r"^epoch .* train accuracy (\S+),", (0.9, 1), (0.8, 1)),
        Figure(r"^epoch .* test accuracy (\S+)$", (0.9, 1), (0.8, 1)),
    ],
    "plot_03_small_steps": [
        Figure(r", padded to (\d+) x", (12, 12), (32, 32)),
        same(r"^epoch 30: .*test accuracy (\S+)$", 0.935, 1),
    ],
    "plot_04_logistic_neurons": [
        Figure(r"^updates: (\d+)", (2_000, 2_020), (9_500, 10_500)),
        Figure(r"^test accuracy: (\S+)$", (0.93, 1), (0.90, 1)),
    ],
    "plot_05_perceptron": [
        *(same(rf"^{gate}: (\d) of 4 right", 4, 4) for gate in ("AND", "NAND", "OR", "XOR with a hidden layer")),
        same(r"^XOR: (\d) of 4 right", 0, 3),
    ],
    "plot_06_linear_models": [
        same(r"^a softmax layer of shape \(4, 3\), (\d+) epochs$", 70, 70),
        same(r"^test accuracy: (\S+)$", 0.9, 1),
        same(r"^largest difference from the true ones: (\S+)$", 0, 0.01),
    ],
    "plot_07_gradients": [
        difference("log_loss with tanh"),
        difference("log_loss with logistic"),
        difference("focal with gelu"),
        difference("squared_error with silu"),
        difference("huber with softplus"),
        difference("poisson with elu"),
    ],
    "plot_08_residual_mlp": [
        same(r"^the best has (\d) blocks$", 1, 2),
        same(r"^test accuracy: (\S+)$", 0.96, 1),
        same(r"^largest difference from central differences: (\S+)$", 0, 1e-7),
    ],
    "plot_09_small_resnet": [
        same(r"^test accuracy: (\S+)$", 0.98, 1),
        same(r"^of rows: the same digit for (\d+) of 450 test images$", 450, 450),
    ],
    "plot_10_embedding": [
        same(r"^R2 of a linear model: (\S+)$", 0.7, 0.9),
        same(r"^R2 with embeddings: (\S+)$", 0.97, 1),
        same(r"^correlation with how busy districts are: (\S+)$", 0.95, 1),
    ],
    "plot_11_lenet": [
        Figure(r"^test accuracy of LeNet: (\S+)$", (0.88, 1), (0.985, 1)),
        Figure(r"^test accuracy of dense layers: (\S+)$", (0.5, 0.85), (0.95, 0.985)),
        Figure(r"^test accuracy of LeNet, pixels mixed: (\S+)$", (0.4, 0.8), (0.9, 0.982)),
    ],
    "plot_12_activations": [
        same(r"^relu: the gradient of the first layer is (\S+) of", 0.05, 20),
        same(r"^tanh: the gradient of the first layer is (\S+) of", 0.05, 20),
        same(r"^logistic: the gradient of the first layer is (\S+) of", 0, 1e-4),
        same(r"^relu, hidden layers: 8, test accuracy: (\S+)$", 0.92, 1),
        same(r"^tanh, hidden layers: 8, test accuracy: (\S+)$", 0.92, 1),
        same(r"^logistic, hidden layers: 1, test accuracy: (\S+)$", 0.92, 1),
        same(r"^logistic, hidden layers: 8, test accuracy: (\S+)$", 0, 0.3),
    ],
    "plot_13_grid_search": [
        same(r"^the same score for (\d+) of 16 candidates$", 16, 16),
        same(r"^test accuracy: (\S+)$", 0.94, 1),
        same(r"^steps of the best rate from the nearest edge of the grid: (\d)$", 1, 1),
    ],
    "plot_14_pandas": [
        same(r"^R2 of a linear model: (\S+)$", 0.75, 0.9),
        same(r"^R2 of the network: (\S+)$", 0.975, 1),
        same(r"^largest difference, columns turned round: (\S+)$", 0, 1e-9),
        same(r"^an unknown model: (\S+) thousand$", 0, 60),
        same(r"^importance of fuel: (\S+)$", 0.1, 0.4),
        same(r"^importance of colour: (\S+)$", -0.01, 0.01),
    ],
    "plot_15_class_imbalance": [
        same(r"cost of never looking: (\S+)$", 0.5, 0.6),
        same(r"^plain: .* cost (\S+)$", 0.25, 0.4),
        same(r"^class_weight: .* cost (\S+)$", 0.1, 0.24),
        same(r"^threshold: .* cost (\S+)$", 0.1, 0.24),
        same(r"recall of plain: ([\d.]+),", 0.3, 0.58),
        same(r"recall of class_weight: ([\d.]+),", 0.68, 1),
        same(r"recall of threshold: ([\d.]+),", 0.62, 1),
        same(r"^the threshold: (\S+)$", 0.03, 0.3),
    ],
    "plot_16_calibration": [
        same(r"log loss of plain: (\S+)$", 0.65, 1),
        same(r"log loss of label_smoothing: (\S+)$", 0.4, 0.63),
        same(r"log loss of early_stopping: (\S+)$", 0.4, 0.6),
        same(r"log loss of calibrated: (\S+)$", 0.4, 0.6),
        same(r"^plain: over 95 % sure of (\S+) %", 35, 70),
        same(r"plain, right there: (\S+) %$", 75, 92),
        same(r"^calibrated: over 95 % sure of (\S+) %", 0, 10),
        same(r"^plain: over .* distance (\S+)$", 0.1, 0.3),
        same(r"^calibrated: over .* distance (\S+)$", 0, 0.09),
    ],
    "plot_17_multilabel": [
        same(r"^nothing: single answers (\S+), whole", 0.78, 0.84),
        same(r"^nothing: .* whole pictures (\S+)$", 0, 0),
        same(r"^dense layers: .* whole pictures (\S+)$", 0.7, 1),
        same(r"^LeNet: .* whole pictures (\S+)$", 0.77, 1),
        same(r"^score of LeNet: (\S+)$", 0.77, 1),
        same(r"^digits that LeNet expects in it: (\S+)$", 1.8, 2),
    ],
    "plot_18_losses": [
        same(r"^squared_error: on average (\S+) off", 0.35, 0.8),
        same(r"^huber: on average (\S+) off", 0, 0.06),
        same(r"^absolute_error: on average (\S+) off", 0, 0.05),
        same(r"^coverage of the band on new rows: (\S+)$", 0.87, 0.93),
        same(r"^coverage where x < 0: (\S+),", 0.86, 0.94),
        same(r"^coverage where .* x > 0: (\S+)$", 0.86, 0.94),
        same(r"^squared_error of counts: (\d+) % of predictions", 15, 40),
        same(r"^poisson of counts: (\d+) % of predictions", 0, 0),
        same(r"weight that poisson found: (\S+)$", 0.95, 1.05),
    ],
    "plot_19_persistence": [
        same(r"^test accuracy: (\S+),", 0.93, 1),
        same(r"^the second process: the same digit for (\d+) of 450", 450, 450),
        same(r"^largest difference of a probability: (\S+)$", 0, 1e-12),
        same(r"^before loading, the stranger was here: (\d)$", 0, 0),
        same(r"^after loading, the stranger was here: (\d)$", 1, 1),
        same(r"^from weights alone: the same digit for (\d+) test images$", 450, 450),
        same(r"^after refusing, the stranger was here: (\d)$", 0, 0),
    ],
    "plot_20_callbacks": [
        same(r"^stopped by all epochs: .* test accuracy (\S+)$", 0.6, 0.83),
        same(r"^stopped by accuracy: .* test accuracy (\S+)$", 0.87, 1),
        same(r"^stopped by log loss: .* test accuracy (\S+)$", 0.87, 1),
        same(r"test log loss, all epochs: (\S+)$", 0.8, 1.5),
        same(r"test log loss, accuracy: (\S+)$", 0.4, 0.75),
        same(r"test log loss, log loss: (\S+)$", 0.4, 0.75),
        same(r"^epoch (\d)/8: loss", 8, 8),
        same(r"^epochs that the second run had behind it: (\d)$", 5, 5),
        same(r"^largest difference from a fit at once: (\S+)$", 0, 0),
    ],
    "plot_21_augmentation": [
        same(r"^trained on images as they are: test accuracy (\S+)$", 0.95, 1),
        same(r"^trained on images moved: test accuracy (\S+)$", 0.9, 1),
        same(r"as they are, test images shifted by 3: (\S+)$", 0, 0.4),
        same(r"moved, test images shifted by 3: (\S+)$", 0.87, 1),
        same(r"as they are, test images turned by 20 degrees: (\S+)$", 0.6, 0.81),
        same(r"moved, test images turned by 20 degrees: (\S+)$", 0.82, 1),
    ],
    "plot_22_drop_in": [
        same(r"^the same digit for (\d+) of 897 test images$", 897, 897),
        same(r"^largest difference of a probability: (\S+)$", 0, 1e-8),
        same(r"^gained by dropout: (\S+)$", 0.02, 0.1),
    ],
}
WITH_MNIST = {
    "demo", "plot_01_first_network", "plot_02_clothes", "plot_03_small_steps", "plot_04_logistic_neurons",
    "plot_07_gradients", "plot_11_lenet"
}  # fmt: skip
SLOW = pytest.mark.skipif(not os.environ.get("SKNN_SLOW"), reason="takes a minute: set SKNN_SLOW=1 to run it")


def run(name, folder, **environment):
    """Run an example in a folder, where its figures are drawn, and return what it prints."""
    (folder / "modules").mkdir()
    (folder / "modules" / "drawing_backend.py").write_text(BACKEND, "utf-8")
    path = [str(folder / "modules"), *filter(None, [os.environ.get("PYTHONPATH")])]
    settings = {"MPLBACKEND": "module://drawing_backend", "PYTHONPATH": os.pathsep.join(path)}
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / f"{name}.py")],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, **settings, **environment},
        timeout=600,
    )
    assert done.returncode == 0, f"{name}.py fails:\n{done.stdout}\n{done.stderr}"
    assert list(folder.glob("figure_*.png")) or name == "demo", f"{name}.py shows no figure"
    return done.stdout


def outside(output, figures, data):
    """Yield a message for every figure that is missing or out of its bounds on those data."""
    for figure in figures:
        bounds = getattr(figure, data)
        found = re.findall(figure.pattern, output, re.MULTILINE)
        right = bounds[0] <= float(found[-1]) <= bounds[1] if found and bounds else not found and not bounds
        if not right:
            yield f"{figure.pattern} should be in {bounds}, but is {found[-1:]}"


@pytest.mark.parametrize("name", LESSONS)
def test_lesson_holds_on_data_of_scikit_learn(name, tmp_path):
    output = run(name, tmp_path, SKNN_DATA_HOME=str(tmp_path / "no images here"))
    assert not list(outside(output, LESSONS[name], "on_digits")), output
    if name == "demo":
        check_file(output, tmp_path)


def check_file(output, folder):
    """Check that the demo's file is where it says, and is the model whose accuracy it reports."""
    path = Path(re.search(r"^2\. saved: (.+) \(", output, re.MULTILINE)[1])
    assert path == (folder / "demo.joblib").resolve()
    X, y = load_digits(return_X_y=True)
    _, X_test, _, y_test = train_test_split(X, y, stratify=y, random_state=0)
    assert f"{joblib.load(path).score(X_test, y_test):.4f} on the test images" in output


@pytest.mark.mnist
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=SLOW if name in ("plot_03_small_steps", "plot_11_lenet") else ())
        for name in LESSONS
        if name in WITH_MNIST
    ],
)
def test_lesson_holds_on_mnist(name, tmp_path, request):
    if name == "plot_02_clothes":
        request.getfixturevalue("fashion_mnist")  # skips where they are missing
    output = run(name, tmp_path)
    assert "scikit-learn's digits" not in output
    assert not list(outside(output, LESSONS[name], "on_mnist")), output


def test_every_example_has_figures_to_hold():
    assert {file.stem for file in EXAMPLES.glob("*.py")} == LESSONS.keys()


@pytest.mark.parametrize("name", LESSONS)
def test_example_is_one_screen_of_cells_below_a_title(name):
    source = (EXAMPLES / f"{name}.py").read_text("utf-8")
    assert len(source.splitlines()) <= 120
    assert source.count("\n# %%\n") >= 2
    title, underline, *_ = ast.get_docstring(ast.parse(source)).splitlines()
    assert underline == "=" * len(title)


@pytest.mark.parametrize(
    ("printed", "bounds", "right"),
    [
        ("accuracy: 0.95\n", (0.9, 1), True),
        ("accuracy: 0.85\naccuracy: 0.95\n", (0.9, 1), True),
        ("accuracy: 0.95\naccuracy: 0.85\n", (0.9, 1), False),
        ("accuracy: nan\n", (0.9, 1), False),
        ("nothing\n", (0.9, 1), False),
        ("nothing\n", None, True),
        ("accuracy: 0.95\n", None, False),
    ],
)
def test_figures_are_held_to_their_bounds(printed, bounds, right):
    figure = Figure(r"^accuracy: (\S+)$", bounds, bounds)
    assert len(list(outside(printed, [figure], "on_digits"))) == (0 if right else 1)

"""LivePlot in windows, notebooks and terminals, and where nobody looks."""

import atexit
import contextlib
import io
import pty
import re
import sys
import time
import types
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.callback import ProgressBar
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV

from sknn import MLPTorchClassifier
from sknn.callbacks import LivePlot

X, Y = load_digits(return_X_y=True)
X, Y = X[:500], Y[:500]
NETWORK = MLPTorchClassifier((5,), early_stopping=True, n_iter_no_change=np.inf, max_iter=15, random_state=0)
pytestmark = [
    pytest.mark.usefixtures("figures"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]


class Until:
    """End a fit when a condition holds after one of its epochs."""

    def __init__(self, condition):
        self.condition = condition

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context):
        return self.condition()


def long_fit(plot, condition):
    """Return a network that fits until the condition holds."""
    return clone(NETWORK).set_params(max_iter=10**5).set_callbacks(plot, Until(condition))


def after(seconds):
    """Return a condition that holds from then on."""
    end = time.perf_counter() + seconds
    return lambda: time.perf_counter() > end


def assert_shows(display, network):
    """Assert that the curves of a display are those of a fitted network."""
    name = type(network).__name__
    curves = {"training loss": network.loss_curve_, "validation score": network.validation_scores_}
    assert display.lines_.keys() == {(name, kind) for kind in curves}
    for kind, curve in curves.items():
        np.testing.assert_array_equal(display.lines_[name, kind].get_ydata(), curve)


# --- windows ---


@pytest.fixture
def windows():
    import matplotlib.pyplot as plt

    plt.switch_backend("module://window_backend")
    yield plt
    plt.close("all")
    plt.switch_backend("agg")


def canvases(plt):
    return [plt.figure(number).canvas for number in plt.get_fignums()]


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_drawing_takes_no_more_than_its_share(share, windows):
    plot = LivePlot(max_share=share)
    started = time.perf_counter()
    network = long_fit(plot, lambda: plot.display_ and plot.display_.figure_.canvas.n_seen > 1).fit(X, Y)
    (canvas,) = canvases(windows)
    assert canvas.n_openings == 1
    assert_shows(plot.display_, network)
    assert plot.display_.ax_.get_ylabel() == "training loss"
    assert plot.display_.score_ax_.get_ylabel() == "accuracy"
    rested, seconds_before = started, 0.0
    for start, end in canvas.drawings[:2]:  # the last waits for nothing but the window
        assert start - rested >= max(0.1, seconds_before * (1 / share - 1))
        rested, seconds_before = end, end - start


def test_a_short_fit_waits_for_its_window_to_be_shown(windows):
    plot = LivePlot()
    network = clone(NETWORK).set_callbacks(plot).fit(X, Y)
    (canvas,) = canvases(windows)
    assert canvas.n_openings == canvas.n_seen == 0
    assert len(canvas.drawings) == 1
    assert_shows(plot.display_, network)


def test_fits_share_a_window_until_it_is_closed(windows):
    plot = LivePlot(max_share=1.0)
    clone(NETWORK).set_callbacks(plot).fit(X, Y)
    first = plot.display_
    network = clone(NETWORK).set_params(max_iter=7).set_callbacks(plot).fit(X, Y)
    assert plot.display_ is first
    assert_shows(first, network)

    def close_when_seen():
        if canvas.n_seen > n_seen and not time_to_draw_again:
            windows.close("all")
            time_to_draw_again.append(after(0.3))
        return bool(time_to_draw_again) and time_to_draw_again[0]()

    canvas, time_to_draw_again = first.figure_.canvas, []
    n_seen = canvas.n_seen
    network = long_fit(plot, close_when_seen).fit(X, Y)
    assert canvas.n_seen == n_seen + 1
    assert canvas.n_openings == 1
    assert windows.get_fignums() == []
    assert len(first.lines_["MLPTorchClassifier", "training loss"].get_ydata()) < network.n_iter_
    clone(NETWORK).set_callbacks(plot).fit(X, Y)
    assert plot.display_ is not first
    assert len(windows.get_fignums()) == 1


def test_scores_of_the_fit_before_are_not_those_of_a_warm_start_without(windows):
    plot = LivePlot()
    network = clone(NETWORK).set_params(warm_start=True, early_stopping=False).set_callbacks(plot)
    network.fit(X, Y, X_val=X, y_val=Y)
    assert_shows(plot.display_, network)
    network.fit(X, Y)
    (curve,) = plot.display_.lines_.values()
    np.testing.assert_array_equal(curve.get_ydata(), network.loss_curve_)
    assert len(network.loss_curve_) == 30


def test_a_search_is_drawn_as_one(windows):
    class Brief(Until):
        def setup(self, estimator, context):
            self.condition = after(0.05)  # no drawing comes so soon

    plot = LivePlot(max_share=1.0)
    network = long_fit(plot, None).set_callbacks(plot, Brief(None))
    search = GridSearchCV(network, {}, cv=3).fit(X, Y)
    (canvas,) = canvases(windows)
    assert canvas.n_seen > 0
    assert_shows(plot.display_, search.best_estimator_)


# --- notebooks ---


@pytest.fixture
def cells(tmp_path, monkeypatch):
    """Return what runs the cells of a notebook: a function with their variables, to the pictures that they display."""
    config = pytest.importorskip("traitlets.config")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    from IPython.core.displaypub import CapturingDisplayPublisher
    from IPython.core.interactiveshell import InteractiveShell

    class NotebookShell(InteractiveShell):
        kernel = None  # which tells notebooks from terminals

    settings = config.Config({"HistoryManager": {"enabled": False}})
    shell = NotebookShell.instance(config=settings, user_module=types.ModuleType("notebook"))
    atexit.unregister(shell.atexit_operations)  # it has been cleared by then
    monkeypatch.setattr(shell, "display_pub", CapturingDisplayPublisher())

    def run(code, **variables):
        shell.display_pub.outputs.clear()
        shell.push(variables)
        shell.run_cell(code, store_history=True).raise_error()
        return list(shell.display_pub.outputs)

    run.shell = shell
    yield run
    shell.atexit_operations()
    shell.restore_sys_module_state()
    NotebookShell.clear_instance()


def is_png(output):
    return set(output["data"]) == {"image/png", "text/plain"}


def test_a_cell_shows_one_picture_that_changes(cells):
    plot = LivePlot(max_share=1.0)
    network = long_fit(plot, lambda: len(cells.shell.display_pub.outputs) > 2)
    first, *updates = cells("network.fit(X, Y)", network=network, X=X, Y=Y)
    assert len(updates) >= 2
    assert [output["update"] for output in (first, *updates)] == [False] + [True] * len(updates)
    assert all(is_png(output) for output in (first, *updates))
    assert len({output["transient"]["display_id"] for output in (first, *updates)}) == 1
    assert len({str(output["data"]) for output in (first, *updates)}) > 2
    assert_shows(plot.display_, network)


def test_short_fits_are_drawn_when_the_cell_ends(cells):
    plot = LivePlot()
    network = clone(NETWORK).set_callbacks(plot)
    during = []
    code = "for i in range(3):\n    network.fit(X, Y)\n    during.append(plot.display_)"
    (picture,) = cells(code, network=network, plot=plot, X=X, Y=Y, during=during)
    assert during == [None] * 3
    assert is_png(picture)
    assert_shows(plot.display_, network)
    first = plot.display_
    (picture,) = cells("network.fit(X, Y)")
    assert not picture["update"]
    assert plot.display_ is not first
    assert cells("1 + 1") == []


# --- terminals ---


@contextlib.contextmanager
def terminal(encoding="utf-8"):
    """Let standard output be a terminal; what it showed is a list of lines, each of texts that came to stand there."""
    reads, writes = pty.openpty()
    lines = []
    with open(writes, "w", encoding=encoding) as stream, contextlib.redirect_stdout(stream):
        yield lines
    written = b""
    with open(reads, "rb", buffering=0) as stream, contextlib.suppress(OSError):  # where all is read
        while chunk := stream.read(2**16):
            written += chunk
    text = written.decode(encoding).replace("\r\n", "\n")
    lines.extend(re.split("\r", line) for line in text.split("\n"))


def bars(values):
    return "".join("▁▂▃▄▅▆▇█"[round(height)] for height in np.interp(values, [min(values), max(values)], [0, 7]))


def test_a_terminal_shows_a_line_that_changes():
    with terminal() as lines:
        network = long_fit(LivePlot(), after(0.5)).fit(X, Y)
    line, rest = lines
    assert rest == [""]
    assert 2 <= len(line) <= 7  # at most ten in a second
    assert all(len(text) <= 79 for text in line)
    # Blanks at the end erase what was there, as another digit of the epoch takes the room of two bars.
    shown = re.fullmatch(r"epoch (\d+)/100000  loss [▁-█]+ ([\d.]+)  validation accuracy [▁-█]+ ([\d.]+) *", line[-1])
    assert int(shown[1]) == network.n_iter_
    told = [float(shown[2]), float(shown[3])]
    np.testing.assert_allclose(told, [network.loss_, network.validation_scores_[-1]], atol=5.1e-5)


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_line_has_a_bar_for_each_of_few_epochs(encoding):
    with terminal(encoding) as lines:
        network = clone(NETWORK).set_params(max_iter=10).set_callbacks(LivePlot()).fit(X, Y)
    curves = {"loss": network.loss_curve_, "validation accuracy": network.validation_scores_}
    parts = [f"  {name} {bars(curve) if encoding == 'utf-8' else ''} {curve[-1]:.4f}" for name, curve in curves.items()]
    line, rest = lines
    assert line[-1] == "epoch 10/10" + "".join(parts)
    assert rest == [""]


def test_numbers_that_are_not_finite_have_no_bar():
    network = MLPTorchClassifier((5,), solver="sgd", learning_rate_init=1e200, max_iter=5, random_state=0)
    network.set_callbacks(Until(lambda: time.sleep(0.11)), LivePlot())
    with terminal() as lines, pytest.raises(ValueError, match="non-finite"):
        network.fit(X, Y)
    line, rest = lines
    assert line[-1] == "epoch 1/5  loss   nan"
    assert rest == [""]  # the error has a line of its own


def test_beside_a_progress_bar_lines_are_whole():
    network = long_fit(LivePlot(), after(0.5))
    network.set_callbacks(ProgressBar(), *network._skl_callbacks)
    with terminal() as lines:
        network.fit(X, Y)
    found = [text for line in lines for text in line if "loss" in text]
    shown = [re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", text) for text in found]
    assert len(shown) == 1
    assert shown[0].startswith(f"epoch {network.n_iter_}/100000  loss █")


def test_each_fit_of_a_search_has_a_line():
    network = clone(NETWORK).set_callbacks(LivePlot())
    with terminal() as lines:
        GridSearchCV(network, {"alpha": [0.1, 1.0]}, cv=2).fit(X, Y)
    assert [line[-1][:11] for line in lines] == ["epoch 15/15"] * 5 + [""]


def test_an_interrupt_before_the_first_epoch_ends_shows_nothing():
    class Interrupting(Until):
        def on_fit_task_begin(self, estimator, context):
            if context.task_name == "epoch":
                raise KeyboardInterrupt

    network = clone(NETWORK).set_callbacks(LivePlot(), Interrupting(lambda: False))
    with terminal() as lines, pytest.warns(UserWarning, match="interrupted"):
        network.fit(X, Y)
    assert lines == [[""]]


# --- where nobody looks ---


def test_other_threads_draw_nothing(windows):
    network = clone(NETWORK).set_callbacks(LivePlot())
    with terminal() as lines, ThreadPoolExecutor(1) as pool:
        pool.submit(network.fit, X, Y).result()
    assert lines == [[""]]
    assert windows.get_fignums() == []


def test_output_that_is_no_terminal_gets_nothing():
    import matplotlib.pyplot as plt

    plot = LivePlot()
    with contextlib.redirect_stdout(io.StringIO()) as stream:
        clone(NETWORK).set_callbacks(plot).fit(X, Y)
    assert stream.getvalue() == ""
    assert plt.get_fignums() == []
    assert plot.display_ is None


# --- what is wrong ---


@pytest.mark.parametrize("share", [0, -0.1, 1.5, "5 %"])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(ValueError, match="'max_share' parameter of LivePlot"):
        LivePlot(max_share=share)


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=re.escape("LivePlot draws with matplotlib, which is not installed: pip")):
        LivePlot()

"""Where a fit can be watched: under the cell of a notebook, in a window, or in a line of a terminal."""

import functools
import io
import math
import multiprocessing
import shutil
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from sknn._displays import import_pyplot
from sknn._loss_display import LossCurveDisplay

_BARS = "▁▂▃▄▅▆▇█"
_MOST_BARS = 40

# Of a live picture, which matplotlib would take as long to lay out as to draw.
_SIZE, _MARGINS = (6.4, 4), {"left": 0.15, "right": 0.85, "bottom": 0.13, "top": 0.96}


class Curves(NamedTuple):
    """What there is to see of a fit."""

    network: str
    epoch: str
    losses: Sequence[float]
    validation_scores: Sequence[float]
    score_name: str


class Place(ABC):
    """Where curves are drawn again and again; `seconds` is what that takes, expected or as it was the last time."""

    seconds: float
    display: LossCurveDisplay | None = None

    @abstractmethod
    def alive(self) -> bool:
        """Return whether the next fit can be drawn here too."""

    @abstractmethod
    def draw(self, curves: Curves) -> None:
        """Draw a fit that goes on."""

    @abstractmethod
    def finish(self, curves: Curves, *, at_once: bool) -> None:
        """Draw a fit that has ended, at once or when there is time."""

    def leave(self) -> None:
        """Make room for other output, as a fit has ended or failed."""
        return

    def _plot(self, curves: Curves, new_axes: Callable[[], Any]) -> Any:
        """Bring the display up to date, and return its figure, which is not rendered yet."""
        ax = self.display.ax_ if self.display else new_axes()
        self.display = self.display or LossCurveDisplay({})
        self.display.losses = {curves.network: curves.losses}
        self.display.validation_scores = {curves.network: curves.validation_scores} if curves.validation_scores else {}
        self.display.score_name = curves.score_name
        return self.display.plot(ax).figure_


def find_place(last: Place | None) -> Place | None:
    """Return where the next fit can be watched, the last place if it is still there; None where nobody would see it.

    Neither notebooks nor windows can be drawn to from other processes and threads.
    """
    if multiprocessing.parent_process() is not None or threading.current_thread() is not threading.main_thread():
        return None
    if _notebook() is not None:
        kind: type[Place] = _Cell
    elif _has_windows():
        kind = _Window
    elif getattr(sys.stdout, "isatty", bool)():
        kind = _Line
    else:
        return None
    return last if type(last) is kind and last.alive() else kind()


def _notebook() -> Any:
    """Return the shell of a notebook that this is running in, if any."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return shell if hasattr(shell, "kernel") else None  # in a terminal it has none


def _has_windows() -> bool:
    plt = import_pyplot("LivePlot")
    from matplotlib.backend_bases import FigureManagerBase
    from matplotlib.backends.registry import backend_registry

    backend = backend_registry.load_backend_module(plt.get_backend())
    return backend.FigureCanvas.manager_class.show is not FigureManagerBase.show


class _Cell(Place):
    """A picture under the cell that is running, which goes without pyplot: there it would be shown twice."""

    def __init__(self) -> None:
        self.seconds = _expected_seconds()
        self._shell = _notebook()
        self._number = self._shell.execution_count
        self._handle: Any = None
        self._late: Curves | None = None

    def alive(self) -> bool:
        return _notebook() is self._shell and self._shell.execution_count == self._number

    def draw(self, curves: Curves) -> None:
        from IPython.display import Image, display

        image = Image(_png(self._plot(curves, _axes_of_no_window)), format="png")
        if self._handle is None:
            self._handle = display(image, display_id=True)
        else:
            self._handle.update(image)
        self._late = None

    def finish(self, curves: Curves, *, at_once: bool) -> None:
        if at_once:
            self.draw(curves)
        else:
            self._late = curves
            self._shell.events.register("post_run_cell", self._draw_late)  # once, if it is there already

    def _draw_late(self, result: object) -> None:
        self._shell.events.unregister("post_run_cell", self._draw_late)
        if self._late is not None:
            self.draw(self._late)


def _axes_of_no_window() -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    return FigureCanvasAgg(Figure(figsize=_SIZE)).figure.subplots(gridspec_kw=_MARGINS)


def _png(figure: Any) -> bytes:
    png = io.BytesIO()
    figure.canvas.print_png(png)
    return png.getvalue()


class _Window(Place):
    """A window, which stays as the user leaves it: closed, it is not opened again for the same fit."""

    def __init__(self) -> None:
        self.seconds = _expected_seconds()
        self._is_open = False

    def alive(self) -> bool:
        return self.display is None or import_pyplot("LivePlot").fignum_exists(self.display.figure_.number)

    def draw(self, curves: Curves) -> None:
        if self.alive():
            figure = self._plot(curves, _axes_of_a_window)
            if not self._is_open:  # again would raise it above the windows that the user works in
                figure.show()
                self._is_open = True
            figure.canvas.draw_idle()
            figure.canvas.flush_events()

    def finish(self, curves: Curves, *, at_once: bool) -> None:
        if at_once:
            self.draw(curves)
        elif self.alive():
            self._plot(curves, _axes_of_a_window).canvas.draw_idle()


def _axes_of_a_window() -> Any:
    plt = import_pyplot("LivePlot")
    current = plt.gcf() if plt.get_fignums() else None
    ax = plt.subplots(figsize=_SIZE, gridspec_kw=_MARGINS)[1]
    if current is not None:  # what the user draws next still belongs there
        plt.figure(current.number)
    return ax


@functools.cache
def _expected_seconds() -> float:
    """Draw twice what nobody sees, as the first time takes longest, and return what the next drawing may take."""
    plt = import_pyplot("LivePlot")
    started = 0.0
    with plt.ioff():
        for _ in range(2):
            started, ax = time.perf_counter(), _axes_of_a_window()
            LossCurveDisplay({"": [1.0, 2.0]}, validation_scores={"": [1.0, 2.0]}).plot(ax)
            ax.figure.canvas.draw()
            plt.close(ax.figure)
    return 2 * (time.perf_counter() - started)  # what is shown takes longer


class _Line(Place):
    """A line of a terminal that is written over, with a bar for each of some epochs."""

    seconds = 0.001
    _width = 0

    def alive(self) -> bool:
        return True

    def draw(self, curves: Curves) -> None:
        if isinstance(sys.stdout, io.TextIOWrapper):  # else it is ProgressBar's, which knows whole lines only
            self._write(curves)

    def finish(self, curves: Curves, *, at_once: bool) -> None:
        self._write(curves, end="\n")
        self._width = 0

    def leave(self) -> None:
        if self._width:
            sys.stdout.write("\n")
            self._width = 0

    def _write(self, curves: Curves, end: str = "") -> None:
        text = _line(curves, shutil.get_terminal_size().columns - 1)
        sys.stdout.write("\r" * (self._width > 0) + text.ljust(self._width) + end)
        sys.stdout.flush()
        self._width = len(text)


def _line(curves: Curves, columns: int) -> str:
    """Return what to say of a fit in so many columns."""
    families = {"loss": curves.losses, f"validation {curves.score_name}": curves.validation_scores}
    told = {name: f"{values[-1]:.4f}" for name, values in families.items() if values}
    room = columns - len(f"epoch {curves.epoch}") - sum(len(f"  {name}  {number}") for name, number in told.items())
    n_bars = min(room // len(told), _MOST_BARS) if _can_write_bars() else 0
    parts = [f"{name} {_sparkline(families[name], n_bars)} {number}" for name, number in told.items()]
    return "  ".join([f"epoch {curves.epoch}", *parts])[:columns]


def _can_write_bars() -> bool:
    try:
        _BARS.encode(sys.stdout.encoding or sys.__stdout__.encoding)  # type: ignore[union-attr]
    except UnicodeEncodeError:
        return False
    return True


def _sparkline(values: Sequence[float], n_bars: int) -> str:
    """Return a bar for each of some epochs, evenly spaced, the last among them; blanks where not finite."""
    n = max(min(len(values), n_bars), 0)
    shown = [values[math.ceil((i + 1) * len(values) / n) - 1] for i in range(n)]
    finite = [value for value in shown if math.isfinite(value)] or [0.0]
    low, high = min(finite), max(finite)
    tops = len(_BARS) - 1
    return "".join(
        _BARS[round((value - low) / ((high - low) or 1) * tops)] if math.isfinite(value) else " " for value in shown
    )

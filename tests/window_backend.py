"""A backend of matplotlib with windows that nobody sees: they write down when they were opened, drawn and seen."""

import time

from matplotlib.backend_bases import FigureManagerBase
from matplotlib.backends.backend_agg import FigureCanvasAgg


class FigureManager(FigureManagerBase):
    def show(self):
        self.canvas.n_openings += 1


class FigureCanvas(FigureCanvasAgg):
    manager_class = FigureManager

    def __init__(self, figure=None):
        super().__init__(figure)
        self.n_openings, self.drawings, self.n_seen = 0, [], 0

    def draw_idle(self):
        started = time.perf_counter()
        self.draw()
        self.drawings.append((started, time.perf_counter()))

    def flush_events(self):
        self.n_seen += 1

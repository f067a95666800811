"""Callbacks of scikit-learn's protocol: what a fit comes to, epoch by epoch, and when it has come far enough."""

from sknn._checkpoint import Checkpoint
from sknn._early_stopping import EarlyStoppingOnMetric
from sknn._epoch_log import EpochLog
from sknn._live_plot import LivePlot
from sknn._tensor_board import TensorBoard

__all__ = ["Checkpoint", "EarlyStoppingOnMetric", "EpochLog", "LivePlot", "TensorBoard"]

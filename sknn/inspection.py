"""Displays, as scikit-learn's: how networks learned, what they look for in images, and where they are wrong."""

from sknn._activation_display import ActivationDisplay
from sknn._feature_map_display import FeatureMapDisplay
from sknn._filter_display import FilterDisplay
from sknn._loss_display import LossCurveDisplay
from sknn._prediction_display import PredictionDisplay

__all__ = ["ActivationDisplay", "FeatureMapDisplay", "FilterDisplay", "LossCurveDisplay", "PredictionDisplay"]

"""Neural networks that behave like scikit-learn estimators."""

from sknn._versions import show_versions
from sknn.gradients import GradientCheck, check_gradients
from sknn.lenet_classifier import LeNetClassifier
from sknn.lenet_regressor import LeNetRegressor
from sknn.mlp_classifier import MLPTorchClassifier
from sknn.mlp_regressor import MLPTorchRegressor
from sknn.torch_classifier import TorchClassifier
from sknn.torch_regressor import TorchRegressor

__version__ = "0.1.0"

__all__ = [
    "GradientCheck",
    "LeNetClassifier",
    "LeNetRegressor",
    "MLPTorchClassifier",
    "MLPTorchRegressor",
    "TorchClassifier",
    "TorchRegressor",
    "__version__",
    "check_gradients",
    "show_versions",
]

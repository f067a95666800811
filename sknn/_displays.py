"""What all displays share: matplotlib where it is installed, and the network inside a pipeline or a search."""

from typing import Any

from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

# Okabe and Ito's colours, which the colour-blind can tell apart; without the yellow, which white paper swallows.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


def import_pyplot(display: str) -> Any:
    """Return matplotlib.pyplot, or raise ImportError that says how to install it."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            f'{display} draws with matplotlib, which is not installed: pip install "sknn-torch[plots]"'
        ) from error
    return plt


def axes_or_new(display: object, ax: Any, width: float, height: float) -> Any:
    """Return ax, or where it is None the axes of a new figure, of a size in inches."""
    plt = import_pyplot(type(display).__name__)
    return plt.subplots(figsize=(width, height), layout="constrained")[1] if ax is None else ax


def fitted_network(estimator: Any, X: Any = None) -> tuple[Any, Any]:
    """Return the fitted network at the end of pipelines and searches, and X as it gets there."""
    check_is_fitted(estimator)
    while True:
        if isinstance(estimator, Pipeline):
            if X is not None and len(estimator) > 1:
                X = estimator[:-1].transform(X)
            estimator = estimator[-1]
        elif hasattr(estimator, "best_estimator_"):
            estimator = estimator.best_estimator_
        elif hasattr(estimator, "regressor_"):  # of scikit-learn's TransformedTargetRegressor
            estimator = estimator.regressor_
        else:
            return estimator, X


def refuse(display: str, expected: str, network: Any) -> ValueError:
    """Return the error for a network that a display cannot draw."""
    return ValueError(
        f"{display} needs {expected}, alone, at the end of a pipeline or as the best estimator of a search; got"
        f" {type(network).__name__}."
    )

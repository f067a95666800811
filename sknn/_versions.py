"""What an installation consists of, for questions and reports of bugs."""

from importlib.metadata import version

import sklearn
import torch

from sknn._devices import resolve_device
from sknn._library import is_compiled


def show_versions() -> None:
    """Print the versions of sknn, torch and all that scikit-learn's `show_versions` prints.

    The first lines also say which device `device="auto"` takes, and whether the epochs of perceptrons were compiled
    when sknn was installed: where there is no C compiler they are not, and small networks train more slowly.

    Examples
    --------
    >>> from sknn import show_versions
    >>> show_versions()  # doctest: +ELLIPSIS
    sknn: ..., compiled epochs: ...
    torch: ..., device: ...
    <BLANKLINE>
    System:
    ...
    """
    print(f"sknn: {version('sknn-torch')}, compiled epochs: {'yes' if is_compiled() else 'no'}")
    print(f"torch: {torch.__version__}, device: {resolve_device('auto')}")
    sklearn.show_versions()

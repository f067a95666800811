"""The floors of docs/design.md, read from the imports."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "sknn"
SOURCES = {file.relative_to(PACKAGE).as_posix()[:-3]: file.read_text("utf-8") for file in sorted(PACKAGE.rglob("*.py"))}

# Imports point to a lower floor. A fraction parts files of one floor where one is made for the other.
FLOORS = {
    # 0 vocabulary
    "_activations": 0,
    "_dropout": 0,
    "_losses": 0,
    "_links": 0,
    "_solvers": 0,
    "_devices": 0,
    "_initializers": 0,
    "datasets": 0,
    # 1 matter
    "_parameters": 1,
    "_samples": 1,
    "_images": 1,
    "_ensemble": 0.5,
    "modules": 1,
    # 2 motion
    "_autograd": 2,
    "_learner": 2,
    "_fused": 2.2,
    "_few": 2.2,
    "_library": 0.5,
    "_sparse": 0.6,
    "_sparse_scores": 2.3,
    "_small": 2.3,
    "_steps": 2.4,
    "_batches": 2.5,
    "_compiled": 2.55,
    "_train": 2.6,
    "_fingerprint": 2.7,
    "_standing": 2.8,
    "_lbfgs": 2.6,
    # 3 contract
    "_targets": 3,
    "_input": 3,
    "_progress": 3,
    "_hyperparameters": 3,
    "_fitting": 3.25,
    "base": 3.5,
    "_classifier": 3.75,
    "_regressor": 3.75,
    "_mlp": 3.75,
    "_lenet": 3.75,
    "_module": 3.75,
    # 4 estimators
    "mlp_classifier": 4,
    "mlp_regressor": 4,
    "lenet_classifier": 4,
    "lenet_regressor": 4,
    "torch_classifier": 4,
    "torch_regressor": 4,
    # 5 tools
    "gradients": 5,
    "_together": 5,
    "_rehearsal": 5.1,
    "_searches": 5.2,
    "_cross_validation": 5.2,
    "model_selection": 5.4,
    "_displays": 5,
    "_pictures": 5,
    "_loss_display": 5.2,
    "_activation_display": 5.2,
    "_feature_map_display": 5.2,
    "_filter_display": 5.2,
    "_prediction_display": 5.2,
    "inspection": 5.4,
    "_epoch_callback": 5,
    "_epoch_log": 5.2,
    "_checkpoint": 5.2,
    "_early_stopping": 5.2,
    "_tensor_board": 5.2,
    "_live_places": 5.3,
    "_live_plot": 5.35,
    "callbacks": 5.4,
    "persistence": 5,
    "_versions": 5,
    "__init__": 6,
}
ENGINE = {name for name, floor in FLOORS.items() if floor < 3} - {"datasets"}
ONLY_FOR = {"_lbfgs": {"_fitting", "base"}}
HEAVY = {"matplotlib", "pandas", "onnx", "safetensors", "skops", "tensorboard", "IPython"}
MAX_LINES = 400


# --- the rules: sources by name -> what is wrong with them ---


def unknown_files(sources):
    for name in sources.keys() - FLOORS.keys():
        yield f"sknn/{name}.py is on no floor: add it to FLOORS in {Path(__file__).name} and to docs/design.md"


def imports_not_down(sources):
    for name, source in sources.items():
        for line, target in inside(source):
            if {name, target} <= FLOORS.keys() and FLOORS[target] >= FLOORS[name]:  # or `unknown_files` tells
                yield f"sknn/{name}.py:{line} (floor {FLOORS[name]}) imports {target} (floor {FLOORS[target]})"


def imports_of_the_reserved(sources):
    for name, source in sources.items():
        for line, target in inside(source):
            if name not in ONLY_FOR.get(target, {name}):
                yield f"sknn/{name}.py:{line} imports {target}, which is for {sorted(ONLY_FOR[target])} alone"


def engine_knows_sklearn(sources):
    for name in sources.keys() & ENGINE:
        for found in imports(sources[name]):
            if found.root == "sklearn":
                yield f"sknn/{name}.py:{found.line} imports {found.module}, but floors 0-2 know no scikit-learn"


def stray_torch_distributed(sources):
    for name, source in sources.items():
        if name == "_devices":
            continue
        lines = [found.line for found in imports(source) if found.module.startswith("torch.distributed")]
        lines += [node.lineno for node in ast.walk(ast.parse(source)) if is_torch_distributed(node)]
        for line in lines:
            yield f"sknn/{name}.py:{line} uses torch.distributed, which belongs to _devices alone"


def eager_heavy_imports(sources):
    for name, source in sources.items():
        for found in imports(source):
            if found.root in HEAVY and found.eager:
                yield f"sknn/{name}.py:{found.line} imports {found.root} at import time: move it into a function"


def long_files(sources):
    for name, source in sources.items():
        n_lines = len(source.splitlines())
        if n_lines > MAX_LINES:
            yield f"sknn/{name}.py has {n_lines} lines, more than {MAX_LINES}: split it along its two ideas"


def drawers(sources):
    for name in sources:
        if Path(name).name.strip("_") in {"util", "utils", "helper", "helpers", "common", "misc"}:
            yield f"sknn/{name}.py names no idea"


# --- reading ---


class Import(NamedTuple):
    """One imported module; `eager` where importing the file imports it too."""

    module: str  # absolute; what `from` names is appended, as it may be a module
    line: int
    eager: bool

    @property
    def root(self) -> str:
        return self.module.split(".")[0]


def imports(source) -> Iterator[Import]:
    yield from walk(ast.parse(source), eager=True)


def walk(node, eager) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        yield from (Import(alias.name, node.lineno, eager) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        # The package is flat: one dot is sknn itself.
        origin = ".".join(part for part in ("sknn" if node.level else "", node.module) if part)
        yield from (Import(f"{origin}.{alias.name}", node.lineno, eager) for alias in node.names)
    elif isinstance(node, ast.If) and ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}:
        for child in node.body:
            yield from walk(child, eager=False)
        for child in node.orelse:
            yield from walk(child, eager)
    else:
        deferred = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            yield from walk(child, eager and not deferred)


def inside(source) -> Iterator[tuple[int, str]]:
    """Yield (line, file) for every import within the package; a name of no file comes from `__init__`."""
    for found in imports(source):
        if found.root == "sknn":
            file = [*found.module.split("."), "__init__"][1]
            yield found.line, file if file in FLOORS or file in SOURCES else "__init__"


def is_torch_distributed(node):
    return (
        isinstance(node, ast.Attribute)
        and node.attr == "distributed"
        and isinstance(node.value, ast.Name)
        and node.value.id == "torch"
    )


RULES = [
    unknown_files,
    imports_not_down,
    imports_of_the_reserved,
    engine_knows_sklearn,
    stray_torch_distributed,
    eager_heavy_imports,
    long_files,
    drawers,
]


@pytest.mark.parametrize("rule", RULES)
def test_package_keeps(rule):
    offenders = sorted(set(rule(SOURCES)))
    assert not offenders, "\n" + "\n".join(offenders)


def test_design_document_names_every_file():
    design = (PACKAGE.parent / "docs" / "design.md").read_text("utf-8")
    assert [name for name in SOURCES if f"{name}.py" not in design] == []


def test_sources_are_read():
    assert "__init__" in SOURCES, f"no package found in {PACKAGE}"


@pytest.mark.parametrize(
    ("rule", "name", "source"),
    [
        (unknown_files, "_novelty", ""),
        (unknown_files, "sub/_losses", ""),
        (imports_not_down, "_losses", "from . import base"),
        (imports_not_down, "_losses", "from .base import anything"),
        (imports_not_down, "_losses", "import sknn.mlp_classifier"),
        (imports_not_down, "_losses", "from sknn.mlp_classifier import MLPTorchClassifier"),
        (imports_not_down, "_losses", "def late():\n    from ._activations import ACTIVATIONS"),
        (imports_not_down, "_steps", "from ._train import train"),
        (imports_not_down, "_targets", "from .base import anything"),
        (imports_not_down, "lenet_classifier", "from . import __version__"),
        (imports_not_down, "lenet_classifier", "from sknn import MLPTorchClassifier"),
        (imports_not_down, "lenet_classifier", "from ._novelty import anything"),
        (imports_of_the_reserved, "lenet_classifier", "from ._lbfgs import minimise"),
        (engine_knows_sklearn, "_train", "import sklearn"),
        (engine_knows_sklearn, "modules", "def late():\n    from sklearn.base import clone"),
        (stray_torch_distributed, "base", "import torch.distributed as dist"),
        (stray_torch_distributed, "base", "from torch import distributed"),
        (stray_torch_distributed, "base", "from torch.distributed import all_reduce"),
        (stray_torch_distributed, "base", "import torch\ntorch.distributed.barrier()"),
        (eager_heavy_imports, "inspection", "import matplotlib.pyplot as plt"),
        (eager_heavy_imports, "inspection", "try:\n    from pandas import DataFrame\nexcept ImportError:\n    pass"),
        (eager_heavy_imports, "persistence", "class Archive:\n    import onnx"),
        (eager_heavy_imports, "persistence", "if not TYPE_CHECKING:\n    import skops"),
        (long_files, "_losses", "pass\n" * (MAX_LINES + 1)),
        (drawers, "utils", ""),
        (drawers, "_helpers", ""),
    ],
)
def test_rule_objects_to(rule, name, source):
    offenders = list(rule({name: source}))
    assert len(offenders) == 1, offenders
    assert f"sknn/{name}.py" in offenders[0]


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("_train", "from ._losses import LOSSES\nimport sknn._samples\nfrom . import _parameters, modules"),
        ("base", "from ._targets import encode\nfrom ._lbfgs import minimise\nfrom sklearn.base import BaseEstimator"),
        ("__init__", "from . import datasets, modules\nfrom .mlp_classifier import MLPTorchClassifier"),
        ("datasets", "from sklearn.utils import Bunch\ndef frame():\n    import pandas as pd"),
        ("inspection", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import matplotlib"),
        ("_devices", "import torch.distributed\ntorch.distributed.barrier()"),
        ("_losses", "pass\n" * MAX_LINES),
    ],
)
def test_rules_allow(name, source):
    assert [offender for rule in RULES for offender in rule({name: source})] == []

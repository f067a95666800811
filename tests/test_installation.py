"""What an installation brings: wheels with the compiled epochs and without, and `show_versions`."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

import sknn
from sknn._library import is_compiled

ROOT = Path(__file__).resolve().parents[1]
FIT = """
import warnings
from sklearn.datasets import load_iris
from sknn import MLPTorchClassifier
from sknn._library import is_compiled

warnings.simplefilter("ignore")
print(is_compiled(), MLPTorchClassifier(max_iter=20, random_state=0).fit(*load_iris(return_X_y=True)).loss_)
"""


def installed(folder, compiler):
    """Build a wheel with that compiler, and return its name and what a fit prints in a process that has it."""
    sources = folder / "sources"
    shutil.copytree(ROOT / "sknn", sources / "sknn", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "hatch_build.py"):
        shutil.copy(ROOT / name, sources)
    build = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, sources]
    subprocess.run([sys.executable, "-m", "pip", *build], env={**os.environ, "CC": compiler}, check=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    environment = {**os.environ, "PYTHONPATH": str(folder / "site")}
    printed = subprocess.run([sys.executable, "-c", FIT], env=environment, cwd=folder, check=True, capture_output=True)
    return wheel.name, printed.stdout.decode().split()


def test_a_wheel_has_compiled_epochs_where_there_is_a_compiler_and_works_without(tmp_path):
    if shutil.which("cc") is None:
        pytest.skip("there is no C compiler")
    (name, (compiled, loss)), (plain_name, (plain, plain_loss)) = (
        installed(tmp_path / compiler, compiler) for compiler in ("cc", "no-such-compiler")
    )
    assert (compiled, plain) == ("True", "False")
    assert plain_name.endswith("-py3-none-any.whl")
    assert not name.endswith("-any.whl")
    assert float(loss) == pytest.approx(float(plain_loss), rel=1e-8)


def test_show_versions_says_what_there_is(capsys):
    sknn.show_versions()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"sknn: {sknn.__version__}, compiled epochs: {'yes' if is_compiled() else 'no'}"
    assert lines[1].startswith(f"torch: {torch.__version__}, device: ")
    assert any("scikit" in line for line in lines)

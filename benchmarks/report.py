"""What all benchmarks share: the machine's name, medians with their range, and the page that results go to."""

import os
import platform
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import sklearn
import torch

from sknn._library import is_compiled

PAGE = Path(__file__).resolve().parents[1] / "docs" / "performance.md"


def machine() -> str:
    """Return what the figures were measured on."""
    try:
        model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text("utf-8")).group(1)
    except (OSError, AttributeError):
        model = platform.processor() or platform.machine()
    versions = f"Python {platform.python_version()}, torch {torch.__version__}, scikit-learn {sklearn.__version__}"
    left_out = "" if is_compiled() else ", epochs not compiled"
    return f"{model}, {os.cpu_count()} cores, {platform.system()}; {versions}{left_out}"


def spread(values: Iterable[float], digits: int = 2) -> str:
    """Return median, smallest and largest."""
    values = np.asarray(list(values))
    low, middle, high = (f"{value:.{digits}f}" for value in (values.min(), np.median(values), values.max()))
    return middle if len(values) == 1 else f"{middle} ({low} to {high})"


def table(header: list[str], rows: Iterable[list[str]]) -> str:
    """Return a table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def publish(section: str, text: str) -> None:
    """Print a section, and put it into its place on the page of results, if there is one."""
    print(text, flush=True)
    begin, end = f"<!-- {section}: begin -->", f"<!-- {section}: end -->"
    page = PAGE.read_text("utf-8")
    if begin not in page:
        return
    head, rest = page.split(begin)
    _, tail = rest.split(end)
    PAGE.write_text(f"{head}{begin}\n\n{text}\n\n{end}{tail}", "utf-8")

"""Compile the epochs in C when sknn is installed; where there is no compiler, sknn does the same in numpy and torch."""

import os
import shlex
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDER = Path(__file__).parent / "sknn" / "_c"
LIBRARIES = {"epoch_float.so": [], "epoch_double.so": ["-DDOUBLE"]}
# Nothing here reads errno or the flags of floating-point exceptions; numbers are rounded as the standard says.
OPTIONS = ["-O3", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC"]


class CompileEpochs(BuildHookInterface):
    """Puts a library for each dtype beside the source."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and make the wheel one of this platform; or say why not, and leave it one for all."""
        try:
            for name, options in LIBRARIES.items():
                (FOLDER / name).unlink(missing_ok=True)  # that of another state of the source
                compile_library(FOLDER / name, options)
        except (OSError, subprocess.CalledProcessError) as error:
            reason = getattr(error, "stderr", None) or error
            self.app.display_warning(f"sknn is installed without compiled epochs, and fits take longer: {reason}")
            return
        build_data["artifacts"] += [f"sknn/_c/{name}" for name in LIBRARIES]
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"


def compile_library(library: Path, options: list[str]) -> None:
    """Compile the source with the compiler in CC, or that of Python."""
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    command = [*compiler, *OPTIONS, *options, str(FOLDER / "epoch.c"), "-o", str(library), "-lm"]
    subprocess.run(command, check=True, capture_output=True, text=True)

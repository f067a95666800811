"""Compile the epochs in C when sknn is installed; where there is no compiler, sknn does the same in numpy and torch."""

import os
import shlex
import shutil
import subprocess
import sysconfig
import zlib
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDER = Path(__file__).parent / "sknn" / "_c"
LIBRARIES = {"epoch_float.so": [], "epoch_double.so": ["-DDOUBLE"]}
# Nothing here reads errno or the flags of floating-point exceptions; numbers are rounded as the standard says.
OPTIONS = ["-O3", "-fno-math-errno", "-fno-trapping-math", "-pthread", "-shared", "-fPIC"]


class CompileEpochs(BuildHookInterface):
    """Puts a library for each dtype beside the source."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and make the wheel one of this platform; or say why not, and leave it one for all."""
        remove_libraries()  # those of another state of the source
        try:
            for name, options in LIBRARIES.items():
                compile_library(FOLDER / name, options)
        except (OSError, subprocess.CalledProcessError) as error:
            remove_libraries()
            reason = getattr(error, "stderr", None) or error
            self.app.display_warning(f"sknn is installed without compiled epochs, and fits take longer: {reason}")
            return
        build_data["artifacts"] += [f"sknn/_c/{name}" for name in LIBRARIES]
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"


def remove_libraries() -> None:
    """Remove what was compiled before."""
    for name in LIBRARIES:
        (FOLDER / name).unlink(missing_ok=True)


def compile_library(library: Path, options: list[str]) -> None:
    """Compile the source with the compiler in CC, with that of Python, or with the system's."""
    sources = b"".join(path.read_bytes() for path in sorted(FOLDER.glob("*.[ch]")))
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    if not (os.environ.get("CC") or shutil.which(compiler[0])):  # Python may have been built elsewhere
        compiler = ["cc"]
    # The sum tells sknn that the library is that of these sources.
    command = [*compiler, *OPTIONS, *options, f"-DSOURCE={zlib.crc32(sources)}u", str(FOLDER / "epoch.c")]
    subprocess.run([*command, "-o", str(library), "-lm"], check=True, capture_output=True, text=True)

"""The README and each page of docs are programs: their blocks run in order, and print what they say.

A `python` block runs in the namespace of those before it; a `text` block right after one is what it prints, where
`...` stands for anything. `<!-- needs mnist -->` above a block runs it only where the images are. Commands that are
named exist.
"""

import doctest
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(
    r"^(?P<needs><!-- needs mnist -->\n\s*)?^```(?P<language>\w+)\n(?P<body>.*?)^```$(?P<gap>\s*)",
    re.DOTALL | re.MULTILINE,
)
COMPARE = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE

# A process of its own: classes of a page belong to a real __main__, so that they pickle as a reader's would.
RUNNER = """
import contextlib, io, json, sys
given = json.loads(sys.stdin.read())
printed = []
for line, code in given["blocks"]:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        # Blank lines let a traceback show the page's own line.
        exec(compile("\\n" * line + code, given["file"], "exec"), globals())
    printed.append(out.getvalue())
print(json.dumps(printed))
"""


class Block(NamedTuple):
    code: str
    line: int  # lines above the code
    needs_images: bool
    output: str | None


def python_blocks(text):
    """Return the `python` blocks, each with the `text` block that directly follows it."""
    blocks, directly_before = [], None
    for found in BLOCK.finditer(text):
        if found["language"] == "python":
            line = text.count("\n", 0, found.start("body"))
            blocks.append(Block(found["body"], line, found["needs"] is not None, None))
        elif found["language"] == "text" and directly_before == found.start():
            blocks[-1] = blocks[-1]._replace(output=found["body"])
        directly_before = found.end() if found["language"] == "python" else None
    return blocks


def run_blocks(blocks, folder, file="README.md"):
    """Return what each block prints; raise AssertionError with the page's line where one fails."""
    task = {"file": str(file), "blocks": [(block.line, block.code) for block in blocks]}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", RUNNER],
        input=json.dumps(task),
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=600,
    )
    if done.returncode == 0:
        return json.loads(done.stdout.splitlines()[-1])
    lines = [int(line) for line in re.findall(rf'File "{re.escape(str(file))}", line (\d+)', done.stderr)]
    failed = [block.code for block in blocks if lines and block.line < lines[0] <= block.line + block.code.count("\n")]
    raise AssertionError(f"this block of {file} fails:\n\n{''.join(failed)}\n{done.stderr}")


def differences(blocks, printed):
    """Yield a message for every block that prints something else than the page shows."""
    for block, got in zip(blocks, printed, strict=True):
        if block.output is not None and not doctest.OutputChecker().check_output(block.output, got, COMPARE):
            yield f"this block:\n\n{block.code}\nshows:\n{block.output}\nbut prints:\n{got}"


def unknown_targets(text, makefile):
    """Return the `make X` of bash blocks and of inline code that the Makefile does not have."""
    commands = [found["body"] for found in BLOCK.finditer(text) if found["language"] in {"bash", "sh", "console"}]
    commands += re.findall(r"(?<!`)`([^`\n]+)`(?!`)", text)
    named = set()
    for call in re.findall(r"^\s*(?:\$ )?make[ \t]+([^#&|;\n]+)", "\n".join(commands), re.MULTILINE):
        named |= {word for word in call.split() if re.fullmatch(r"[a-z][\w-]*", word)}
    return named - set(re.findall(r"^([a-z][\w-]*):", makefile, re.MULTILINE))


PAGES = [path.relative_to(ROOT).as_posix() for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))]
EXECUTED = [page for page in PAGES if python_blocks((ROOT / page).read_text("utf-8"))]


def test_readme_and_guide_are_executed():
    assert "README.md" in EXECUTED
    assert [page for page in EXECUTED if page.startswith("docs/guide/")]


@pytest.mark.parametrize("page", EXECUTED)
def test_blocks_run_and_print_what_is_shown(page, tmp_path, request):
    blocks = python_blocks((ROOT / page).read_text("utf-8"))
    if any(block.needs_images for block in blocks):
        try:
            request.getfixturevalue("mnist")
        except pytest.skip.Exception:
            blocks = [block for block in blocks if not block.needs_images]
    wrong = list(differences(blocks, run_blocks(blocks, tmp_path, ROOT / page)))
    assert not wrong, "\n\n".join(wrong)


@pytest.mark.parametrize("page", PAGES)
def test_named_make_targets_exist(page):
    assert unknown_targets((ROOT / page).read_text("utf-8"), (ROOT / "Makefile").read_text("utf-8")) == set()


SAMPLE = """\
# Sample

```python
class Kept: ...
print("first", 1)
```

```text
first ...
```

<!-- needs mnist -->
```python
import pickle
pickle.dumps(Kept())
print("second")
```
words between
```text
not its output
```

```bash
make test lint  # make nothing
$ make demo
```
and `make readme`, and `make sense` of it.
"""


def test_sample_is_read_and_runs(tmp_path):
    blocks = python_blocks(SAMPLE)
    assert [block.output for block in blocks] == ["first ...\n", None]
    assert [block.needs_images for block in blocks] == [False, True]
    assert [SAMPLE.splitlines()[block.line] for block in blocks] == ["class Kept: ...", "import pickle"]
    printed = run_blocks(blocks, tmp_path)
    assert printed == ["first 1\n", "second\n"]
    assert list(differences(blocks, printed)) == []
    assert len(list(differences(blocks, ["second 1\n", "second\n"]))) == 1


@pytest.mark.parametrize("mistake", ["raise KeyError('lost')", "import warnings; warnings.warn('careful')", "print(1"])
def test_failing_block_is_shown(mistake, tmp_path):
    blocks = python_blocks(f"```python\ngood = 1\n```\n\n```python\nbad = good\n{mistake}\n```\n")
    with pytest.raises(AssertionError) as failure:
        run_blocks(blocks, tmp_path)
    assert f"bad = good\n{mistake}" in str(failure.value)
    assert "line 7" in str(failure.value)
    assert "good = 1" not in str(failure.value)


def test_missing_target_is_named():
    assert unknown_targets(SAMPLE, "test: x\nlint:\ndemo: y\nreadme:\n") == {"sense"}
    assert unknown_targets(SAMPLE, "test: x\nlint:\nsense:\nreadme:\n") == {"demo"}

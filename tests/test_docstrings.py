"""What users may import is documented: completely, with examples that run and defaults that are the real ones."""

import ast
import doctest
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest
from numpydoc.docscrape import NumpyDocString
from numpydoc.validate import validate

import sknn
import sknn.callbacks
import sknn.datasets
import sknn.inspection
import sknn.model_selection
import sknn.modules

IGNORED = {
    "ES01",  # a summary may be all that there is to say
    "SA01",  # and nothing else to see
    "EX01",  # examples are asked of classes, below
    "GL01",  # where the summary starts, blank lines and closing quotes are ruff's
    "GL02",
    "GL03",
    "RT02",  # scikit-learn names what it returns: `y : ndarray of shape (n_samples,)`
}
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def public_objects():
    """Return {dotted name: object} of public classes and functions and of the methods that sknn gives them."""
    found = {}
    for module in (sknn, sknn.callbacks, sknn.datasets, sknn.inspection, sknn.model_selection, sknn.modules):
        for name, value in public_names(module):
            found.setdefault(value, f"{module.__name__}.{name}")
    objects = {name: value for value, name in found.items()}
    for name, value in list(objects.items()):
        if inspect.isclass(value):
            objects |= {f"{name}.{attribute}": method for attribute, method in public_methods(value)}
    return objects


def public_names(module):
    names = getattr(module, "__all__", None) or [name for name in vars(module) if not name.startswith("_")]
    for name in names:
        value = getattr(module, name)
        if (inspect.isroutine(value) or inspect.isclass(value)) and is_ours(value):
            yield name, value


def public_methods(owner):
    for name in dir(owner):
        value = getattr(owner, name, None)
        if not name.startswith("_") and inspect.isroutine(value) and is_ours(value):
            yield name, value


def is_ours(value):
    # What a base class of scikit-learn or torch brings along is documented there.
    return (getattr(inspect.unwrap(value), "__module__", None) or "").split(".")[0] == "sknn"


API_PAGE = Path(__file__).resolve().parents[1] / "docs" / "api.md"
PUBLIC = public_objects()
CLASSES = [name for name, value in PUBLIC.items() if inspect.isclass(value)]


def wrong_defaults(value):
    """Yield a message for every parameter whose documented default is missing or not the signature's."""
    try:
        parameters = inspect.signature(value).parameters
    except ValueError:  # a class without a signature of its own
        return
    documented = {}
    sections = NumpyDocString(inspect.getdoc(value) or "")
    for parameter in sections["Parameters"] + sections["Other Parameters"]:
        documented |= {name.strip(): parameter.type for name in parameter.name.split(",")}
    for name, parameter in parameters.items():
        if name not in documented:  # numpydoc's PR01
            continue
        stated = re.search(r"default\s*[=:]?\s*(.+)$", documented[name])
        if parameter.default is inspect.Parameter.empty:
            if stated:
                yield f"{name}: has no default, but {stated[0]!r} is documented"
        elif not stated:
            yield f"{name}: default={parameter.default!r} is not documented"
        elif not same(stated[1].strip(), parameter.default):
            yield f"{name}: the default is {parameter.default!r}, but {stated[0]!r} is documented"


def same(stated, default):
    try:
        value = ast.literal_eval(stated.strip("`"))
    except (ValueError, SyntaxError):
        return stated.strip("`") == repr(default)
    return value == default and type(value) is type(default)


class ExampleFinder(doctest.DocTestFinder):
    """Finds examples of decorated functions too."""

    def _from_module(self, module, object):
        # doctest compares globals, which are the decorator's; functools.wraps keeps the name of the module.
        value = object.fget if isinstance(object, property) else inspect.unwrap(object)
        return getattr(value, "__module__", None) == module.__name__


def examples():
    finder = ExampleFinder(exclude_empty=True)
    for info in pkgutil.walk_packages(sknn.__path__, "sknn."):
        yield from (found for found in finder.find(importlib.import_module(info.name)) if found.examples)
    yield from (found for found in finder.find(sknn) if found.examples)


def errors(name):
    return [f"{code} {message}" for code, message in validate(name)["errors"] if code not in IGNORED]


@pytest.mark.parametrize("name", PUBLIC)
def test_docstring_is_complete(name):
    found = errors(name)
    assert not found, f"{name}:\n" + "\n".join(found)


@pytest.mark.parametrize("name", PUBLIC)
def test_documented_defaults_are_real(name):
    found = list(wrong_defaults(PUBLIC[name]))
    assert not found, f"{name}:\n" + "\n".join(found)


@pytest.mark.parametrize("name", CLASSES)
def test_class_has_an_example(name):
    assert ">>> " in (inspect.getdoc(PUBLIC[name]) or ""), f"{name} shows no example"


@pytest.mark.parametrize("example", list(examples()), ids=lambda example: example.name)
def test_example_runs(example, tmp_path, monkeypatch):
    if example.name.endswith("TensorBoard"):
        pytest.importorskip("tensorboard")
    monkeypatch.chdir(tmp_path)
    report = []
    failed, _ = doctest.DocTestRunner(optionflags=OPTIONS).run(example, out=report.append)
    assert not failed, "".join(report)


def test_something_is_public():
    assert sknn.__all__
    assert CLASSES
    assert set(sknn.__all__) <= set(dir(sknn))


def test_api_page_lists_every_public_name():
    listed = re.findall(r"^ +(sknn\.[\w.]+)$", API_PAGE.read_text("utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(name for name, value in PUBLIC.items() if "." not in value.__qualname__)


def sloppy(first, second=1, third="a", fourth=None, fifth=(1,)):
    """Documents its defaults badly.

    Parameters
    ----------
    first : int, default=3
        Has none.
    second : float, default=1.0
        Is an int.
    third : {"a", "b"}, default="b"
        Is the other one.
    fourth : int
        Says nothing.
    fifth : tuple, default=(1,)
        Is right.
    """
    return first


def test_bad_docstring_is_found():
    assert [message.split(":")[0] for message in wrong_defaults(sloppy)] == ["first", "second", "third", "fourth"]
    codes = {error.split()[0] for error in errors(f"{__name__}.sloppy")}
    assert codes == {"SS05", "RT01"}

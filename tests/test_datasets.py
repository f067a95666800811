"""IDX files are read or refused by name; the fetchers find them, or download them whole or not at all."""

import gzip
import hashlib
import inspect
import os
import re
import struct
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import get_data_home

from sknn import datasets
from sknn.datasets import fetch_fashion_mnist, fetch_mnist, read_idx

CODES = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}
SIZES = {"train": 60_000, "t10k": 10_000}
TEST_NAMES = ["t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"]
NAMES = ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", *TEST_NAMES]


def idx(array):
    """Return the array as the content of an IDX file."""
    head = struct.pack(f">4B{array.ndim}I", 0, 0, CODES[array.dtype.str[1:]], array.ndim, *array.shape)
    return head + array.astype(array.dtype.newbyteorder(">")).tobytes()


@pytest.fixture(scope="module")
def contents():
    """Return the contents of four files of the right shapes: pixel (0, 0) counts, labels are its last digit."""
    found = {}
    for part, n in SIZES.items():
        images = np.zeros((n, 28, 28), np.uint8)
        images[:, 0, 0] = np.arange(n) % 250
        found[f"{part}-images-idx3-ubyte"] = idx(images)
        found[f"{part}-labels-idx1-ubyte"] = idx(images[:, 0, 0] % 10)
    return found


@pytest.fixture(scope="module")
def packed(contents):
    return {name: gzip.compress(content, 1) for name, content in contents.items()}


@pytest.fixture(scope="module")
def home(packed, tmp_path_factory):
    """Return a folder that holds both sets."""
    home = tmp_path_factory.mktemp("home")
    for folder in ("mnist", "fashion-mnist"):
        put(home / folder, packed)
    return home


def put(folder, files, suffix=".gz"):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / f"{name}{suffix}").write_bytes(content)


@pytest.fixture(autouse=True)
def _no_home(monkeypatch, tmp_path):
    """Let no test find the real files or leave any."""
    monkeypatch.delenv("SKNN_DATA_HOME", raising=False)
    monkeypatch.delenv("SCIKIT_LEARN_DATA", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "user"))


# --- read_idx ---


@pytest.mark.parametrize("dtype", CODES)
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_every_dtype_is_read(dtype, pack, tmp_path):
    array = np.array([[0, 1, 2], [100, 7, 5]], dtype) - np.array(3, dtype)
    file = tmp_path / "any name"
    file.write_bytes(pack(idx(array)))
    for path in (file, str(file)):
        found = read_idx(path)
        np.testing.assert_array_equal(found, array, strict=True)
        assert found.dtype.isnative
        assert found.flags.writeable


@pytest.mark.parametrize("shape", [(), (0,), (2, 0, 3), (1, 1, 1, 2)])
def test_every_shape_is_read(shape, tmp_path):
    array = np.ones(shape, np.int16)
    (tmp_path / "file").write_bytes(idx(array))
    np.testing.assert_array_equal(read_idx(tmp_path / "file"), array, strict=True)


GOOD = idx(np.arange(3000, dtype=np.int32).reshape(30, 100))
PACKED = gzip.compress(GOOD)
BAD = {
    "empty": (b"", "not an IDX file"),
    "text": (b"<html>404</html>", "not an IDX file"),
    "wrong magic": (b"\1" + GOOD[1:], "not an IDX file"),
    "unknown dtype": (GOOD[:2] + b"\x0a" + GOOD[3:], "not an IDX file"),
    "header cut": (GOOD[:9], "truncated"),
    "data cut": (GOOD[:-1], r"truncated: shape \(30, 100\) of .*12000 bytes, but only 11999"),
    "no data": (GOOD[:12], "truncated"),
    "too long": (GOOD + b"\0", "wrong length"),
    "beyond numpy": (GOOD[:3] + b"\3" + b"\xff" * 12, "does not fit into memory"),
    "beyond memory": (GOOD[:3] + b"\3" + b"\0\x0f\xff\xff" * 3, "does not fit into memory|truncated"),
    "too many dimensions": (GOOD[:3] + b"\xff" + b"\0\0\0\1" * 255, "does not fit into memory"),
    "gzip cut": (PACKED[:-100], "truncated or corrupt gzip"),
    "gzip without checksum": (PACKED[:-8], "truncated or corrupt gzip"),
    "gzip cut in its header": (PACKED[:5], "truncated or corrupt gzip"),
    "gzip data damaged": (PACKED[:500] + b"\xff" * 100 + PACKED[600:], "truncated or corrupt gzip"),
    "gzip block of no type": (PACKED[:10] + b"\xff" + PACKED[11:], "truncated or corrupt gzip"),
    "gzip checksum damaged": (PACKED[:-8] + b"\0" * 4 + PACKED[-4:], "truncated or corrupt gzip"),
    "gzip with rubbish behind": (PACKED + b"rubbish", "truncated or corrupt gzip"),
    "gzip of text": (gzip.compress(b"text"), "not an IDX file"),
    "gzip of too little": (gzip.compress(GOOD[:-1]), "truncated"),
    "gzip of too much": (gzip.compress(GOOD + b"\0"), "wrong length"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_file_is_named(case, tmp_path):
    content, problem = BAD[case]
    file = tmp_path / "the-file.gz"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=problem) as caught:
        read_idx(file)
    assert str(file) in str(caught.value)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing-here"):
        read_idx(tmp_path / "nothing-here")


# --- what the fetchers return ---


@pytest.mark.parametrize("fetch", [fetch_mnist, fetch_fashion_mnist])
def test_all_is_train_then_test(fetch, home):
    bunch = fetch(home)
    assert (bunch.data.shape, bunch.data.dtype) == ((70_000, 784), np.uint8)
    assert (bunch.images.shape, bunch.images.dtype) == ((70_000, 28, 28), np.uint8)
    assert np.shares_memory(bunch.data, bunch.images)
    assert (bunch.target.shape, bunch.target.dtype) == ((70_000,), np.int64)
    assert bunch.frame is None
    assert len(bunch.target_names) == 10
    assert len(bunch.feature_names) == 784
    assert bunch.feature_names[29] == "pixel_1_1"
    assert "28 x 28" in bunch.DESCR
    for rows, n in ((slice(60_000), 60_000), (slice(60_000, None), 10_000)):
        np.testing.assert_array_equal(bunch.data[rows, 0], np.arange(n) % 250)
        np.testing.assert_array_equal(bunch.target[rows], np.arange(n) % 250 % 10)
    assert not bunch.data[:, 1:].any()


def test_names_index_by_target(home):
    assert fetch_mnist(home, subset="test").target_names.tolist() == list("0123456789")
    bunch = fetch_fashion_mnist(home, subset="test")
    assert bunch.target_names[bunch.target[:10]].tolist() == [
        *("t-shirt/top", "trouser", "pullover", "dress", "coat"),
        *("sandal", "shirt", "sneaker", "bag", "ankle boot"),
    ]


@pytest.mark.parametrize(("subset", "n"), [("train", 60_000), ("test", 10_000)])
def test_subset_needs_its_own_files_only(subset, n, packed, tmp_path):
    prefix = {"train": "train", "test": "t10k"}[subset]
    put(tmp_path / "mnist", {name: content for name, content in packed.items() if name.startswith(prefix)})
    X, y = fetch_mnist(tmp_path, subset=subset, return_X_y=True, download_if_missing=False)
    assert (X.shape, y.shape) == ((n, 784), (n,))
    with pytest.raises(FileNotFoundError, match="mnist"):
        fetch_mnist(tmp_path, download_if_missing=False)


def test_as_frame(home):
    bunch = fetch_mnist(home, subset="test", as_frame=True)
    assert isinstance(bunch.data, pd.DataFrame)
    assert isinstance(bunch.target, pd.Series)
    assert bunch.data.columns.tolist() == bunch.feature_names
    assert (bunch.data.dtypes == np.uint8).all()
    assert np.shares_memory(bunch.data.to_numpy(), bunch.images)
    assert bunch.target.name == "target"
    pd.testing.assert_frame_equal(bunch.frame, pd.concat([bunch.data, bunch.target], axis=1))
    X, y = fetch_mnist(home, subset="test", as_frame=True, return_X_y=True)
    pd.testing.assert_frame_equal(X, bunch.data)
    pd.testing.assert_series_equal(y, bunch.target)


def test_plain_files_are_read(contents, tmp_path):
    put(tmp_path / "mnist", {name: contents[name] for name in TEST_NAMES}, suffix="")
    X, y = fetch_mnist(tmp_path, subset="test", return_X_y=True, download_if_missing=False)
    np.testing.assert_array_equal(X[:, 0] % 10, y)


def test_fetchers_take_the_same():
    assert inspect.signature(fetch_mnist) == inspect.signature(fetch_fashion_mnist)


@pytest.mark.parametrize(
    "wrong",
    [
        {"data_home": 1},
        {"subset": "valid"},
        {"subset": None},
        {"return_X_y": "yes"},
        {"as_frame": "auto"},
        {"download_if_missing": 2},
        {"n_retries": -1},
        {"n_retries": 1.5},
        {"delay": -1.0},
    ],
    ids=str,
)
def test_wrong_parameter_is_named(wrong, home):
    with pytest.raises(ValueError, match=f"The '{next(iter(wrong))}' parameter of fetch_mnist must be"):
        fetch_mnist(**{"data_home": home} | wrong)


# --- where they look ---


def test_homes_in_order(monkeypatch, packed, tmp_path):
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path / "sklearn"))
    monkeypatch.setenv("SKNN_DATA_HOME", str(tmp_path / "env"))
    for chosen in ("explicit", "env", "sklearn"):
        folder = tmp_path / chosen / "mnist"
        with pytest.raises(FileNotFoundError, match=re.escape(f"into {folder},")):
            found_by(chosen, monkeypatch, tmp_path)
        put(folder, {name: packed[name] for name in TEST_NAMES})
        assert len(found_by(chosen, monkeypatch, tmp_path)) == 10_000


def found_by(chosen, monkeypatch, tmp_path):
    if chosen == "sklearn":
        monkeypatch.setenv("SKNN_DATA_HOME", "")  # as good as unset
    data_home = tmp_path / "explicit" if chosen == "explicit" else None
    return fetch_mnist(data_home, subset="test", download_if_missing=False).data


def test_last_home_is_that_of_sklearn(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        fetch_mnist(download_if_missing=False)
    assert not list(tmp_path.iterdir())  # a search leaves no folders
    assert f"into {os.path.join(get_data_home(), 'mnist')}," in str(caught.value)


def test_home_of_the_user_and_relative_paths(monkeypatch, packed, tmp_path):
    put(tmp_path / "user" / "data" / "mnist", {name: packed[name] for name in TEST_NAMES})
    monkeypatch.chdir(tmp_path / "user")
    for home in ("~/data", "data"):
        assert fetch_mnist(home, subset="test", download_if_missing=False).data.shape == (10_000, 784)


def test_folder_itself_only_if_asked_for_by_its_name(monkeypatch, home):
    assert len(fetch_mnist(home / "mnist", subset="test", download_if_missing=False).data) == 10_000
    assert len(fetch_fashion_mnist(home / "fashion-mnist", subset="test", download_if_missing=False).data) == 10_000
    for other, fetch in (("fashion-mnist", fetch_mnist), ("mnist", fetch_fashion_mnist)):
        with pytest.raises(FileNotFoundError):  # the names of the files are the same
            fetch(home / other, subset="test", download_if_missing=False)
    monkeypatch.setenv("SKNN_DATA_HOME", str(home / "mnist"))
    with pytest.raises(FileNotFoundError):
        fetch_mnist(subset="test", download_if_missing=False)


# --- files that are not what they should be ---


def spoil(contents, name, change):
    return {other: change(contents[other]) if other == name else contents[other] for other in TEST_NAMES}


@pytest.mark.parametrize(
    ("name", "change", "problem"),
    [
        (TEST_NAMES[0], lambda content: content[:-1], "truncated"),
        (TEST_NAMES[0], lambda content: gzip.compress(content, 1)[:-20], "truncated or corrupt gzip"),
        (TEST_NAMES[0], lambda content: idx(np.zeros((10_000, 28, 27), np.uint8)), r"\(10000, 28, 28\).*28, 27"),
        (TEST_NAMES[0], lambda content: idx(np.zeros((60_000, 28, 28), np.uint8)), r"\(10000, 28, 28\).*60000"),
        (TEST_NAMES[0], lambda content: idx(np.zeros(10_000, np.uint8)), r"\(10000, 28, 28\).*\(10000,\)"),
        (TEST_NAMES[0], lambda content: idx(np.zeros((10_000, 28, 28), np.int8)), "uint8.*int8"),
        (TEST_NAMES[1], lambda content: content + b"\0", "wrong length"),
        (TEST_NAMES[1], lambda content: content[:-1] + b"\x0a", "labels from 0 to 9, but holds 10"),
        (TEST_NAMES[1], lambda content: b"", "not an IDX file"),
    ],
)
def test_bad_file_of_a_set_is_named(name, change, problem, contents, tmp_path):
    put(tmp_path / "mnist", spoil(contents, name, change), suffix="")
    with pytest.raises(ValueError, match=problem) as caught:
        fetch_mnist(tmp_path, subset="test")
    assert str(tmp_path / "mnist" / name) in str(caught.value)


# --- downloads, from a real server ---


class Mirror:
    """Files that a server offers, and how it fails: a function of the number of the request."""

    def __init__(self, files):
        self.files = {f"/{name}.gz": content for name, content in files.items()}
        self.requests = []
        self.fails = lambda n: None  # -> None, a status, or "cut" for half the body
        self.together = None  # a barrier that answers wait at

    def answer(self, handler):
        self.requests.append(handler.path.strip("/").removesuffix(".gz"))
        failure = self.fails(len(self.requests))
        body = self.files[handler.path]
        handler.send_response(failure if isinstance(failure, int) else 200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        if self.together:
            self.together.wait(timeout=30)
        handler.wfile.write(body[: len(body) // 2] if failure == "cut" else body)


@contextmanager
def serving(mirror):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            mirror.answer(self)

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def mirror(contents, packed, monkeypatch):
    mirror = Mirror(packed)
    with serving(mirror) as url:
        use_mirror(monkeypatch, url, contents)
        yield mirror


def use_mirror(monkeypatch, url, contents):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    checksums = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    for key, dataset in datasets._DATASETS.items():
        monkeypatch.setitem(datasets._DATASETS, key, replace(dataset, mirror=url, checksums=checksums))


def files_below(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_missing_files_are_downloaded_once(mirror, packed, tmp_path):
    first = fetch_fashion_mnist(tmp_path / "new", subset="test")
    assert mirror.requests == TEST_NAMES
    assert files_below(tmp_path) == [f"new/fashion-mnist/{name}.gz" for name in TEST_NAMES]
    for name in TEST_NAMES:
        assert (tmp_path / "new" / "fashion-mnist" / f"{name}.gz").read_bytes() == packed[name]
    second = fetch_fashion_mnist(tmp_path / "new", subset="test")
    assert mirror.requests == TEST_NAMES
    np.testing.assert_array_equal(first.data, second.data)


def test_present_files_are_neither_downloaded_nor_checked(mirror, contents, tmp_path):
    mine = idx(np.ones(10_000, np.uint8))  # not of the official content
    put(tmp_path / "mnist", {TEST_NAMES[1]: mine}, suffix="")
    assert (fetch_mnist(tmp_path, subset="test").target == 1).all()
    assert mirror.requests == TEST_NAMES[:1]


def test_mirror_may_compress_otherwise(mirror, contents, tmp_path):
    mirror.files[f"/{TEST_NAMES[0]}.gz"] = gzip.compress(contents[TEST_NAMES[0]], 0)
    assert len(fetch_mnist(tmp_path, subset="test").data) == 10_000


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_downloaded_files_are_readable_as_any_other(mirror, tmp_path):
    fetch_mnist(tmp_path, subset="test")
    (tmp_path / "other").touch()
    modes = {path.stat().st_mode for path in [tmp_path / "other", *(tmp_path / "mnist").iterdir()]}
    assert len(modes) == 1


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (gzip.compress(idx(np.zeros(10_000, np.uint8))), "SHA-256"),
        (b"<html>Please log in to this network</html>", "SHA-256"),
        (gzip.compress(b"cut")[:-4], "corrupt gzip"),
        (b"", "SHA-256"),
    ],
    ids=["other content", "page", "corrupt", "empty"],
)
def test_wrong_content_leaves_no_file(body, problem, mirror, tmp_path):
    mirror.files[f"/{TEST_NAMES[1]}.gz"] = body
    with pytest.raises(OSError, match=problem) as caught:
        fetch_mnist(tmp_path, subset="test", delay=0)
    assert f"Put {TEST_NAMES[1]}.gz (from http" in str(caught.value)  # the other one is there
    assert files_below(tmp_path) == [f"mnist/{TEST_NAMES[0]}.gz"]
    assert mirror.requests == TEST_NAMES  # and was not asked for again


@pytest.mark.parametrize("failure", ["cut", 503])
def test_failed_transfer_is_tried_again(failure, mirror, tmp_path):
    mirror.fails = lambda n: failure if n <= 2 else None
    assert len(fetch_mnist(tmp_path, subset="test", n_retries=2, delay=0.01).data) == 10_000
    assert mirror.requests == [TEST_NAMES[0]] * 3 + [TEST_NAMES[1]]
    assert files_below(tmp_path) == [f"mnist/{name}.gz" for name in TEST_NAMES]


@pytest.mark.parametrize(("failure", "problem"), [("cut", "bytes early|IncompleteRead"), (404, "404")])
def test_failed_transfer_leaves_no_file(failure, problem, mirror, tmp_path):
    mirror.fails = lambda n: failure
    with pytest.raises(OSError, match=problem) as caught:
        fetch_mnist(tmp_path, subset="test", n_retries=1, delay=0)
    assert f"into {tmp_path / 'mnist'}, or" in str(caught.value)
    assert len(mirror.requests) == 2
    assert files_below(tmp_path) == []


def test_no_network_says_what_to_do(contents, monkeypatch, tmp_path):
    with serving(Mirror({})) as url:
        pass
    use_mirror(monkeypatch, url, contents)  # nobody listens there any more
    with pytest.raises(OSError, match="could not be downloaded") as caught:
        fetch_mnist(tmp_path / "new", n_retries=1, delay=0)
    for told in (*NAMES, url, str(tmp_path / "new" / "mnist"), "data_home", "SKNN_DATA_HOME"):
        assert told in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_folder_that_cannot_be_made_says_what_to_do(mirror, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="SKNN_DATA_HOME"):
        fetch_mnist(tmp_path / "file", subset="test")


def test_simultaneous_downloads_leave_one_good_file(mirror, packed, tmp_path):
    n = 4
    mirror.together = threading.Barrier(n)  # all are in the middle of the same file at the same time
    with ThreadPoolExecutor(n) as pool:
        found = list(pool.map(lambda _: fetch_mnist(tmp_path, subset="test", n_retries=0).target.sum(), range(n)))
    assert len(set(found)) == 1
    assert len(mirror.requests) == 2 * n
    assert files_below(tmp_path) == [f"mnist/{name}.gz" for name in TEST_NAMES]
    for name in TEST_NAMES:
        assert (tmp_path / "mnist" / f"{name}.gz").read_bytes() == packed[name]


# --- the real images ---


def test_real_mnist_is_the_official_one(mnist):
    assert mnist.target[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert np.bincount(mnist.target[60_000:]).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    for part, rows in (("train", slice(60_000)), ("t10k", slice(60_000, None))):
        for kind, array in (("images-idx3", mnist.images), ("labels-idx1", mnist.target.astype(np.uint8))):
            checksum = datasets._DATASETS["mnist"].checksums[f"{part}-{kind}-ubyte"]
            assert hashlib.sha256(idx(array[rows])).hexdigest() == checksum

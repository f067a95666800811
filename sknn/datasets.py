"""MNIST and Fashion-MNIST as arrays, from IDX files that are downloaded where they are missing."""

import gzip
import hashlib
import os
import shutil
import struct
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from io import BufferedIOBase
from numbers import Integral, Real
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import urlopen
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch
from sklearn.utils._param_validation import Interval, StrOptions, validate_params

__all__ = ["fetch_fashion_mnist", "fetch_mnist", "read_idx"]

_PARAMETERS = {
    "data_home": [str, os.PathLike, None],
    "subset": [StrOptions({"train", "test", "all"})],
    **{flag: ["boolean"] for flag in ("return_X_y", "as_frame", "download_if_missing")},
    "n_retries": [Interval(Integral, 0, None, closed="left")],
    "delay": [Interval(Real, 0, None, closed="left")],
}


@validate_params(_PARAMETERS, prefer_skip_nested_validation=True)
def fetch_mnist(
    data_home: str | os.PathLike[str] | None = None,
    *,
    subset: str = "all",
    return_X_y: bool = False,
    as_frame: bool = False,
    download_if_missing: bool = True,
    n_retries: int = 3,
    delay: float = 1.0,
) -> Any:
    """Load MNIST: 70,000 images of handwritten digits, 28 x 28 pixels, 10 classes.

    The four IDX files, compressed (.gz) or plain, are read from the folder `mnist` in `data_home`. Missing ones are
    downloaded into it and checked by SHA-256.

    Parameters
    ----------
    data_home : str or path-like, default=None
        Folder that holds the folder `mnist`; a path that ends in `mnist` may also hold the files itself. None is the
        environment variable `SKNN_DATA_HOME`, else scikit-learn's data folder.
    subset : {"train", "test", "all"}, default="all"
        Images to load. "all" is the 60,000 of "train", rows `[:60000]`, then the 10,000 of "test", rows `[60000:]`.
    return_X_y : bool, default=False
        Whether to return `(data, target)` instead of a Bunch.
    as_frame : bool, default=False
        Whether `data` is a pandas DataFrame and `target` a Series.
    download_if_missing : bool, default=True
        Whether to download missing files, or to raise FileNotFoundError.
    n_retries : int, default=3
        How often to try again after a network error.
    delay : float, default=1.0
        Seconds between two tries.

    Returns
    -------
    dataset : :class:`~sklearn.utils.Bunch`
        Dictionary-like object with these attributes, or `(data, target)` where `return_X_y` is True.

        data : ndarray of shape (70000, 784), uint8, or DataFrame
            One image per row, its pixels row by row: 0 is background, 255 is ink.
        target : ndarray of shape (70000,), int64, or Series
            The classes, 0 to 9.
        images : ndarray of shape (70000, 28, 28), uint8
            The same pixels, sharing memory with `data`.
        feature_names : list of str
            "pixel_0_0" to "pixel_27_27": row and column.
        target_names : ndarray of shape (10,)
            The classes as text: `target_names[target]`.
        frame : DataFrame of shape (70000, 785) or None
            `data` and `target`, where `as_frame` is True.
        DESCR : str
            Description of the images.

    Raises
    ------
    OSError
        If files are missing, and not to be downloaded or not to be had. The message says what to put where.
    ValueError
        If a file is truncated, corrupt or of another shape. The message names it.

    Examples
    --------
    >>> from sknn.datasets import fetch_mnist
    >>> X, y = fetch_mnist(subset="train", return_X_y=True)  # doctest: +SKIP
    >>> X.shape, y[:5]  # doctest: +SKIP
    ((60000, 784), array([5, 0, 4, 1, 9]))
    """
    paths = _paths(_DATASETS["mnist"], data_home, subset, download_if_missing, n_retries, delay)
    return _load(_DATASETS["mnist"], paths, subset, return_X_y, as_frame)


@validate_params(_PARAMETERS, prefer_skip_nested_validation=True)
def fetch_fashion_mnist(
    data_home: str | os.PathLike[str] | None = None,
    *,
    subset: str = "all",
    return_X_y: bool = False,
    as_frame: bool = False,
    download_if_missing: bool = True,
    n_retries: int = 3,
    delay: float = 1.0,
) -> Any:
    """Load Fashion-MNIST: 70,000 images of clothing, 28 x 28 pixels, 10 classes.

    As `fetch_mnist` with other images, which are read from and downloaded into the folder `fashion-mnist`.

    Parameters
    ----------
    data_home : str or path-like, default=None
        Folder that holds the folder `fashion-mnist`; a path that ends in `fashion-mnist` may also hold the files
        itself. None is the environment variable `SKNN_DATA_HOME`, else scikit-learn's data folder.
    subset : {"train", "test", "all"}, default="all"
        Images to load. "all" is the 60,000 of "train", rows `[:60000]`, then the 10,000 of "test", rows `[60000:]`.
    return_X_y : bool, default=False
        Whether to return `(data, target)` instead of a Bunch.
    as_frame : bool, default=False
        Whether `data` is a pandas DataFrame and `target` a Series.
    download_if_missing : bool, default=True
        Whether to download missing files, or to raise FileNotFoundError.
    n_retries : int, default=3
        How often to try again after a network error.
    delay : float, default=1.0
        Seconds between two tries.

    Returns
    -------
    dataset : :class:`~sklearn.utils.Bunch`
        As from `fetch_mnist`. The classes' names are "t-shirt/top", "trouser", "pullover", "dress", "coat", "sandal",
        "shirt", "sneaker", "bag" and "ankle boot".

    Raises
    ------
    OSError, ValueError
        As from `fetch_mnist`.

    Examples
    --------
    >>> from sknn.datasets import fetch_fashion_mnist
    >>> fashion = fetch_fashion_mnist(subset="test")  # doctest: +SKIP
    >>> fashion.target_names[fashion.target[:3]]  # doctest: +SKIP
    array(['ankle boot', 'pullover', 'trouser'], dtype='<U11')
    """
    paths = _paths(_DATASETS["fashion-mnist"], data_home, subset, download_if_missing, n_retries, delay)
    return _load(_DATASETS["fashion-mnist"], paths, subset, return_X_y, as_frame)


def _paths(
    dataset: "_Dataset", data_home: Any, subset: str, download_if_missing: bool, n_retries: int, delay: float
) -> list[Path]:
    """Return the paths of images and labels, part by part, after the download of what is missing."""
    folder = _folder(dataset, data_home)
    names = [name for part in _SUBSETS[subset] for name in part[1:]]
    missing = [name for name in names if _find(folder, name) is None]
    if missing and not download_if_missing:
        raise FileNotFoundError(f"{dataset.title} was not found. {_advice(dataset, folder, missing)}")
    for i, name in enumerate(missing):
        try:
            _download(f"{dataset.mirror}{name}.gz", folder / f"{name}.gz", dataset.checksums[name], n_retries, delay)
        except (OSError, HTTPException, ValueError) as error:
            advice = _advice(dataset, folder, missing[i:])
            raise OSError(f"{name}.gz could not be downloaded: {error}. {advice}") from error
    return [_find(folder, name) or folder / name for name in names]


def _folder(dataset: "_Dataset", data_home: str | os.PathLike[str] | None) -> Path:
    """Return where to read and to download: a folder with the set's name, as both sets have the same file names."""
    # What scikit-learn's get_data_home returns; but that also creates the folder, asked for or not.
    default = os.environ.get("SKNN_DATA_HOME") or os.environ.get("SCIKIT_LEARN_DATA", "~/scikit_learn_data")
    home = Path(default if data_home is None else data_home).expanduser().absolute()
    folders = [home / dataset.title.lower()]
    if data_home is not None and home.name == folders[0].name:
        folders.append(home)
    return next((folder for folder in folders if any(_find(folder, name) for name in dataset.checksums)), folders[0])


def _find(folder: Path, name: str) -> Path | None:
    # Compressed first: gzip detects damage.
    return next((path for path in (folder / f"{name}.gz", folder / name) if path.is_file()), None)


def _advice(dataset: "_Dataset", folder: Path, missing: list[str]) -> str:
    return (
        f"Put {', '.join(f'{name}.gz' for name in missing)} (from {dataset.mirror}; or unpacked, without .gz) into "
        f"{folder}, or name the folder that holds {folder.name}/ by data_home or SKNN_DATA_HOME."
    )


def _download(url: str, path: Path, checksum: str, n_retries: int, delay: float) -> None:
    for n_left in reversed(range(n_retries + 1)):
        try:
            return _download_once(url, path, checksum)
        except (URLError, HTTPException, ConnectionError, TimeoutError) as error:
            if isinstance(error, HTTPError):
                error.close()  # it holds the connection
            if n_left == 0:
                raise
            time.sleep(delay)


def _download_once(url: str, path: Path, checksum: str) -> None:
    """Let the file appear when it is whole and right; where several processes do so at once, the last wins."""
    with urlopen(url, timeout=30) as response:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{uuid4().hex}.part")
        try:
            # Not by tempfile: its files are for their owner alone, and data folders are shared.
            with open(partial, "xb") as file:
                shutil.copyfileobj(response, file)
            if response.length:
                raise ConnectionError(f"{url} ended {response.length} bytes early")
            # Mirrors may compress differently what has to be the same.
            with _decompressed(partial) as stream:
                found = hashlib.file_digest(stream, "sha256").hexdigest()
            if found != checksum:
                raise OSError(f"the content of {url} has the SHA-256 {found}, the official one has {checksum}")
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)


def _load(dataset: "_Dataset", paths: list[Path], subset: str, return_X_y: bool, as_frame: bool) -> Any:
    sizes = [size for size, *_ in _SUBSETS[subset]]
    data, labels = np.empty((sum(sizes), 784), np.uint8), np.empty(sum(sizes), np.uint8)
    images = data.reshape(-1, 28, 28)
    start = 0
    for size, of_images, of_labels in zip(sizes, paths[::2], paths[1::2], strict=True):
        rows = slice(start, start + size)
        _read_into(images[rows], of_images)
        _read_into(labels[rows], of_labels)
        if labels[rows].max() > 9:
            raise ValueError(f"{of_labels} should hold labels from 0 to 9, but holds {labels[rows].max()}.")
        start += size
    feature_names = [f"pixel_{row}_{column}" for row in range(28) for column in range(28)]
    X, y, frame = data, labels.astype(np.int64), None
    if as_frame:
        X, y, frame = _as_frame(X, y, feature_names)
    if return_X_y:
        return X, y
    bunch = Bunch(data=X, target=y, frame=frame, images=images, feature_names=feature_names)
    description = f"{dataset.title}: {len(y)} images of {dataset.content}, 28 x 28 pixels. {dataset.reference}."
    return Bunch(**bunch, target_names=np.array(dataset.target_names), DESCR=description)


def _as_frame(data: NDArray[np.uint8], target: NDArray[np.int64], feature_names: list[str]) -> tuple[Any, Any, Any]:
    import pandas as pd

    X = pd.DataFrame(data, columns=feature_names, copy=False)
    y = pd.Series(target, name="target", copy=False)
    frame = X.copy(deep=False)  # `concat` and `assign` would copy the pixels
    frame["target"] = y
    return X, y, frame


def _read_into(array: NDArray[np.uint8], path: Path) -> None:
    with _decompressed(path) as stream:
        dtype, shape = _header(stream, path)
        if dtype != array.dtype or shape != array.shape:
            raise ValueError(f"{path} should hold {array.dtype} of shape {array.shape}, but holds {dtype} of {shape}.")
        _fill(array, stream, path)


@validate_params({"path": [str, os.PathLike]}, prefer_skip_nested_validation=True)
def read_idx(path: str | os.PathLike[str]) -> NDArray[Any]:
    """Read an IDX file, the format in which MNIST is distributed.

    Parameters
    ----------
    path : str or path-like
        The file, compressed by gzip or not; its content decides, not its name.

    Returns
    -------
    array : ndarray
        Of the shape that the file states; uint8, int8, int16, int32, float32 or float64 in native byte order.

    Raises
    ------
    ValueError
        If it is not an IDX file, truncated, corrupt or too long. The message names it.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from sknn.datasets import read_idx
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "labels-idx1-ubyte")
    ...     n_bytes = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 5, 0, 4]))
    ...     read_idx(path)
    array([5, 0, 4], dtype=uint8)
    """
    with _decompressed(path) as stream:
        dtype, shape = _header(stream, path)
        try:
            array = np.empty(shape, dtype)
        except (ValueError, MemoryError) as error:
            raise ValueError(f"{path} states a shape of {shape}, which does not fit into memory: {error}.") from error
        _fill(array, stream, path)
    return array if array.dtype.isnative else array.byteswap(inplace=True).view(array.dtype.newbyteorder("="))


@contextmanager
def _decompressed(path: str | os.PathLike[str]) -> Iterator[BufferedIOBase]:
    with open(path, "rb") as raw:
        # Browsers unpack downloads and leave the name as it was.
        if raw.peek(2)[:2] != b"\x1f\x8b":
            yield raw
            return
        try:
            with gzip.GzipFile(fileobj=raw) as stream:
                yield stream
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"{path} is a truncated or corrupt gzip file: {error}") from error


def _header(stream: BufferedIOBase, path: str | os.PathLike[str]) -> tuple[np.dtype[Any], tuple[int, ...]]:
    magic = stream.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _DTYPES:
        expected = f"0, 0, one of {list(_DTYPES)} and the number of dimensions"
        raise ValueError(f"{path} is not an IDX file: its first bytes should be {expected}, but are {list(magic)}.")
    sizes = stream.read(4 * magic[3])
    if len(sizes) < 4 * magic[3]:
        raise ValueError(f"{path} is truncated: it ends before the sizes of its {magic[3]} dimensions.")
    return np.dtype(_DTYPES[magic[2]]), struct.unpack(f">{magic[3]}I", sizes)


def _fill(array: NDArray[Any], stream: BufferedIOBase, path: str | os.PathLike[str]) -> None:
    """Read exactly the array's bytes, in pieces: gzip makes a second copy of what it is asked for at once."""
    target = array.reshape(-1).view(np.uint8).data
    n_read = 0
    while n_read < len(target) and (n_new := stream.readinto(target[n_read : n_read + 2**20])):
        n_read += n_new
    stated = f"shape {array.shape} of {array.dtype} takes {len(target)} bytes"
    if n_read < len(target):
        raise ValueError(f"{path} is truncated: {stated}, but only {n_read} follow the header.")
    if stream.read(1):  # at the end, gzip compares its own checksum
        raise ValueError(f"{path} has the wrong length: {stated}, but more follow the header.")


@dataclass(frozen=True)
class _Dataset:
    title: str  # in lower case, also the name of its folder
    mirror: str
    target_names: tuple[str, ...]
    content: str
    reference: str
    checksums: dict[str, str]  # SHA-256 of the decompressed content


_DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_TRAIN = (60_000, "train-images-idx3-ubyte", "train-labels-idx1-ubyte")
_TEST = (10_000, "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
_SUBSETS = {"train": [_TRAIN], "test": [_TEST], "all": [_TRAIN, _TEST]}
_CLOTHES = ("t-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
_DATASETS = {
    "mnist": _Dataset(
        title="MNIST",
        mirror="https://ossci-datasets.s3.amazonaws.com/mnist/",
        target_names=tuple("0123456789"),
        content="handwritten digits",
        reference="Y. LeCun et al.: Gradient-based learning applied to document recognition, Proc. IEEE, 1998",
        checksums={
            "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        },
    ),
    "fashion-mnist": _Dataset(
        title="Fashion-MNIST",
        mirror="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        target_names=_CLOTHES,
        content="clothing",
        reference="H. Xiao et al.: Fashion-MNIST, a novel image dataset for benchmarking, arXiv:1708.07747, 2017",
        checksums={
            "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        },
    ),
}

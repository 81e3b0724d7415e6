"""Fitted models in files from which nothing is executed."""

import inspect
import os
from typing import IO, Any, Literal

import numpy as np
import scipy
import sklearn

import skfm
from skfm import baselines, preprocessing
from skfm._utils.archive import reading, write
from skfm._utils.callbacks import without_callbacks
from skfm._utils.estimator import VersionedEstimator, is_fitted
from skfm._utils.messages import shown
from skfm._utils.parameters import NONE, Options, check_parameter
from skfm._utils.plain_state import from_plain, to_plain
from skfm._utils.values import Decoder, Encoder
from skfm._utils.warnings import warn
from skfm._version import __version__
from skfm.exceptions import InconsistentVersionError
from skfm.preprocessing._index_encoder import IndexEncoder

FORMAT = "skfm model"
FORMAT_VERSION = 1
# The classes that files may name.
CLASSES = {
    f"{module.__name__}.{name}": getattr(module, name)
    for module in (skfm, preprocessing, baselines)
    for name in module.__all__
    if inspect.isclass(getattr(module, name))
} | {"skfm.streams.IndexEncoder": IndexEncoder}


def save_model(model: Any, file: str | os.PathLike[str] | IO[bytes]) -> None:
    """Save a fitted estimator to a file from which nothing is executed when it is loaded.

    The file is an uncompressed ``.npz`` archive of arrays with metadata in JSON. It contains the
    parameters of the estimator and everything that a fit has stored, so the loaded estimator gives
    the same predictions, bit for bit, and continues training in the same way.

    Parameters
    ----------
    model : estimator of skfm
        A factorization machine, a recommender or an encoder. Save the steps of a pipeline
        separately.
    file : path or binary file object
        The file to write. A file that exists is replaced when the new one is complete. The name is
        used as it is: no suffix is added.

    Raises
    ------
    TypeError
        If `model` is not exactly one of skfm's estimators, for example a pipeline or a subclass;
        or if a parameter, label or id has a type that cannot be stored. The error names it.
        Supported are None, booleans, numbers, strings, bytes, dates, durations and datetimes
        (without a time zone or with a fixed offset), lists, tuples, sets and dictionaries of
        these, arrays, and sparse matrices in CSR or CSC format.

    Warns
    -----
    UserWarning
        If a parameter is a function, such as `callback`: the loaded estimator has the default
        instead. Callbacks of scikit-learn (`set_callbacks`) are not saved, either.

    See Also
    --------
    load_model : Load the file.

    Examples
    --------
    >>> import io
    >>> import numpy as np
    >>> from skfm import FMRegressor
    >>> from skfm.datasets import make_fm_regression
    >>> from skfm.io import load_model, save_model
    >>> X, y = make_fm_regression(1000, random_state=0)
    >>> model = FMRegressor(random_state=0).fit(X, y)
    >>> file = io.BytesIO()  # or a path, such as "model.npz"
    >>> save_model(model, file)
    >>> np.array_equal(load_model(file).predict(X), model.predict(X))
    True
    """
    name = _name_of(type(model))
    bare = without_callbacks(model)
    if bare is not model:
        warn("save_model does not save callbacks; set them again after loading.", UserWarning)
    state = bare.__getstate__()
    parameters = {key: value for key, value in state.items() if not is_fitted(key)}
    fitted = {key: value for key, value in state.items() if is_fitted(key)}
    encoder = Encoder()
    metadata = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "class": name,
        "versions": {
            "skfm": __version__,
            "numpy": np.__version__,
            "scipy": scipy.__version__,
            "scikit-learn": sklearn.__version__,
        },
        "parameters": encoder.encode(
            to_plain(_without_functions(type(model), parameters)), ("parameters",)
        ),
        "state": encoder.encode(fitted, ("state",)),
    }
    write(file, metadata, encoder.arrays)


def _name_of(cls):
    for name, known in CLASSES.items():
        if cls is known:
            return name
    of_ours = issubclass(cls, VersionedEstimator)
    remedy = (
        "Save subclasses with pickle, joblib or skops."
        if of_ours
        else "Save pipelines and other estimators with pickle, joblib or skops, or save the steps "
        "of skfm separately."
    )
    raise TypeError(
        f"save_model only saves the estimators of skfm: {', '.join(CLASSES)}; got an object of "
        f"type {cls.__module__}.{cls.__qualname__}. {remedy}"
    )


def _without_functions(cls, parameters):
    """The parameters with the defaults of those that are functions, after a warning."""
    kept = dict(parameters)
    for name, parameter in inspect.signature(cls).parameters.items():
        value = kept.get(name)
        if callable(value) and not inspect.isclass(value):
            kept[name] = parameter.default
            warn(
                f"save_model does not save functions: the loaded {cls.__name__} has "
                f"{name}={parameter.default!r} instead of {shown(value)}. Set it again after "
                "loading if you train further.",
                UserWarning,
            )
    return kept


def load_model(
    file: str | os.PathLike[str] | IO[bytes], mmap_mode: Literal["r", "c"] | None = None
) -> Any:
    """Load an estimator from a file of :func:`save_model`.

    Nothing in the file is executed, and no class is imported by name: the file consists of arrays
    and JSON, and its class must be an estimator of skfm.

    Parameters
    ----------
    file : path or binary file object
        The file to read. File objects must be seekable.
    mmap_mode : {"r", "c"}, default=None
        Map the arrays from the file instead of reading them; `file` must be a path. Processes that
        map the same file share its memory. With "r", the arrays are read-only. With "c", changes
        stay in the memory of the process. See :class:`numpy.memmap`.

    Returns
    -------
    model : estimator
        The fitted estimator.

    Raises
    ------
    ValueError
        If the file was not written by :func:`save_model`, or is truncated or damaged. The
        checksums of arrays are compared when they are read, not when they are mapped.
    InconsistentVersionError
        If the file was written in a format that this version of skfm does not know. It is a
        ValueError.

    Warns
    -----
    InconsistentVersionWarning
        If the file was written by another version of skfm.

    See Also
    --------
    save_model : Save an estimator.

    Examples
    --------
    Map the arrays of a model from its file:

    >>> import os, tempfile
    >>> import numpy as np
    >>> from skfm import MFRecommender
    >>> from skfm.io import load_model, save_model
    >>> ratings = np.array([[5, 4, 0], [4, 0, 1], [0, 2, 5]])
    >>> model = MFRecommender(1, random_state=0).fit(ratings)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_model(model, os.path.join(folder, "model.npz"))
    ...     mapped = load_model(os.path.join(folder, "model.npz"), mmap_mode="r")
    ...     print(np.array_equal(mapped.transform(ratings), model.transform(ratings)))
    True
    """
    check_parameter(mmap_mode, "mmap_mode", Options("r", "c"), NONE)
    with reading(file, mmap_mode) as reader:
        metadata = reader.metadata()
        if metadata["format"] != FORMAT:
            raise ValueError(f"its format is {metadata['format']!r}")
        version = metadata["format_version"]
        if version > FORMAT_VERSION:
            raise InconsistentVersionError(
                f"{'The file' if hasattr(file, 'read') else os.fspath(file)} has format version "
                f"{version} of skfm {metadata['versions']['skfm']}; skfm {__version__} reads "
                f"versions up to {FORMAT_VERSION}. Update skfm."
            )
        decoder = Decoder(reader.array)
        parameters = from_plain(decoder.decode(metadata["parameters"]))
        fitted = decoder.decode(metadata["state"])
        cls = CLASSES[metadata["class"]]
        model = cls.__new__(cls)
        model.__setstate__(parameters | fitted)
    return model

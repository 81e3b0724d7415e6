"""Public signatures have types, and type checkers find mistakes with them."""

import inspect
import os
import re
import subprocess
import sys
import typing
from pathlib import Path

import pytest
from sklearn.base import BaseEstimator

import skfm
from skfm import (
    baselines,
    datasets,
    exceptions,
    inspection,
    metrics,
    model_selection,
    preprocessing,
    recipes,
    streams,
)
from skfm._utils.parameters import Options

MODULES = (
    skfm,
    baselines,
    datasets,
    exceptions,
    inspection,
    metrics,
    model_selection,
    preprocessing,
    recipes,
    streams,
)
SCRIPT = Path(__file__).with_name("typed_script.py")
OPTIONS = (
    "--config-file=",  # not the settings of this repository
    f"--cache-dir={os.devnull}",
    "--ignore-missing-imports",
    "--follow-imports=silent",
)


def public_callables():
    """Functions, and methods of classes that are ours, by the name under which users know them."""
    for one in (getattr(module, name) for module in MODULES for name in module.__all__):
        if not inspect.isclass(one):
            yield one.__name__, one
            continue
        for name, member in inspect.getmembers(one, inspect.isfunction):
            is_public = name in ("__init__", "__call__") or not name.startswith("_")
            if is_public and member.__module__.startswith("skfm"):
                yield f"{one.__name__}.{name}", member


CALLABLES = dict(public_callables())
ESTIMATORS = [
    one
    for module in (skfm, preprocessing, baselines)
    for one in (getattr(module, name) for name in module.__all__)
    if inspect.isclass(one) and issubclass(one, BaseEstimator) and one._constraints
]


@pytest.mark.parametrize("name", CALLABLES)
def test_signature_has_types(name):
    function = inspect.unwrap(CALLABLES[name])
    hints = typing.get_type_hints(function)
    parameters = [name for name in inspect.signature(function).parameters if name != "self"]
    assert set(hints) == {*parameters, "return"}


def options_of(estimator):
    """The strings that each parameter may be, by its constraints."""
    for name, constraints in estimator._constraints.items():
        lists = [one.options for one in constraints if isinstance(one, Options)]
        if lists:
            yield name, set().union(*lists)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_the_options_of_parameters_are_in_signature_and_docstring(estimator):
    hints = typing.get_type_hints(estimator.__init__)
    for name, options in options_of(estimator):
        kinds = [hints[name], *typing.get_args(hints[name])]
        literals = [kind for kind in kinds if typing.get_origin(kind) is typing.Literal]
        assert {option for kind in literals for option in typing.get_args(kind)} == options
        described = re.search(rf"^    {name} : (.*?)^    \w+ : ", estimator.__doc__, re.M | re.S)[
            1
        ]
        assert set(re.findall(r'"(\w+)"', described)) >= options


@pytest.mark.full
def test_mypy_finds_the_mistakes_of_a_user():
    pytest.importorskip("mypy")
    package = str(Path(skfm.__file__).parents[1])
    found = subprocess.run(
        [sys.executable, "-m", "mypy", *OPTIONS, str(SCRIPT)],
        capture_output=True,
        text=True,
        env=os.environ | {"MYPYPATH": package},
    ).stdout
    lines = {int(line) for line in re.findall(r"typed_script\.py:(\d+): error", found)}
    script = SCRIPT.read_text(encoding="utf-8").splitlines()
    mistakes = {number for number, line in enumerate(script, 1) if line.endswith("# mistake")}
    assert lines == mistakes, found

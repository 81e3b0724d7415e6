"""Public signatures have types, and type checkers find mistakes with them."""

import inspect
import os
import re
import subprocess
import sys
import typing
from pathlib import Path

import pytest

import skfm
from skfm import datasets, exceptions, metrics, model_selection, preprocessing, recipes

MODULES = datasets, exceptions, metrics, model_selection, preprocessing, recipes
SCRIPT = Path(__file__).with_name("typed_script.py")
OPTIONS = (
    "--config-file=",  # not the settings of this repository
    f"--cache-dir={os.devnull}",
    "--ignore-missing-imports",
    "--follow-imports=silent",
)


def public_callables():
    """Functions, and the classes' own public methods, of all modules but the estimators'."""
    found = [skfm.compile_all, skfm.recommend]
    found += [getattr(module, name) for module in MODULES for name in module.__all__]
    for one in found:
        if inspect.isclass(one):
            for name, member in inspect.getmembers(one, inspect.isfunction):
                is_own = member.__module__.startswith("skfm") and name in vars(one)
                if is_own and (name in ("__init__", "__call__") or not name.startswith("_")):
                    yield member
        else:
            yield one


@pytest.mark.parametrize("function", list(public_callables()), ids=lambda one: one.__qualname__)
def test_signature_has_types(function):
    hints = typing.get_type_hints(function)
    parameters = [name for name in inspect.signature(function).parameters if name != "self"]
    assert set(hints) == {*parameters, "return"}


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

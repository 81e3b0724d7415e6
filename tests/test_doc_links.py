"""Links to the documentation in the HTML representation of estimators."""

import re
from pathlib import Path

import pytest

import skfm
from skfm import _version, baselines, preprocessing

ADDRESS = "https://docs.example/skfm"
API = Path(__file__).parents[1] / "docs" / "api.rst"
ESTIMATORS = {
    f"{module.__name__}.{name}": getattr(module, name)
    for module in (skfm, preprocessing, baselines)
    for name in module.__all__
    if hasattr(getattr(module, name), "get_params")
}


def documented_names():
    """Names with a page of their own, by `docs/api.rst`."""
    names, module = set(), None
    for line in API.read_text(encoding="utf-8").splitlines():
        if line.startswith(".. currentmodule:: "):
            module = line.split()[-1]
        elif re.fullmatch(r"   \w+", line):
            names.add(f"{module}.{line.strip()}")
    return names


@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_link_leads_to_the_page_of_the_estimator(name, monkeypatch):
    monkeypatch.setattr(_version, "DOCUMENTATION", ADDRESS)
    assert name in documented_names()
    assert f'href="{ADDRESS}/generated/{name}.html"' in ESTIMATORS[name]()._repr_html_()


@pytest.mark.parametrize("name", ESTIMATORS)
def test_there_is_no_link_without_an_address(name, monkeypatch):
    monkeypatch.setattr(_version, "DOCUMENTATION", "")
    assert "generated/" not in ESTIMATORS[name]()._repr_html_()


def test_estimators_of_others_have_no_link_to_our_documentation(monkeypatch):
    monkeypatch.setattr(_version, "DOCUMENTATION", ADDRESS)

    class Derived(skfm.FMRegressor):
        pass

    assert ADDRESS not in Derived()._repr_html_()

"""Settings of Sphinx. The build needs no network."""

from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

import skfm

project = "skfm"
author = "The skfm developers"
copyright = "2026, The skfm developers"
version = release = skfm.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
]
exclude_patterns = ["_build", "_templates"]
templates_path = ["_templates"]

# A class's page shows its own methods, not those which every estimator of scikit-learn has.
autosummary_context = {
    "everywhere": {*dir(BaseEstimator), *dir(ClassifierMixin), *dir(RegressorMixin)},
}
numpydoc_show_class_members = False

html_theme = "alabaster"
html_theme_options = {
    "description": "Factorization machines for scikit-learn",
    "fixed_sidebar": True,
}

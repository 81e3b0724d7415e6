"""Sphinx configuration.

By default, the build does not run the examples and needs no network. With ``-D plot_gallery=1``,
it runs them and shows their output; they download data and need faiss-cpu.
"""

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
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "_templates"]
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": "",
    "plot_gallery": False,
    "download_all_examples": False,
    "write_computation_times": False,
    "show_signature": False,
    "show_memory": False,
    "image_scrapers": (),  # nothing is plotted, and matplotlib not needed
    "reset_modules": (),
}
templates_path = ["_templates"]

# The page of a class shows its own methods, without those of all scikit-learn estimators.
autosummary_context = {
    "everywhere": {*dir(BaseEstimator), *dir(ClassifierMixin), *dir(RegressorMixin)},
}
numpydoc_show_class_members = False
autodoc_typehints = "none"  # the sections "Parameters" and "Returns" have them

html_theme = "alabaster"
html_theme_options = {
    "description": "Factorization machines for scikit-learn",
    "fixed_sidebar": True,
}

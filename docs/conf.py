"""Sphinx configuration; ``nox -s docs`` builds the site and checks its pages.

The examples run during the build. Those that need data from the network are shown without output
if the data cannot be downloaded; the end of the build says which they are. To build without
running any, pass ``-D plot_gallery=0``.
"""

import logging
import sys
from pathlib import Path

from docutils import nodes
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

import skfm
import skfm.datasets

sys.path.insert(0, str(Path(__file__).parent / "_ext"))
logging.getLogger("skfm").setLevel(logging.ERROR)  # that kernels are compiled is no output

project = "skfm"
author = "The skfm developers"
copyright = "2026, The skfm developers"
version = release = skfm.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "parameter_groups",
    "scrolling_tables",
]
exclude_patterns = ["_build", "_templates", "_ext"]
templates_path = ["_templates"]

# --- API pages ------------------------------------------------------------------------------

# The page of a class shows its own methods, without those of all scikit-learn estimators.
autosummary_context = {
    "everywhere": {*dir(BaseEstimator), *dir(ClassifierMixin), *dir(RegressorMixin)},
}
numpydoc_show_class_members = False
autodoc_typehints = "none"  # the sections "Parameters" and "Returns" have them

# --- Gallery --------------------------------------------------------------------------------

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"/plot_",
    "ignore_pattern": r"/(?!plot_)[^/]*\.py$",  # programs without a picture
    "download_all_examples": False,
    "write_computation_times": False,
    "show_signature": False,
    "show_memory": False,
    "within_subsection_order": "FileNameSortKey",
    "min_reported_time": 1,
    "reset_modules": ("matplotlib",),
    "thumbnail_size": (400, 280),
}

NEEDS_MOVIELENS = "fetch_movielens_100k("


def without_data():
    """Names of the examples whose data cannot be downloaded; they are shown without output."""
    examples = Path(__file__).parent.parent.glob("examples/plot_*.py")
    names = [path.stem for path in examples if NEEDS_MOVIELENS in path.read_text("utf-8")]
    try:
        skfm.datasets.fetch_movielens_100k()
    except Exception:  # whatever is wrong with the network, the build goes on
        return sorted(names)
    return []


def decide_what_runs(app, config):
    if str(config.plot_gallery) in ("0", "False"):
        return
    skipped = without_data()
    if skipped:
        config.sphinx_gallery_conf["filename_pattern"] = rf"/(?!{'|'.join(skipped)})plot_"
    app.connect("build-finished", lambda app, error: report(skipped))


def report(skipped):
    if skipped:
        print(f"Without MovieLens, these examples were not run: {', '.join(skipped)}.")


def unlink_metrics(app, doctree):
    """Show "NDCG@10" as text: docutils takes it for an address of mail."""
    for link in list(doctree.findall(nodes.reference)):
        if link.get("refuri", "").startswith("mailto:"):
            link.replace_self(nodes.Text(link.astext()))


def setup(app):
    app.connect("doctree-read", unlink_metrics)
    # Before the gallery, which reads its settings in the same event.
    app.connect("config-inited", decide_what_runs, priority=1)


# --- Pages ----------------------------------------------------------------------------------

html_theme = "pydata_sphinx_theme"
html_title = "skfm"
html_static_path = ["_static"]
html_css_files = ["skfm.css"]
html_logo = "_static/logo.svg"
html_favicon = "_static/logo.svg"
html_show_sourcelink = False
html_theme_options = {
    "logo": {"text": "skfm", "alt_text": "skfm"},
    "navbar_align": "left",
    "navbar_end": ["theme-switcher"],
    "header_links_before_dropdown": 6,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "show_prev_next": True,
    "navigation_with_keys": False,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
html_sidebars = {
    "index": [],
    "getting_started": [],
    "tasks/*": [],
    "coming_from": [],
    "benchmarks": [],
    "how_it_works": [],
}
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

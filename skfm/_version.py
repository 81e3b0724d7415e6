"""The version and the address of the documentation, without imports: `setup.py` reads both."""

__version__ = "0.1.0.dev0"
# The one place for it, without a slash at the end; while it is empty, estimators have no links.
DOCUMENTATION = ""

"""The version, where everything can read it: what is pickled carries it."""

__version__ = "0.1.0.dev0"

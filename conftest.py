"""Which modules pytest looks into for doctests."""

from importlib.util import find_spec

collect_ignore = [] if find_spec("skl2onnx") else ["skfm/onnx"]  # its modules import the package
if not find_spec("distributed"):
    collect_ignore += ["skfm/dask", "docs/dask.rst"]

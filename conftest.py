"""Which modules pytest looks into for doctests."""

from importlib.util import find_spec

collect_ignore = [] if find_spec("skl2onnx") else ["skfm/onnx"]  # its modules import the package

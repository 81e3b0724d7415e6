"""Converters to ONNX, for skl2onnx (the extra ``onnx``)."""

from skfm.onnx._register import register_converters

__all__ = ["register_converters"]

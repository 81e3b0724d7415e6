"""Nodes and constants of the ONNX graph of one estimator."""

import copy

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType

OLDEST_OPSET = 13  # since then, ReduceSum takes the axes as an input, and Softmax takes one axis
LARGEST_FILE = 2**31 - 2**20  # bytes that protobuf can write, less some for the nodes


class Graph:
    """The part of a graph that belongs to an operator of skl2onnx.

    ``graph(type, *inputs, **attributes)`` adds a node and returns the name of its result. Inputs
    are names or arrays. Arrays become constants, and floating-point numbers get the dtype of the
    graph: float64 if the input of the operator is, else float32.
    """

    def __init__(self, scope, operator, container):
        self._kind = type(operator.raw_operator).__name__  # for messages
        if container.target_opset < OLDEST_OPSET:
            raise ValueError(
                f"target_opset={container.target_opset} is too old to convert {self._kind}; "
                f"pass at least {OLDEST_OPSET}."
            )
        self._scope, self._container = scope, container
        kind = type(operator.inputs[0].type)
        self.dtype = np.dtype(np.float64 if kind is DoubleTensorType else np.float32)
        self.X = operator.inputs[0].full_name
        if kind not in (DoubleTensorType, FloatTensorType):
            self.X = self.cast(self.X, self.dtype)

    def __call__(self, op_type, *inputs, output=None, **attributes):
        names = [name if isinstance(name, str) else self._constant(name) for name in inputs]
        result = output or self._scope.get_unique_variable_name(op_type.lower())
        name = self._scope.get_unique_operator_name(op_type)
        self._container.add_node(op_type, names, result, name=name, **attributes)
        return result

    def in_float64(self):
        """The same graph with constants in float64."""
        other = copy.copy(self)
        other.dtype = np.dtype(np.float64)
        return other

    def cast(self, value, dtype):
        """A value in another dtype. Constants are stored in that of the graph all the same."""
        return self("Cast", value, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def sum(self, terms):
        """The sum of one or more values of the same shape."""
        return self("Sum", *terms) if len(terms) > 1 else terms[0]

    def columns(self, X, columns, n_columns):
        """Some of the columns of X, in ascending order.

        Columns side by side, such as those of a one-hot field, are a slice, which onnxruntime
        copies ten times as fast as columns that it gathers.
        """
        if columns.size == n_columns:
            return X
        first, last = columns[0], columns[-1] + 1
        if last - first == columns.size:
            return self("Slice", X, np.array([first]), np.array([last]), np.array([1]))
        return self("Gather", X, columns, axis=1)

    def sum_components(self, value, n_outputs, n_components):
        """Sums (n_rows, n_outputs) of values of shape (n_rows, n_outputs * n_components)."""
        shape = np.array([0, n_outputs, n_components])  # 0: as many rows as there are
        return self("ReduceSum", self("Reshape", value, shape), np.array([2]), keepdims=0)

    def _constant(self, values):
        values = np.asarray(values)
        name = self._scope.get_unique_variable_name("constant")
        if values.dtype.kind == "f":
            with np.errstate(over="ignore"):
                values = values.astype(self.dtype)
            if not np.isfinite(values).all():
                raise ValueError(
                    f"{self._kind} has parameters that are too large for {self.dtype} in ONNX; "
                    "scale the columns of X before the fit, for example with "
                    "sklearn.preprocessing.MaxAbsScaler, or convert it with inputs in float64."
                )
        if values.dtype.kind in "fi":
            content = numpy_helper.from_array(np.ascontiguousarray(values).reshape(values.shape))
            self._container.add_initializer(name, content.data_type, values.shape, content)
        else:
            text = [str(value).encode() for value in values]
            self._container.add_initializer(name, TensorProto.STRING, values.shape, text)
        return name


def check_size(estimator, n_parameters, dtype):
    """Refuse a model that no ONNX file can hold."""
    dtype = np.dtype(dtype)
    size = n_parameters * dtype.itemsize
    if size > LARGEST_FILE:
        raise ValueError(
            f"The parameters of {type(estimator).__name__} take {size / 1e9:.1f} GB in {dtype}, "
            "and an ONNX file holds at most 2 GB. Fit with fewer features or components; for a "
            "Bayesian estimator, a smaller max_memory keeps fewer samples."
        )

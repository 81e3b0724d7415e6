"""Converters: what each estimator predicts, as nodes of an ONNX graph."""

import numpy as np
from skl2onnx.common.utils_classifier import get_label_classes
from sklearn.utils.validation import check_is_fitted

from skfm.onnx._fitted import fitted_model, posterior_mean, posterior_samples
from skfm.onnx._graph import Graph
from skfm.onnx._raw_output import raw_output


def convert_regressor(scope, operator, container):
    estimator = operator.raw_operator
    graph = Graph(scope, operator, container)
    output = _output(graph, *fitted_model(estimator, graph.dtype))
    inverse_link = "Exp" if estimator.loss == "poisson" else "Identity"
    graph(inverse_link, output, output=operator.outputs[0].full_name)


def convert_classifier(scope, operator, container):
    estimator = operator.raw_operator
    graph = Graph(scope, operator, container)
    scores = _output(graph, *fitted_model(estimator, graph.dtype))
    is_binary = len(estimator.classes_) == 2
    if is_binary:
        scores = graph("Concat", graph("Neg", scores), scores, axis=1)
    _labels(graph, scope, operator, scores)
    result = operator.outputs[1].full_name
    options = scope.get_options(estimator, {"raw_scores": False})
    if options["raw_scores"] or not hasattr(estimator, "predict_proba"):
        graph("Identity", scores, output=result)
    elif is_binary:
        graph("Sigmoid", scores, output=result)  # exact in both tails
    else:
        graph("Softmax", scores, axis=1, output=result)


def convert_bayesian_regressor(scope, operator, container):
    graph, estimator = Graph(scope, operator, container), operator.raw_operator
    check_is_fitted(estimator)
    if estimator._chain_state.interactions.kind == "plain":
        mean = _output(graph, *posterior_mean(estimator, graph.dtype))
    else:
        mean = _mean_of_samples(graph, estimator)
    graph("Identity", mean, output=operator.outputs[0].full_name)


def _mean_of_samples(graph, estimator):
    """The mean of the samples' outputs, in the units of y, computed from all of them."""
    transform = estimator._target_transform
    center, parameters, interactions = posterior_samples(estimator, graph.dtype)
    outputs = _output(graph, center, parameters, interactions)
    n_samples = parameters.intercept.size
    mean = graph("MatMul", outputs, np.full((n_samples, 1), transform.unit / n_samples))
    return graph("Add", mean, np.atleast_1d(transform.shift))


def convert_bayesian_classifier(scope, operator, container):
    """The mean over the samples of the normal distribution function of their outputs."""
    graph = Graph(scope, operator, container)
    center, parameters, interactions = posterior_samples(operator.raw_operator, graph.dtype)
    output = _output(graph, center, parameters, interactions)
    n_samples = parameters.intercept.size
    scaled = graph("Mul", output, np.array(np.sqrt(0.5)))
    erf = graph.cast(graph("Erf", graph.cast(scaled, np.float32)), graph.dtype)  # float32 only
    half_mean = graph("MatMul", erf, np.full((n_samples, 1), 0.5 / n_samples))
    both = graph("Concat", graph("Neg", half_mean), half_mean, axis=1)
    probabilities = graph("Add", both, np.array(0.5), output=operator.outputs[1].full_name)
    _labels(graph, scope, operator, probabilities)


def _output(graph, center, parameters, interactions):
    X = graph("Sub", graph.X, center) if center.any() else graph.X
    return raw_output(graph, X, parameters, interactions)


def _labels(graph, scope, operator, scores):
    """The class with the largest score; the first of those that are equal."""
    classes = get_label_classes(scope, operator.raw_operator)
    if classes.dtype.kind in "bfu":  # floats are whole numbers: a fit refuses others
        classes = classes.astype(np.int64)
    best = graph("ArgMax", scores, axis=1, keepdims=0)
    graph("Gather", classes, best, output=operator.outputs[0].full_name)

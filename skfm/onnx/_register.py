"""Make skl2onnx know the estimators of skfm."""

from skfm import (
    BayesianFMClassifier,
    BayesianFMRegressor,
    FMClassifier,
    FMRecommender,
    FMRegressor,
    MFRecommender,
)
from skfm.preprocessing import EventEncoder, TableEncoder, UserItemEncoder

LABELS = {
    "zipmap": [True, False, "columns"],
    "nocl": [True, False],
    "output_class_labels": [False, True],
}
RECOMMENDER = (
    "its users are folded in and its items ranked, for which ONNX has no operators. Store "
    "item_vectors() in a nearest-neighbor index and query it with user_vectors(X): their inner "
    "products are the scores"
)
ENCODER = (
    "it looks up the history of users in a log, for which ONNX has no operators. Encode the rows "
    "in Python and convert the last step of the pipeline, or use a OneHotEncoder"
)
TABLE = (
    "ONNX has no operators for its tables. Encode the rows in Python and convert the last step of "
    "the pipeline, or use a OneHotEncoder"
)
NOT_CONVERTED = {
    FMRecommender: RECOMMENDER,
    MFRecommender: RECOMMENDER,
    EventEncoder: ENCODER,
    UserItemEncoder: ENCODER,
    TableEncoder: TABLE,
}


def register_converters() -> None:
    """Register the converters of skfm's factorization machines with skl2onnx.

    Afterwards, ``skl2onnx.to_onnx`` and ``skl2onnx.convert_sklearn`` convert `FMRegressor`,
    `FMClassifier`, `BayesianFMRegressor` and `BayesianFMClassifier`, alone or within pipelines,
    column transformers and searches. In onnxruntime, the converted models predict the same as
    ``predict`` and ``predict_proba`` up to the rounding of float32, or of float64 if the inputs
    of the graph are. Calling the function again changes nothing. Read more in the
    :doc:`guide </deployment>`.

    Raises
    ------
    ImportError
        If skl2onnx is not installed; it is in the extra ``onnx``.

    See Also
    --------
    FMRegressor : Factorization machine for regression.
    FMClassifier : Factorization machine for classification.
    BayesianFMRegressor : Bayesian factorization machine for regression.
    BayesianFMClassifier : Bayesian factorization machine for classification.

    Notes
    -----
    Classifiers take skl2onnx's options ``zipmap``, ``nocl`` and ``output_class_labels``, and
    `FMClassifier` also ``raw_scores``. Its raw scores, which are also what a model with
    ``loss="squared_hinge"`` returns in place of probabilities, have a column for each class; with
    two classes these are minus the decision function and the decision function. Predictive
    standard deviations are not converted.

    References
    ----------
    .. [1] `Documentation of skl2onnx <https://onnx.ai/sklearn-onnx/>`_

    Examples
    --------
    >>> import numpy as np
    >>> from skfm import FMRegressor
    >>> from skfm.onnx import register_converters
    >>> X = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    >>> model = FMRegressor(random_state=0).fit(X, X[:, 0] * X[:, 1])
    >>> import onnxruntime, skl2onnx  # doctest: +SKIP
    >>> register_converters()  # doctest: +SKIP
    >>> converted = skl2onnx.to_onnx(model, X[:1])  # doctest: +SKIP
    >>> session = onnxruntime.InferenceSession(converted.SerializeToString())  # doctest: +SKIP
    >>> session.run(None, {"X": X})[0].shape  # doctest: +SKIP
    (50, 1)
    """
    try:
        from skl2onnx import update_registered_converter, update_registered_parser
        from skl2onnx.common import shape_calculator
    except ImportError as error:
        raise ImportError(
            f"register_converters needs skl2onnx ({error}); install the extra: pip install "
            "'skfm[onnx]'."
        ) from error
    from skfm.onnx import _converters as convert

    number = shape_calculator.calculate_linear_regressor_output_shapes
    label = shape_calculator.calculate_linear_classifier_output_shapes
    for estimator, shapes, converter, options in (
        (FMRegressor, number, convert.convert_regressor, None),
        (BayesianFMRegressor, number, convert.convert_bayesian_regressor, None),
        (BayesianFMClassifier, label, convert.convert_bayesian_classifier, LABELS),
        (FMClassifier, label, convert.convert_classifier, LABELS | {"raw_scores": [True, False]}),
    ):
        alias = "Skfm" + estimator.__name__
        update_registered_converter(estimator, alias, shapes, converter, options=options)
    for estimator in NOT_CONVERTED:
        update_registered_parser(estimator, _refuse)


def _refuse(scope, model, inputs, custom_parsers=None):
    kind = type(model)
    raise TypeError(f"{kind.__name__} cannot be converted to ONNX: {NOT_CONVERTED[kind]}.")

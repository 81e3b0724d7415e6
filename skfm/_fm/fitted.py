"""Fitted factorization machines: their parameters, and the raw outputs that these give."""

from contextlib import contextmanager

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skfm._fm import field_parameters
from skfm._fm.features import EstimatorOfFeatures
from skfm._fm.outputs import finite_outputs
from skfm._solvers.fm.parameters import Parameters
from skfm._utils import validation
from skfm._utils.memory import aligned_zeros
from skfm._utils.read_only import ReadOnlyAttributes
from skfm._utils.threads import n_threads

CHECKED_ROWS = "_checked_rows"  # attribute while the estimator is scored
PARAMETERS = "intercept_", "coef_", "components_"


@contextmanager
def without_checks_of(X, estimator):
    """Let the estimator predict for these rows, which are valid, without checking them again."""
    vars(estimator)[CHECKED_ROWS] = X
    try:
        yield
    finally:
        del vars(estimator)[CHECKED_ROWS]


class FittedFM(ReadOnlyAttributes, EstimatorOfFeatures):
    """Subclasses have ``_shown(intercept, coef, components)``: the public attributes, by name.

    These can be changed, unless predictions use the parameters of centered columns instead.
    """

    _why_read_only = (
        "a column of X is far from zero, and predictions use the parameters of the column minus "
        "its mean"
    )

    @property
    def _read_only(self):
        is_centered = vars(self).get("_centered") is not None
        return (*PARAMETERS, *field_parameters.OF_PAIRS) if is_centered else ()

    def __setstate__(self, state):
        super().__setstate__(state)
        # Pickles of other versions may lack them; the error says so when they are needed.
        components, interactions = (vars(self).get(n) for n in ("components_", "_interactions"))
        is_complete = components is not None and interactions is not None
        if is_complete and not isinstance(components, np.memmap):
            # Pickle keeps neither the order of three axes in memory nor where arrays start.
            first = -3 if interactions.kind == "aware" else -2
            by_feature = np.moveaxis(components, -1, first)
            table = aligned_zeros(by_feature.shape, components.dtype)
            table[...] = by_feature
            vars(self)["components_"] = np.moveaxis(table, first, -1)
            self._protect()

    def _store(self, parameters, centered, interactions):
        """Keep parameters in the units of X and y; ``centered`` is as in `from_solver`."""
        self._interactions, self._centered = interactions, centered
        for name in field_parameters.ATTRIBUTES:  # those of a fit with other field_interactions
            vars(self).pop(name, None)
        vars(self).update(self._public_parameters(parameters, interactions))
        self._protect()

    def _public_parameters(self, parameters, interactions):
        """Parameters in the units of X and y as public attributes, by name."""
        intercept, linear, factors, field_pairs = parameters
        components = field_parameters.show_components(factors, interactions)
        shown = self._shown(intercept, linear, components)
        return shown | field_parameters.show(field_pairs, interactions)

    def _centered_parameters(self):
        """A center, and the parameters of the columns of X minus this center.

        The center is None if it is zero. Otherwise, the parameters of X itself would give less
        accurate outputs, as these would be small differences of large terms.
        """
        parameters = self._parameters()
        centered = vars(self).get("_centered")  # pickles of earlier versions lack it
        if centered is None:
            return None, parameters
        center, intercept, linear = centered
        return center, parameters._replace(intercept=intercept, linear=linear)

    def _parameters(self):
        """Fitted parameters as the kernels read them, without copies if they were fitted here."""
        self._check_shapes()
        interactions, dtype = self._interactions, self.components_.dtype
        intercept = np.atleast_1d(np.asarray(self.intercept_, dtype=np.float64))
        return Parameters(
            intercept,
            np.ascontiguousarray(np.atleast_2d(self.coef_)),
            np.ascontiguousarray(field_parameters.factors(self.components_, interactions)),
            field_parameters.read(self, intercept.size, interactions, dtype),
        )

    def _check_shapes(self):
        """Check attributes that were changed: kernels would read beyond the end of the arrays."""
        interactions, n_features = self._interactions, self.n_features_in_
        shapes = {"intercept_": (), "coef_": (n_features,)}
        shapes |= field_parameters.shapes(interactions, n_features)
        found = {name: np.shape(getattr(self, name)) for name in shapes}
        n_outputs = np.size(self.intercept_)
        for name, shape in shapes.items():
            if found[name] != (n_outputs, *shape) and (n_outputs > 1 or found[name] != shape):
                listed = ", ".join(f"{name}: {shape}" for name, shape in found.items())
                raise ValueError(
                    f"The shapes of the fitted attributes ({listed}) are not those of a model "
                    f"with n_features_in_={n_features} and {interactions.n_components_per_field} "
                    "components; assign arrays of the shapes that fit returns, or fit the model "
                    "again."
                )

    def _raw_output(self, X):
        """Raw outputs of shape (n_samples, n_outputs), all of them finite."""
        check_is_fitted(self)
        if X is not vars(self).get(CHECKED_ROWS):
            X = validation.validate_X(self, X)
        X, *model = self._model_of(X)
        output = finite_outputs(X, *model, n_threads(self.n_jobs))
        return validation.check_predictions(output)

    def _model_of(self, X):
        """Rows, and what predicts them: a center, parameters and interactions of their columns."""
        return X, *self._centered_parameters(), self._interactions

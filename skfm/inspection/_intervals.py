"""Whether prediction intervals contain as many targets as they should."""

from inspect import signature
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri
from sklearn.utils import assert_all_finite, check_consistent_length, column_or_1d

from skfm._utils import validation
from skfm._utils.pipelines import split_steps
from skfm._utils.typing import Estimator, MatrixLike
from skfm.inspection._plotting import make_axes

LEVELS = np.arange(1, 100) / 100


class IntervalDisplay:
    """Plot of the observed coverage of prediction intervals against the nominal one.

    The interval of nominal coverage p is ``mean +- z std``, where z is the (1 + p) / 2 quantile of
    the standard normal distribution. The observed coverage is the share of the targets in their
    intervals. A curve below the diagonal means that the intervals are too narrow.

    Use :meth:`from_estimator` or :meth:`from_predictions` to create it.

    Parameters
    ----------
    nominal : array-like of shape (n_levels,)
        Nominal coverages, between 0 and 1.
    observed : array-like of shape (n_levels,)
        Share of the targets that are in the intervals of each nominal coverage.
    estimator_name : str, default=None
        Name of the estimator, for the legend.

    Attributes
    ----------
    line_ : matplotlib Line2D
        Observed coverage.
    reference_line_ : matplotlib Line2D
        The diagonal, on which intervals cover what they should.
    ax_ : matplotlib Axes
        Axes with the curve.
    figure_ : matplotlib Figure
        Figure that contains the axes.

    See Also
    --------
    BayesianFMRegressor : Predicts means and standard deviations.
    sklearn.calibration.CalibrationDisplay : The same question for class probabilities.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> from skfm.inspection import IntervalDisplay
    >>> rng = np.random.default_rng(0)
    >>> y = rng.normal(size=10_000)
    >>> display = IntervalDisplay.from_predictions(y, np.zeros_like(y), np.ones_like(y))
    >>> bool(np.abs(display.observed - display.nominal).max() < 0.02)
    True
    >>> plt.close(display.figure_)
    """

    def __init__(
        self, *, nominal: ArrayLike, observed: ArrayLike, estimator_name: str | None = None
    ) -> None:
        self.nominal = nominal
        self.observed = observed
        self.estimator_name = estimator_name

    @classmethod
    def from_estimator(
        cls,
        estimator: Estimator,
        X: MatrixLike,
        y: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        name: str | None = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Plot the coverage of the prediction intervals of an estimator.

        Parameters
        ----------
        estimator : estimator
            A fitted regressor whose `predict` takes ``return_std=True``, such as
            :class:`~skfm.BayesianFMRegressor`; or a pipeline, or a fitted search, that ends in
            one.
        X : {array-like, sparse matrix, sparse array} of shape (n_samples, n_features)
            Rows that were not in `fit`.
        y : array-like of shape (n_samples,)
            Their targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Sample weights.
        name : str, default=None
            Name for the legend. None uses the name of the class.
        ax : matplotlib Axes, default=None
            Axes to draw on. None creates a figure.
        **kwargs : dict
            Keyword arguments for `matplotlib.axes.Axes.plot`.

        Returns
        -------
        display : IntervalDisplay
            The display, plotted.

        Raises
        ------
        TypeError
            If the estimator predicts no standard deviations.
        """
        steps, model = split_steps(estimator)
        for step in steps:
            X = step.transform(X)
        predict = getattr(model, "predict", None)
        if predict is None or "return_std" not in signature(predict).parameters:
            raise TypeError(
                f"{type(model).__name__} predicts no standard deviations; use a regressor that "
                "does, such as BayesianFMRegressor."
            )
        mean, std = predict(X, return_std=True)
        name = type(model).__name__ if name is None else name
        options = {"sample_weight": sample_weight, "name": name, "ax": ax}
        return cls.from_predictions(y, mean, std, **options, **kwargs)

    @classmethod
    def from_predictions(
        cls,
        y_true: ArrayLike,
        y_pred: ArrayLike,
        y_std: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        name: str | None = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Plot the coverage of prediction intervals.

        Parameters
        ----------
        y_true : array-like of shape (n_samples,)
            Targets.
        y_pred : array-like of shape (n_samples,)
            Predicted means.
        y_std : array-like of shape (n_samples,)
            Predicted standard deviations, positive.
        sample_weight : array-like of shape (n_samples,), default=None
            Sample weights.
        name : str, default=None
            Name for the legend.
        ax : matplotlib Axes, default=None
            Axes to draw on. None creates a figure.
        **kwargs : dict
            Keyword arguments for `matplotlib.axes.Axes.plot`.

        Returns
        -------
        display : IntervalDisplay
            The display, plotted.

        Raises
        ------
        ValueError
            If the lengths differ, an argument contains NaN or infinity, a standard deviation is
            not positive, or a weight is negative.
        """
        arguments = {"y_true": y_true, "y_pred": y_pred, "y_std": y_std}
        y_true, y_pred, y_std = (
            np.asarray(column_or_1d(values), dtype=np.float64) for values in arguments.values()
        )
        for argument, values in zip(arguments, (y_true, y_pred, y_std), strict=True):
            assert_all_finite(values, input_name=argument)
        check_consistent_length(y_true, y_pred, y_std, sample_weight)
        if not (y_std > 0).all():
            raise ValueError(
                f"y_std must contain positive standard deviations; its minimum is {y_std.min()}."
            )
        inside = np.abs(y_true - y_pred) / y_std <= ndtri((1 + LEVELS) / 2)[:, None]
        weight = validation.check_sample_weight(sample_weight, y_true.size, np.float64)
        observed = np.average(inside, axis=1, weights=weight)
        display = cls(nominal=LEVELS, observed=observed, estimator_name=name)
        return display.plot(ax=ax, **kwargs)

    def plot(self, ax: Any = None, *, name: str | None = None, **kwargs: Any) -> Self:
        """Plot the curve.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on. None creates a figure.
        name : str, default=None
            Name for the legend. None uses `estimator_name`.
        **kwargs : dict
            Keyword arguments for `matplotlib.axes.Axes.plot`.

        Returns
        -------
        display : IntervalDisplay
            The display.
        """
        self.ax_, self.figure_ = make_axes(ax, self)
        name = self.estimator_name if name is None else name
        (self.reference_line_,) = self.ax_.plot(
            [0, 1], [0, 1], color="gray", linestyle=":", label="exact"
        )
        (self.line_,) = self.ax_.plot(
            self.nominal, self.observed, **{"label": name or "observed"} | kwargs
        )
        self.ax_.set(
            xlabel="nominal coverage",
            ylabel="observed coverage",
            xlim=(0, 1),
            ylim=(0, 1),
            aspect="equal",
        )
        self.ax_.legend(loc="upper left")
        return self

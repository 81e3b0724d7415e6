"""The course of a training."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from skfm import BayesianFMClassifier, BayesianFMRegressor
from skfm._utils.pipelines import split_steps
from skfm._utils.typing import Estimator
from skfm.inspection._plotting import make_axes


class LossCurveDisplay:
    """Plot of the training loss, and of the validation score, by epoch.

    Use :meth:`from_estimator` to create it. Does training converge, and would fewer epochs be
    better on validation data?

    Parameters
    ----------
    loss_curve : array-like of shape (n_epochs,)
        Training loss of each epoch.
    validation_curve : array-like of shape (n_validated_epochs,), default=None
        Loss or score of each epoch on the validation data.
    validation_is_loss : bool, default=True
        Whether `validation_curve` is a loss, on the axis of the training loss, or a score, which
        gets an axis of its own.
    loss_name : str, default="objective"
        What `loss_curve` is, for the label of the axis.
    estimator_name : str, default=None
        Name of the estimator, for the legend.

    Attributes
    ----------
    line_ : matplotlib Line2D
        Training loss.
    validation_line_ : matplotlib Line2D or None
        Validation loss or score.
    best_line_ : matplotlib Line2D or None
        Vertical line at the best epoch on the validation data.
    validation_ax_ : matplotlib Axes or None
        Axes of the validation curve: `ax_`, or, for a score, axes that share its epochs.
    ax_ : matplotlib Axes
        Axes with the training loss.
    figure_ : matplotlib Figure
        Figure that contains the axes.

    See Also
    --------
    sklearn.model_selection.LearningCurveDisplay : Scores by the number of training rows.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from skfm import FMClassifier
    >>> from skfm.datasets import make_fm_classification
    >>> from skfm.inspection import LossCurveDisplay
    >>> X, y = make_fm_classification(n_samples=500, random_state=0)
    >>> model = FMClassifier(early_stopping=True, refit=False, random_state=0).fit(X, y)
    >>> display = LossCurveDisplay.from_estimator(model)
    >>> display.ax_.get_ylabel()
    'objective'
    >>> plt.close(display.figure_)
    """

    def __init__(
        self,
        *,
        loss_curve: ArrayLike,
        validation_curve: ArrayLike | None = None,
        validation_is_loss: bool = True,
        loss_name: str = "objective",
        estimator_name: str | None = None,
    ) -> None:
        self.loss_curve = loss_curve
        self.validation_curve = validation_curve
        self.validation_is_loss = validation_is_loss
        self.loss_name = loss_name
        self.estimator_name = estimator_name

    @classmethod
    def from_estimator(
        cls, estimator: Estimator, *, name: str | None = None, ax: Any = None, **kwargs: Any
    ) -> Self:
        """Plot the course of the last fit of an estimator.

        Parameters
        ----------
        estimator : estimator
            A fitted estimator with `loss_curve_`; or a pipeline, or a fitted search, that ends in
            one. If it has `validation_scores_`, these are plotted as well: as a loss if its
            parameter `scoring` is "loss".
        name : str, default=None
            Name for the legend. None uses the name of the class.
        ax : matplotlib Axes, default=None
            Axes to draw on. None creates a figure.
        **kwargs : dict
            Keyword arguments for `matplotlib.axes.Axes.plot`.

        Returns
        -------
        display : LossCurveDisplay
            The display, plotted.

        Raises
        ------
        AttributeError
            If the estimator has no `loss_curve_`, because it is not fitted or another estimator.
        """
        _, model = split_steps(estimator)
        if not hasattr(model, "loss_curve_"):
            raise AttributeError(
                f"{type(model).__name__} has no loss_curve_; fit it first, if it is an estimator "
                "of skfm."
            )
        scores, is_loss = getattr(model, "validation_scores_", None), False
        if scores is not None and model.scoring == "loss":
            scores, is_loss = [-score for score in scores], True
        is_bayesian = isinstance(model, (BayesianFMRegressor, BayesianFMClassifier))
        display = cls(
            loss_curve=model.loss_curve_,
            validation_curve=scores,
            validation_is_loss=is_loss,
            loss_name="training loss" if is_bayesian else "objective",
            estimator_name=type(model).__name__ if name is None else name,
        )
        return display.plot(ax=ax, **kwargs)

    def plot(self, ax: Any = None, *, name: str | None = None, **kwargs: Any) -> Self:
        """Plot the curves.

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
        display : LossCurveDisplay
            The display.
        """
        self.ax_, self.figure_ = make_axes(ax, self)
        name = self.estimator_name if name is None else name
        before = "" if name is None else f"{name}, "
        options = {"label": f"{before}training"} | kwargs
        self.line_ = _draw(self.ax_, self.loss_curve, options)
        self.ax_.set(xlabel="epoch", ylabel=self.loss_name)
        self.validation_ax_ = self.validation_line_ = self.best_line_ = None
        lines = [self.line_]
        if self.validation_curve is not None:
            self._plot_validation(before, kwargs)
            lines.append(self.validation_line_)
        # On the axes that are drawn last, so that no line crosses it.
        (self.validation_ax_ or self.ax_).legend(handles=lines)
        return self

    def _plot_validation(self, before, kwargs):
        curve = np.asarray(self.validation_curve)
        self.validation_ax_ = self.ax_
        if not self.validation_is_loss:
            self.validation_ax_ = self.ax_.twinx()
            self.validation_ax_.set_ylabel("validation score")
        kind = "loss" if self.validation_is_loss else "score"
        options = {"color": "C1", "linestyle": "--"} | kwargs
        options["label"] = f"{before}validation {kind}"
        self.validation_line_ = _draw(self.validation_ax_, curve, options)
        best = curve.argmin() if self.validation_is_loss else curve.argmax()
        self.best_line_ = self.ax_.axvline(best + 1, color="gray", linewidth=1, zorder=0)


def _draw(ax, curve, options):
    (line,) = ax.plot(np.arange(1, len(curve) + 1), curve, **options)
    return line

"""A heat map of interactions."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from skfm._utils.ids import distinct
from skfm._utils.typing import ColumnLike, Estimator, MatrixLike
from skfm.inspection._factors import factors_of, rows_for
from skfm.inspection._plotting import make_axes
from skfm.inspection._strengths import strengths_of_fields
from skfm.inspection._strengths_in_rows import mean_square_products, strengths_of_fields_in

MOST_WITH_VALUES = 12  # labels


class InteractionDisplay:
    """Heat map of the interactions between fields, or between some features.

    Use :meth:`from_estimator` to create it.

    Parameters
    ----------
    weights : array-like of shape (n_labels, n_labels)
        Weights of the interactions, or their strengths; NaN where there is no interaction.
    labels : array-like of shape (n_labels,)
        Names of the features or fields.
    is_signed : bool, default=True
        Whether weights may be negative, so that colors diverge from 0.

    Attributes
    ----------
    im_ : matplotlib AxesImage
        The heat map.
    text_ : ndarray of shape (n_labels, n_labels) of matplotlib Text, or None
        The values that are written into the map; None if there are none.
    ax_ : matplotlib Axes
        Axes with the map.
    figure_ : matplotlib Figure
        Figure that contains the axes.

    See Also
    --------
    top_interactions : The strongest interactions, as arrays.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> from skfm import FMRegressor
    >>> from skfm.inspection import InteractionDisplay
    >>> X = np.random.default_rng(0).normal(size=(200, 3))
    >>> y = 3 * X[:, 0] * X[:, 1] - X[:, 0] * X[:, 2]
    >>> model = FMRegressor(2, solver="als", alpha=0.01, random_state=0).fit(X, y)
    >>> display = InteractionDisplay.from_estimator(model, features=["x0", "x1", "x2"])
    >>> display.weights[0].round()
    array([nan,  3., -1.])
    >>> plt.close(display.figure_)
    """

    def __init__(self, *, weights: ArrayLike, labels: ColumnLike, is_signed: bool = True) -> None:
        self.weights = weights
        self.labels = labels
        self.is_signed = is_signed

    @classmethod
    def from_estimator(
        cls,
        estimator: Estimator,
        *,
        features: ColumnLike | None = None,
        X: MatrixLike | None = None,
        feature_names: ColumnLike | None = None,
        feature_fields: ColumnLike | None = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Plot the interactions of a fitted factorization machine.

        Parameters
        ----------
        estimator : estimator
            A fitted factorization machine, or a pipeline or search that ends in one, as for
            :func:`top_interactions`.
        features : array-like of shape (n_labels,), default=None
            Names or positions of the features to show. None shows the interactions between fields:
            the root mean squares of the weights of their features.
        X : {array-like, sparse matrix, sparse array} of shape (n_samples, n_columns), default=None
            Rows for whose predictions to measure the interactions, as for
            :func:`top_interactions`.
        feature_names, feature_fields : array-like of shape (n_features,), default=None
            Names and fields of the columns that the estimator gets, as in :func:`explain`.
        ax : matplotlib Axes, default=None
            Axes to draw on. None creates a figure.
        **kwargs : dict
            Keyword arguments for :meth:`plot`.

        Returns
        -------
        display : InteractionDisplay
            The display, plotted. For several classes, it shows the Euclidean norms of the weights.

        Raises
        ------
        TypeError
            If `estimator` does not end in a factorization machine of skfm.
        ValueError
            If the fields are needed and not known, if there is no such feature, or if the model
            has no interactions of pairs.
        """
        factors = factors_of(estimator, feature_names, feature_fields)
        factors.require_pairs()
        rows = None if X is None else rows_for(estimator, X)
        if features is not None:
            chosen = factors.positions(features, "features")
            weights, is_signed = _weights_of_features(factors.products, chosen, rows)
            display = cls(weights=weights, labels=factors.names[chosen], is_signed=is_signed)
            return display.plot(ax=ax, **kwargs)
        if factors.fields is None:
            raise ValueError(
                "The fields of the features are not known; pass them in feature_fields, or name "
                "the features to show in features."
            )
        fields, places = distinct(factors.fields, "feature_fields")
        if rows is None:
            strengths = strengths_of_fields(factors.products, places, fields.size)
        else:
            strengths = strengths_of_fields_in(rows, factors.products, places, fields.size)
        return cls(weights=strengths, labels=fields, is_signed=False).plot(ax=ax, **kwargs)

    def plot(
        self,
        ax: Any = None,
        *,
        include_values: bool | None = None,
        values_format: str | None = None,
        cmap: Any = None,
        colorbar: bool = True,
        im_kw: dict[str, Any] | None = None,
    ) -> Self:
        """Plot the map.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on. None creates a figure.
        include_values : bool, default=None
            Whether to write the values into the map. None does so for at most 12 labels.
        values_format : str, default=None
            Format of these values. None rounds all to the same decimal place, such that the
            largest has two digits or more.
        cmap : str or matplotlib Colormap, default=None
            Colors. None is "RdBu_r" for signed weights, with white at 0, and otherwise "Blues".
        colorbar : bool, default=True
            Whether to add a color bar.
        im_kw : dict, default=None
            Keyword arguments for `matplotlib.axes.Axes.imshow`.

        Returns
        -------
        display : InteractionDisplay
            The display.
        """
        self.ax_, self.figure_ = make_axes(ax, self)
        weights = np.asarray(self.weights, dtype=np.float64)
        largest = np.nanmax(np.abs(weights), initial=0) or 1.0
        colors = {
            "cmap": cmap or ("RdBu_r" if self.is_signed else "Blues"),
            "vmin": -largest if self.is_signed else 0,
            "vmax": largest,
        }
        self.im_ = self.ax_.imshow(weights, **colors | (im_kw or {}))
        labels = list(map(str, np.asarray(self.labels)))
        places = np.arange(len(labels))
        self.ax_.set_xticks(places, labels=labels, rotation=45, ha="right", rotation_mode="anchor")
        self.ax_.set_yticks(places, labels=labels)
        self.text_ = None
        if include_values is None:
            include_values = len(labels) <= MOST_WITH_VALUES
        if include_values:
            self._write_values(weights, values_format or f".{_decimals(largest)}f")
        if colorbar:
            label = "weight" if self.is_signed else "strength"
            self.figure_.colorbar(self.im_, ax=self.ax_, label=label)
        return self

    def _write_values(self, weights, values_format):
        self.text_ = np.empty(weights.shape, dtype=object)
        for (row, column), weight in np.ndenumerate(weights):
            red, green, blue, _ = self.im_.cmap(self.im_.norm(weight))
            is_dark = 0.3 * red + 0.6 * green + 0.1 * blue < 0.5  # luminance, roughly
            self.text_[row, column] = self.ax_.text(
                column,
                row,
                "" if np.isnan(weight) else _without_sign(format(weight, values_format)),
                ha="center",
                va="center",
                color="white" if is_dark else "black",
            )


def _decimals(largest):
    return max(0, 1 - int(np.floor(np.log10(largest))))


def _without_sign(text):
    """A number without its minus sign if it has been rounded to 0."""
    return text if text.strip("-0.") else text.removeprefix("-")


def _weights_of_features(products, chosen, rows):
    """Weights of all pairs of some features, NaN where there are none; and whether they have a
    sign."""
    first, second = (chosen[place.ravel()] for place in np.indices((chosen.size, chosen.size)))
    weights = products.weights(np.column_stack([first, second])).T
    is_signed = weights.shape[1] == 1
    weights = weights[:, 0] if is_signed else np.linalg.norm(weights, axis=1)
    if rows is not None:
        weights *= np.sqrt(mean_square_products(rows, chosen).ravel())
    interact = products.interact(first, second) & (first != second)
    return np.where(interact, weights, np.nan).reshape(chosen.size, -1), is_signed

"""A map of features or items in two dimensions."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from skfm import FMRecommender, MFRecommender
from skfm._utils.ids import read_ids
from skfm._utils.pipelines import split_steps
from skfm._utils.typing import ColumnLike, Estimator, Int
from skfm.inspection._factors import factors_of
from skfm.inspection._labels import place_labels
from skfm.inspection._names import names_of_features
from skfm.inspection._plotting import make_axes


class FactorMapDisplay:
    """Map of the vectors of features or items, by their first two principal components.

    Features that are close to each other have similar vectors, as far as two dimensions show it.
    Labels that would overlap are left out; those of the vectors that are farthest from the mean
    come first.

    Use :meth:`from_estimator` or :meth:`from_vectors` to create it.

    Parameters
    ----------
    positions : array-like of shape (n_points, 2)
        Where to draw the points.
    labels : array-like of shape (n_points,)
        Names of the points.
    explained_variance_ratio : array-like of shape (2,), default=None
        Share of the variance of the vectors along each axis, for the labels of the axes.

    Attributes
    ----------
    points_ : matplotlib PathCollection
        The points.
    text_ : list of matplotlib Text
        The labels that found a place.
    ax_ : matplotlib Axes
        Axes with the map.
    figure_ : matplotlib Figure
        Figure that contains the axes.

    See Also
    --------
    similar_features : Similar features by all dimensions.
    sklearn.decomposition.PCA : Principal components.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> from skfm.inspection import FactorMapDisplay
    >>> vectors = np.random.default_rng(0).normal(size=(5, 3))
    >>> display = FactorMapDisplay.from_vectors(vectors, ["a", "b", "c", "d", "e"])
    >>> display.positions.shape
    (5, 2)
    >>> plt.close(display.figure_)
    """

    def __init__(
        self,
        *,
        positions: ArrayLike,
        labels: ColumnLike,
        explained_variance_ratio: ArrayLike | None = None,
    ) -> None:
        self.positions = positions
        self.labels = labels
        self.explained_variance_ratio = explained_variance_ratio

    @classmethod
    def from_estimator(
        cls,
        estimator: Estimator,
        *,
        features: ColumnLike | None = None,
        field: Any = None,
        feature_names: ColumnLike | None = None,
        feature_fields: ColumnLike | None = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Plot the features of a factorization machine, or the items of a recommender.

        Parameters
        ----------
        estimator : estimator
            A fitted estimator of :mod:`skfm`; or a pipeline, or a fitted search, that ends in one.
        features : array-like of shape (n_points,), default=None
            Names or positions of the features, or items, to show. None shows all that have a
            vector other than 0.
        field : object, default=None
            Label of the field whose features to show; not for recommenders. None shows all fields.
            It is needed if ``field_interactions="aware"``: the vectors of different fields cannot
            be compared.
        feature_names, feature_fields : array-like of shape (n_features,), default=None
            Names and fields of the columns that the estimator gets, as in :func:`explain`. The
            columns that :class:`~skfm.MFRecommender` gets are the items.
        ax : matplotlib Axes, default=None
            Axes to draw on. None creates a figure.
        **kwargs : dict
            Keyword arguments for :meth:`plot`.

        Returns
        -------
        display : FactorMapDisplay
            The display, plotted.

        Raises
        ------
        TypeError
            If `estimator` does not end in an estimator of skfm.
        ValueError
            If there is no such feature, item or field, or no vector other than 0; or if the
            features are of different fields of a field-aware model.
        """
        _, model = split_steps(estimator)
        if isinstance(model, (FMRecommender, MFRecommender)):
            if field is not None:
                raise ValueError(
                    f"A recommender shows its items, which have no fields; got field={field!r}."
                )
            vectors, names = _items_of(estimator, features, feature_names)
        else:
            factors = factors_of(estimator, feature_names, feature_fields)
            vectors, names = _features_of(factors, features, field)
        is_there = vectors.any(axis=1)
        if not is_there.any():
            raise ValueError(
                "All vectors to show are 0: the features did not occur in training, or their "
                "interactions were shrunk to 0."
            )
        return cls.from_vectors(vectors[is_there], names[is_there], ax=ax, **kwargs)

    @classmethod
    def from_vectors(
        cls, vectors: ArrayLike, labels: ColumnLike, *, ax: Any = None, **kwargs: Any
    ) -> Self:
        """Plot vectors, such as those that `item_vectors` of a recommender returns.

        Parameters
        ----------
        vectors : array-like of shape (n_points, n_dimensions)
            The vectors.
        labels : array-like of shape (n_points,)
            Their names.
        ax : matplotlib Axes, default=None
            Axes to draw on. None creates a figure.
        **kwargs : dict
            Keyword arguments for :meth:`plot`.

        Returns
        -------
        display : FactorMapDisplay
            The display, plotted.

        Raises
        ------
        ValueError
            If there are no vectors, or not as many labels.
        """
        from sklearn.decomposition import PCA  # here: slow to import
        from sklearn.utils import check_array

        vectors = check_array(vectors, input_name="vectors")
        labels = read_ids(labels, "point")
        if labels.size != len(vectors):
            raise ValueError(
                f"labels must name the {len(vectors)} vectors; it has {labels.size} names."
            )
        n_axes = min(2, *vectors.shape)
        pca = PCA(n_axes, random_state=0)
        positions, ratio = np.zeros((len(vectors), 2)), np.zeros(2)
        with np.errstate(invalid="ignore"):  # the variance of one vector, or of equal ones
            positions[:, :n_axes] = pca.fit_transform(vectors.astype(np.float64))
            ratio[:n_axes] = np.nan_to_num(pca.explained_variance_ratio_)
        display = cls(positions=positions, labels=labels, explained_variance_ratio=ratio)
        return display.plot(ax=ax, **kwargs)

    def plot(
        self,
        ax: Any = None,
        *,
        n_labels: Int = 50,
        text_kw: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Self:
        """Plot the map.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on. None creates a figure.
        n_labels : int, default=50
            Largest number of labels.
        text_kw : dict, default=None
            Keyword arguments for `matplotlib.axes.Axes.annotate`, for the labels.
        **kwargs : dict
            Keyword arguments for `matplotlib.axes.Axes.scatter`, such as `c` for a color for each
            point.

        Returns
        -------
        display : FactorMapDisplay
            The display.
        """
        self.ax_, self.figure_ = make_axes(ax, self)
        positions = np.asarray(self.positions, dtype=np.float64)
        self.points_ = self.ax_.scatter(*positions.T, **{"s": 12} | kwargs)
        self.ax_.margins(0.12)
        shares = self.explained_variance_ratio
        for number, set_label in enumerate((self.ax_.set_xlabel, self.ax_.set_ylabel)):
            share = "" if shares is None else f" ({np.asarray(shares)[number]:.0%} of variance)"
            set_label(f"component {number + 1}{share}")
        order = np.argsort(-np.linalg.norm(positions - positions.mean(axis=0), axis=1))
        labels = list(map(str, np.asarray(self.labels)))
        text_kw = {"fontsize": "small"} | (text_kw or {})
        self.text_ = place_labels(self.ax_, positions, labels, order, int(n_labels), text_kw)
        return self


def _items_of(estimator, items, item_names):
    """Vectors and names of all items of a recommender, or of those that are given."""
    steps, model = split_steps(estimator)
    check_is_fitted(model)
    if isinstance(model, MFRecommender):
        vectors = model.components_.T
        names = names_of_features(item_names, steps, model, model.n_features_in_)
        catalogue = model._find_catalogue(item_names)
    else:
        table = model._item_table
        vectors, names = table.coordinates[:-1, table.factors], model.item_ids_
        catalogue = model._find_catalogue()
    chosen = slice(None) if items is None else catalogue.positions(items, "features")
    return vectors[chosen], names[chosen]


def _features_of(factors, features, field):
    """Vectors and names of all features, or of those that are given, of one field or of all."""
    chosen = np.arange(factors.n_features)
    if features is not None:
        chosen = factors.positions(features, "features")
    if field is not None:
        chosen = chosen[_is_of_field(factors, field)[chosen]]
    products = factors.products
    if not products.are_comparable and np.unique(products.group[chosen]).size > 1:
        raise ValueError(
            "The features to show are of several fields, and a field-aware model multiplies "
            "their vectors with different ones, so they share no map; pass the label of one field "
            "as field."
        )
    parts = [one for part in products.all_vectors(chosen) for one in part]
    return np.concatenate(parts, axis=1), factors.names[chosen]


def _is_of_field(factors, field):
    """Which features are of a field."""
    labels = [] if factors.fields is None else factors.fields.tolist()
    is_of_field = np.array([label == field for label in labels], dtype=bool)
    if not is_of_field.any():
        known = list(dict.fromkeys(labels))[:10]
        raise ValueError(
            f"field={field!r} is not among the fields of the features, {known}; fields may be "
            "given in feature_fields."
        )
    return is_of_field

"""The products of all features of a fitted model, in the units of X, with names and fields."""

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass
from functools import singledispatch

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skfm import (
    BayesianFMClassifier,
    BayesianFMRegressor,
    FMClassifier,
    FMRecommender,
    FMRegressor,
)
from skfm._utils import validation
from skfm._utils.pipelines import split_steps
from skfm.inspection._context_items import ContextItems
from skfm.inspection._names import fields_of_features, names_of_features
from skfm.inspection._products import Products, products_of


@dataclass(frozen=True)
class Factors:
    """The products of the features of a model, and what the features are called."""

    products: Products
    names: np.ndarray  # (n_features,)
    fields: np.ndarray | None  # (n_features,), labels
    classes: np.ndarray | None = None  # (n_outputs,)

    @property
    def n_features(self):
        return self.names.size

    def require_pairs(self):
        if not self.products.has_pairs:
            raise ValueError(
                "The model has no interactions of pairs: it needs n_components of at least 1, and "
                "degree=2 or fit_lower=True."
            )

    def positions(self, features, argument):
        """Positions of features that are given by name or by position."""
        names = self.names.tolist()
        place = dict(zip(names, range(len(names)), strict=True))
        repeated = {name for name, count in Counter(names).items() if count > 1}
        found = [self._position(feature, place, repeated, argument) for feature in features]
        return np.array(found, dtype=np.intp)

    def _position(self, feature, place, repeated, argument):
        is_name = isinstance(feature, Hashable) and not isinstance(feature, (bool, np.bool_))
        if is_name and feature in repeated:
            raise ValueError(
                f"{argument} names {feature!r}, which is the name of several features; pass the "
                "position of one of them, or distinct feature_names."
            )
        if is_name and feature in place:
            return place[feature]
        if is_name and isinstance(feature, (int, np.integer)) and 0 <= feature < self.n_features:
            return int(feature)
        names = self.names.tolist()
        # Encoders put the column before the category: "film_Alien" for "Alien".
        similar = [name for name in names if str(feature) in str(name)]
        raise ValueError(
            f"{feature!r} in {argument} is not a feature of the model. Its features include "
            f"{', '.join(map(repr, (similar or names)[:5]))}; numbers from 0 to "
            f"{self.n_features - 1} are accepted, too."
        )


def factors_of(estimator, feature_names, feature_fields):
    """The products and features of the last step of an estimator."""
    steps, model = split_steps(estimator)
    return _factors(model, steps, feature_names, feature_fields)


@singledispatch
def _factors(model, steps, feature_names, feature_fields):
    raise TypeError(
        "Features have factors in fitted factorization machines of skfm, and in pipelines and "
        f"searches that end in one; got {model!r}."
    )


@_factors.register(FMRegressor)
@_factors.register(FMClassifier)
def _point_estimate(model, steps, feature_names, feature_fields):
    check_is_fitted(model)
    parameters, interactions = model._parameters(), model._interactions
    several = parameters.intercept.size > 1
    return Factors(
        products_of(parameters.factors, parameters.field_pairs, interactions),
        names_of_features(feature_names, steps, model, model.n_features_in_),
        fields_of_features(feature_fields, steps, model, None, interactions.field),
        model.classes_ if several else None,
    )


@_factors.register(BayesianFMRegressor)
@_factors.register(BayesianFMClassifier)
def _posterior_mean(model, steps, feature_names, feature_fields):
    """The means over the posterior samples; features that did not occur in training have 0."""
    check_is_fitted(model)
    state, unit = model._chain_state, model._target_transform.unit
    scaling, interactions = state.scaling, state.interactions
    used = model._samples.factors
    factors = np.zeros((len(used), model.n_features_in_, used.shape[2]), used.dtype)
    factors[:, scaling.used] = used
    scale = np.ones(model.n_features_in_)
    scale[scaling.used] = scaling.scale
    return Factors(
        products_of(
            factors,
            model._samples.field_pairs,
            interactions,
            scale=scale,
            unit=unit,
            is_mean=True,
        ),
        names_of_features(feature_names, steps, model, model.n_features_in_),
        fields_of_features(feature_fields, steps, model, None, interactions.field),
    )


@_factors.register(FMRecommender)
def _ranking(model, steps, feature_names, feature_fields):
    check_is_fitted(model)
    both = ContextItems(model)
    field = model._interactions.field[: model.n_features_in_]
    names = names_of_features(feature_names, steps, model, model.n_features_in_)
    fields = fields_of_features(feature_fields, steps, model, None, field)
    return Factors(
        both.polynomial().products,
        both.names(names),
        both.fields(fields),
    )


def rows_for(estimator, X):
    """The checked rows that the last step of an estimator gets, in float64."""
    steps, model = split_steps(estimator)
    for step in steps:
        X = step.transform(X)
    if isinstance(model, FMRecommender):
        raise ValueError(
            "X has the features of contexts and not those of items, so it does not tell which "
            "features occur together; leave X out for a recommender."
        )
    return validation.validate_X(model, X).astype(np.float64)

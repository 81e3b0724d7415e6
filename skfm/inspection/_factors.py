"""The factors of all features of a fitted model, in the units of X, with names and fields."""

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass, replace
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


@dataclass(frozen=True)
class Factors:
    """The weight of a pair of features is the product of their vectors, for each output."""

    vectors: np.ndarray  # (n_outputs, n_features, width)
    degrees: np.ndarray  # (width,), of which interactions they are the factors
    group: np.ndarray  # (n_features,), for pairs
    partners: np.ndarray  # (n_groups, n_groups), which groups form pairs
    names: np.ndarray  # (n_features,)
    fields: np.ndarray | None  # (n_features,), labels
    classes: np.ndarray | None = None  # (n_outputs,)

    @property
    def n_features(self):
        return self.names.size

    def of_pairs(self):
        """The factors of pairs alone."""
        chosen = self.degrees == 2
        if not chosen.any():
            raise ValueError(
                "The model has no interactions of pairs: it needs n_components of at least 1, and "
                "degree=2 or fit_lower=True."
            )
        if chosen.all():
            return self
        return replace(self, vectors=self.vectors[:, :, chosen], degrees=self.degrees[chosen])

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
    """The factors of the last step of an estimator."""
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
        parameters.factors,
        *_parts(interactions),
        names_of_features(feature_names, steps, model, model.n_features_in_),
        fields_of_features(feature_fields, steps, model, None, interactions.field),
        model.classes_ if several else None,
    )


@_factors.register(BayesianFMRegressor)
@_factors.register(BayesianFMClassifier)
def _posterior_mean(model, steps, feature_names, feature_fields):
    """Vectors of all samples end to end: their products are the means of the samples' ones."""
    check_is_fitted(model)
    state, unit = model._chain_state, model._target_transform.unit
    scaling, interactions = state.scaling, state.interactions
    n_draws, n_used, n_components = model._samples.factors.shape
    width = n_draws * n_components
    used = model._samples.factors.transpose(1, 0, 2).reshape(n_used, width)
    vectors = np.zeros((1, model.n_features_in_, width), used.dtype)
    vectors[0, scaling.used] = used * (np.sqrt(unit / n_draws) / scaling.scale)[:, None]
    degrees, group, partners = _parts(interactions)
    return Factors(
        vectors,
        np.tile(degrees, n_draws),
        group,
        partners,
        names_of_features(feature_names, steps, model, model.n_features_in_),
        fields_of_features(feature_fields, steps, model, None, interactions.field),
    )


@_factors.register(FMRecommender)
def _ranking(model, steps, feature_names, feature_fields):
    check_is_fitted(model)
    both = ContextItems(model)
    polynomial, field = both.polynomial(), model._interactions.field[: model.n_features_in_]
    names = names_of_features(feature_names, steps, model, model.n_features_in_)
    fields = fields_of_features(feature_fields, steps, model, None, field)
    return Factors(
        polynomial.factors,
        polynomial.degrees,
        polynomial.group,
        polynomial.partners,
        both.names(names),
        both.fields(fields),
    )


def _parts(interactions):
    return interactions.degrees, interactions.interaction_group, interactions.partners


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

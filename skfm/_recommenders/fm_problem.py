"""What FMRecommender's training problem is made of: fields, choices, initial parameters."""

import numpy as np

from skfm._solvers.fm.parameters import Parameters
from skfm._solvers.ranking.training import Choices
from skfm._utils import validation
from skfm._utils.messages import shown


def check_fields(of_contexts, of_items, interactions, *, may_share_names):
    """Refuse fields that contexts and items share, and fields of items that have no effect."""
    names = set(of_items)
    shared = [name for name in dict.fromkeys(of_contexts) if name in names]
    if shared and not may_share_names:
        raise ValueError(
            f"{shown(shared[0])} is a field of both X and the items, so interactions and "
            "fit_linear would be ambiguous; rename it in feature_fields, item_fields or "
            "item_identity."
        )
    side = slice(of_contexts.size, None)
    has_partners = interactions.partners.any(axis=0)[interactions.interaction_group[side]]
    has_no_effect = ~has_partners & ~interactions.has_linear[side]
    if has_no_effect.any():
        raise ValueError(
            f"The item field {shown(of_items[has_no_effect][0])} is in no pair of interactions "
            "and has no linear weights (fit_linear), so it has no effect; add it there, or "
            "remove it."
        )


def find_chosen(catalogue, y):
    """Positions of the items in ``y``, at least two of them, all known."""
    positions = catalogue.find(y)
    unknown = positions < 0
    if unknown.any():
        names = list(dict.fromkeys(np.asarray(y)[unknown].tolist()))
        difference = catalogue.difference(y)
        raise ValueError(
            f"y contains {len(names)} items without a row in item_features (or item_ids), such "
            f"as {names[:5]}{difference and '; '}{difference}; add their rows, or drop these "
            "events."
        )
    if positions.min() == positions.max():
        raise ValueError(
            f"y contains only one item (n_samples = {positions.size}), so there is nothing to "
            "rank."
        )
    return positions


def make_choices(chosen, users, features, n_one_hot, negatives):
    """Who chose what, among the items that have been chosen at all."""
    used, chosen = np.unique(chosen, return_inverse=True)
    exponent = {"uniform": 0.0, "popularity": 1.0}.get(negatives, negatives)
    return Choices(
        item=chosen.astype(np.int64),
        user=users.of_row,
        features=validation.as_csr(features[used]),
        n_one_hot=n_one_hot,
        exponent=float(exponent),
        seen=users.seen[:, used].sorted_indices(),
    )


def initial_parameters(sides, scale, rng):
    """Random factors, zeros elsewhere; the regression on item features finds theirs."""
    problem = sides.problem
    factors = problem.random_factors(1, problem.n_used, scale, rng)
    factors[:, sides.contexts.n_used + np.flatnonzero(sides.regression.mask)] = 0
    linear = np.zeros((1, problem.n_used), factors.dtype)
    return Parameters(np.zeros(1), linear, factors)

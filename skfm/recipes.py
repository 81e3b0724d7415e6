"""Published factorization models, as pipelines of an encoder and a factorization machine."""

from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from sklearn.base import clone
from sklearn.pipeline import Pipeline

from skfm._utils import validation
from skfm._utils.messages import shown
from skfm._utils.typing import Estimator
from skfm.preprocessing import EventEncoder

__all__ = ["make_recipe"]


@dataclass(frozen=True)
class _Recipe:
    blocks: tuple
    settings: dict = field(default_factory=dict)  # parameters of the estimator
    needs: tuple = ()  # parameters of the encoder that the model requires
    # Kind of the block to rank. None if features of the context depend on the chosen item, or if
    # the model is not a sum of pairs of contexts and items.
    ranks: str | None = None

    def for_ranking(self):
        """The same model for a recommender: the ranked blocks become features of its items."""
        chosen = [name for name, kind in map(_named, self.blocks) if kind == self.ranks]
        rest = tuple(block for block in self.blocks if _named(block)[1] != self.ranks)
        settings = {"item_identity": tuple(chosen)}
        settings |= {
            name: value
            for name, value in self.settings.items()
            if name in ("interactions", "fit_linear")
        }
        return _Recipe(rest, settings, tuple(need for need in self.needs if need != self.ranks))


def _named(block):
    return (block, block) if isinstance(block, str) else block


def _of_item(*partners):
    """Only items interact, with these blocks; users and items have linear weights."""
    pairs = [("item", partner) for partner in partners]
    return {"interactions": pairs, "fit_linear": ["user", "item"]}


def _without_weights(*pairs, **settings):
    """A model of interactions alone."""
    interactions = list(pairs) or None
    terms = {"fit_intercept": False, "fit_linear": False}
    return {"interactions": interactions, **terms, **settings}


_TIMES = ("user", "item", "time", "user_time")
_RECIPES = {
    "mf": _Recipe(("user", "item"), ranks="item"),
    "svd++": _Recipe(("user", "item", "history"), _of_item("user", "history")),
    "knn": _Recipe(("user", "item", "ratings"), _of_item("ratings")),
    "knn++": _Recipe(
        ("user", "item", "ratings", "history"), _of_item("user", "ratings", "history")
    ),
    "attributes": _Recipe(("user", "item", "attributes"), needs=("attributes",)),
    "timesvd": _Recipe(_TIMES, needs=("time",), ranks="item"),
    "timesvd++": _Recipe((*_TIMES, "history"), needs=("time",)),
    "timesvd++ flipped": _Recipe((*_TIMES, "history", "raters"), needs=("time",)),
    "pitf": _Recipe(
        ("user", "item", ("for the user", "context"), ("for the item", "context")),
        _without_weights(("user", "for the user"), ("item", "for the item")),
        ("context",),
        ranks="context",
    ),
    "fpmc": _Recipe(
        ("user", "item", ("next", "item"), "previous"),
        _without_weights(("user", "item"), ("next", "previous")),
        ("time",),
        ranks="item",
    ),
    "parafac": _Recipe(
        ("user", "item", "context"),
        _without_weights(degree=3, fit_lower=False),
        ("context",),
    ),
}


def _is_empty(columns):
    return isinstance(columns, (list, tuple)) and not columns


def _is_one_column(columns):
    return isinstance(columns, (list, tuple)) and len(columns) == 1


_Name: TypeAlias = Literal[
    "mf",
    "svd++",
    "knn",
    "knn++",
    "attributes",
    "timesvd",
    "timesvd++",
    "timesvd++ flipped",
    "pitf",
    "fpmc",
    "parafac",
]


def make_recipe(name: _Name, estimator: Estimator, **columns: Any) -> Pipeline:
    """Make a published factorization model as a pipeline of an encoder and an estimator.

    Parameters
    ----------
    name : str
        Name of the model. The :doc:`user guide </recipes>` describes the models and cites the
        papers.

        "mf"
            Biased matrix factorization.
        "svd++"
            SVD++: items interact with users and with the users' histories.
        "knn", "knn++"
            Factorized nearest neighbors: items interact with the users' ratings and, for "knn++",
            also with users and their histories.
        "attributes"
            Users, items and their attributes, with all interactions.
        "timesvd", "timesvd++", "timesvd++ flipped"
            Users, items, time bins, and pairs of a user and a time bin, with all interactions.
            "timesvd++" adds the users' histories, and "timesvd++ flipped" also the users of each
            item.
        "pitf"
            Pairwise interaction tensor factorization: tags, the single column of `context`,
            interact with users and with items, with separate factors for each.
        "fpmc"
            Factorized personalized Markov chains: items interact with users and with the user's
            previous basket, with separate factors for each.
        "parafac"
            Parallel factor analysis: products of the factors of a user, an item and a context.
    estimator : estimator
        :class:`~skfm.FMRegressor`, :class:`~skfm.FMClassifier`, :class:`~skfm.BayesianFMRegressor`
        or :class:`~skfm.BayesianFMClassifier`. The pipeline contains a copy, whose parameters
        `interactions`, `degree`, `fit_lower`, `fit_linear` and `fit_intercept` are set by the
        recipe. "mf", "timesvd", "pitf" and "fpmc" also accept a :class:`~skfm.FMRecommender`, for
        which the recipe sets `item_identity`, too. In this case, y contains the chosen items of
        the log. For "pitf", y contains the tags, which are then not a column of the log.
    **columns
        Parameters of :class:`~skfm.preprocessing.EventEncoder`, except for `blocks`: `user`,
        `item`, `time`, `context`, `attributes`, `n_last`, `n_bins`, `dtype`. Models without
        context or attributes ignore `context` and `attributes`, so you can pass the same arguments
        to several recipes.

    Returns
    -------
    pipeline : Pipeline
        Pipeline with the steps "encode" and "estimate".

    Raises
    ------
    ValueError
        If the model is unknown, or if it needs columns that are not given.

    Examples
    --------
    >>> from skfm import FMRegressor
    >>> from skfm.recipes import make_recipe
    >>> log = [("ann", "alien"), ("ann", "brazil"), ("bob", "alien"), ("bob", "cube")]
    >>> ratings = [5, 2, 4, 1]
    >>> model = make_recipe("svd++", FMRegressor(alpha=1, alpha_linear=1, random_state=0))
    >>> model.fit(log, ratings).predict([("ann", "cube"), ("bob", "brazil")]).round().tolist()
    [2.0, 2.0]
    """
    validation.check_option(name, "name", _RECIPES)
    recipe = _RECIPES[name]
    if "item_identity" in estimator.get_params():
        if recipe.ranks is None:
            able = ", ".join(repr(name) for name, other in _RECIPES.items() if other.ranks)
            raise ValueError(
                f"The recipe {name!r} cannot be used for ranking: its features depend on the "
                f"chosen item, or have interactions of degree 3. Recipes for ranking: {able}."
            )
        recipe = recipe.for_ranking()
    for need in recipe.needs:
        if columns.get(need) is None or _is_empty(columns[need]):
            raise ValueError(f"The recipe {name!r} requires {need}: pass its column.")
    if "context" in recipe.needs and not _is_one_column(columns["context"]):
        raise ValueError(
            f"The recipe {name!r} requires a list of exactly one column as context; got "
            f"{shown(columns['context'])}."
        )
    if "blocks" in columns:
        raise ValueError(
            "blocks is set by the recipe; to choose other blocks, use an EventEncoder."
        )
    unused = {"context", "attributes"}.difference(kind for _, kind in map(_named, recipe.blocks))
    columns = {name: value for name, value in columns.items() if name not in unused}
    encoder = EventEncoder(blocks=recipe.blocks, **columns)
    model = clone(estimator).set_params(**recipe.settings)
    return Pipeline([("encode", encoder), ("estimate", model)])

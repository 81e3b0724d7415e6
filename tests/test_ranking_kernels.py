"""Kernels of ranking against slow twins: what is drawn, and which way parameters go."""

import numpy as np
import pytest
import reference
from helpers import from_python
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning

from skfm import FMRecommender
from skfm._fm.interactions import check_interactions
from skfm._kernels import negative_sampling
from skfm._kernels.ranking import differentiate as differentiate_kernel
from skfm._kernels.splitmix64 import splitmix64 as splitmix64_kernel
from skfm._solvers.fm.minibatch import Settings
from skfm._solvers.fm.parameters import Parameters
from skfm._solvers.fm.penalties import Penalties
from skfm._solvers.ranking import training
from skfm._solvers.ranking.negative_sampling import cumulative_shares, index_seen

N_CONTEXT, N_ITEMS = 5, 6

splitmix64, find_bit, draw_unseen, draw_free, differentiate = map(
    from_python,
    (
        splitmix64_kernel,
        negative_sampling.find_bit,
        negative_sampling.draw_unseen,
        negative_sampling.draw_free,
        differentiate_kernel,
    ),
)


def make_seen(begin):
    rng = np.random.default_rng(0)
    is_seen = rng.random((20, 6)) < rng.random((20, 1))
    is_seen[0], is_seen[1] = False, True
    return is_seen, index_seen(sparse.csr_matrix(is_seen), begin)


def draw(random, begin, seen, owner):
    """As `compare` does it: a few draws of all items, then one of the free ones."""
    known, word = (ptr[owner : owner + 2] for ptr in (seen.ptr, seen.bit_ptr))
    arguments = seen.item, seen.bits, *known, word[0], word[1] - word[0]
    item = draw_unseen(random, begin, *arguments)
    with np.errstate(over="ignore"):
        random = np.uint64(splitmix64(~random))
    return item if item >= 0 else draw_free(random, begin, seen, owner)


SHARES = pytest.mark.parametrize("shares", [[1, 1, 1, 1, 1, 1], [3, 1, 2, 7, 1, 4]])


@SHARES
def test_each_free_share_is_drawn(shares):
    begin = np.append(0, np.cumsum(shares)).astype(np.int64)
    is_seen, seen = make_seen(begin)
    for owner in range(20):
        expected = reference.free_shares(begin, set(np.flatnonzero(is_seen[owner])))
        n = len(expected)
        if n == 0:
            assert draw_free(np.uint64(7), begin, seen, owner) == -1
            assert draw(np.uint64(7), begin, seen, owner) == -1
            continue
        # The middle of each of n equal parts of all bits.
        bits = [np.uint64((2 * share + 1) * 2**63 // n) for share in range(n)]
        drawn = [draw_free(b, begin, seen, owner) for b in bits]
        assert drawn == expected


@SHARES
def test_draws_follow_shares(shares):
    begin = np.append(0, np.cumsum(shares)).astype(np.int64)
    is_seen, seen = make_seen(begin)
    n = 3000
    with np.errstate(over="ignore"):
        bits = [np.uint64(splitmix64(np.uint64(k))) for k in range(1, n + 1)]
    for owner in np.flatnonzero(~is_seen.all(axis=1))[:8]:
        drawn = [draw(b, begin, seen, owner) for b in bits]
        wanted = shares * ~is_seen[owner]
        wanted = wanted / wanted.sum()
        assert_allclose(np.bincount(drawn, minlength=6) / n, wanted, atol=0.04)
        assert not is_seen[owner][drawn].any()


def test_shares_follow_popularity():
    popularity = np.array([1.0, 10.0, 100.0])
    assert_array_equal(cumulative_shares(popularity, 0.0), [0, 1, 2, 3])
    shares = np.diff(cumulative_shares(popularity, 0.5))
    wanted = np.sqrt(popularity)
    assert_allclose(shares / shares.sum(), wanted / wanted.sum(), rtol=1e-6)
    assert shares.sum() < 2**32


def test_random_bits_have_no_pattern():
    with np.errstate(over="ignore"):
        bits = [int(splitmix64(np.uint64(n))) for n in range(1, 2001)]
    ones = np.array([[b >> k & 1 for k in range(64)] for b in bits])
    assert abs(ones.mean() - 0.5) < 0.01
    assert np.abs(ones.mean(axis=0) - 0.5).max() < 0.06
    assert np.abs(np.corrcoef(ones[:-1].T, ones[1:].T)[:64, 64:]).max() < 0.12


MASKS = {
    None: None,
    "unlike": [("a", "item"), ("b", "more"), ("a", "b"), ("more", "item")],
    # Of the same class as the items' own, so that these explain them.
    "alike": [("a", side) for side in ("b", "item", "more")]
    + [("item", "item"), ("item", "more"), ("more", "more")],
}


def make_case(loss, masked, weighted, max_draws=4, seed=0, n_one_hot=0):
    """A trainer on rows of plain gradient steps without penalties, and its parts.

    With ``n_one_hot`` of 0 no features are explained by others.
    """
    rng = np.random.default_rng(seed)
    n_rows = 30
    X = sparse.random(n_rows, N_CONTEXT, 0.6, "csr", random_state=seed)
    item = np.append(np.arange(N_ITEMS), rng.integers(N_ITEMS, size=n_rows - N_ITEMS))
    given = sparse.random(N_ITEMS, 3, 0.7, "csr", random_state=seed + 1)
    features = sparse.hstack([sparse.eye(N_ITEMS), given], format="csr")
    labels = np.array(["a"] * 2 + ["b"] * 3 + ["item"] * N_ITEMS + ["more"] * 3)
    options = {"degree": 2, "fit_lower": True, "fit_linear": True, "n_components": 3}
    interactions = check_interactions(labels, labels.size, interactions=MASKS[masked], **options)
    owner = rng.integers(8, size=n_rows)
    is_seen = sparse.csr_matrix((np.ones(n_rows, bool), (owner, item)), (8, N_ITEMS))
    is_seen.sort_indices()
    choices = training.Choices(item, owner, features, n_one_hot, 0.5, is_seen)
    weight = rng.integers(1, 4, size=n_rows).astype(float) if weighted else np.empty(0)
    code = training.LOSSES[loss]
    penalties = Penalties(linear=0.0, factors=0.0)
    sides = training.make_ranking_problem(X, choices, weight, code, penalties, interactions)
    factors = rng.normal(size=(1, sides.problem.n_used, 3))
    linear = np.zeros((1, sides.problem.n_used))
    linear[0, sides.contexts.n_used :] = rng.normal(size=sides.items.n_used)
    if loss == "logistic":
        linear[...] = rng.normal(size=linear.shape)
    settings = Settings(
        solver="sgd",
        loss_parameter=0.0,
        max_draws=max_draws,
        learning_rate=1e-6,
        initial_accumulator=1.0,
        batch_size=n_rows,
        max_iter=1,
        tol=0.0,
        n_iter_no_change=5,
        fit_intercept=loss == "logistic",
        fit_linear=True,
        n_threads=1,
        verbose=False,
    )
    start = Parameters(np.zeros(1), linear, factors)
    trainer = training.make_trainer(sides, choices, start, settings, np.random.RandomState(seed))
    weight = weight if weight.size else np.ones(n_rows)
    return trainer, sides, choices, X, weight, start


def joined(sides, choices, X):
    """Dense rows of contexts, and of items, in the scaled features of the problem."""
    n = sides.contexts.n_used
    scale = sides.problem.scale
    contexts = X.toarray()[:, sides.contexts.used] / scale[:n]
    items = choices.features.toarray()[:, sides.items.used] / scale[n:]
    return contexts, items


@pytest.mark.pairwise
@pytest.mark.parametrize("n_one_hot", [0, 1])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("masked", MASKS)
@pytest.mark.parametrize("loss", list(training.LOSSES))
def test_a_step_goes_down_the_slope(loss, masked, weighted, n_one_hot):
    trainer, sides, choices, X, weight, start = make_case(
        loss, masked, weighted, n_one_hot=n_one_hot
    )
    # Events move those that are not explained; what comes after an epoch is tested below.
    assert sides.regression.mask.any() == (n_one_hot == 1 and masked != "unlike")
    is_still = np.append(np.zeros(sides.contexts.n_used, bool), sides.regression.mask)
    trainer.steps._regress = lambda: None
    contexts, items = joined(sides, choices, X)
    interactions = sides.problem.interactions
    own_group = interactions.interaction_group[sides.problem.used]
    allowed = interactions.partners[np.ix_(own_group, own_group)]
    trainer.epoch()
    negative = trainer.steps.pairs.negative.copy()
    rows, _ = trainer.planner.rows(0)
    seen = choices.seen.toarray().astype(bool)

    def output(parameters, r, i):
        x = np.append(contexts[r], items[i])[None]
        intercept, linear, factors = parameters[:3]
        return reference.product_output(
            intercept[0], linear[0], factors[0].T, x, allowed, np.full(3, 2)
        )[0]

    fixed, losses = [], []
    for place, r in enumerate(rows):
        n_free = int((~seen[choices.user[r]]).sum())
        j = int(negative[place])
        if j >= 0:
            assert not seen[choices.user[r], j]
        elif loss != "warp":
            assert n_free == 0
        n_tried = None
        if loss == "warp" and j >= 0:
            score, other = (output(start, r, i) for i in (choices.item[r], j))
            assert other > score - 1
            # How many were drawn is in the weight.
            value = trainer.scratch.rows.losses[place] / weight[r] / min(1, 1 + other - score)
            n_tried = next(
                n
                for n in range(1, 5)
                if np.isclose(value, np.log1p(max(n_free // n, 1)) / np.log1p(n_free))
            )
        fixed.append((r, j, n_free, n_tried))
        losses.append(trainer.scratch.rows.losses[place])

    def total(parameters):
        value = 0.0
        for r, j, n_free, n_tried in fixed:
            score = output(parameters, r, choices.item[r])
            other = output(parameters, r, j) if j >= 0 else None
            value += weight[r] * reference.ranking_loss(loss, score, other, n_free, n_tried)
        return value

    if loss != "warp":
        assert_allclose(np.sum(losses), total(start), rtol=1e-9)
    # Plain steps are divided by the root of the weight of the rows with the feature.
    count = np.append(weight @ (contexts != 0), np.bincount(choices.item, weight) @ (items != 0))
    moved = trainer.parameters()
    rng = np.random.default_rng(1)
    h = 1e-5
    assert_array_equal(moved[2][0, is_still], start[2][0, is_still])
    for j in rng.permutation(np.flatnonzero(~is_still))[:8]:
        for f in (-1, int(rng.integers(3))):
            ends = []
            for sign in (1, -1):
                linear, factors = start[1].copy(), start[2].copy()
                if f < 0:
                    linear[0, j] += sign * h
                else:
                    factors[0, j, f] += sign * h
                ends.append(total((start[0], linear, factors)))
            slope = (ends[0] - ends[1]) / (2 * h)
            before, after = (p[1][0, j] if f < 0 else p[2][0, j, f] for p in (start, moved))
            step = (before - after) * np.sqrt(max(count[j], 1)) / 1e-6
            assert_allclose(step, slope, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("max_draws", [1, 3, 50])
def test_draws_are_bounded(max_draws):
    trainer, *_ = make_case("warp", None, False, max_draws, seed=3)
    trainer.epoch()
    losses = trainer.scratch.rows.losses
    assert (losses <= 1).all()
    assert (losses[trainer.steps.pairs.negative < 0] == 0).all()
    if max_draws == 1:  # nobody's rank looks better than the first draw says
        assert set(np.round(trainer.steps.pairs.slope[1][losses > 0], 9)) == {1.0}


def test_measuring_draws_the_same_each_time():
    trainer, *_ = make_case("bpr", "unlike", True)
    first = trainer.measure()
    assert trainer.measure() == first
    trainer.epoch()
    assert trainer.measure() != first


@pytest.mark.parametrize("masked", [False, True])
def test_explaining_keeps_the_sums(masked):
    """Scores of items that have been chosen stay; the features take what they explain."""
    rng = np.random.default_rng(0)
    n_items, n_given = 60, 3
    given = sparse.csr_matrix(rng.normal(size=(n_items, n_given)))
    features = sparse.hstack([sparse.eye(n_items)] * 2 + [given], format="csr")
    labels = np.array(["user"] * n_items + ["item"] * n_items + ["other"] * n_items)
    labels = np.append(labels, ["given"] * n_given)
    pairs = [("user", "item"), ("user", "given"), ("other", "other")] if masked else None
    options = {"degree": 2, "fit_lower": True, "fit_linear": True, "n_components": 4}
    interactions = check_interactions(labels, labels.size, interactions=pairs, **options)
    users = sparse.eye(n_items, format="csr")
    choices = training.Choices(
        np.arange(n_items), np.arange(n_items), features, 2, 0.0, sparse.csr_matrix(users > 0)
    )
    penalties = Penalties(linear=0.1, factors=0.1)
    sides = training.make_ranking_problem(users, choices, np.empty(0), 0, penalties, interactions)
    regression = sides.regression
    assert_array_equal(np.flatnonzero(regression.mask), 2 * n_items + np.arange(n_given))
    assert (sides.problem.factor_penalty > 0).sum() == 3 * n_items
    planted = 3 * rng.normal(size=(n_given, 4))
    factors = rng.normal(size=(2 * n_items + n_given, 4))
    factors[:n_items] += given @ planted
    factors[-n_given:] = 0
    linear = rng.normal(size=len(factors))

    def parts():
        return interactions.parts(regression.rows, regression.features, linear, factors)

    before = [part.copy() for part in parts()]
    for _ in range(20):
        regression.estimate(linear, factors)
    for got, wanted in zip(parts(), before, strict=True):
        assert_allclose(got, wanted, atol=1e-9)
    scale = sides.problem.scale[-n_given:, None]
    learned = factors[-n_given:] / scale
    assert np.corrcoef(learned.ravel(), planted.ravel())[0, 1] > 0.97
    # A new item's output is estimated without its own features.
    output, layers = regression.contributions(linear, factors)
    alone = interactions.parts(regression.without_one_hot, regression.features, linear, factors)
    assert_allclose(output, alone[0], atol=1e-9)
    assert_allclose(layers, alone[2], atol=1e-9)


def test_who_was_found_after_many_draws_counts():
    found = differentiate(training.WARP, np.dtype(float), 0.0, 0.5, 0.0, 3, 9)
    weight = np.log(2) / np.log(4)  # that item is before the chosen one: its rank is 1
    assert_allclose(found, (weight, -weight, weight))


@pytest.mark.parametrize("loss", ["warp", "bpr", "logistic"])
@pytest.mark.parametrize("n_components", [0, 2])
def test_items_without_a_feature_have_the_score_0(loss, n_components):
    model = FMRecommender(
        n_components,
        loss=loss,
        item_features=[[1.0], [0.0], [0.0]],
        item_identity=(),
        max_iter=3,
        tol=0,
        random_state=0,
    )
    with pytest.warns(ConvergenceWarning):
        model.fit(np.eye(3), [0, 1, 2])
    items = model._items
    assert_array_equal(items[1:], 0)
    assert items[0, -1] != 0 or n_components


def test_bits_say_who_has_been_seen_whether_items_share_them_or_not():
    rng = np.random.default_rng(0)
    n_items = 1000
    is_seen = rng.random((30, n_items)) < np.linspace(0, 0.2, 30)[:, None]
    begin = np.arange(n_items + 1)
    seen = index_seen(sparse.csr_matrix(is_seen), begin)
    n_words = np.diff(seen.bit_ptr)
    assert (n_words * 64 < n_items).any() and (n_words * 64 >= n_items).any()
    for owner in range(30):
        marked = np.zeros(n_items, bool)
        for i in range(n_items):
            word, bit = find_bit(i, n_words[owner], n_items)
            marked[i] = seen.bits[seen.bit_ptr[owner] + word] >> np.uint64(bit) & np.uint64(1)
        assert marked[is_seen[owner]].all()
        if n_words[owner] * 64 >= n_items:
            assert_array_equal(marked, is_seen[owner])
        else:
            assert marked[~is_seen[owner]].mean() < 2 / negative_sampling.BITS
        for _ in range(50):
            i = draw(np.uint64(rng.integers(2**63)), begin, seen, owner)
            assert not is_seen[owner, i]

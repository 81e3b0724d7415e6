"""The sampler: calibrated against its prior, and each of its draws against what is known of it.

Simulation-based calibration (Talts et al. 2018): with parameters and data from the prior, the true
value of any number is equally likely to have any rank among independent draws given that data.
"""

from dataclasses import replace

import numpy as np
import pytest
from builders import KEY, LIMIT, NARROW, draw_from_prior, expected_of, p_value, too_slow
from helpers import in_full, size
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse, stats

from skfm._kernels import losses
from skfm._solvers.fm import diagnostics, gibbs, rescaling, sweeps
from skfm._solvers.fm import level_noise as noise
from skfm._solvers.fm.gibbs import N_HELD, REFRESH, Chain, Draw, Settings, first_draw
from skfm._solvers.fm.interactions import all_pairs
from skfm._solvers.fm.penalties import Penalties
from skfm._solvers.fm.priors import GroupPrecisions, Hyperprior
from skfm._solvers.fm.problem import make_problem
from skfm._utils.equal_rows import merge_rows


def one_hot(rng, n_rows, *n_levels):
    return np.hstack([np.eye(n)[rng.integers(n, size=n_rows)] for n in n_levels])


def chain_for(
    X,
    y,
    group,
    n_components=2,
    *,
    weight=None,
    signs=None,
    start=None,
    iteration=0,
    kind=Chain,
    seed=0,
    key=KEY,
    **settings,
):
    """A chain from a random start; ``y`` are numbers, or with ``signs`` ignored."""
    X = sparse.csr_matrix(X)
    problem = make_problem(
        X,
        np.asarray(y, dtype=X.dtype),
        np.empty(0, X.dtype) if weight is None else np.asarray(weight, dtype=X.dtype),
        losses.SQUARED_ERROR if signs is None else losses.LOG_LOSS,
        Penalties(linear=0.0, factors=0.0),
        all_pairs(X.shape[1], n_components),
    )
    group = np.asarray(group)
    if start is None:
        rng = np.random.RandomState(seed)
        start = first_draw(problem, group[problem.used], group.max() + 1, 1.0, 0.0, rng)
    settings = Settings(max_iter=1, **{"fit_intercept": False, **settings})
    return kind(problem, group[problem.used], start, iteration, settings, key, signs)


def assert_same(draw, other, **tolerance):
    for name, value in vars(draw).items():
        if tolerance:
            assert_allclose(value, getattr(other, name), **tolerance)
        else:
            assert_array_equal(value, getattr(other, name))


# Calibration


def output(theta, X):
    factors, linear = theta[:, :-1], theta[:, -1]
    return X @ linear + ((X @ factors) ** 2 - X**2 @ factors**2).sum(axis=1) / 2


def numbers_of(draw, X):
    """What the data may tell of a draw: nothing that depends on the factors' order and signs."""
    theta = np.asarray(draw.theta, dtype=float)
    factors, mean, precision = theta[:, :-1], draw.group_mean, draw.group_precision
    pairs = np.triu_indices(len(theta), k=1)
    return np.concatenate(
        [
            [draw.noise_precision],
            theta[:, -1],
            mean[:, -1],
            precision[:, -1],
            (mean[:, :-1] ** 2).sum(axis=1),
            (mean[:, None, :-1] * mean[:, :-1]).sum(axis=2)[np.triu_indices(len(mean), k=1)],
            precision[:, :-1].prod(axis=1),
            [draw.common_precision[-1], draw.common_precision[:-1].prod()],
            output(theta, X),
            (factors @ factors.T)[pairs],
            draw.level_precision,
            np.log(draw.freedom),
        ]
    )


def of_numbers(rng):
    """Few rows, some of the columns 1 and -1, and points that are not among the rows."""
    X = np.hstack([one_hot(rng, 14, 3, 3), rng.choice([-1.0, 1.0], size=(14, 2))])
    new = np.array([[1, 0, 0, 1, 1, 0, 1, 0], [1.5, 0, 0, 0, 0, 2, -1, 1]])
    return X, np.repeat([0, 1, 2], [3, 3, 2]), new


def of_signs(rng):
    """One-hot rows, which come several times."""
    new = np.array([[1, 0, 0, 1, 1, 0, 0], [0, 1, 0, 0, 0, 0, 2.0]])
    return one_hot(rng, 25, 3, 4), np.repeat([0, 1], [3, 4]), new


def of_levels(rng):
    """One-hot rows whose noise differs."""
    new = np.array([[1, 0, 0, 1, 1, 0, 0], [0, 1, 0, 0, 0, 0, 2.0]])
    return one_hot(rng, 30, 3, 4), np.repeat([0, 1], [3, 4]), new


def draw_level_noise(rng, group):
    """Precisions of the levels and degrees of freedom, from the prior."""
    freedom = rng.choice(noise.FREEDOMS, size=group.max() + 1)
    return rng.gamma(freedom[group] / 2, 2 / freedom[group]), freedom


def jittered(draw, rng):
    """Ranks need numbers that differ: degrees of freedom are raised by up to a half."""
    return replace(draw, freedom=draw.freedom * rng.uniform(1, 1.5, size=draw.freedom.size))


def ranks_of(design, kind, n_worlds, n_draws=3, *, burn_in, thin, n_components=2):
    """Ranks (n_worlds, n_numbers) of the true numbers among draws of a chain."""
    rng = np.random.default_rng(0)
    ranks = []
    while len(ranks) < n_worlds:
        X, group, new = design(rng)
        if not X.any(axis=0).all():
            continue
        degrees = [2] * n_components
        truth = draw_from_prior(rng, group, NARROW, expected_of(X, group, degrees), degrees)
        f = output(truth.theta, X)
        options = {"seed": len(ranks), "noise_by_level": design is of_levels}
        options["key"] = rng.integers(2**63, size=2, dtype=np.uint64)
        if design is of_numbers:
            y = f + rng.normal(size=f.size) / np.sqrt(truth.noise_precision)
        elif design is of_levels:
            truth.level_precision, truth.freedom = draw_level_noise(rng, group)
            spread = np.exp((X != 0) @ np.log(truth.level_precision) / -2)
            y = f + spread * rng.normal(size=f.size) / np.sqrt(truth.noise_precision)
        else:
            truth.noise_precision = 1.0
            y = np.where(f + rng.normal(size=f.size) > 0, 1.0, -1.0)
            X, y, options["weight"] = merge_rows(sparse.csr_matrix(X), y, np.ones(f.size))
            options["signs"] = y
        chain = chain_for(
            X, y, group, n_components, kind=kind, hyperprior=replace(NARROW), **options
        )
        draws = []
        for number in range(1, burn_in + n_draws * thin + 1):
            chain.step()
            if number > burn_in and (number - burn_in) % thin == 0:
                draws.append(numbers_of(jittered(chain.draw(), rng), new))
        ranks.append((np.array(draws) < numbers_of(jittered(truth, rng), new)).sum(axis=0))
    ranks = np.array(ranks)
    return ranks[:, 1:] if design is of_signs else ranks  # there is no noise to be found


CALIBRATION = {"burn_in": 60, "thin": 40}  # enough for 1000 worlds, too


@pytest.fixture
def small_levels(monkeypatch):
    """Noise differs between few levels, too."""
    monkeypatch.setattr(noise, "LEAST_LEVELS", 3)


@too_slow
@pytest.mark.parametrize("design", [of_numbers, of_levels, *in_full(of_signs)])
@pytest.mark.parametrize("n_worlds", [50, *in_full(120)])
def test_true_values_have_uniform_ranks(design, n_worlds, small_levels):
    assert p_value(ranks_of(design, Chain, n_worlds, **CALIBRATION)) > LIMIT


class Wrong(Chain):
    """Changes what a sweep gets."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        sweep = self.sweeper.sweep

        def wrong(rows, model, prior, precision, noise, fit_linear):
            sweep(rows, model, *self.change(prior, precision, noise), fit_linear)

        self.sweeper.sweep = wrong


class TooMuchNoise(Wrong):
    def change(self, prior, precision, noise):
        return prior, precision, 1.6 * noise


class NoMean(Wrong):
    def change(self, prior, precision, noise):
        return prior._replace(mean=0 * prior.mean), precision, noise


class NoCopies(Chain):
    """Rows of any weight count once."""

    def _draw_latent(self, rng):
        self.copies[:] = 1
        self.problem.weight[:] = 1
        return super()._draw_latent(rng)


class HalfSquares(Chain):
    """Levels see half of the squared errors."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        draw = self.level_noise.draw
        self.level_noise.draw = lambda squares, rng: draw(squares / 2, rng)


@pytest.mark.full
@too_slow
@pytest.mark.parametrize(
    "design, wrong, n_worlds",
    [
        (of_numbers, TooMuchNoise, 60),
        (of_numbers, NoMean, 120),
        (of_signs, NoMean, 60),
        (of_signs, NoCopies, 120),
        (of_levels, HalfSquares, 120),
    ],
)
def test_a_wrong_sampler_is_found_out(design, wrong, n_worlds, small_levels):
    assert p_value(ranks_of(design, wrong, n_worlds, **CALIBRATION)) < LIMIT


# Each draw by itself


def rows_with_outputs(f, **options):
    """A chain of rows whose outputs are what they are said to be."""
    rng = np.random.default_rng(0)
    X = rng.choice([-1.0, 1.0], size=(f.size, 1))
    chain = chain_for(X, np.zeros(f.size), [0], 0, **options)
    chain.raw[:], chain.rows.error[:] = f, f - chain.goal
    assert_allclose(chain.goal + chain.rows.error, f)
    return chain


def assert_drawn_from(values, distribution):
    assert stats.kstest(values, distribution.cdf).pvalue > 1e-6


def assert_moments(values, mean, variance, kurtosis):
    """Within five standard errors."""
    n = values.size
    assert abs(values.mean() - mean) < 5 * np.sqrt(variance / n)
    assert abs(values.var() - variance) < 5 * variance * np.sqrt((kurtosis + 2) / n)


def test_hidden_numbers_have_the_moments_of_truncated_normal_ones():
    each, outputs, weights = size(20_000, 2000), [-8.0, -3.0, 0.0, 3.0, 8.0], [1.0, 3.0, 2.5, 40.0]
    kinds = np.array([(f, c, s) for f in outputs for c in weights for s in (-1.0, 1.0)])
    f, weight, signs = np.tile(kinds, (each, 1)).T
    chain = rows_with_outputs(f, weight=weight, signs=signs)
    loss = chain._draw_latent(np.random.default_rng(1))
    assert_allclose(loss, -(weight * stats.norm.logcdf(f * signs)).sum())
    assert_allclose(chain.goal + chain.rows.error, f, atol=1e-12)
    hidden = (chain.goal * signs).reshape(each, -1).T
    rng = np.random.default_rng(2)
    for (f, weight, sign), values in zip(kinds, hidden, strict=True):
        law = stats.truncnorm(-f * sign, np.inf, loc=f * sign)
        mean, variance, kurtosis = law.stats("mvk")
        copies = weight if weight == 3 else 1
        assert_moments(values, mean, variance / weight, kurtosis / copies)
        if weight in (1, 3):
            assert (values > 0).all()
            by_hand = law.rvs((each, int(weight)), random_state=rng).mean(axis=1)
            assert stats.ks_2samp(values, by_hand).pvalue > 1e-6


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("weight", [None, 1e-3, 1.0, 3.0, 1e6])
def test_hidden_numbers_of_far_outputs_are_finite(weight, dtype):
    f = np.repeat([-50.0, -38.0, 0.0, 9.0, 38.0, 50.0], 500)
    for sign in (-1.0, 1.0):
        X = np.ones((f.size, 1), dtype)
        weights = None if weight is None else np.full(f.size, weight)
        chain = chain_for(X, 0 * f, [0], 0, weight=weights, signs=np.full(f.size, sign))
        chain.raw[:] = f
        assert np.isfinite(chain._draw_latent(np.random.default_rng(0)))
        assert np.isfinite(chain.goal).all()
        if weight in (None, 1.0, 3.0):
            assert (chain.goal * sign >= 0).all()
        # Near the bound if that is far out, else as if there were none.
        if weight is None:
            assert abs(chain.goal[f * sign == -50]).max() < 0.5
            assert_allclose(chain.goal[f * sign == 50].mean(), 50 * sign, atol=0.3)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_noise_has_its_gamma_distribution(weighted):
    rng = np.random.default_rng(0)
    f = rng.normal(size=12)
    weight = rng.uniform(0.5, 3, size=12) if weighted else np.ones(12)
    prior = Hyperprior(shape=3.0, rate=5.0)
    chain = rows_with_outputs(f, weight=weight if weighted else None, hyperprior=prior)
    precisions = []
    for _ in range(3000):
        assert_allclose(chain._draw_noise_precision(rng), (weight * f**2).sum())
        precisions.append(chain.noise_precision)
    shape, rate = (3 + weight.sum()) / 2, (5 + (weight * f**2).sum()) / 2
    assert_drawn_from(precisions, stats.gamma(shape, scale=1 / rate))


@pytest.mark.parametrize("weighted", [False, True])
def test_levels_have_their_gamma_distribution(weighted, small_levels, monkeypatch):
    """Given the degrees of freedom, and the precisions of the other group's levels."""
    monkeypatch.setattr(noise, "FREEDOMS", np.array([6.0]))
    rng = np.random.default_rng(0)
    X = one_hot(rng, 40, 3, 4)
    X[:3, :3] = 0  # rows without a level of the first group
    weight = rng.uniform(0.5, 3, size=40) if weighted else np.ones(40)
    options = {"weight": weight if weighted else None}
    chain = chain_for(X, rng.normal(size=40), np.repeat([0, 1], [3, 4]), 0, **options)
    own, squares = chain.level_noise, weight * rng.normal(size=40) ** 2
    draws = []
    for _ in range(2000):
        own.precision[3:7] = [0.5, 1, 2, 4]
        product = own.draw(squares, rng)
        assert_allclose(product, np.exp((X != 0) @ np.log(own.precision[:7])))
        draws.append(own.precision[:3].copy())
    other = X[:, 3:] @ [0.5, 1, 2, 4]
    for values, has in zip(np.transpose(draws), X[:, :3].T, strict=True):
        shape, rate = (6 + weight @ has) / 2, (6 + (squares * other) @ has) / 2
        assert_drawn_from(values, stats.gamma(shape, scale=1 / rate))
    assert_array_equal(own.freedom, 6)


def test_degrees_of_freedom_are_as_likely_as_what_they_explain(small_levels, monkeypatch):
    """Whatever the levels' precisions are: these are integrated out."""
    monkeypatch.setattr(noise, "FREEDOMS", np.array([4.0, 16.0]))
    rng = np.random.default_rng(0)
    X = one_hot(rng, 60, 5)
    squares = (X @ [0.4, 0.7, 1, 1.5, 2.5]) * rng.normal(size=60) ** 2
    own = chain_for(X, np.zeros(60), np.zeros(5, int), 0).level_noise
    freedoms = []
    for _ in range(4000):
        own.draw(squares, rng)
        freedoms.append(own.freedom[0])
    share = np.mean(np.array(freedoms) == 4)

    def likelihood(freedom):
        """A level's mean square has an F distribution."""
        n, total = X.sum(axis=0), squares @ X
        law = stats.f(n, freedom).logpdf(total / n) - np.log(n)
        jacobian = (1 - n / 2) * np.log(total)  # the same for all degrees of freedom
        return np.exp((law + jacobian).sum())

    first, second = likelihood(4.0), likelihood(16.0)
    assert_allclose(share, first / (first + second), atol=0.04)
    assert 0.1 < share < 0.9


def test_groups_have_their_normal_gamma_distribution():
    """Of many features, and of one. Of none nothing is known; its features count as 0.

    Where rows have several of a group, its prior is as much narrower.
    """
    rng, nu = np.random.default_rng(0), 4
    group = np.array([0] * 9 + [2])
    theta = rng.normal([1.0, 0.0, -2.0], size=(10, 3))
    prior = Hyperprior(mean_count=0.5, common=1e12, degrees_of_freedom=[nu])
    start = Draw(0.0, theta, 1.0, np.zeros((3, 3)), np.ones((3, 3)), np.ones(3))
    X = one_hot(rng, 300, 10)
    X[:, :4] = 1
    expected = expected_of(X, group, [2, 2])
    assert (expected[0] > 4 * expected[2]).all()
    chain = chain_for(X, np.zeros(300), group, hyperprior=prior, start=start)
    means, precisions = [], []
    for number in range(12_000):  # two draws in turn: soon as good as independent
        chain._draw_groups(rng)
        if number % 6 == 5:
            means.append(chain.group_mean)
            precisions.append(chain.group_precision)
    means, precisions = np.array(means), np.array(precisions)
    assert means.shape == precisions.shape == (2000, 3, 3)
    assert not means[:, 1].any() and np.isinf(precisions[:, 1]).all()
    for g, c in [(g, c) for g in (0, 2) for c in range(3)]:
        own = theta[group == g, c]
        n, total = own.size, own.sum()
        center = total / (n + prior.mean_count)
        squares = (own**2).sum() - (n + prior.mean_count) * center**2
        shape, rate = (nu + n) / 2, (nu / expected[g, c] + squares) / 2
        assert_drawn_from(precisions[:, g, c], stats.gamma(shape, scale=1 / rate))
        scale = np.sqrt(rate / shape / (n + prior.mean_count))
        assert_drawn_from(means[:, g, c], stats.t(2 * shape, loc=center, scale=scale))


@pytest.mark.parametrize("nu", [None, 8.0])
def test_precisions_of_all_groups_have_a_common_number(nu):
    """Precisions of which the data knows nothing come from the prior; else, many groups that are
    alike have the common number that their parameters tell."""
    rng, n_groups = np.random.default_rng(0), 40
    size, expected = np.full((n_groups, 2), 0 if nu else 6), np.full((n_groups, 2), 3.0)
    freedoms = np.array([nu or 1e9])
    prior = Hyperprior(common=5.0, degrees_of_freedom=freedoms)
    own = GroupPrecisions(size, expected, [np.array([0]), np.array([1])], prior)
    if nu:
        own.is_absent[:], own.shape[:] = False, 0
    squares = 0 * expected if nu else rng.gamma(3.5, 2 / 3, size=(n_groups, 2))
    common, precision, found = np.ones(2), expected, []
    for _ in range(2000):
        common, precision = own.draw(squares, common, precision, rng)
        found.append([common[1], precision[3, 1] / common[1] / 3])
    common, scale = np.array(found).T
    n = 0 if nu else 7 * n_groups
    rate = (5 + 3 * squares[:, 1].sum()) / 2
    assert_drawn_from(common, stats.gamma((5 + n) / 2, scale=1 / rate))
    if nu:
        assert_drawn_from(scale, stats.gamma(nu / 2, scale=2 / nu))
    else:
        assert_allclose(scale, 1, rtol=1e-3)


def test_common_number_of_groups_that_differ_has_its_distribution():
    """With the multipliers integrated out: its density, computed on a grid."""
    rng, nu = np.random.default_rng(0), 4.0
    size, expected = np.array([[3], [6], [10]]), np.array([[2.0], [0.5], [1.0]])
    prior = Hyperprior(common=5.0, degrees_of_freedom=np.array([nu]))
    own = GroupPrecisions(size, expected, [np.array([0])], prior)
    squares = (size + 1) / expected * [[0.1], [1.0], [10.0]]
    common, precision, found = np.ones(1), expected, []
    for number in range(4000):
        common, precision = own.draw(squares, common, precision, rng)
        if number % 4 == 3:
            found.append(np.log(common[0]))
    grid = np.linspace(-8, 8, 4000)  # of the logarithm of the common number
    shape, rate = (size + 1) / 2, squares * expected / 2
    log_p = (5 / 2 + shape.sum()) * grid - 5 / 2 * np.exp(grid)
    log_p -= ((nu / 2 + shape) * np.log(nu / 2 + np.exp(grid) * rate)).sum(axis=0)
    cdf = np.cumsum(np.exp(log_p - log_p.max()))
    cdf /= cdf[-1]
    assert stats.kstest(found, lambda values: np.interp(values, grid, cdf)).pvalue > 1e-6


def test_likelihood_of_rescaled_outputs(monkeypatch):
    """That of errors, or of labels, as by the formula: up to a constant."""
    monkeypatch.setattr(rescaling, "CHUNK", 7)
    rng = np.random.default_rng(0)
    output, target, part, weight = rng.normal(size=(4, 20))
    signs, weight = np.sign(target), np.exp(weight)
    normal = rescaling.normal_likelihood(output - target, part, weight)
    probit = rescaling.probit_likelihood(output, part, signs, weight, 2)
    for change in (-1.0, -0.3, 0.5, 4.0):
        squares = [(output + c * part - target) ** 2 for c in (change, 0)]
        assert_allclose(normal(change) - normal(0), -weight @ (squares[0] - squares[1]) / 2)
        assert_allclose(
            probit(change), weight @ stats.norm.logcdf(signs * (output + change * part))
        )


@pytest.mark.parametrize("probit", [False, True])
def test_sizes_of_parameters_have_their_distribution(probit):
    """Where nothing else moves, that of a scale: its density, computed on a grid."""
    rng = np.random.default_rng(0)
    X = one_hot(rng, 12, 3, 2)
    y = np.where(rng.random(12) < 0.6, 1.0, -1.0)
    weight = rng.integers(1, 3, size=12).astype(float)
    signs = {"signs": y} if probit else {}
    prior = Hyperprior(common=6.0)
    chain = chain_for(*(X, y, np.repeat([0, 1], [3, 2])), weight=weight, hyperprior=prior, **signs)
    theta = rng.normal(size=(5, 3))
    chain.model.linear[:], chain.model.factors[:, :2] = theta[:, 2], theta[:, :2]
    chain.group_mean = mean = rng.normal(size=(2, 3))
    chain.common_precision = common = rng.uniform(0.5, 2, size=3)
    chain._refresh()
    own = chain.group_precision / common
    scales = []
    for number in range(size(12_000, 4_000)):
        chain._rescale(rng)
        if number % 8 == 7:
            linear, factors = chain.model[:2]
            scales.append([factors[0, 0] / theta[0, 0], linear[0] / theta[0, 2]])
    powers = np.array([scales[-1][0]] * 2 + [scales[-1][1]])
    assert_allclose(chain.group_mean, mean * powers)
    assert_allclose(chain.common_precision, common / powers**2)
    assert_allclose(chain.group_precision, own * chain.common_precision)
    assert_allclose(chain.raw, output(np.column_stack([factors[:, :2], linear]), X))

    grid = np.linspace(-5, 4, 900)
    parts = [output(theta * kept, X) for kept in ([1, 1, 0], [0, 0, 1])]
    outputs = np.exp(2 * grid)[:, None, None] * parts[0] + np.exp(grid)[None, :, None] * parts[1]
    if probit:
        log_p = (weight * stats.norm.logcdf(y * outputs)).sum(axis=2)
    else:
        log_p = -(weight * (y - outputs) ** 2).sum(axis=2) / 2
    for axis, kind in enumerate(([0, 1], [2])):
        ratio = common[kind, None] * np.exp(-2 * grid)
        own_prior = (3 * (np.log(ratio) - ratio)).sum(axis=0)
        log_p += np.expand_dims(own_prior, 1 - axis)
    p = np.exp(log_p - log_p.max())
    for axis, values in enumerate(np.log(np.transpose(scales))):
        cdf = np.cumsum(p.sum(axis=1 - axis))
        found = np.searchsorted(np.sort(values), grid) / len(values)
        assert np.abs(found - cdf / cdf[-1]).max() < size(0.09, 0.15)


class Known(Chain):
    """The noise and the priors are what they are at the start."""

    def _draw_noise_precision(self, rng):
        return self.squared_errors().sum()

    def _draw_groups(self, rng):
        pass

    def _rescale(self, rng):
        pass


@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_linear_model_has_the_posterior_of_bayesian_regression(weighted, fit_intercept):
    rng = np.random.default_rng(0)
    X = rng.choice([-1.0, 1.0], size=(25, 4), p=[0.3, 0.7])
    X[:, 3] *= rng.integers(2, size=25)
    y = X @ [1.0, -0.5, 0.0, 2.0] + 0.7 + rng.normal(size=25)
    weight = rng.uniform(0.2, 3, size=25) if weighted else np.ones(25)
    noise, mean, precision = 1.5, 0.7, 2.0
    prior = np.full((1, 1), mean), np.full((1, 1), precision)
    start = Draw(0.0, np.zeros((4, 1)), noise, *prior, np.ones(1))
    n = size(10_000, 1000)
    chain = chain_for(
        *(X, y, [0, 0, 0, 0], 0),
        weight=weight if weighted else None,
        start=start,
        kind=Known,
        fit_intercept=fit_intercept,
    )
    draws = np.empty((n, 5))
    for _ in range(50):
        chain.step()
    for k in range(n):
        chain.step()
        draws[k] = [chain.intercept, *chain.model.linear]
    Z = np.column_stack([np.full(25, float(fit_intercept)), X])
    inverse = noise * Z.T @ (weight[:, None] * Z) + np.diag([0, *np.full(4, precision)])
    right = noise * Z.T @ (weight * y) + precision * np.array([0, mean, mean, mean, mean])
    kept = slice(0 if fit_intercept else 1, 5)
    covariance = np.linalg.inv(inverse[kept, kept])
    solution = covariance @ right[kept]
    if not fit_intercept:
        assert not draws[:, 0].any()
    draws, sd = draws[:, kept], np.sqrt(np.diag(covariance))
    assert (abs(draws.mean(axis=0) - solution) < 6 * sd / np.sqrt(n)).all()
    error = np.sqrt((np.outer(sd, sd) ** 2 + covariance**2) / n)
    assert (abs(np.cov(draws.T) - covariance) < 8 * error).all()


@pytest.mark.parametrize("weight, share", [(1.0, 0), (3.0, 0), (16.0, 0), (0.3, 0.1), (20.0, 0.1)])
def test_the_intercept_alone_has_the_posterior_of_its_probit_likelihood(weight, share):
    """Exactly so where rows have copies; else nearly, by this share of the standard deviation."""
    signs = np.repeat([-1.0, 1.0], [9, 4] if weight < 10 else [2, 1])
    chain = chain_for(
        *(np.ones((signs.size, 1)), 0 * signs, [0], 0),
        weight=np.full(signs.size, weight),
        signs=signs,
        kind=Known,
        fit_linear=False,
        fit_intercept=True,
    )
    draws = []
    for _ in range(size(6000, 2000)):
        chain.step()
        draws.append(chain.intercept)
    grid = np.linspace(-6, 6, 4001)
    log_likelihood = weight * stats.norm.logcdf(np.outer(grid, signs)).sum(axis=1)
    density = np.exp(log_likelihood - log_likelihood.max())
    mean = np.average(grid, weights=density)
    sd = np.sqrt(np.average((grid - mean) ** 2, weights=density))
    kept = np.array(draws[100:]).reshape(-1, 100).mean(axis=1)  # nearly independent
    error = kept.std() / np.sqrt(kept.size)
    assert abs(kept.mean() - mean) < 5 * error + share * sd
    assert_allclose(np.std(draws[100:]), sd, rtol=0.1 + share)


# Whether a chain has arrived


def autoregressive(rng, n, share):
    values = np.zeros(n)
    for i in range(1, n):
        values[i] = share * values[i - 1] + rng.normal()
    return values


@pytest.mark.parametrize("share", [-0.5, 0.0, 0.5, 0.9])
def test_draws_are_worth_as_many_as_their_correlation_leaves(share):
    rng = np.random.default_rng(0)
    chains = [autoregressive(rng, 2000, share) for _ in range(20)]
    found = np.mean([diagnostics.effective_sample_size(chain) for chain in chains])
    assert_allclose(found, 2000 * (1 - share) / (1 + share), rtol=0.2)
    assert_allclose([diagnostics.split_r_hat(chain) for chain in chains], 1, atol=0.1)


def test_halves_that_differ_are_found():
    rng = np.random.default_rng(0)
    values = np.append(rng.normal(size=100), rng.normal(3, size=101))
    # Between both halves there is a variance of 4.5, within of 1.
    assert_allclose(diagnostics.split_r_hat(values), np.sqrt(1 + 4.5), rtol=0.2)
    assert diagnostics.effective_sample_size(values) < 10


def test_diagnostics_of_constants_and_of_little():
    assert diagnostics.split_r_hat([3.0] * 9) == 1
    assert diagnostics.effective_sample_size([3.0] * 8) == 8
    assert 1e6 < diagnostics.split_r_hat([1.0, 1.0, 2.0, 2.0]) < 1e9
    values = np.array([1.0, 2.0, 3.0, 5.0])
    for function in (diagnostics.split_r_hat, diagnostics.effective_sample_size):
        assert np.isfinite(function(values))
        for unit in (1e-300, 1e300):
            assert_allclose(function(unit * values), function(values))


def test_a_fall_is_told_from_noise():
    rng = np.random.default_rng(0)
    steady = 1 + 0.05 * rng.normal(size=(200, 100))
    trend = np.linspace(0.4, 0, 100)
    share = np.mean([diagnostics.is_falling(curve) for curve in steady])
    assert share < 0.02
    assert np.mean([diagnostics.is_falling(curve + trend) for curve in steady]) > 0.95
    assert not any(diagnostics.is_falling(curve - trend) for curve in steady)  # it rises
    assert not diagnostics.is_falling(1 + trend / 1e3)  # surely, but by too little to matter
    assert not diagnostics.is_falling(1 + trend[:19])  # too short to say
    assert not diagnostics.is_falling([])


# The iterations of a chain


def make(n_rows=400, dtype=np.float64, *, probit=False, weighted=False, seed=0):
    """Arguments of a chain: rows of three fields and a number, two groups."""
    rng = np.random.default_rng(seed)
    X = np.hstack([one_hot(rng, n_rows, 8, 6, 5), rng.normal(size=(n_rows, 1))])
    y = rng.normal(size=n_rows) + X[:, 0] + X[:, -1] * X[:, 10]
    options = {"weight": rng.integers(1, 20, size=n_rows) / 1.0 if weighted else None}
    if probit:
        options["signs"] = np.where(y > 0, 1.0, -1.0)
    return (sparse.csr_matrix(X.astype(dtype)), y, np.repeat([0, 1], [8, 12])), options


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("probit", [False, True])
def test_a_step_returns_the_mean_loss_before_it(probit, weighted):
    arguments, options = make(100, probit=probit, weighted=weighted)
    X, y, _ = arguments
    chain = chain_for(*arguments, **options, fit_intercept=True)
    scale = chain.problem.scale
    weight = options["weight"] if weighted else np.ones(100)
    for _ in range(3):
        draw = chain.draw()
        f = draw.intercept + output(draw.theta, X.toarray() / scale)
        assert_allclose(chain.goal + chain.rows.error, f)
        loss = -stats.norm.logcdf(f * options["signs"]) if probit else (y - f) ** 2
        assert_allclose(chain.step(), np.average(loss, weights=weight))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_components", [0, 3, 20])
@pytest.mark.parametrize("probit", [False, True])
def test_outputs_follow_the_parameters(probit, n_components, dtype):
    arguments, options = make(60, dtype, probit=probit)
    chain = chain_for(*arguments, n_components, **options, fit_intercept=True)
    for _ in range(REFRESH - 1):
        chain.step()
    draw = chain.draw()
    assert draw.theta.dtype == dtype and draw.theta.shape == (20, n_components + 1)
    theta = draw.theta.astype(float)
    f = draw.intercept + output(theta, arguments[0].toarray() / chain.problem.scale)
    assert_allclose(chain.goal + chain.rows.error, f, atol=1e-9 if dtype == np.float64 else 1e-3)


def test_what_is_not_to_be_fitted_stays_as_it_is():
    arguments, options = make(60)
    chain = chain_for(*arguments, **options, fit_linear=False, fit_intercept=False)
    before = chain.draw()
    for _ in range(3):
        chain.step()
    after = chain.draw()
    assert after.intercept == 0 and not after.theta[:, -1].any()
    assert (after.theta[:, :-1] != before.theta[:, :-1]).all()


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("probit", [False, True])
@pytest.mark.parametrize("n_before", [REFRESH, 2 * REFRESH, 7])
def test_a_chain_goes_on_from_a_draw(n_before, probit, dtype, weighted):
    arguments, options = make(size(400, 40), dtype, probit=probit, weighted=weighted)

    def go(n_steps, **start):
        chain = chain_for(*arguments, **options, fit_intercept=True, **start)
        for _ in range(n_steps):
            chain.step()
        return chain.draw()

    whole = go(n_before + 5)
    first = go(n_before)
    kept = [np.copy(value) for value in vars(first).values()]
    second = go(5, start=first, iteration=n_before)
    if n_before % REFRESH == 0:
        assert_same(second, whole)
    else:
        tolerance = 1e-6 if dtype == np.float64 else 0.05
        assert_same(second, whole, rtol=tolerance, atol=tolerance)
    for value, other in zip(vars(first).values(), kept, strict=True):
        assert_array_equal(value, other)


def test_random_numbers_come_from_the_key_and_the_iteration():
    arguments, options = make(40)

    def one_step(**changes):
        chain = chain_for(*arguments, **{**options, **changes})
        chain.step()
        return chain.draw()

    draw = one_step()
    assert_same(one_step(), draw)
    assert (one_step(iteration=1).theta != draw.theta).all()
    assert (one_step(key=KEY + np.uint64(1)).theta != draw.theta).all()


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("probit", [False, True])
def test_threads_change_no_bit(probit, dtype, weighted, monkeypatch):
    monkeypatch.setattr(sweeps, "THREAD_WORK", 1)
    monkeypatch.setattr(gibbs, "PROBIT_CHUNK", 7)
    shared = []

    def share(work, n_chunks, n_threads):
        shared.append((n_chunks, n_threads))
        whole_share(work, n_chunks, n_threads)

    whole_share = gibbs.share
    monkeypatch.setattr(gibbs, "share", share)
    n_rows = size(2000, 50)
    arguments, options = make(n_rows, dtype, probit=probit, weighted=weighted)
    draws, losses = [], []
    for n_threads in (1, 2, 3):
        chain = chain_for(*arguments, **options, fit_intercept=True, n_threads=n_threads)
        assert chain.sweeper.n_threads == n_threads
        parts = [len(bounds) - 1 for bounds in chain.sweeper.stretches]
        assert max(parts) == n_threads
        losses.append([chain.step() for _ in range(REFRESH + 2)])
        draws.append(chain.draw())
    for draw, curve in zip(draws, losses, strict=True):
        assert_same(draw, draws[0])
        assert curve == losses[0]
    if probit:
        assert set(shared) == {(-(-n_rows // 7), n_threads) for n_threads in (1, 2, 3)}


def test_a_start_is_random_factors_and_priors_of_the_size_that_is_expected():
    arguments, options = make(300)
    problem = chain_for(*arguments, **{**options, "n_components": 50}).problem
    X, _, group = arguments
    start = first_draw(problem, group, 2, 0.3, 1.5, np.random.RandomState(0))
    assert start.intercept == 1.5 and start.noise_precision == 1
    assert start.theta.shape == (20, 51) and not start.theta[:, -1].any()
    spread = 0.3 / np.sqrt(problem.mean_row_length)
    assert_allclose(start.theta[:, :-1].std(), spread, rtol=0.1)
    assert not start.group_mean.any()
    assert_allclose(start.group_precision, expected_of(X.toarray(), group, [2] * 50))


def test_outputs_have_the_variance_that_is_expected():
    """With priors as they are expected to be: half from pairs, half from linear weights."""
    rng = np.random.default_rng(0)
    X = np.hstack([one_hot(rng, 300, 8, 6), np.ones((300, 6))])
    group = np.repeat([0, 1, 2], [8, 6, 6])
    expected = chain_for(X, np.zeros(300), group, 3).expected
    spread = 1 / np.sqrt(expected[group])
    outputs = [output(spread * rng.normal(size=spread.shape), X) for _ in range(2000)]
    assert_allclose(np.var(outputs), 2, rtol=0.15)
    # Groups have the same share, of whatever number of features.
    assert_allclose(expected[:, -1], [3, 3, 18])


@pytest.mark.parametrize("probit", [False, True])
def test_priors_are_held_at_first(probit):
    arguments, options = make(60, probit=probit)
    chain = chain_for(*arguments, **options)
    start = chain.draw()
    for _ in range(N_HELD):
        chain.step()
    assert_array_equal(chain.group_mean, start.group_mean)
    assert_array_equal(chain.group_precision, start.group_precision)
    chain.step()
    assert (chain.group_mean != start.group_mean).all()
    later = chain_for(*arguments, **options, iteration=N_HELD)  # one that goes on
    later.step()
    assert (later.group_precision != start.group_precision).all()

"""Elastic nets of each item on all others, by coordinate descent on their Gram matrix."""

import math

import numpy as np

from skfm._kernels._jit import jit, jit_inner
from skfm._kernels.neighbors import is_better, sift_down, sift_up

ADDED = 32  # items that join the working set together, at least


@jit(allocates=True)
def regress_items(first, last, gram, diagonal, penalties, positive, stopping, weights, n_iter):
    """Write the weights of all items in the regressions of items ``first:last``, a row for each.

    The weights w of item j minimize ``|x_j - X w|^2 / 2 + alpha |w|^2 / 2 + alpha_l1 |w|_1``,
    where ``w_j`` is 0, and with ``positive`` no weight is negative. ``gram`` has the entries of
    ``X.T X``, CSR, and ``penalties`` are (alpha, alpha_l1).

    Coordinate descent runs on a working set of items. Those with the largest steps join it, until
    no step would change the predictions by more than ``tol`` times the length of ``x_j``.
    ``stopping`` is (max_iter, tol), where at most ``max_iter`` sweeps over working sets are made.
    ``n_iter`` is their number, negative where that was not enough. An item's result depends on no
    other.
    """
    n_items = diagonal.size
    max_iter, tol = stopping
    gradient = np.empty(n_items, weights.dtype)  # of the squared error, with another sign
    place = np.full(n_items, -1)  # in the working set
    working = np.empty(n_items, np.int64)
    joining = np.empty(n_items, np.int64)
    steps = np.empty(n_items, weights.dtype)
    slope = np.empty(n_items, weights.dtype)  # the gradient of the working set
    between = np.zeros((ADDED, ADDED), weights.dtype)  # their Gram matrix
    for j in range(first, last):
        w = weights[j - first]
        w[:] = 0
        bound = tol * math.sqrt(diagonal[j])
        n_working, n_sweeps = 0, 0
        converged = False
        while True:
            _find_gradient(j, gram, w, working, n_working, gradient)
            n_joining = _find_joining(
                *(j, diagonal, penalties, positive, gradient, place, bound),
                *(max(ADDED, n_working), joining, steps),
            )
            if n_joining == 0:
                converged = True
                break
            if n_sweeps >= max_iter:
                break
            n_before, n_working = n_working, n_working + n_joining
            if n_working > between.shape[0]:
                larger = np.zeros((2 * n_working, 2 * n_working), weights.dtype)
                larger[:n_before, :n_before] = between[:n_before, :n_before]
                between = larger
            for a in range(n_joining):
                working[n_before + a] = joining[a]
                place[joining[a]] = n_before + a
            for a in range(n_before, n_working):
                between[a, :n_working] = 0
                between[:n_before, a] = 0
            for a in range(n_before, n_working):
                for p in range(gram.indptr[working[a]], gram.indptr[working[a] + 1]):
                    b = place[gram.indices[p]]
                    if b >= 0:
                        between[a, b] = between[b, a] = gram.data[p]
            for a in range(n_working):
                slope[a] = gradient[working[a]]
            largest = math.inf
            while largest > bound and n_sweeps < max_iter:
                largest = _sweep(
                    n_working, working, between, diagonal, penalties, positive, slope, w
                )
                n_sweeps += 1
            if largest > bound:
                break
        for a in range(n_working):
            place[working[a]] = -1
        n_iter[j] = n_sweeps if converged else -n_sweeps


@jit_inner
def _find_gradient(j, gram, w, working, n_working, gradient):
    gradient[:] = 0
    for p in range(gram.indptr[j], gram.indptr[j + 1]):
        gradient[gram.indices[p]] = gram.data[p]
    for a in range(n_working):
        weight = w[working[a]]
        if weight != 0:
            for p in range(gram.indptr[working[a]], gram.indptr[working[a] + 1]):
                gradient[gram.indices[p]] -= weight * gram.data[p]


@jit_inner
def _find_joining(
    j, diagonal, penalties, positive, gradient, place, bound, n_most, joining, steps
):
    """Items outside the working set with the largest steps above the bound; their number."""
    n = 0
    for i in range(diagonal.size):
        if place[i] >= 0 or i == j:
            continue
        weight = _best_weight(gradient[i], diagonal[i], penalties, positive)
        step = math.sqrt(diagonal[i]) * abs(weight)
        if step <= bound:
            continue
        if n < n_most:
            sift_up(joining, steps, 0, n, i, step)
            n += 1
        elif is_better(step, i, steps[0], joining[0]):
            sift_down(joining, steps, 0, n, i, step)
    return n


@jit_inner
def _best_weight(target, size, penalties, positive):
    """The weight that minimizes the objective; without penalties, it is ``target / size``."""
    alpha, alpha_l1 = penalties
    if target > alpha_l1:
        return (target - alpha_l1) / (size + alpha)
    if target < -alpha_l1 and not positive:
        return (target + alpha_l1) / (size + alpha)
    return target * 0


@jit_inner
def _sweep(n_working, working, between, diagonal, penalties, positive, slope, w):
    """Minimize over one weight after the other; returns the largest change of the predictions."""
    largest = 0.0
    for a in range(n_working):
        i = working[a]
        size, before = diagonal[i], w[i]
        weight = _best_weight(slope[a] + size * before, size, penalties, positive)
        change = weight - before
        if change == 0:
            continue
        w[i] = weight
        for b in range(np.uintp(n_working)):
            slope[b] -= change * between[a, b]
        largest = max(largest, math.sqrt(size) * abs(change))
    return largest

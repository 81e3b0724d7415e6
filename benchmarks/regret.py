"""How far default parameters are behind a search, on one data set after the other.

A task is one data set and one kind of model. It has

- ``name``, ``model``, whose parameters are the defaults, ``metrics``, the names of what is
  measured, and ``sign``: 1 where more is better, -1 where less is;
- ``measure(model)``: fit the model on the training data, and return the metrics on the test data;
- ``inner()``: the same task within the training data, a part of which is set aside as test data;
- ``space(model)``: what to search.

`search` looks for the best first metric within the training data. `compare` then fits what it has
found, and the defaults, on all training data and measures both on the test data, once. The regret
is the share by which the defaults are worse than what was found; it is negative where they are
better.
"""

import time

import numpy as np
from sklearn.base import clone
from sklearn.model_selection import ParameterSampler

SHOWN = ("alpha_", "unobserved_weight_")  # of a fitted model, if it has them


def search(task, n_candidates, **fixed):
    """The best of some random settings within the training data; some parameters are fixed."""
    inner = task.inner()
    model = clone(task.model).set_params(**fixed)
    settings = list(ParameterSampler(inner.space(model), n_candidates, random_state=0))
    found = [inner.measure(clone(model).set_params(**setting))[0] for setting in settings]
    return settings[int(np.argmax(task.sign * np.array(found)))]


def compare(task, n_candidates, **fixed):
    """Print a line of a table, with the seconds that fitting and judging the defaults takes."""
    default = clone(task.model)
    began = time.perf_counter()
    measured = task.measure(default)
    seconds = time.perf_counter() - began
    setting = search(task, n_candidates, **fixed)
    tuned = task.measure(clone(task.model).set_params(**setting))
    each = "".join(
        f"{one:>9.4f}{best:>9.4f}{task.sign * (1 - one / best):>9.1%}"
        for one, best in zip(measured, tuned, strict=True)
    )
    numbers = {name: getattr(default, name, None) for name in SHOWN}
    used = _listed({key: value for key, value in numbers.items() if np.isscalar(value)})
    used = f"used: {used}; " if used else ""
    print(f"{task.name:<14}{each}{seconds:>8.1f}  {used}tuned: {_listed(setting)}", flush=True)


def _listed(numbers):
    return ", ".join(
        f"{name} {value}" if isinstance(value, str) else f"{name} {float(value):.3g}"
        for name, value in numbers.items()
    )


def print_table(title, tasks, n_candidates, **fixed):
    for number, task in enumerate(tasks):
        if number == 0:
            names = "".join(f"{metric:>27}" for metric in task.metrics)
            heads = f"{'default':>9}{'tuned':>9}{'regret':>9}" * len(task.metrics)
            print(f"\n{title:<14}{names}\n{'':<14}{heads}{'s':>8}")
            task.measure(clone(task.model))  # compiles
        compare(task, n_candidates, **fixed)

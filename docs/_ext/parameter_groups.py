"""Group the many parameters of an estimator by purpose on its page.

numpydoc renders the section "Parameters" as one long definition list. This extension puts a short
heading before the first parameter of each group; the order within a group is that of the
docstring.
"""

import inspect
import re

from sklearn.base import BaseEstimator

MINIMUM = 10  # classes with fewer parameters are shown as they are

GROUPS = {
    "Model": """
        n_components loss epsilon quantile degree fit_lower interactions field_interactions
        feature_fields feature_groups fit_intercept fit_linear fit_bias class_weight feedback
        unobserved_weight noise_by_level
    """,
    "Items and users": "item_features item_ids item_fields item_identity user_fields",
    "Features": """
        columns strings numbers blocks user item time context attributes n_last min_frequency
        max_categories n_features total_n_features n_bins n_folds crossed hash_seed sparse_output
        dtype
    """,
    "Regularization": "alpha alpha_linear alpha_bias alpha_l1 alpha_l21 alpha_fields nu",
    "Training": """
        solver learning_rate initial_accumulator batch_size max_iter n_burn_in tol
        n_iter_no_change init_scale negatives max_draws warm_start
    """,
    "Early stopping": "early_stopping validation_fraction scoring refit callback",
    "Running": "random_state n_jobs max_memory verbose",
}
GROUP_OF = {name: group for group, names in GROUPS.items() for name in names.split()}
ITEM = re.compile(r"^    \*\*(\w+)\*\* : ")


def group_parameters(app, what, name, obj, options, lines):
    """Rewrite the lines of a class's docstring after numpydoc."""
    if not (what == "class" and inspect.isclass(obj) and issubclass(obj, BaseEstimator)):
        return
    parameters = set(inspect.signature(obj).parameters)
    if len(parameters) < MINIMUM or ":Parameters:" not in lines:
        return
    start = lines.index(":Parameters:") + 1
    stop = next((n for n in range(start, len(lines)) if re.match(r"\S", lines[n])), len(lines))
    items = _items(lines[start:stop])
    unknown = [item for item in items if item not in GROUP_OF]
    if unknown:
        raise ValueError(f"Name a group for {', '.join(unknown)} of {name} in {__file__}.")
    body = [""]
    for group in GROUPS:
        members = [item for item in items if GROUP_OF[item] == group]
        if members:
            body += [f"    .. rubric:: {group}", "       :class: parameter-group", ""]
            for item in members:
                body += items[item]
    lines[start:stop] = body


def _items(lines):
    """The lines of each parameter."""
    items, name = {}, None
    for line in lines:
        if match := ITEM.match(line):
            name = match[1]
            items[name] = []
        if name is not None:
            items[name].append(line)
    return items


def setup(app):
    app.connect("autodoc-process-docstring", group_parameters, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

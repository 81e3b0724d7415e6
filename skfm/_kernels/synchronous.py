"""One step of an update rule from gradients that several batches have handed out."""

from skfm._kernels._jit import jit
from skfm._kernels.structs import FeatureSums, Local, State
from skfm._kernels.update_rules import move, move_intercept


@jit
def move_features(rule, feature, feature_sums, local, linear, factors):
    """Update the parameters of the features ``feature``, of one output.

    ``feature_sums`` and ``local``, as plain tuples, have the gradients, and copies of the
    parameters and penalties, of just these features in this order.
    """
    features = feature, 0, feature.size, 0, 0
    move(
        rule.update,
        features,
        FeatureSums(*feature_sums),
        Local(*local),
        linear,
        factors,
        rule.fit_linear,
    )


@jit
def move_shared(rule, state, intercept_slope, pair_slope, pairs, weight):
    """Update what all rows share: the intercepts, and the parameters of the pairs ``pairs``.

    ``state`` is that of all parameters as a plain tuple, and ``weight`` that of the step's rows.
    """
    state = State(*state)
    for c in range(intercept_slope.size):
        if rule.fit_intercept:
            move_intercept(rule.update, state.intercept[c], intercept_slope[c], weight)
        for p in pairs:
            for number in range(pair_slope.shape[2]):
                slots = state.field_pairs[c, :, p, number]
                move_intercept(rule.update, slots, pair_slope[c, p, number], weight)

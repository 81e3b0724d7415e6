"""What all displays share: matplotlib, where it is needed, and axes to draw on."""

from typing import Any


def make_axes(ax: Any, display: object) -> tuple[Any, Any]:
    """The axes to draw on, new ones if ``ax`` is None, and their figure."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            f"{type(display).__name__}.plot needs matplotlib ({error}); install it with pip "
            'install "skfm[plot]".'
        ) from error
    if ax is None:
        _, ax = plt.subplots()
    return ax, ax.figure

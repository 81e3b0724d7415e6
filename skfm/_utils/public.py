"""Public classes under the names by which users import them."""

import inspect
from collections.abc import Callable
from typing import TypeVar

Class = TypeVar("Class", bound=type)


def public(module: str) -> Callable[[Class], Class]:
    """Name a class and its methods after the module that exports them.

    Files of models then contain ``skfm.FMRegressor``, not the private module of the class, which
    can move. This is also the name that `skops.io.load` wants to be trusted. The methods are named
    alike, since doctest looks only at those whose module is that of the class.
    """

    def rename(cls: Class) -> Class:
        for member in vars(cls).values():
            if inspect.isfunction(member) and member.__module__ == cls.__module__:
                member.__module__ = module
        cls.__module__ = module
        return cls

    return rename

"""Runs: configuration to trainer or evaluator, checkpoints, the run directory, and what people see of it.

The public names are those of `pylon.runners.public`. It is imported, and torch with it, when the first of
them is used: the command line is parsed, and its mistakes are reported, before that.
"""

import importlib
from typing import TYPE_CHECKING

from pylon import require_namespace as _require_namespace

if TYPE_CHECKING:
    from pylon.runners.public import *  # noqa: F403 - `public` states the names once, in its __all__
else:

    def __getattr__(name: str) -> object:
        if name.startswith("_") and name != "__all__":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        try:
            # Not by `from pylon.runners import public`, which asks this function for 'public' first.
            public = importlib.import_module("pylon.runners.public")
        except ModuleNotFoundError as error:
            from pylon.extras import missing_extra  # noqa: PLC0415

            raise (missing_extra(error) or error) from None
        try:
            return getattr(public, name)
        except AttributeError:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None

    def __dir__() -> list[str]:
        return sorted({*globals(), *__getattr__("__all__")})


_require_namespace(__name__)

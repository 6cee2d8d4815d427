"""Pylon: train PyTorch models in runs that lose nothing, watched by monitors that cannot hurt them.

    from pylon.monitor import SystemMonitor
    from pylon.runners import SupervisedSingleTaskTrainer
    from pylon.models import HANet

The packages are links to the folders next to this one, so that each has one name everywhere: in a checkout,
in an editable installation and in a wheel (docs/decisions/0010).
"""

import sys

__version__ = "0.2.0"


def require_namespace(name: str) -> None:
    """Refuse to load a package of Pylon under another name than `pylon.<package>`.

    Two copies of a module have two copies of each class, and no `isinstance` between them holds.

    Args:
        name: `__name__` of the package's `__init__`.

    Raises:
        ImportError: it is loaded without `pylon.`; the text names the right import.
    """
    # While `python -m PACKAGE` looks for its `__main__`, it loads the package itself; `__main__` goes on
    # with `pylon.` names. Documented: https://docs.python.org/3/library/sys.html#sys.argv
    if not name.startswith("pylon.") and sys.argv[:1] != ["-m"]:
        raise ImportError(f"'{name}' is 'pylon.{name}': write 'from pylon.{name} import ...'", name=name)

"""HANet (Han et al. 2023)."""

from pylon.models.hanet.hanet import HANet

__all__ = ["HANet"]

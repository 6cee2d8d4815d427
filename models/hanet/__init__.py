"""HANet (Han et al. 2023)."""

from models.hanet.hanet import HANet

__all__ = ["HANet"]

"""FC-EF, FC-Siam-conc and FC-Siam-diff (Daudt, Le Saux, Boulch 2018)."""

from pylon.models.fc_siam.networks import FCEF, FCSiamConc, FCSiamDiff

__all__ = ["FCEF", "FCSiamConc", "FCSiamDiff"]

"""Bi-temporal change detection: pairs of images of one place at two dates, and where it changed."""

from pylon.data.change_detection.air_change import AirChangeDataset
from pylon.data.change_detection.dataset import ChangeDetectionDataset
from pylon.data.change_detection.levir_cd import LEVIRCDDataset

__all__ = ["AirChangeDataset", "ChangeDetectionDataset", "LEVIRCDDataset"]

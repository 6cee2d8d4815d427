"""SZTAKI AirChange."""

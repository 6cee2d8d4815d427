"""What held a run back: ordered rules over its steps and samples."""

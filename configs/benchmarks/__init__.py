"""One file per benchmark run."""

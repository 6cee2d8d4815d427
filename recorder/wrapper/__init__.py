"""`pylon run`: record any command."""

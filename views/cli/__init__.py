"""The commands that show or pass on what goes on."""

"""The commands of the recorder."""

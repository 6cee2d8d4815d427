"""What a report cannot be made of."""


class ReportError(Exception):
    """Nothing can be shown; the message names the file and what to do."""

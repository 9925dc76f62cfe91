"""What can go wrong with a report: a path that cannot be used, or data that does not fit the schema."""


class ReportError(Exception):
    """Base of every error of this package; the text says what was found, what is accepted, and the next step."""


class ReportPathError(ReportError, OSError):
    """A folder or file cannot be read or written."""


class ReportDataError(ReportError, ValueError):
    """A frame, a finding or a stored file does not have the form the report is built from."""

"""The frame as files: Parquet to read back, CSV for people and other tools."""

import io

import pandas as pd

from .errors import ReportDataError
from .schema import validate


def to_csv(frame: pd.DataFrame) -> bytes:
    """Return the frame as UTF-8 CSV; floats in their shortest form that reads back equal, nulls as empty cells."""
    return frame.to_csv(index=False, lineterminator="\n").encode()


def to_parquet(frame: pd.DataFrame) -> bytes:
    """Return the frame as Parquet, compressed, without an index."""
    buffer = io.BytesIO()
    frame.to_parquet(buffer, engine="pyarrow", index=False)
    return buffer.getvalue()


def from_parquet(data: bytes, where: str) -> pd.DataFrame:
    """Read what `to_parquet` wrote. Raises ReportDataError where `data` is not Parquet or has other columns."""
    try:
        frame = pd.read_parquet(io.BytesIO(data), engine="pyarrow")
    except (OSError, ValueError, KeyError) as fault:
        raise ReportDataError(
            f"read_report: {where} cannot be read as Parquet ({str(fault).splitlines()[0]}); accepted is a file "
            "written by write_report. Restore the file or run the campaign again."
        ) from None
    return validate(frame)

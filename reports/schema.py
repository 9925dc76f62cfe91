"""The one column schema of a comparison frame; every writer, reader and check is driven by it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pandas as pd

from .complex_entries import to_real_parts
from .errors import ReportDataError
from .formatting import clean
from .verdicts import VERDICTS, worst

__all__ = ["COLUMNS", "VERDICTS", "Column", "frame_from_rows", "validate", "worst"]


@dataclass(frozen=True)
class Column:
    """A column: its name, pandas dtype, what it means, its unit ("" where there is none), and if it may be null."""

    name: str
    dtype: str
    meaning: str
    unit: str = ""
    nullable: bool = True


COLUMNS: tuple[Column, ...] = (
    Column(
        "case", "string", "identifier of the case, unique within a run, equal for all its comparisons", nullable=False
    ),
    Column("source", "string", "where the case comes from: generated, opinfo, lockstep, pitfall, user"),
    Column("op", "string", "op_db name with its variant after a dot; for generated programs the torch function"),
    Column("program", "string", "short name or digest of the program"),
    Column("mode", "string", "how PyTorch was asked, outermost first: R reverse, F forward; empty for a value"),
    Column("runner", "string", "what executed it: autograd, func, vmap, compile, checkpoint, ..."),
    Column("dtype", "string", "torch dtype of the computation, without the prefix torch."),
    Column("device", "string", "torch device"),
    Column("layout", "string", "memory layout of the inputs: contiguous, transposed, channels_last, ..."),
    Column("quantity", "string", "what was compared: value or derivative"),
    Column("order", "Int64", "order of the derivative, 0 for a value", "derivatives taken"),
    Column("wrt", "string", "the input or parameter the derivative is taken with respect to"),
    Column("verdict", "string", "one of the verdicts, see VERDICTS", nullable=False),
    Column("z", "float64", "greatest error in units of the measured rounding spread", "spreads"),
    Column("ulp", "float64", "greatest error in units in the last place of dtype", "ulp"),
    Column("abs_error", "float64", "greatest |torch - reference|", "units of the quantity"),
    Column("rel_error", "float64", "abs_error / |reference|, or / what cancels where it cancels", "dimensionless"),
    Column("entry", "string", "index of the worst entry, with .real or .imag where the numbers are complex"),
    Column("torch_value", "float64", "PyTorch's number at entry; NaN is also written for 'not known'"),
    Column("reference_value", "float64", "the witness's number at entry; NaN is also written for 'not known'"),
    Column("spread", "float64", "rounding spread at entry, one standard deviation", "units of the quantity"),
    Column("culprit", "string", "the ATen operation that is judged wrong"),
    Column("finding", "string", "identifier of the finding this row belongs to"),
    Column("known", "string", "public issue or closed form that explains it"),
    Column("seed", "Int64", "seed the case was drawn from"),
    Column("seconds", "float64", "wall clock of this comparison", "s"),
    Column("message", "string", "what was raised, which choice was made, why it is unsupported"),
)

_BY_NAME: dict[str, Column] = {column.name: column for column in COLUMNS}
_NAMES: list[str] = list(_BY_NAME)


def frame_from_rows(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Build the typed frame from one mapping a comparison; keys that are left out become nulls.

    Complex `torch_value` and `reference_value` are reduced to the part, real or imaginary, in which they differ most,
    and `.real` or `.imag` is appended to `entry`. Text is freed of control characters (see `formatting.clean`).

    Raises ReportDataError for an unknown key, a missing case or verdict, an unknown verdict, or a value that does not
    fit its column's dtype.
    """
    cells: dict[str, list[Any]] = {name: [] for name in _NAMES}
    for number, row in enumerate(rows):
        unknown = [key for key in row if key not in _BY_NAME]
        if unknown:
            raise ReportDataError(
                f"frame_from_rows: row {number} has unknown keys {', '.join(map(repr, unknown))}; "
                f"accepted are {', '.join(_NAMES)}. Rename the key or add a column to the schema."
            )
        real = to_real_parts(row)
        for name, column in cells.items():
            column.append(real.get(name))
    return _conform({name: pd.Series(values, dtype=object) for name, values in cells.items()}, "frame_from_rows")


def validate(frame: pd.DataFrame) -> pd.DataFrame:
    """Return `frame` with the schema's dtypes, columns in the schema's order, and a plain index 0, 1, 2, ...

    Raises ReportDataError for columns that are missing or unknown, and for cells as `frame_from_rows` does.
    """
    missing = [name for name in _NAMES if name not in frame.columns]
    extra = [str(name) for name in frame.columns if name not in _BY_NAME]
    if missing or extra or not frame.columns.is_unique:
        raise ReportDataError(
            f"validate: the frame lacks columns {missing} and has unknown or repeated columns {extra}; "
            f"accepted are exactly {', '.join(_NAMES)}. Build it with frame_from_rows."
        )
    return _conform({name: frame[name].reset_index(drop=True) for name in _NAMES}, "validate")


def _conform(cells: Mapping[str, pd.Series], operation: str) -> pd.DataFrame:
    typed = {name: _typed(_BY_NAME[name], series, operation) for name, series in cells.items()}
    frame = pd.DataFrame(typed, columns=_NAMES)
    for column in COLUMNS:
        nulls = frame[column.name].isna()
        if not column.nullable and bool(nulls.any()):
            raise ReportDataError(
                f"{operation}: column {column.name!r} is null in row {int(np.argmax(nulls))} "
                f"({int(nulls.sum())} rows in all); a value is needed in every row. Fill it where the row is made."
            )
    odd = ~frame["verdict"].isin(VERDICTS)
    if bool(odd.any()):
        found = sorted(set(frame.loc[odd, "verdict"]))
        raise ReportDataError(
            f"{operation}: column 'verdict' holds {found} (first in row {int(np.argmax(odd))}); "
            f"accepted are {', '.join(VERDICTS)}. Correct the spelling where the row is made."
        )
    return frame


def _typed(column: Column, series: pd.Series, operation: str) -> pd.Series:
    if str(series.dtype) == column.dtype and column.dtype != "string":
        return series
    if column.dtype == "string":
        texts = [None if _is_null(value) else value for value in series]
        odd = next((i for i, text in enumerate(texts) if not (text is None or isinstance(text, str))), None)
        if odd is not None:
            raise _does_not_fit(column, odd, texts[odd], "text or None", operation)
        return pd.Series([None if text is None else clean(text) for text in texts], dtype="string")
    convert: Callable[[Any], Any] = _integer if column.dtype == "Int64" else _real
    values = []
    for i, value in enumerate(series):
        try:
            values.append(None if value is None or value is pd.NA else convert(value))
        except (TypeError, ValueError, OverflowError):
            accepted = "an integer below 2**63 or None" if column.dtype == "Int64" else "a real number or None"
            raise _does_not_fit(column, i, value, accepted, operation) from None
    if column.dtype == "Int64":
        return pd.Series(values, dtype="Int64")
    return pd.Series([np.nan if value is None else value for value in values], dtype="float64")


def _is_null(value: object) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and value != value)


def _integer(value: Any) -> int | None:
    if isinstance(value, (bool, np.bool_, str, bytes)):
        raise TypeError
    if value != value:  # NaN is how pandas writes a missing number in a float column
        return None
    number = int(value)
    if number != value or not -(2**63) <= number < 2**63:
        raise ValueError
    return number


def _real(value: Any) -> float:
    if isinstance(value, (bool, np.bool_, str, bytes, complex, np.complexfloating)):
        raise TypeError
    return float(cast(float, value))


def _does_not_fit(column: Column, row: int, value: object, accepted: str, operation: str) -> ReportDataError:
    return ReportDataError(
        f"{operation}: column {column.name!r}, row {row}: found {value!r} ({type(value).__name__}); accepted is "
        f"{accepted} ({column.meaning}). Convert it where the row is made."
    )

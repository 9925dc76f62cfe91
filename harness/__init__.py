"""The comparison: generate, record, run, judge, localise, audit."""

__all__: list[str] = []

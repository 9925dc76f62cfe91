"""Reports: pandas frames to HTML, Markdown, CSV, Parquet and figures."""

__all__: list[str] = []

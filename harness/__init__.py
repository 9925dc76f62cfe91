"""The comparison: generate, record, run, judge, localise, audit."""

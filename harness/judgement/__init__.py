"""Compare a run with the witness: modes, tolerances, kinks, and which operation is at fault."""

"""Record a real run, and read it as the witness's program."""

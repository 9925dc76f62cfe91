"""What the pytest plugin loads on first use: the fixture, tests without a test file, and what is said at the end."""

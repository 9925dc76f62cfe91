"""The primitives, one declaration each, by family."""

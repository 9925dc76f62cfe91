"""Who is right on single numbers: every engine against 50 digits, and the table of worst errors."""

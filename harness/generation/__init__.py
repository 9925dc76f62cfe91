"""Draw programs and inputs that find faults, and print them as source."""

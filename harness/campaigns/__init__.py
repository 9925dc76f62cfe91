"""Run many comparisons on worker processes: op_db, generated programs, lock step, calibration."""

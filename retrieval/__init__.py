"""Documents -> chunks -> ranked hits."""

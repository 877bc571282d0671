"""Evaluation: cases are asked through the current code, measured, and compared with an earlier run."""

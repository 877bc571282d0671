"""What each step does: one node per file."""

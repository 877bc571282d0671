"""How steps are wired, and how a run of them is started, watched and stopped."""

"""What becomes of what was measured: tables, plots, and the figures of README.md and docs/."""

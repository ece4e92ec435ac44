"""Measurements: one module per topic, whose ``run() -> str`` returns a Markdown section."""

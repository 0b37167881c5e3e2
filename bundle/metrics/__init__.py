"""Metrics as plain functions on arrays, and their MONAI form for engines in :mod:`bundle.metrics.engine`."""

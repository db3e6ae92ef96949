"""Parley's costs, as ratios between cases measured side by side in one run. Run by hand; nothing here can fail."""

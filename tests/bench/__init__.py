"""What Parley costs, as ratios between things measured side by side in one run. Run by hand; nothing here can fail."""

"""Other people's recipes on our slices, for as many minutes as ours has; see README.md beside this file."""

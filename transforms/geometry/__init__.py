"""Where pixels go: elastic deformation, windows, mirroring, crops."""

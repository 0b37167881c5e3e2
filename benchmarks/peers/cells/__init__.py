"""Other programs on cells and nuclei: the same images, the same time of one core, each by its own defaults."""

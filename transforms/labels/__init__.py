"""What labels become: instances, separation, weight map, pixels not annotated, classes."""

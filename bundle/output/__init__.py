"""Results written for people and programs: images, label maps, pictures, the challenge's layout."""

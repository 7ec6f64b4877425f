"""Label noise: what it is (a spec), its transition matrix, and the corruption of labels."""

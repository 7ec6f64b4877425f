"""Classification losses that survive noisy labels: learned by evolutionary search, ready to drop in."""

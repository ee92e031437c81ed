"""Data sets: a source each, from drawn shapes to a folder of people's own pictures."""

"""A run on the disk: its checkpoints, how one is opened again, what is logged of it, the jobs of a sweep."""

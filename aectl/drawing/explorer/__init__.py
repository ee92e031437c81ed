"""The page of `aectl explore`: the latent space of a run, to be played with in a browser."""

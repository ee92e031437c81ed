"""Where training images come from, how they are split and held, and the noise that is put on them."""

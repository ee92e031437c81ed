"""aectl: the autoencoder workbench."""

__version__ = "0.1.0"

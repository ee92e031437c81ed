"""How an image is scored under what a decoder gives."""

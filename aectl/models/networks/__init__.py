"""Encoders and decoders, sized from the shape of the images."""

"""Pictures to bits and back: an entropy coder driven by a trained model, without loss and with."""

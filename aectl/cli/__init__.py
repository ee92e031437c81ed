"""From the words of a command line to one function, and from errors to exit codes. The only home of Hydra."""

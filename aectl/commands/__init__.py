"""What a user types after `aectl`: each command in a file of its own, the work of training apart."""

"""What a user types after `aectl`: a table of the commands, what each takes, and a file with the work of each."""

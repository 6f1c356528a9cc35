"""What each of the four stages trains: its parameters, its loss and its pictures."""

"""What a command does, as a plain function that returns a result; one file a command."""

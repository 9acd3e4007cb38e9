"""Layer 7: the command line. It parses, calls one function and prints."""

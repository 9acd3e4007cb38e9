"""Layer 5: the command line and other front doors: parse, call, print."""

"""Layer 4: scores files: write, read, choose, copy, summarise, report."""

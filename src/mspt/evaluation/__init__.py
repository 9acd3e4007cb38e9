"""Layer 3: labelled image lists, and how well scores agree with them."""

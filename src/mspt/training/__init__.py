"""Layer 4: train the network in stages, and export it. Needs the extra `train`."""

"""The search for couplings: which channels see the noise of a band, by coherence and by a model."""

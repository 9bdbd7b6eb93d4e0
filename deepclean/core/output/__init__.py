"""What a cleaned frame holds: products, state bits, estimates, segments."""

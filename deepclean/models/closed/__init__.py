"""What closed forms are made of: sums of features at lags, and the parts of their estimates."""

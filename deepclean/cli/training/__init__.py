"""The commands that make models: train, tune, retrain, and the search for witnesses."""

"""The filters of the signal path: bandpass, change of rate, forecast, splice."""

"""Methods for time series."""

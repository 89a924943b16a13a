"""Numbers with their uncertainty: intervals, and paired comparisons of methods."""

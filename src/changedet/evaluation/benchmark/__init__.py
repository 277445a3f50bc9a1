"""The accuracy benchmark: many methods, one data set, intervals and leakage checks."""

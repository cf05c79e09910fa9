"""hone compare: models beside other frameworks, on the same inputs, outputs checked first."""

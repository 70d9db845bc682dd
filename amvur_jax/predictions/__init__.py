"""Files of predictions: pred.zip written and read, and the spool of an evaluation."""

"""From predictions and ground truth to scores, tables, plots and warnings."""

"""Pictures of hands, predictions and batches."""

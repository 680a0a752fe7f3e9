"""What runs in the pods of a BatchPrediction: rows from files, predictions into files, a shard at a time."""

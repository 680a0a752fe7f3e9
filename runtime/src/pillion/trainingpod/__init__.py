"""What runs in the pods of a TrainingJob: the training, its checkpoints, and the way of its model into storage."""

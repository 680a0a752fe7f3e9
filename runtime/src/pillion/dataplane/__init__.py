"""The one call path from any transport to a model: admission, deadline, queue, executor, metrics."""

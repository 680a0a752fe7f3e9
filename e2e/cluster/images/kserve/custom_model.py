"""A custom model as KServe's guide writes one: a class of its SDK, served by its SDK. It adds up each row."""

# The libraries live in the image, out of the type checker's sight.
# mypy: ignore-errors

from kserve import Model, ModelServer


class Sums(Model):
    """Answers V1 requests with the sum of each row."""

    def __init__(self, name):
        super().__init__(name)
        self.ready = True

    def predict(self, payload, headers=None, response_headers=None):
        """Add up the rows."""
        return {"predictions": [sum(row) for row in payload["instances"]]}


if __name__ == "__main__":
    ModelServer(enable_grpc=False).start([Sums("custom-model")])

"""Whether a server speaks the Open Inference Protocol: named checks over the wire, for any server.

Nothing here knows Pillion's server. The REST checks need the base install alone; those of gRPC import ``grpc`` when a
gRPC address is given. Source of every sentence: the specification at github.com/kserve/open-inference-protocol
(``specification/protocol/inference_rest.md`` and ``inference_grpc.md``), cited by section; what rests on another
document says which.
"""

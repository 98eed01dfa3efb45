"""gRPC messages from the wire."""

from google.protobuf.message import DecodeError, Message

from service.errors import InvalidRequestError


def parse(body: bytes, message: Message) -> None:
    """Reads `body` into an empty message; raises `InvalidRequestError`."""
    try:
        message.ParseFromString(body)
    except DecodeError:
        kind = message.DESCRIPTOR.full_name
        raise InvalidRequestError(f"the message is no {kind} of Triton's grpc_service.proto; send one") from None

"""Why a request is refused, as an HTTP status and a sentence for the client."""


class RequestError(ValueError):
    """A request that cannot be served.

    Args:
        status: int. The HTTP status, such as 400.
        message: string. The input, the rule and the value.
    """

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status

"""What a refused REST or OAuth call looks like on the wire."""

from __future__ import annotations


class RestError(Exception):
    """A refusal with the status, code and text that the real service gives (bitrix24.md 2.1)."""

    def __init__(self, status: int, code: str, description: str = "", *, argument: str = "") -> None:
        super().__init__(status, code, description, argument)
        self.status = status
        self.code = code
        self.description = description
        self.argument = argument

    def body(self) -> dict[str, object]:
        """Give the JSON body: error, error_description and, for bad arguments, argument."""
        body: dict[str, object] = {"error": self.code, "error_description": self.description}
        if self.argument:
            body["argument"] = self.argument
        return body


def missing(argument: str) -> RestError:
    """Make the error of an absent or empty argument (bitrix24.md 2.1, ERROR_ARGUMENT)."""
    return RestError(400, "ERROR_ARGUMENT", f"Argument '{argument}' is null or empty", argument=argument)


def access_denied(text: str = "Access denied.") -> RestError:
    """Make the error of a user or application without the right."""
    return RestError(403, "ACCESS_DENIED", text)

"""The DemoController's work as a program of its own: one request from standard input, one answer to standard output."""

import json
import sys


def main() -> None:
    given = json.load(sys.stdin)
    if set(given) != {"message"} or not isinstance(given["message"], str) or not 1 <= len(given["message"]) <= 1000:
        sys.exit(1)
    message = given["message"].strip()
    reply = f"You said: {message}" if message else "You sent only blanks."
    json.dump({"reply": reply, "length": len(message)}, sys.stdout)


main()

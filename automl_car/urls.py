"""URLs of databases as people may see them: without a password."""

from __future__ import annotations

import re

# Up to the last `@`: a password may hold a `/` or an `@` that should have been written as %2F or %40.
_LOGIN = re.compile(r"(?P<begin>\w[\w+.-]*://[^\s:/@]*):[^\s\"'`]*@")
_OPTION = re.compile(r"(?P<name>[?&][^=&\s]*(?:password|passwd|pwd)[^=&\s]*=)[^&\s\"'`]*", re.IGNORECASE)


def without_password(text: str) -> str:
    """The text with `***` in place of the passwords of the URLs in it.

    Example:
        >>> without_password("postgresql://ann:s3cret@db.example/cars?sslmode=require")
        'postgresql://ann:***@db.example/cars?sslmode=require'
        >>> without_password("sqlite:///studies/main.db")
        'sqlite:///studies/main.db'
    """
    return _OPTION.sub(r"\g<name>***", _LOGIN.sub(r"\g<begin>:***@", text))

"""Passwords, tokens and signatures left out of what is shown and stored."""

import re
from typing import Final

_HIDDEN: Final = "***"
# User and password of an address. A password may hold a slash that should have been written %2F;
# a port in that place is none.
_USER: Final = re.compile(r"(?<=://)(?:[^/?#\s'\"]*|[^\s/@:?#'\"]+:(?!\d+/)[^\s@'\"]*)@")
# What follows the path of an address, or the name of a GDAL handler: a query (signed addresses) or
# options.
_QUERY: Final = re.compile(r"(\A(?:[/{]+vsi\w+)+|://[^?#]*)([?#].*)", re.DOTALL)
# The same of any address in a text, where it ends at a space or a quotation mark.
_QUERY_IN_TEXT: Final = re.compile(r"(://[^?#\s'\"]*)[?#][^\s'\"]*")
# Oracle: OCI:user/password@database.
_ORACLE: Final = re.compile(r"(\b(?:OCI|GEOR|GEORASTER):)[^\s/,@]*[/,][^\s@]*@", re.IGNORECASE)
_KEY: Final = (
    r"(?:[\w-]*(?:pass(?:word|wd|phrase|code)|pwd|secret|token|signature|credential|api_?key"
    r"|access_?key(?:_?id)?|account_?key|security-token)|sig|sas|pass|auth)"
)
# NAME=VALUE as libpq, MySQL, ODBC and queries of addresses write it.
_VALUE: Final = r"'(?:[^'\\]|\\.|'')*'?|\"(?:[^\"\\]|\\.)*\"?|\{[^}]*\}?|[^\s'\"&;]+"
_ASSIGNED: Final = re.compile(rf"(?i)(?<![\w-])({_KEY}\s*=\s*)({_VALUE})")
# A connection string of a database in which values end at a semicolon and may hold spaces.
_ODBC: Final = re.compile(r"\A(?:MSSQL|ODBC|HANA):", re.IGNORECASE)
_ASSIGNED_ODBC: Final = re.compile(rf"(?i)(?<![\w-])({_KEY}\s*=\s*)(\{{[^}}]*\}}?|[^;]+)")
_BEARER: Final = re.compile(r"(?i)\b(authorization\s*:\s*\w+|bearer)\s+[\w.~+/-]{8,}=*")


def without_secrets(location: str) -> str:
    """Leave user, password and query out of an address; for all messages and records.

    Args:
        location: A path, an address, a ``/vsi...`` name or a connection string of GDAL; what holds
            no secret stays as it is.
    """
    cleaned = _QUERY.sub(r"\1", _USER.sub("", location))
    assigned = _ASSIGNED_ODBC if _ODBC.match(cleaned) else _ASSIGNED
    return _hide(cleaned, assigned)


def scrubbed(text: str, location: str | None = None) -> str:
    """Leave secrets out of other people's words.

    Args:
        text: For example what GDAL says; may hold any number of addresses.
        location: An address that the text may hold as a whole or in part.
    """
    if location:
        text = text.replace(location, without_secrets(location))
        secrets = [*_USER.findall(location), *(query for _, query in _QUERY.findall(location))]
        for secret in secrets:
            text = text.replace(secret, "")
    return hidden(_QUERY_IN_TEXT.sub(r"\1", text))


def hidden(text: str) -> str:
    """Hide passwords, tokens and signatures in a text, and leave addresses usable."""
    return _hide(_USER.sub("", text), _ASSIGNED)


def _hide(text: str, assigned: re.Pattern[str]) -> str:
    text = _ORACLE.sub(rf"\1{_HIDDEN}@", text)
    return _BEARER.sub(rf"\1 {_HIDDEN}", assigned.sub(rf"\1{_HIDDEN}", text))

"""Getting in: from a registry's `WWW-Authenticate` challenge to an `Authorization` header.

Distribution's token protocol (`docs/spec/auth/token`, `oauth`) and plain Basic.
A realm names the server that is shown the password, so it must be https, or
the very host that is already reached in plain http (isolation.md R7). The
scope is always ours; what a server asks for beyond it is not given.
"""

from __future__ import annotations

import threading
import time
from urllib.parse import urlencode

from buildkit_py.errors import PybuildError, RegistryError
from buildkit_py.http.retry import PASSING, retry_after
from buildkit_py.http.transport import Broken, Response, Transport
from buildkit_py.http.url import join, origin_of, shown
from buildkit_py.http.words import explanation
from buildkit_py.image import strict_json
from buildkit_py.record import Record
from buildkit_py.registry.credentials import Credential, Credentials

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.registry.mirrors import Endpoint

MAX_TOKEN = 1 << 20
_DEFAULT_LIFETIME = 60.0
_CLIENT_ID = "pybuild"
# The hint for who has no login.
LOGIN = (
    "`docker login {}` stores a login that pybuild reads; a name that does not exist is denied too by some registries"
)


class Challenge(Record):
    """One way in that a server offers. `scheme` is lower-case."""

    scheme: str
    realm: str = ""
    service: str = ""


class _Token:
    __slots__ = ("challenge", "header", "until")

    def __init__(self, header: str, until: float, challenge: Challenge) -> None:
        self.header = header
        self.until = until
        self.challenge = challenge


class Authorizer:
    """Remembers for the process what each registry wants, and the tokens that it gave. Shared by threads."""

    def __init__(self, transport: Transport, credentials: Credentials) -> None:
        self._transport = transport
        self._credentials = credentials
        self._lock = threading.Lock()
        self._tokens: dict[tuple[str, str], _Token] = {}

    def has_login(self, endpoint: Endpoint) -> bool:
        """Whether there is a login for an address, also one that cannot be read."""
        try:
            return self._credentials.of(endpoint.login) is not None
        except PybuildError:
            return True

    def header(self, endpoint: Endpoint, scope: str) -> str:
        """The `Authorization` value to send at once, "" where nothing is known yet.

        A token that has run out is asked for anew: of an upload only the end would be refused, after all that was
        sent. Raises as `answer` does.
        """
        found = self._tokens.get((endpoint.base, scope))
        if found is None:
            return ""
        if found.until > time.monotonic():
            return found.header
        with self._lock:
            found = self._tokens.get((endpoint.base, scope))
            if found is not None and found.until <= time.monotonic():
                found = self._renew(endpoint, scope, [found.challenge])
            return found.header if found is not None else ""

    def answer(self, endpoint: Endpoint, scope: str, refusal: Response, sent: str) -> bool:
        """Take a 401 (sent with the header `sent`) as a challenge; True where trying again makes sense.

        Raises `RegistryError` where the token server refuses or breaks the rules.
        """
        challenges = parse(refusal.headers.get_all("WWW-Authenticate") or [])
        with self._lock:
            known = self._tokens.get((endpoint.base, scope))
            if known is not None and known.header != sent and known.until > time.monotonic():
                return True  # another thread was faster
            token = self._renew(endpoint, scope, challenges)
            if token is not None and token.header == sent:
                del self._tokens[endpoint.base, scope]
                return False
            return token is not None

    def _renew(self, endpoint: Endpoint, scope: str, challenges: list[Challenge]) -> _Token | None:
        self._tokens.pop((endpoint.base, scope), None)
        token = self._token(endpoint, scope, challenges, self._credentials.of(endpoint.login))
        if token is not None:
            self._tokens[endpoint.base, scope] = token
        return token

    def _token(
        self, endpoint: Endpoint, scope: str, challenges: list[Challenge], credential: Credential | None
    ) -> _Token | None:
        for challenge in challenges:
            if challenge.scheme == "bearer" and challenge.realm:
                return self._bearer(endpoint, scope, challenge, credential)
            if challenge.scheme == "basic" and credential is not None and credential.user:
                return _Token(credential.basic(), float("inf"), challenge)
        return None

    def _bearer(
        self, endpoint: Endpoint, scope: str, challenge: Challenge, credential: Credential | None
    ) -> _Token | None:
        place = join("", challenge.realm)
        here, realm = origin_of(endpoint.base), origin_of(place)
        if realm.scheme != "https" and not (here.scheme == "http" and realm.host == here.host):
            raise RegistryError(
                "the registry sends logins to a server without encryption, which is not done",
                at=shown(place),
            )
        service = challenge.service.encode("latin-1")  # as it came: a header's text has a character for each byte
        fields: dict[str, str | bytes] = {"service": service, "scope": scope}
        headers: dict[str, str] = {}
        verify = endpoint.verify or realm.host != here.host
        if credential is not None and credential.token:
            fields.update(grant_type="refresh_token", client_id=_CLIENT_ID, refresh_token=credential.token)
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            response = self._transport.request(
                "POST", place, headers=headers, body=urlencode(fields).encode(), verify=verify, is_login=True
            )
        else:
            if credential is not None:
                headers["Authorization"] = credential.basic()
            pairs: list[tuple[str, str | bytes]] = [("service", service)] if service else []
            query = urlencode(pairs + [("scope", part) for part in scope.split()])
            joint = "&" if "?" in place else "?"
            response = self._transport.request("GET", f"{place}{joint}{query}", headers=headers, verify=verify)
        began = time.monotonic()
        if response.status in PASSING:
            problem = Broken(f"the token server answers {response.status}{explanation(response)}", at=shown(place))
            problem.retry_after = retry_after(response.header("Retry-After"))
            raise problem
        if response.status in (400, 401, 403):
            whom = "" if credential is None else f" to the login that is stored for `{endpoint.login}`"
            raise RegistryError(
                f"the token server denies access{whom}{explanation(response)}",
                at=shown(place),
                hint=LOGIN.format(endpoint.login)
                if credential is None
                else f"`docker login {endpoint.login}` renews it",
            )
        if response.status != 200:
            raise RegistryError(f"the token server answers {response.status}{explanation(response)}", at=shown(place))
        body = response.read_all(MAX_TOKEN)
        try:
            value = strict_json.parse_object(body, limit=MAX_TOKEN, what="token server's answer")
            token = strict_json.text(value, "token", "answer") or strict_json.text(value, "access_token", "answer")
            lifetime = strict_json.integer(value, "expires_in", "answer")
        except PybuildError:
            # Not the parser's words: they may quote a token.
            raise RegistryError("the token server gives no proper answer", at=shown(place)) from None
        if not token or not token.isascii() or not token.isprintable():
            raise RegistryError("the token server gives no token", at=shown(place))
        # A little early, so that a token does not run out on its way.
        return _Token(f"Bearer {token}", began + max(lifetime or _DEFAULT_LIFETIME, 10) * 0.8, challenge)


def parse(headers: list[str]) -> list[Challenge]:
    """The challenges of some `WWW-Authenticate` headers (RFC 9110, section 11.6.1); broken ones are left out."""
    found: list[tuple[str, dict[str, str]]] = []
    for header in headers:
        at, current = 0, ""
        while at < len(header):
            if header[at] in ", \t":
                at += 1
                continue
            start = at
            while at < len(header) and header[at] not in ' ,=\t"':
                at += 1
            word = header[start:at]
            after = at
            while after < len(header) and header[after] in " \t":
                after += 1
            if not word:
                at = _value(header, at)[1] if header[at] == '"' else at + 1
            elif header[after : after + 1] != "=":
                current = word.lower()
                found.append((current, {}))
            elif current:
                value, at = _value(header, after + 1)
                found[-1][1][word.lower()] = value
    return [Challenge(scheme, fields.get("realm", ""), fields.get("service", "")) for scheme, fields in found]


def _value(header: str, at: int) -> tuple[str, int]:
    """The token or quoted text from there on, and where it ends."""
    while at < len(header) and header[at] in " \t":
        at += 1
    if at < len(header) and header[at] == '"':
        at += 1
        letters = []
        while at < len(header) and header[at] != '"':
            if header[at] == "\\" and at + 1 < len(header):
                at += 1
            letters.append(header[at])
            at += 1
        return "".join(letters), at + 1
    start = at
    while at < len(header) and header[at] not in ", \t":
        at += 1
    return header[start:at], at

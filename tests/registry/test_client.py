"""Who gets to see which credential: tokens, realms, redirects, helpers (isolation.md R6, R7, R9, R10, R13)."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote, urlsplit

import pytest

from buildkit_py.config import Config
from buildkit_py.errors import PybuildError, RegistryError
from buildkit_py.image import reference
from buildkit_py.registry import auth
from buildkit_py.registry.auth import Challenge, parse
from buildkit_py.registry.client import Client
from buildkit_py.registry.push import push
from buildkit_py.registry.resolve import ImageResolver
from buildkit_py.store.store import Store
from tests.fake_registry import FakeRegistry, Handler, Request, fake_registry, once
from tests.images import sample
from tests.needs import need
from tests.registry_server import COMMAND, HTPASSWD, PASSWORD, USER, registry_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SECRET = "hunter2-and-more"
# A life of more seconds than a float has.
HUGE = b'{"token": "t", "expires_in": 1' + b"0" * 400 + b"}"


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with fake_registry() as registry:
        yield registry


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(str(tmp_path / "store"))


def client_with(tmp_path: Path, logins: dict[str, object], **env: str) -> Client:
    (tmp_path / "docker").mkdir(exist_ok=True)
    (tmp_path / "docker/config.json").write_text(json.dumps(logins))
    return Client(env={"DOCKER_CONFIG": str(tmp_path / "docker"), **env}, sleep=lambda seconds: None)


def basic(user: str = "me", password: str = SECRET) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def guard(fake: FakeRegistry, realm: str = "", lifetime: int = 300) -> list[Request]:
    """Let the fake want a token from its own /token; what /token was asked."""
    asked: list[Request] = []

    def fault(handler: Handler, request: Request) -> bool:
        if request.path.startswith("/token"):
            asked.append(request)
            token = f"t{len(asked)}"
            return handler.reply(200, json.dumps({"token": token, "expires_in": lifetime}).encode())
        if request.path == "/v2/" or request.headers.get("Authorization", "").startswith("Bearer t"):
            return False
        where = realm or f"http://{fake.address}/token"
        return handler.reply(401, WWW_Authenticate=f'Bearer realm="{where}",service="svc",scope="repository:evil:*"')

    fake.faults.append(fault)
    return asked


def test_an_anonymous_token_is_asked_for_once(fake: FakeRegistry, store: Store, tmp_path: Path) -> None:
    image = sample({"a": b"1"}, {"b": b"2"})
    fake.add(image)
    asked = guard(fake)
    client = client_with(tmp_path, {})
    resolver = ImageResolver(store, lambda: client)
    assert resolver.resolve(f"{fake.address}/team/app").digest == image.digest
    assert len(asked) == 1
    query = parse_qs(urlsplit(asked[0].path).query)
    assert query == {"service": ["svc"], "scope": ["repository:team/app:pull"]}, "the scope is ours, not the server's"
    assert "Authorization" not in asked[0].headers
    client.close()


def test_a_login_buys_the_token(fake: FakeRegistry, store: Store, tmp_path: Path) -> None:
    fake.add(sample())
    asked = guard(fake)
    client = client_with(tmp_path, {"auths": {fake.address: basic()}})
    ImageResolver(store, lambda: client).resolve(f"{fake.address}/app")
    assert asked[0].headers["Authorization"] == "Basic " + basic()["auth"]
    assert all(request.headers.get("Authorization", "Bearer").startswith("Bearer") for request in fake.seen("/v2/")), (
        "the password goes to the token server only"
    )
    client.close()


def test_an_identity_token_is_posted(fake: FakeRegistry, store: Store, tmp_path: Path) -> None:
    fake.add(sample())
    asked = guard(fake)
    client = client_with(tmp_path, {"auths": {fake.address: {"identitytoken": SECRET}}})
    ImageResolver(store, lambda: client).resolve(f"{fake.address}/app")
    assert asked[0].method == "POST"
    form = parse_qs(asked[0].body.decode())
    assert form["refresh_token"] == [SECRET]
    assert form["grant_type"] == ["refresh_token"]
    assert SECRET not in asked[0].path
    client.close()


def test_a_token_that_ran_out_is_renewed(fake: FakeRegistry, store: Store, tmp_path: Path) -> None:
    image = sample()
    fake.add(image)
    asked = guard(fake)
    client = client_with(tmp_path, {})
    resolver = ImageResolver(store, lambda: client)
    resolver.resolve(f"{fake.address}/app")

    def forgotten(handler: Handler, request: Request) -> None:
        handler.reply(401, WWW_Authenticate=f'Bearer realm="http://{fake.address}/token"')

    fake.faults.insert(0, once(forgotten, "/manifests/"))
    assert resolver.resolve(f"{fake.address}/app", pull=True).digest == image.digest
    assert len(asked) == 2
    client.close()


def test_a_token_that_runs_out_while_an_upload_is_begun(
    fake: FakeRegistry, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = sample()
    image.put(store)
    now = [1000.0]
    monkeypatch.setattr(auth, "time", SimpleNamespace(monotonic=lambda: now[0]))
    asked = guard(fake, lifetime=10)
    client = client_with(tmp_path, {"auths": {fake.address: basic()}})

    def uploads(handler: Handler, request: Request) -> bool:
        if request.method == "POST":
            now[0] += 9
            return handler.reply(202, Location="/v2/put")
        return request.method == "PUT" and handler.reply(201)

    fake.faults.append(uploads)
    push(store, client, image.digest, reference.parse(f"{fake.address}/app:1"))
    puts = [request.headers.get("Authorization") for request in fake.seen("/v2/put")]
    assert puts == ["Bearer t2", "Bearer t3"]
    assert [request.headers["Authorization"] for request in asked] == ["Basic " + basic()["auth"]] * 3
    client.close()


@pytest.mark.parametrize("where", ["/v2/put", "/manifests/"])
def test_a_token_that_is_refused_at_the_end_of_a_push_is_renewed(
    fake: FakeRegistry, store: Store, tmp_path: Path, where: str
) -> None:
    image = sample()
    image.put(store)
    asked = guard(fake)
    client = client_with(tmp_path, {"auths": {fake.address: basic()}})
    refused: list[Request] = []

    def forgotten(handler: Handler, request: Request) -> None:
        refused.append(request)
        handler.reply(401, WWW_Authenticate=f'Bearer realm="http://{fake.address}/token"')

    def uploads(handler: Handler, request: Request) -> bool:
        if request.method == "POST":
            return handler.reply(202, Location=f"/v2/put?upload={len(fake.requests)}")
        return request.method == "PUT" and handler.reply(201)

    fake.faults += [once(forgotten, where), uploads]
    assert push(store, client, image.digest, reference.parse(f"{fake.address}/app:1")) == image.digest
    assert [request.headers["Authorization"] for request in refused] == ["Bearer t1"]
    assert len(asked) == 2
    puts = [request for request in fake.seen("/v2/put") if request not in refused]
    assert sorted(request.body for request in puts) == sorted(image.blobs[one] for one in (*image.layers, image.config))
    assert len({request.path for request in fake.seen("/v2/put")}) == len(fake.seen("/v2/put")), "each is begun anew"
    client.close()


def test_an_upload_that_is_always_refused(fake: FakeRegistry, store: Store, tmp_path: Path) -> None:
    image = sample()
    image.put(store)
    guard(fake)
    client = client_with(tmp_path, {"auths": {fake.address: basic()}})

    def uploads(handler: Handler, request: Request) -> bool:
        if request.method == "POST":
            return handler.reply(202, Location="/v2/put")
        challenge = f'Bearer realm="http://{fake.address}/token"'
        return request.method == "PUT" and handler.reply(401, WWW_Authenticate=challenge)

    fake.faults.append(uploads)
    with pytest.raises(RegistryError, match="denies access") as caught:
        push(store, client, image.digest, reference.parse(f"{fake.address}/app:1"))
    assert "docker login" in caught.value.hint
    assert len(fake.seen("/v2/put")) == 3
    client.close()


@pytest.mark.attack("R9")
def test_a_registry_that_always_says_401(fake: FakeRegistry, store: Store, tmp_path: Path) -> None:
    fake.add(sample())
    client = client_with(tmp_path, {"auths": {fake.address: basic()}})

    def always(handler: Handler, request: Request) -> bool:
        if request.path.startswith("/token"):
            return handler.reply(200, json.dumps({"token": f"t{len(fake.requests)}"}).encode())
        if request.path == "/v2/":
            return False
        return handler.reply(401, WWW_Authenticate=f'Bearer realm="http://{fake.address}/token"')

    fake.faults.append(always)
    with pytest.raises(RegistryError, match="denies access") as caught:
        ImageResolver(store, lambda: client).resolve(f"{fake.address}/app")
    assert "docker login" in caught.value.hint
    assert SECRET not in repr(vars(caught.value)) + str(caught.value)
    assert len(fake.requests) < 10
    client.close()


LIMIT = b'{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit"}]}'


@pytest.mark.parametrize("is_known", [False, True])
def test_what_the_registry_says_of_its_limits_is_told(
    fake: FakeRegistry, store: Store, tmp_path: Path, is_known: bool
) -> None:
    client = client_with(tmp_path, {"auths": {fake.address: basic()}} if is_known else {})
    fake.faults.append(lambda handler, request: "/manifests/" in request.path and handler.reply(429, LIMIT))
    with pytest.raises(RegistryError, match=r"answers 429 \(TOOMANYREQUESTS: You have reached your pull") as caught:
        ImageResolver(store, lambda: client).resolve(f"{fake.address}/app")
    assert ("docker login" in caught.value.hint) == (not is_known)
    client.close()


@pytest.mark.parametrize("login", [basic(), {"identitytoken": SECRET}, {}], ids=["password", "identity token", "none"])
def test_what_a_token_server_says_of_a_login_is_told(
    fake: FakeRegistry, store: Store, tmp_path: Path, login: dict[str, str]
) -> None:
    guard(fake)
    words = b'{"details":"incorrect username or password"}'
    fake.faults.insert(0, lambda handler, request: "/token" in request.path and handler.reply(401, words))
    client = client_with(tmp_path, {"auths": {fake.address: login}})
    with pytest.raises(RegistryError, match=r"\(incorrect username or password\)") as caught:
        ImageResolver(store, lambda: client).resolve(f"{fake.address}/app")
    whom = f"the token server denies access to the login that is stored for `{fake.address}`"
    assert (whom in caught.value.message) == bool(login)
    assert f"docker login {fake.address}` {'renews' if login else 'stores'}" in caught.value.hint
    assert f"at http://{fake.address}/token" in caught.value.notes
    assert SECRET not in repr(vars(caught.value))
    client.close()


def test_what_the_registry_says_of_a_login_is_told(fake: FakeRegistry, store: Store, tmp_path: Path) -> None:
    words = b'{"errors":[{"code":"UNAUTHORIZED","message":"your trial has ended"}]}'
    fake.faults.append(lambda handler, request: handler.reply(401, words, WWW_Authenticate='Basic realm="x"'))
    client = client_with(tmp_path, {"auths": {fake.address: basic()}})
    with pytest.raises(RegistryError, match=r"denies access \(UNAUTHORIZED: your trial has ended\)"):
        ImageResolver(store, lambda: client).resolve(f"{fake.address}/app")
    client.close()


@pytest.mark.parametrize("realm", ["http://192.0.2.1/token", "file:///etc/passwd", "ftp://x/y", "http://[", "token"])
@pytest.mark.attack("R7")
def test_a_realm_elsewhere_without_encryption_gets_nothing(
    fake: FakeRegistry, store: Store, tmp_path: Path, realm: str
) -> None:
    fake.add(sample())
    guard(fake, realm=realm)
    client = client_with(tmp_path, {"auths": {fake.address: basic()}})
    with pytest.raises(RegistryError) as caught:
        ImageResolver(store, lambda: client).resolve(f"{fake.address}/app")
    assert SECRET not in repr(vars(caught.value))
    client.close()


@pytest.mark.parametrize("answer", [b"{", b"[]", b'{"token": 5}', b'{"token": "a\\r\\nX-Evil: 1"}', b"{}", HUGE])
@pytest.mark.attack("R7")
def test_a_token_server_that_talks_nonsense(fake: FakeRegistry, store: Store, tmp_path: Path, answer: bytes) -> None:
    fake.add(sample())
    client = client_with(tmp_path, {})
    guard(fake)
    fake.faults.insert(0, once(lambda handler, request: handler.reply(200, answer), "/token", times=9))
    with pytest.raises(RegistryError, match="token server"):
        ImageResolver(store, lambda: client).resolve(f"{fake.address}/app")
    client.close()


@pytest.mark.attack("R6")
def test_a_redirect_to_another_host_leaves_the_token_behind(fake: FakeRegistry, store: Store, tmp_path: Path) -> None:
    image = sample()
    fake.add(image)
    guard(fake)
    client = client_with(tmp_path, {})
    with fake_registry() as elsewhere:
        config = image.blobs[image.config]
        elsewhere.faults.append(lambda handler, request: handler.reply(200, config))
        fake.faults.insert(
            0,
            once(
                lambda handler, request: handler.reply(307, Location=f"http://{elsewhere.address}/blob?sig=1"),
                image.config,
                times=2,
            ),
        )
        ImageResolver(store, lambda: client).resolve(f"{fake.address}/app")
        assert [request.path for request in elsewhere.requests] == ["/blob?sig=1"]
        assert "Authorization" not in elsewhere.requests[0].headers
    client.close()


@pytest.mark.parametrize("login", [basic(), {"identitytoken": SECRET}], ids=["password", "identity token"])
@pytest.mark.parametrize("scheme", ["Bearer", "Basic"])
@pytest.mark.attack("R6", "R7")
def test_who_a_redirect_leads_to_names_no_server_that_gets_the_login(
    fake: FakeRegistry, store: Store, tmp_path: Path, scheme: str, login: dict[str, str]
) -> None:
    """As in CVE-2020-15157."""
    image = sample()
    fake.add(image)
    guard(fake)
    client = client_with(tmp_path, {"auths": {fake.address: login}})
    with fake_registry() as elsewhere, fake_registry() as stranger:
        challenge = f'{scheme} realm="http://{stranger.address}/token",service="s"'
        elsewhere.faults.append(lambda handler, request: handler.reply(401, WWW_Authenticate=challenge))
        stranger.faults.append(lambda handler, request: handler.reply(200, b'{"token": "t"}'))
        away = f"http://{elsewhere.address}/blob"
        fake.faults.append(once(lambda handler, request: handler.reply(307, Location=away), "/blobs/", times=9))
        with pytest.raises(RegistryError, match=f"`{elsewhere.address}`, to which the registry leads, answers 401"):
            ImageResolver(store, lambda: client).resolve(f"{fake.address}/app")
        assert stranger.requests == []
        assert all("Authorization" not in request.headers for request in elsewhere.requests)
        given = {request.headers.get("Authorization", "Bearer") for request in fake.seen("/v2/")}
        assert all(text.startswith("Bearer") for text in given), "the registry has not asked for a password"
    client.close()


def test_a_signed_url_that_ran_out_is_no_matter_of_logins(fake: FakeRegistry, store: Store, tmp_path: Path) -> None:
    fake.add(sample())
    client = client_with(tmp_path, {})
    with fake_registry() as elsewhere:
        elsewhere.faults.append(lambda handler, request: handler.reply(403, b"<Error>Request has expired</Error>"))
        away = f"http://{elsewhere.address}/blob?X-Amz-Signature=sig"
        fake.faults.append(once(lambda handler, request: handler.reply(307, Location=away), "/blobs/", times=9))
        with pytest.raises(RegistryError, match="to which the registry leads, answers 403") as caught:
            ImageResolver(store, lambda: client).resolve(f"{fake.address}/app")
    assert caught.value.hint == ""
    assert "sig" not in repr(vars(caught.value))
    client.close()


def test_a_redirect_on_the_same_host_keeps_it(fake: FakeRegistry, store: Store, tmp_path: Path) -> None:
    image = sample()
    fake.add(image)
    guard(fake)
    client = client_with(tmp_path, {})
    fake.blobs["moved"] = image.blobs[image.config]
    fake.faults.insert(
        0, once(lambda handler, request: handler.reply(302, Location="/v2/app/blobs/moved"), image.config)
    )
    ImageResolver(store, lambda: client).resolve(f"{fake.address}/app")
    assert fake.seen("moved")[0].headers["Authorization"].startswith("Bearer ")
    client.close()


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("file:///etc/passwd", "only http and https"),
        ("/v2/app/blobs/again", "more than 10 times"),
        ("", "redirects to nowhere"),
        ("http://[broken", "cannot be read"),
    ],
)
@pytest.mark.attack("R6")
def test_redirects_that_are_not_followed(
    fake: FakeRegistry, store: Store, tmp_path: Path, target: str, message: str
) -> None:
    image = sample()
    fake.add(image)
    client = client_with(tmp_path, {})
    headers = {"Location": target} if target else {}
    fake.faults.append(once(lambda handler, request: handler.reply(307, **headers), "/blobs/", times=50))
    with pytest.raises(RegistryError, match=message):
        ImageResolver(store, lambda: client).resolve(f"{fake.address}/app")
    assert len(fake.seen("/blobs/")) <= 11
    client.close()


@pytest.mark.parametrize("name", ["\xe4", "\xc3\xa4", "a b"], ids=["latin-1", "utf-8", "blank"])
def test_a_redirect_to_what_is_no_ascii_is_followed(
    fake: FakeRegistry, store: Store, tmp_path: Path, name: str
) -> None:
    """Its bytes come back percent-encoded, as from docker."""
    image = sample()
    fake.add(image)
    client = client_with(tmp_path, {})
    fake.blobs[quote(name.encode("latin-1"))] = image.blobs[image.config]
    fake.faults.append(once(lambda handler, request: handler.reply(307, Location=f"/v2/app/blobs/{name}"), "sha256:"))
    assert ImageResolver(store, lambda: client).resolve(f"{fake.address}/app").digest == image.digest
    client.close()


def test_a_redirect_to_a_host_without_a_name(fake: FakeRegistry, store: Store, tmp_path: Path) -> None:
    fake.add(sample())
    client = client_with(tmp_path, {})
    where = "http://" + "\xe4" * 64 + ".example/"
    fake.faults.append(once(lambda handler, request: handler.reply(307, Location=where), "/blobs/", times=9))
    with pytest.raises(RegistryError, match="is no name of a host"):
        ImageResolver(store, lambda: client).resolve(f"{fake.address}/app")
    assert len(fake.seen("/blobs/")) == 1
    client.close()


def test_a_realm_that_is_no_ascii_is_asked(fake: FakeRegistry, store: Store, tmp_path: Path) -> None:
    image = sample()
    fake.add(image)
    asked = guard(fake, realm=f"http://{fake.address}/token/\xe4")
    client = client_with(tmp_path, {})
    assert ImageResolver(store, lambda: client).resolve(f"{fake.address}/app").digest == image.digest
    assert urlsplit(asked[0].path).path == "/token/%E4"
    client.close()


def test_the_name_of_a_service_goes_back_as_it_came(fake: FakeRegistry, store: Store, tmp_path: Path) -> None:
    fake.add(sample())
    asked = guard(fake)
    challenge = f'Bearer realm="http://{fake.address}/token",service="\xc3\xa4"'
    fake.faults.insert(0, once(lambda handler, request: handler.reply(401, WWW_Authenticate=challenge), "/manifests/"))
    client = client_with(tmp_path, {})
    ImageResolver(store, lambda: client).resolve(f"{fake.address}/app")
    assert "service=%C3%A4&" in asked[0].path
    client.close()


def test_basic_with_a_real_registry(store: Store, tmp_path: Path) -> None:
    need(COMMAND)
    image = sample({"a": b"1"})
    image.put(store)
    with registry_server(tmp_path / "registry", htpasswd=HTPASSWD) as host:
        name = reference.parse(f"{host}/team/app:1")
        stranger = client_with(tmp_path, {})
        with pytest.raises(RegistryError, match="denies access"):
            push(store, stranger, image.digest, name)
        wrong = client_with(tmp_path, {"auths": {host: basic(USER, SECRET)}})
        with pytest.raises(RegistryError, match="denies access") as caught:
            push(store, wrong, image.digest, name)
        assert SECRET not in repr(vars(caught.value)) + str(caught.value)
        known = client_with(tmp_path, {"auths": {f"https://{host}": basic(USER, PASSWORD)}})
        assert push(store, known, image.digest, name) == image.digest
        other = Store.open(str(tmp_path / "other"))
        assert ImageResolver(other, lambda: known).resolve(str(name)).digest == image.digest
        for client in (stranger, wrong, known):
            client.close()


def helper(tmp_path: Path, name: str, script: str) -> str:
    """A credential helper on a PATH of its own."""
    path = tmp_path / "bin" / f"docker-credential-{name}"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return f"{path.parent}:/usr/bin:/bin"


def test_a_credential_helper_is_asked(fake: FakeRegistry, store: Store, tmp_path: Path) -> None:
    fake.add(sample())
    asked = guard(fake)
    answer = json.dumps({"ServerURL": "x", "Username": "me", "Secret": SECRET})
    path = helper(tmp_path, "test", f"read server; echo \"$1 $server\" > {tmp_path}/log\necho '{answer}'")
    logins = {"credHelpers": {fake.address: "test"}, "auths": {fake.address: basic("no", "no")}}
    client = client_with(tmp_path, logins, PATH=path)
    ImageResolver(store, lambda: client).resolve(f"{fake.address}/app")
    assert (tmp_path / "log").read_text() == f"get {fake.address}\n"
    assert base64.b64decode(asked[0].headers["Authorization"].split()[1]).decode() == f"me:{SECRET}"
    client.close()


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (f"echo 'no: {SECRET}'; exit 3", "failed with status 3"),
        (f"echo '{SECRET}'", "no proper answer"),
    ],
)
@pytest.mark.attack("R13")
def test_a_helper_that_fails_tells_no_secret(
    fake: FakeRegistry, store: Store, tmp_path: Path, script: str, message: str
) -> None:
    fake.add(sample())
    guard(fake)
    client = client_with(tmp_path, {"credsStore": "bad"}, PATH=helper(tmp_path, "bad", script))
    with pytest.raises(RegistryError, match=message) as caught:
        ImageResolver(store, lambda: client).resolve(f"{fake.address}/app")
    assert SECRET not in repr(vars(caught.value)) + str(caught.value)
    client.close()


NOTHING = '{"ServerURL":"","Username":"","Secret":""}'


@pytest.mark.parametrize("script", ["echo 'credentials not found in native keychain'; exit 1", f"echo '{NOTHING}'"])
def test_a_helper_without_an_entry_means_anonymous(
    fake: FakeRegistry, store: Store, tmp_path: Path, script: str
) -> None:
    fake.add(sample())
    asked = guard(fake)
    path = helper(tmp_path, "empty", script)
    client = client_with(tmp_path, {"credsStore": "empty"}, PATH=path)
    ImageResolver(store, lambda: client).resolve(f"{fake.address}/app")
    assert "Authorization" not in asked[0].headers
    client.close()


def test_what_a_helper_says_of_its_failure_is_told(fake: FakeRegistry, store: Store, tmp_path: Path) -> None:
    guard(fake)
    path = helper(tmp_path, "old", "echo 'warning: x' >&2; echo 'token expired, run gcloud auth login' >&2; exit 1")
    client = client_with(tmp_path, {"credsStore": "old"}, PATH=path)
    with pytest.raises(RegistryError, match="failed with status 1") as caught:
        ImageResolver(store, lambda: client).resolve(f"{fake.address}/app")
    assert "it says: token expired, run gcloud auth login" in caught.value.notes
    assert caught.value.hint == f"`echo {fake.address} | docker-credential-old get` shows what is wrong"
    (tmp_path / "bin/docker-credential-old").write_text("no program")
    with pytest.raises(RegistryError, match="cannot be run: Exec format error"):
        ImageResolver(store, lambda: client).resolve(f"{fake.address}/app")
    client.close()


@pytest.mark.parametrize("key", ["https://HOST/", "HOST/v2/", "https://HOST/path", "http://HOST/v1"])
def test_logins_are_found_by_their_host(fake: FakeRegistry, store: Store, tmp_path: Path, key: str) -> None:
    fake.add(sample())
    asked = guard(fake)
    logins = {f"https://other.{fake.address}/": basic("no", "no"), key.replace("HOST", fake.address): basic()}
    client = client_with(tmp_path, {"auths": logins})
    ImageResolver(store, lambda: client).resolve(f"{fake.address}/app")
    assert asked[0].headers["Authorization"] == "Basic " + basic()["auth"]
    client.close()


@pytest.mark.parametrize(
    "logins",
    [
        {"credHelpers": {"HOST": "../../evil"}},
        {"credHelpers": {"HOST": "not-installed-anywhere"}},
        {"auths": {"HOST": {"auth": "%%%"}}},
        {"auths": []},
    ],
)
def test_a_broken_file_of_logins(fake: FakeRegistry, store: Store, tmp_path: Path, logins: dict[str, object]) -> None:
    fake.add(sample())
    guard(fake)
    client = client_with(tmp_path, json.loads(json.dumps(logins).replace("HOST", fake.address)))
    with pytest.raises(RegistryError) as caught:
        ImageResolver(store, lambda: client).resolve(f"{fake.address}/app")
    assert any("config.json" in note for note in caught.value.notes)
    client.close()


@pytest.mark.attack("R10")
def test_an_upload_elsewhere_gets_no_token(fake: FakeRegistry, store: Store, tmp_path: Path) -> None:
    image = sample()
    image.put(store)
    guard(fake)
    client = client_with(tmp_path, {})
    with fake_registry() as elsewhere:
        elsewhere.faults.append(lambda handler, request: handler.reply(201))

        def uploads(handler: Handler, request: Request) -> bool:
            if request.method == "POST":
                return handler.reply(202, Location=f"http://{elsewhere.address}/put?state=1")
            return request.method == "PUT" and handler.reply(201)

        fake.faults.append(uploads)
        push(store, client, image.digest, reference.parse(f"{fake.address}/app:1"))
        puts = elsewhere.requests
        assert {request.method for request in puts} == {"PUT"}
        assert all("Authorization" not in request.headers for request in puts)
        assert {parse_qs(urlsplit(request.path).query)["digest"][0] for request in puts} == {
            *image.layers,
            image.config,
        }
    client.close()


@pytest.mark.parametrize("status", [307, 308])
@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("is_elsewhere", [False, True], ids=["same host", "another host"])
@pytest.mark.attack("R6", "R10")
def test_what_is_sent_follows_redirects(
    fake: FakeRegistry, store: Store, tmp_path: Path, status: int, method: str, is_elsewhere: bool
) -> None:
    image = sample()
    image.put(store)
    guard(fake)
    client = client_with(tmp_path, {"auths": {fake.address: basic()}})

    def uploads(handler: Handler, request: Request) -> bool:
        if request.method == "POST":
            return handler.reply(202, Location="/v2/put")
        return request.method == "PUT" and handler.reply(201)

    with fake_registry() as elsewhere:
        elsewhere.faults.append(uploads)
        base = f"http://{elsewhere.address}" if is_elsewhere else ""

        def redirect(handler: Handler, request: Request) -> bool:
            if request.method != method or request.path.startswith("/v2/moved"):
                return False
            return handler.reply(status, Location=f"{base}/v2/moved{request.path}")

        fake.faults += [redirect, uploads]
        assert push(store, client, image.digest, reference.parse(f"{fake.address}/app:1")) == image.digest
        there = elsewhere if is_elsewhere else fake
        moved = [request for request in there.seen("/v2/moved/") if request.method == method]
        sent = [*image.layers, image.config, *[image.digest] * 2] if method == "PUT" else []
        assert sorted(request.body for request in moved if request.body) == sorted(image.blobs[one] for one in sent)
        assert len(moved) == (4 if method == "PUT" else 2)
        logins = {request.headers.get("Authorization", "") for request in moved}
        assert logins == ({""} if is_elsewhere else {"Bearer t1"})
    client.close()


@pytest.mark.parametrize(
    ("status", "where", "message"),
    [
        (301, "/v2/moved", "answers 301"),
        (302, "/v2/moved", "answers 302"),
        (303, "/v2/moved", "answers 303"),
        (307, "/v2/again", "more than 10 times"),
        (307, "ftp://127.0.0.1/x", "only http and https"),
        (307, "", "redirects to nowhere"),
    ],
)
def test_redirects_of_what_is_sent_that_are_not_followed(
    fake: FakeRegistry, store: Store, tmp_path: Path, status: int, where: str, message: str
) -> None:
    image = sample()
    image.put(store)
    client = client_with(tmp_path, {})
    headers = {"Location": where} if where else {}
    fake.faults.append(lambda handler, request: request.method == "POST" and handler.reply(status, **headers))
    with pytest.raises(RegistryError, match=message):
        push(store, client, image.digest, reference.parse(f"{fake.address}/app:1"))
    assert fake.seen("/v2/moved") == []
    client.close()


@pytest.mark.attack("R6", "R7")
def test_no_other_server_gets_an_identity_token_by_a_redirect(fake: FakeRegistry, store: Store, tmp_path: Path) -> None:
    image = sample()
    fake.add(image)
    asked = guard(fake, realm=f"http://{fake.address}/login")
    client = client_with(tmp_path, {"auths": {fake.address: {"identitytoken": SECRET}}})
    with fake_registry() as stranger:
        stranger.faults.append(lambda handler, request: handler.reply(200, b'{"token": "t"}'))
        place = [f"http://{stranger.address}/token"]
        fake.faults.insert(
            0, lambda handler, request: request.path == "/login" and handler.reply(307, Location=place[0])
        )
        with pytest.raises(RegistryError, match="redirects a login to another one") as caught:
            ImageResolver(store, lambda: client).resolve(f"{fake.address}/app")
        assert SECRET not in repr(vars(caught.value))
        assert stranger.requests == []
    place[0] = "/token"
    assert ImageResolver(store, lambda: client).resolve(f"{fake.address}/app").digest == image.digest
    assert [parse_qs(request.body.decode())["refresh_token"] for request in asked] == [[SECRET]]
    client.close()


def uploads(place: str, **stored: str) -> Callable[[Handler, Request], bool]:
    """Takes whatever is uploaded, at a place, and tells in headers what it stored."""

    def taken(handler: Handler, request: Request) -> bool:
        if request.method == "POST":
            return handler.reply(202, Location=place)
        return request.method == "PUT" and handler.reply(201, **stored)

    return taken


def test_an_upload_to_what_is_no_ascii(fake: FakeRegistry, store: Store, tmp_path: Path) -> None:
    image = sample()
    image.put(store)
    client = client_with(tmp_path, {})
    fake.faults.append(uploads("/put/\xe4?state=\xc3\xa4"))
    push(store, client, image.digest, reference.parse(f"{fake.address}/app:1"))
    assert {request.path.partition("&")[0] for request in fake.seen("/put/")} == {"/put/%E4?state=%C3%A4"}
    client.close()


def test_a_registry_that_stores_something_else(fake: FakeRegistry, store: Store, tmp_path: Path) -> None:
    image = sample()
    image.put(store)
    client = client_with(tmp_path, {})
    fake.faults.append(uploads("/put", Docker_Content_Digest="sha256:" + "0" * 64))
    with pytest.raises(PybuildError, match="the registry stored sha256:000"):
        push(store, client, image.digest, reference.parse(f"{fake.address}/app:1"))
    client.close()


def test_a_proxy_is_used_and_loopback_is_not_proxied(fake: FakeRegistry, store: Store, tmp_path: Path) -> None:
    from buildkit_py.config import RegistryConfig

    image = sample()
    fake.add(image)
    config = Config(registries=(RegistryConfig("registry.invalid", ("http://registry.invalid",)),))
    env = {"HOME": str(tmp_path), "http_proxy": f"http://me:{SECRET}@{fake.address}"}
    client = Client(config, env=env, sleep=lambda seconds: None)

    def strip(handler: Handler, request: Request) -> bool:
        # A proxy is asked for whole URLs; behind it is the fake itself.
        assert handler.path.startswith("http://registry.invalid/v2/")
        handler.path = urlsplit(handler.path).path
        return False

    fake.faults.append(strip)
    found = ImageResolver(store, lambda: client).resolve("registry.invalid/app")
    assert found.digest == image.digest
    credential = fake.requests[0].headers["Proxy-Authorization"]
    assert base64.b64decode(credential.split()[1]).decode() == f"me:{SECRET}"
    client.close()


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ('Bearer realm="https://a/b",service="s"', [Challenge("bearer", "https://a/b", "s")]),
        (
            'Basic realm="x, y", Bearer realm="https://z"',
            [Challenge("basic", "x, y"), Challenge("bearer", "https://z")],
        ),
        ('bearer  realm = "a"', [Challenge("bearer", "a")]),
        ('Bearer realm="a\\"b"', [Challenge("bearer", 'a"b')]),
        ("Basic", [Challenge("basic")]),
        ("Bearer realm=plain", [Challenge("bearer", "plain")]),
        ('Bearer realm="unterminated', [Challenge("bearer", "unterminated")]),
        ('="x", , ,"', []),
    ],
)
def test_challenges(header: str, expected: list[Challenge]) -> None:
    assert parse([header]) == expected

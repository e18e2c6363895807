import pytest

from buildkit_py.frontend.ports import parse_ports


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("80", ("80/tcp",)),
        ("80/UDP", ("80/udp",)),
        ("53/sctp", ("53/sctp",)),
        ("80/", ("80/tcp",)),
        ("8000-8002/tcp", ("8000/tcp", "8001/tcp", "8002/tcp")),
        ("8080:80", ("80/tcp",)),
        ("8080-8090:80", ("80/tcp",)),
        ("127.0.0.1:8080:80/udp", ("80/udp",)),
        ("[::1]:8080:80", ("80/tcp",)),
        ("0", ("0/tcp",)),
    ],
)
def test_ports(spec, expected):
    assert expected == parse_ports(spec)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("", "no port in ``"),
        ("/tcp", "no port in `/tcp`"),
        ("80/icmp", "unknown protocol `icmp`"),
        ("65536", "not a port"),
        ("-1", "not a port"),
        ("web", "not a port"),
        ("9-8", "ends before it begins"),
        ("1-3:1-2", "differ in length"),
        ("nowhere:1:80", "`nowhere` is not an IP address"),
    ],
)
def test_what_is_no_port(spec, message):
    with pytest.raises(ValueError, match=r"port|protocol|address|begins|length") as caught:
        parse_ports(spec)
    assert message in str(caught.value)

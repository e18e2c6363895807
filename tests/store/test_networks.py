from __future__ import annotations

import pytest

from buildkit_py.errors import UsageError
from buildkit_py.store.networks import Member
from buildkit_py.store.store import Store


def test_members_keep_their_seats(store: Store) -> None:
    networks = store.networks
    assert networks.join("shop", {"web": iter(["www"]), "db": ()}) == {
        "web": Member(0, ("web", "www")),
        "db": Member(1, ("db",)),
    }
    networks.leave("shop", ["web"])
    assert networks.join("shop", {"db": ["sql", "db"], "new": ()}) == {
        "db": Member(1, ("db", "sql")),
        "new": Member(2, ("new",)),
    }


def test_no_seat_is_given_again_while_there_are_others(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that run find the name of one that has left at its address still."""
    networks = store.networks
    for number in range(3):
        networks.join("shop", {"stays": (), f"goes-{number}": ()})
        assert networks.members("shop")[f"goes-{number}"].seat == number + 1
        networks.leave("shop", [f"goes-{number}"])
    monkeypatch.setattr("buildkit_py.store.networks.SEATS", 4)
    assert networks.join("shop", {"again": ()})["again"].seat == 1, "all were given once"
    networks.leave("shop", ["stays", "again"])
    assert networks.join("shop", {"new": ()})["new"].seat == 0


@pytest.mark.parametrize("name", ["", "a b", "a\tb", "a\n6.6.6.6 evil", "#a", "a#", "a\0", "a\x1b[2J", "a\udcff"])
def test_what_is_no_word_of_a_table_of_hosts_is_no_name(store: Store, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be a name in a network"):
        store.networks.join("shop", {"web": ("www", name)})
    assert store.networks.members("shop") == {}

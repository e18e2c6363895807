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
        "new": Member(0, ("new",)),
    }


@pytest.mark.parametrize("name", ["", "a b", "a\tb", "a\n6.6.6.6 evil", "#a", "a#", "a\0", "a\x1b[2J", "a\udcff"])
def test_what_is_no_word_of_a_table_of_hosts_is_no_name(store: Store, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be a name in a network"):
        store.networks.join("shop", {"web": ("www", name)})
    assert store.networks.members("shop") == {}

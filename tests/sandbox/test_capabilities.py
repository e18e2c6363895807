"""Capability names and masks."""

from __future__ import annotations

import pytest

from buildkit_py.sandbox import capabilities


def test_the_default_is_dockers() -> None:
    names = (
        "CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE NET_RAW SYS_CHROOT MKNOD "
        "AUDIT_WRITE SETFCAP"
    )
    total = 0
    for name in names.split():
        total |= capabilities.mask(name)
    assert total == capabilities.DEFAULT == 0xA80425FB


def test_names() -> None:
    assert capabilities.mask("CAP_SYS_ADMIN") == capabilities.mask("sys_admin") == 1 << 21
    assert capabilities.mask("CHECKPOINT_RESTORE") == 1 << 40
    assert capabilities.mask("all") == (1 << 41) - 1
    with pytest.raises(KeyError):
        capabilities.mask("CAP_EVERYTHING")

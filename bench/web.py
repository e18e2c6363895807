"""The web server behind published ports, nginx with a page of 612 bytes, and what `wrk` says of how it is reached."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

PORT = 8000
COMMAND = ("/usr/sbin/nginx", "-c", "/etc/nginx.conf")
PAGE = b"a line of the page's text, of 36 bytes\n" * 15 + b"the end of it, in 26 bytes\n"
_PLACES = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"
_CONF = f"""\
daemon off;
user root;
worker_processes 1;
worker_rlimit_nofile 20000;
error_log stderr crit;
pid /tmp/nginx.pid;
events {{ worker_connections 16000; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    keepalive_timeout 600s;
    client_body_temp_path /tmp/body;
    proxy_temp_path /tmp/proxy;
    fastcgi_temp_path /tmp/fastcgi;
    uwsgi_temp_path /tmp/uwsgi;
    scgi_temp_path /tmp/scgi;
    server {{ listen {PORT} backlog=4096; root /srv; default_type text/plain; }}
}}
"""
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}


def files() -> dict[str, bytes]:
    """What an image that serves has, by path without a slash in front. Raises `RuntimeError` where nginx is missing."""
    program = shutil.which("nginx", path=_PLACES)
    if program is None:
        raise RuntimeError("nginx is missing: apt install nginx-light")
    out = {
        "usr/sbin/nginx": Path(program).read_bytes(),
        "etc/nginx.conf": _CONF.encode(),
        "etc/passwd": b"root:x:0:0:root:/:/bin/sh\n",
        "etc/group": b"root:x:0:\n",
        "srv/index.html": PAGE,
    }
    listed = subprocess.run(("ldd", program), capture_output=True, text=True, check=True).stdout
    for library in re.findall(r"(/\S+) \(0x", listed):
        out[library.lstrip("/")] = Path(library).read_bytes()
    return out


def requests(text: str) -> tuple[float, float]:
    """By what `wrk --latency` prints: requests a second, and the median of what one took, in seconds.

    Raises `ValueError` where it says neither, or that requests failed.
    """
    rate = re.search(r"^Requests/sec:\s+([\d.]+)$", text, re.MULTILINE)
    half = re.search(r"^\s+50%\s+([\d.]+)(us|ms|s|m)$", text, re.MULTILINE)
    failed = re.search(r"^\s*(Socket errors|Non-2xx).*$", text, re.MULTILINE)
    if rate is None or half is None or failed is not None:
        raise ValueError(failed.group().strip() if failed else f"wrk does not say how many: {text.strip()}")
    return float(rate.group(1)), float(half.group(1)) * _UNITS[half.group(2)]

"""Takes orders from the broker, does them and writes them into the database; its page says how many it did.

Where the broker or the database is gone it ends. Whoever starts it again loses no order.
"""

import copy
import platform
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

import psycopg2
import redis


class Order(NamedTuple):
    item: str
    done_by: str = ""


class Page(BaseHTTPRequestHandler):
    done = 0

    def do_GET(self) -> None:
        text = f"Python {platform.python_version()} has done {Page.done} orders\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


def work() -> None:
    broker = redis.Redis("broker", decode_responses=True)
    database = psycopg2.connect("host=db dbname=shop user=shop")
    while broker.lmove("taken", "orders", "LEFT", "RIGHT"):
        pass  # the last worker took it, and ended before it was written
    while True:
        taken = broker.blmove("orders", "taken", 0, "RIGHT", "LEFT")
        done = copy.replace(Order(taken), done_by="Python " + platform.python_version())
        with database, database.cursor() as cursor:
            cursor.execute("insert into orders (item, done_by) values (%s, %s)", done)
        broker.lrem("taken", 1, taken)
        Page.done += 1


threading.Thread(target=ThreadingHTTPServer(("", 8000), Page).serve_forever, daemon=True).start()
try:
    work()
except (psycopg2.Error, redis.ConnectionError) as problem:
    sys.exit(f"what it works with is gone: {problem}")

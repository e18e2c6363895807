"""Takes orders, gives them to the broker, and shows those that the worker has done."""

import platform
from contextlib import closing
from typing import Any

import bottle
import psycopg2
import redis

broker = redis.Redis("broker")


@bottle.post("/orders")
def take() -> str:
    broker.lpush("orders", bottle.request.forms.item)
    bottle.response.status = 202
    return "taken\n"


@bottle.get("/orders")
def show() -> dict[str, Any]:
    with closing(psycopg2.connect("host=db dbname=shop user=shop")) as database, database.cursor() as cursor:
        cursor.execute("select item, done_by from orders order by number")
        return {"shown_by": "Python " + platform.python_version(), "orders": cursor.fetchall()}


if __name__ == "__main__":
    bottle.run(server="waitress", host="0.0.0.0", port=8000)

"""A web application of one page."""

from bottle import route, run


@route("/")
def index() -> str:
    return "hello from a container\n"


run(host="127.0.0.1", port=8000)

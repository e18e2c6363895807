"""Three targets: a text made on this machine, the same text in upper case, and a folder with both."""

from buildkit_py import Image, context, host, scratch, target

src = context(".")


@target
def words(greeting: str = "hello") -> Image:
    """A file that a command wrote."""
    return host().workdir("/work").copy(src["names.txt"]).run(f"sed 's/^/{greeting} /' names.txt > words.txt")


@target
def loud(greeting: str = "hello") -> Image:
    """The same in upper case."""
    return words(greeting).run("tr a-z A-Z < words.txt > loud.txt")


@target(default=True)
def both(greeting: str = "hello") -> Image:
    """Nothing but the two files."""
    made = loud(greeting)
    return scratch().copy(made["/work/words.txt", "/work/loud.txt"], "/")

"""Compose files that are wrong in some place: a whole one whose values are taken out, or replaced by odd ones."""

from __future__ import annotations

import random
from typing import Any

import yaml

WHOLE = yaml.safe_load("""
name: shop
services:
  web:
    image: x
    build:
      {context: ., dockerfile: d, args: {A: b}, secrets: [s], cache_from: [a], labels: {a: b}, tags: [t],
       platforms: [p], extra_hosts: ["a:1.1.1.1"], additional_contexts: {a: b}, network: none, ssh: [a]}
    command: [a]
    entrypoint: a b
    environment: {A: b}
    env_file: [{path: e, required: false}]
    ports: ["80:80", {target: 80, published: "1"}]
    expose: [1]
    volumes:
      - a:/b
      - {type: bind, source: ., target: /x, bind: {create_host_path: true}}
      - {type: tmpfs, target: /t, tmpfs: {size: 1m, mode: 7}}
    tmpfs: [/r]
    networks: {n: {aliases: [a]}}
    depends_on: {db: {condition: service_started, restart: true, required: true}}
    healthcheck: {test: [CMD, a], interval: 1s, retries: 2, disable: false}
    restart: always
    stop_signal: TERM
    stop_grace_period: 1s
    user: u
    working_dir: /w
    hostname: h
    extra_hosts: {a: 1.1.1.1}
    cap_add: [CHOWN]
    security_opt: ["no-new-privileges:true"]
    read_only: true
    init: true
    shm_size: 1m
    ulimits: {nofile: {soft: 1, hard: 2}, core: 0}
    mem_limit: 1g
    cpus: 1
    pids_limit: 5
    deploy:
      {resources: {limits: {cpus: "1", memory: 1g, pids: 5}}, restart_policy: {condition: any}, replicas: 1}
    secrets: [s, {source: s, target: t, uid: "1", mode: 256}]
    configs: [c]
    labels: [a=b]
    container_name: c
    profiles: [p]
    pull_policy: always
    extends: {service: base}
  base: {image: y}
  db: {image: z, profiles: [p]}
volumes: {a: {name: b, external: false}}
networks: {n: {driver: bridge}}
secrets: {s: {environment: S}}
configs: {c: {content: a}}
include: []
""")
ODD: tuple[Any, ...] = (
    *(None, 0, -1, 10**30, 1.5, float("inf"), True, False, "", "x", "a:b", "a=b", "${X}", "${", "$$", "/", "80", "-"),
    *("[", "1:2:3:4", ":::", "a,b", "\x00", "☃", "x" * 300, [], {}, [None], [1], ["a"], [[]], [{}], {"a": None}),
    *({"a": 1}, {"a": "b"}, {"a": []}, {"": ""}, {"x-a": 1}, {"source": "s"}, {"path": 1}, {"target": 1}),
    *({"type": "bind"}, {"target": "80", "published": [1]}),
)
_SIGNS = "{}[]:-#&*!|>'\"%@`\t\n ,$"


def mutated(chance: random.Random) -> str:
    """A compose file that is wrong in one to three places, or by a letter."""
    value = WHOLE
    for _ in range(chance.choice((1, 1, 2, 3))):
        path = chance.choice([path for path in _places(value, ()) if path])
        value = _dropped(value, path) if chance.random() < 0.3 else _put(value, path, chance.choice(ODD))
    text = yaml.safe_dump(value, allow_unicode=True)
    if chance.random() < 0.2:
        at = chance.randrange(len(text))
        text = text[:at] + chance.choice(_SIGNS) + text[at + 1 :]
    return text


def _places(value: Any, path: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *[place for key, one in inner for place in _places(one, (*path, key))]]


def _put(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = _put(value[path[0]], path[1:], new)
    return copy


def _dropped(value: Any, path: tuple[Any, ...]) -> Any:
    copy = value.copy()
    if len(path) == 1:
        del copy[path[0]]
    else:
        copy[path[0]] = _dropped(value[path[0]], path[1:])
    return copy

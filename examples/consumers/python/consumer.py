"""Reads concur-bridge's events, fetches what they are about from Concur, prints a line for each.

What matters in a consumer of the bridge, and is shown here:

* ``isolation.level=read_committed``: the bridge publishes in transactions; what it aborts must not be seen.
* Done once per (``source``, ``id``): offsets are committed after the work, so a crash repeats the last events. Keep the
  pair where the work is kept, best in the same transaction; here that is a small SQLite file.
* The OAuth token comes sealed. It is opened with the key file of the bridge, used, and never printed: whoever may post
  chooses it, and libraries quote what they refuse, so of an unexpected exception only the class is told.
* A URL is fetched only from ``objectUri``, which the bridge has checked. ``objectUriUntrusted`` may lead anywhere.
* No event stops the others. What cannot be fetched is told and left behind; keep it aside where it matters.
"""

import argparse
import json
import re
import signal
import sqlite3
import sys
from urllib.parse import urlsplit, urlunsplit

import requests
from confluent_kafka import Consumer, KafkaError, KafkaException
from defusedxml import ElementTree
from joserfc import jwe
from joserfc.jwk import KeySet

TIMEOUT_SECONDS = 10
MAX_ANSWER_BYTES = 10 * 1024 * 1024  # a trip has kilobytes


class NoDetails(Exception):
    """Why there are none, in words that quote neither request nor token."""


class Seen:
    """Remembers which events are done."""

    def __init__(self, file: str) -> None:
        self._database = sqlite3.connect(file)
        self._database.execute("CREATE TABLE IF NOT EXISTS seen (source TEXT, id TEXT, PRIMARY KEY (source, id))")

    def has(self, event: dict) -> bool:
        pair = (event["source"], event["id"])
        return self._database.execute("SELECT 1 FROM seen WHERE source = ? AND id = ?", pair).fetchone() is not None

    def add(self, event: dict) -> None:
        with self._database:
            self._database.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", (event["source"], event["id"]))


class Concur:
    """Fetches details, with the token of the event."""

    def __init__(self, base_url: str, override: str | None) -> None:
        self._base_url = override or base_url
        self._override = override and urlsplit(override)

    def get(self, url: str, token: str, **query: str) -> ElementTree:
        if self._override:
            url = urlunsplit(urlsplit(url)._replace(scheme=self._override.scheme, netloc=self._override.netloc))
        if not re.fullmatch("[!-~]+", token):
            raise NoDetails("the token is no header value")
        headers = {"Authorization": f"OAuth {token}", "Accept": "application/xml"}
        # A redirect would carry the token to another host.
        options = {"timeout": TIMEOUT_SECONDS, "allow_redirects": False, "stream": True}
        with requests.get(url, params=query, headers=headers, **options) as answer:
            if answer.status_code != 200:
                raise NoDetails(f"Concur answered {answer.status_code}")
            body = answer.raw.read(MAX_ANSWER_BYTES + 1, decode_content=True)
        if len(body) > MAX_ANSWER_BYTES:
            raise NoDetails("Concur's answer is too long")
        return ElementTree.fromstring(body)

    def trip(self, object_uri: str, token: str) -> str:
        trip = self.get(object_uri, token)
        return f"{text(trip, 'TripName')}, from {text(trip, 'StartDateLocal')} to {text(trip, 'EndDateLocal')}"

    def profile(self, user: dict | None, token: str) -> str:
        url = f"{self._base_url}/api/travelprofile/v2.0/profile"
        # Without a user it is the token's own.
        query = {"userid_type": user["idType"], "userid_value": user["idValue"]} if user else {}
        profile = self.get(url, token, **query)
        return f"{text(profile, 'FirstName')} {text(profile, 'LastName')} of {text(profile, 'CompanyName')}"


def text(document: ElementTree, name: str) -> str:
    """The text of the first element of a name, in any namespace."""
    return document.findtext(f".//{{*}}{name}") or "?"


def read_event(value: bytes | None) -> dict | None:
    """The event, or nothing when the value is none, as what others than the bridge write to the topic."""
    try:
        event = json.loads(value)
        for name in ("source", "id", "type"):
            event[name].encode()
        event.get("subject", "").encode()
        return event if isinstance(event["data"], dict) else None
    except Exception:
        return None


def open_token(token: dict | None, keys: KeySet) -> str | None:
    """The token in clear, in whichever form ``tokens.publish`` gave it."""
    if token is None:
        return None
    if "jwe" not in token:
        return token.get("value")
    try:
        return jwe.decrypt_compact(token["jwe"], keys, algorithms=["dir", "A256GCM"]).plaintext.decode()
    except Exception:
        raise NoDetails("the key file does not open the token") from None


def details(event: dict, keys: KeySet, concur: Concur) -> str:
    """What Concur says about the event's subject, or why it was not asked."""
    data = event["data"]
    try:
        token = open_token(data.get("token"), keys)
        if token is None:
            return "no token in the event: ask with your application's own"
        if event["type"].startswith("com.concur.itinerary.") and "objectUri" in data:
            return concur.trip(data["objectUri"], token)
        if event["type"].startswith("com.concur.profile."):
            return concur.profile(data.get("user"), token)
    except NoDetails as reason:
        return f"no details: {reason}"
    except Exception as error:
        return f"no details: {type(error).__name__}"
    return "nothing to fetch"


def print_line(*fields: str) -> None:
    """One line, whatever the fields hold: a line feed in one would begin another event."""
    print(re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", " | ".join(fields)), flush=True)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--bootstrap", default="127.0.0.1:9092", help="Kafka's bootstrap servers")
    arguments.add_argument("--key-file", default="keys/token.key", help="the bridge's tokens.key_file")
    arguments.add_argument("--topics", default="concur.itinerary,concur.fop,concur.profile")
    arguments.add_argument("--group", default="concur-example-python")
    arguments.add_argument("--base-url", default="https://www.concursolutions.com", help="where profiles are fetched")
    arguments.add_argument("--base-url-override", help="fetch everything there instead, e.g. from `concur-bridge simulate`")
    arguments.add_argument("--seen-file", default="seen.sqlite", help="remembers what is done")
    arguments.add_argument("--count", type=int, help="end after so many events")
    options = arguments.parse_args()

    with open(options.key_file, encoding="utf-8") as file:
        keys = KeySet.import_key_set(json.load(file))
    sys.stdout.reconfigure(errors="backslashreplace")  # a terminal need not know every character
    seen = Seen(options.seen_file)
    concur = Concur(options.base_url, options.base_url_override)
    consumer = Consumer({
        "bootstrap.servers": options.bootstrap,
        "group.id": options.group,
        "isolation.level": "read_committed",
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
    })
    consumer.subscribe(options.topics.split(","))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    done = 0
    try:
        while options.count is None or done < options.count:
            message = consumer.poll(1.0)
            if message is None:
                continue
            if message.error():
                if message.error().code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                    continue  # not made yet: the bridge makes its topics at its first start
                raise KafkaException(message.error())
            event = read_event(message.value())
            if event is None:
                print_line("?", "-", f"no event: {message.topic()} {message.partition()}@{message.offset()}")
            elif not seen.has(event):
                print_line(event["type"], event.get("subject", "-"), details(event, keys, concur))
                seen.add(event)
                done += 1
            consumer.commit(message, asynchronous=False)
    except KeyboardInterrupt:
        pass
    finally:
        consumer.close()


if __name__ == "__main__":
    main()

/**
 * Reads concur-bridge's events, fetches what they are about from Concur, prints a line for each.
 *
 * What matters in a consumer of the bridge, and is shown here:
 *
 * - `readUncommitted: false`: the bridge publishes in transactions; what it aborts must not be seen.
 * - Done once per (`source`, `id`): offsets are committed after the work, so a crash repeats the last events. Keep the
 *   pair where the work is kept, best in the same transaction; here that is a small file.
 * - The OAuth token comes sealed. It is opened with the key file of the bridge, used, and never printed.
 * - A URL is fetched only from `objectUri`, which the bridge has checked. `objectUriUntrusted` may lead anywhere.
 */
import { appendFileSync, existsSync, readFileSync } from "node:fs";
import { parseArgs } from "node:util";

import { XMLParser } from "fast-xml-parser";
import { base64url, compactDecrypt, type JWK } from "jose";
import { Kafka, logLevel } from "kafkajs";

interface SealedToken {
  fingerprint: string;
  jwe?: string;
  value?: string;
}

interface Event {
  id: string;
  source: string;
  type: string;
  subject?: string;
  data: {
    objectUri?: string;
    user?: { idType: string; idValue: string } | null;
    token?: SealedToken;
  };
}

const TIMEOUT_MS = 10_000;

const { values: options } = parseArgs({
  options: {
    bootstrap: { type: "string", default: "127.0.0.1:9092" },
    "key-file": { type: "string", default: "keys/token.key" },
    topics: { type: "string", default: "concur.itinerary,concur.fop,concur.profile" },
    group: { type: "string", default: "concur-example-typescript" },
    "base-url": { type: "string", default: "https://www.concursolutions.com" },
    "base-url-override": { type: "string" },
    "seen-file": { type: "string", default: "seen.txt" },
    count: { type: "string" },
  },
});

/** Remembers which events are done. */
class Seen {
  readonly #file: string;
  readonly #pairs: Set<string>;

  constructor(file: string) {
    this.#file = file;
    this.#pairs = new Set(existsSync(file) ? readFileSync(file, "utf8").split("\n") : []);
  }

  has(event: Event): boolean {
    return this.#pairs.has(Seen.#pair(event));
  }

  add(event: Event): void {
    this.#pairs.add(Seen.#pair(event));
    appendFileSync(this.#file, `${Seen.#pair(event)}\n`);
  }

  static #pair(event: Event): string {
    return JSON.stringify([event.source, event.id]);
  }
}

/** The bridge's keys, by `kid`. */
function readKeys(file: string): Map<string, Uint8Array> {
  const { keys } = JSON.parse(readFileSync(file, "utf8")) as { keys: JWK[] };
  return new Map(keys.map((key) => [key.kid ?? "", base64url.decode(key.k ?? "")]));
}

/** The token in clear, in whichever form `tokens.publish` gave it. */
async function openToken(token: SealedToken | undefined, keys: Map<string, Uint8Array>): Promise<string | undefined> {
  if (token?.jwe === undefined) {
    return token?.value;
  }
  const key = ({ kid }: { kid?: string }): Uint8Array => {
    const found = keys.get(kid ?? "");
    if (found === undefined) {
      throw new Error(`no key ${kid} in the key file`);
    }
    return found;
  };
  const allowed = { keyManagementAlgorithms: ["dir"], contentEncryptionAlgorithms: ["A256GCM"] };
  const { plaintext } = await compactDecrypt(token.jwe, key, allowed);
  return new TextDecoder().decode(plaintext);
}

const xml = new XMLParser({ removeNSPrefix: true, parseTagValue: false });

/** Fetches a document of Concur with the token of the event. */
async function get(url: URL, token: string, root: string): Promise<any> {
  const override = options["base-url-override"];
  const target = override === undefined ? url : new URL(url.pathname + url.search, override);
  const answer = await fetch(target, {
    headers: { Authorization: `OAuth ${token}`, Accept: "application/xml" },
    redirect: "error", // a redirect would carry the token to another host
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  if (!answer.ok) {
    throw new Error(`Concur answered ${answer.status}`);
  }
  return xml.parse(await answer.text())[root];
}

/** What Concur says about the event's subject, or why it was not asked. */
async function details(event: Event, keys: Map<string, Uint8Array>): Promise<string> {
  const { objectUri, user, token: sealed } = event.data;
  const token = await openToken(sealed, keys);
  if (token === undefined) {
    return "no token in the event: ask with your application's own";
  }
  try {
    if (event.type.startsWith("com.concur.itinerary.") && objectUri !== undefined) {
      const trip = await get(new URL(objectUri), token, "Itinerary");
      return `${trip.TripName}, from ${trip.StartDateLocal} to ${trip.EndDateLocal}`;
    }
    if (event.type.startsWith("com.concur.profile.")) {
      const url = new URL("/api/travelprofile/v2.0/profile", options["base-url"]);
      if (user) {
        url.search = new URLSearchParams({ userid_type: user.idType, userid_value: user.idValue }).toString();
      } // otherwise it is the token's own
      const { General: general } = await get(url, token, "ProfileResponse");
      return `${general.FirstName} ${general.LastName} of ${general.CompanyName}`;
    }
  } catch (error) {
    return `no details: ${(error as Error).message}`;
  }
  return "nothing to fetch";
}

const keys = readKeys(options["key-file"]);
const seen = new Seen(options["seen-file"]);
const wanted = options.count === undefined ? Infinity : Number(options.count);
let done = 0;

const kafka = new Kafka({ brokers: options.bootstrap.split(","), logLevel: logLevel.ERROR });
const consumer = kafka.consumer({ groupId: options.group, readUncommitted: false });
let stop: () => void;
const stopped = new Promise<void>((resolve) => (stop = resolve));
process.once("SIGINT", () => stop());
process.once("SIGTERM", () => stop());

await consumer.connect();
await consumer.subscribe({ topics: options.topics.split(","), fromBeginning: true });
await consumer.run({
  autoCommit: false,
  eachMessage: async ({ topic, partition, message }) => {
    if (done >= wanted || message.value === null) {
      return;
    }
    const event = JSON.parse(message.value.toString()) as Event;
    if (!seen.has(event)) {
      console.log([event.type, event.subject ?? "-", await details(event, keys)].join(" | "));
      seen.add(event);
      done += 1;
    }
    await consumer.commitOffsets([{ topic, partition, offset: (BigInt(message.offset) + 1n).toString() }]);
    if (done >= wanted) {
      stop();
    }
  },
});
await stopped;
await consumer.disconnect();

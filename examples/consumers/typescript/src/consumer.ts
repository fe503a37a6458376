/**
 * Reads concur-bridge's events, fetches what they are about from Concur, prints a line for each.
 *
 * What matters in a consumer of the bridge, and is shown here:
 *
 * - `readUncommitted: false`: the bridge publishes in transactions; what it aborts must not be seen.
 * - Done once per (`source`, `id`): offsets are committed after the work, so a crash repeats the last events. Keep the
 *   pair where the work is kept, best in the same transaction; here that is a small file.
 * - The OAuth token comes sealed. It is opened with the key file of the bridge, used, and never printed: whoever may
 *   post chooses it, and libraries quote what they refuse, so of an unexpected error only code or class is told.
 * - A URL is fetched only from `objectUri`, which the bridge has checked. `objectUriUntrusted` may lead anywhere.
 * - No event stops the others. What cannot be fetched is told and left behind; keep it aside where it matters.
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
const MAX_ANSWER_BYTES = 10 * 1024 * 1024; // a trip has kilobytes

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

/** Why there are no details, in words that quote neither request nor token. */
class NoDetails extends Error {}

/** What to tell of an error: our own words, else a code such as `ECONNREFUSED`, else the class. */
function reason(error: unknown): string {
  if (error instanceof NoDetails) {
    return error.message;
  }
  const { name, cause } = error as Error & { cause?: { code?: string } };
  return cause?.code ?? name;
}

/** The event, or nothing when the value is none, as what others than the bridge write to the topic. */
function readEvent(value: Buffer | null): Event | undefined {
  try {
    const event = JSON.parse(value?.toString() ?? "null");
    const isEvent = [event.source, event.id, event.type].every((field) => typeof field === "string");
    const isNamed = event.subject === undefined || typeof event.subject === "string";
    return isEvent && isNamed && typeof event.data === "object" && event.data !== null ? event : undefined;
  } catch {
    return undefined;
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
      throw new Error("no key of the key file fits");
    }
    return found;
  };
  const allowed = { keyManagementAlgorithms: ["dir"], contentEncryptionAlgorithms: ["A256GCM"] };
  try {
    const { plaintext } = await compactDecrypt(token.jwe, key, allowed);
    return new TextDecoder().decode(plaintext);
  } catch {
    throw new NoDetails("the key file does not open the token");
  }
}

const xml = new XMLParser({ removeNSPrefix: true, parseTagValue: false });

/** Fetches a document of Concur with the token of the event. */
async function get(url: URL, token: string, root: string): Promise<any> {
  if (!/^[!-~]+$/.test(token)) {
    throw new NoDetails("the token is no header value");
  }
  const answer = await fetch(target(url), {
    headers: { Authorization: `OAuth ${token}`, Accept: "application/xml" },
    redirect: "manual", // a redirect would carry the token to another host
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  if (answer.status !== 200) {
    await answer.body?.cancel();
    throw new NoDetails(`Concur answered ${answer.status}`);
  }
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of answer.body ?? []) {
    bytes += chunk.length;
    if (bytes > MAX_ANSWER_BYTES) {
      throw new NoDetails("Concur's answer is too long");
    }
    chunks.push(chunk);
  }
  const document = xml.parse(Buffer.concat(chunks).toString())[root];
  if (document === undefined) {
    throw new NoDetails(`Concur's answer is no ${root}`);
  }
  return document;
}

/** Where a URL is fetched. Its path may begin with `//`: resolving it would lead to another host. */
function target(url: URL): URL {
  if (options["base-url-override"] === undefined) {
    return url;
  }
  const override = new URL(options["base-url-override"]);
  override.pathname = url.pathname;
  override.search = url.search;
  return override;
}

/** What Concur says about the event's subject, or why it was not asked. */
async function details(event: Event, keys: Map<string, Uint8Array>): Promise<string> {
  const { objectUri, user, token: sealed } = event.data;
  try {
    const token = await openToken(sealed, keys);
    if (token === undefined) {
      return "no token in the event: ask with your application's own";
    }
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
    return `no details: ${reason(error)}`;
  }
  return "nothing to fetch";
}

/** One line, whatever the fields hold: a line feed in one would begin another event. */
function printLine(...fields: string[]): void {
  console.log(fields.join(" | ").replace(/[\x00-\x1f\x7f-\x9f]/g, " "));
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
    if (done >= wanted) {
      return;
    }
    const event = readEvent(message.value);
    if (event === undefined) {
      printLine("?", "-", `no event: ${topic} ${partition}@${message.offset}`);
    } else if (!seen.has(event)) {
      printLine(event.type, event.subject ?? "-", await details(event, keys));
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

import { join } from "node:path";
import { loadConfig } from "../../src/config.ts";
import { openLocalService } from "../../src/service.ts";
import { CredentialChanges } from "../support/credential-changes.ts";
import { Harness } from "../support/harness.ts";
import { residentMb, SETTLE_MS } from "./bench-server.ts";
import type { Effort } from "./effort.ts";
import type { Figure } from "./figures.ts";
import { type KeyedService, startKeyedService } from "./keyed-service.ts";
import { loadInTurn, ratios } from "./load.ts";

const CONSOLES = 50;
const STREAMS = 1000;
/** The most that a key has. */
const OF_A_KEY = 20;
const APPS = 100;
const CHANGE_EVERY_MS = 20;

/**
 * A warm read beside fifty open consoles, in turn with one beside none, while fifty credentials a second change for both;
 * and what a thousand streams take.
 */
export async function openConsoles(effort: Effort): Promise<Figure[]> {
  const { pairs } = effort;
  const throughput = await beside(effort);
  await using it = await startWatched(STREAMS / OF_A_KEY);
  await Bun.sleep(SETTLE_MS);
  const before = residentMb(it.service.child.pid);
  using readers = await Readers.open(it, STREAMS);
  await Bun.sleep(SETTLE_MS);
  const grown = residentMb(it.service.child.pid) - before;
  const fanOut: number[] = [];
  for (let run = 0; run < pairs * 3; run++) fanOut.push(await readers.spreadOf(() => it.changes.change()));
  console.error(
    `${STREAMS} streams: ${grown.toFixed(1)} MB; last reader after the first: ${fanOut.map((ms) => ms.toFixed(1)).join(", ")} ms`,
  );
  return [
    {
      name: "warm getXcx beside 50 open consoles / beside none",
      unit: "×",
      values: throughput,
      target: { atLeast: 0.95 },
    },
    { name: "1,000 event streams: more memory in RAM", unit: "MB", values: [grown], target: { atMost: 20 } },
    {
      name: "1,000 event streams: a change at the last reader, after the first",
      unit: "ms",
      values: fanOut,
      target: { atMost: 50 },
    },
  ];
}

async function beside(effort: Effort): Promise<number[]> {
  await using watched = await startWatched(Math.ceil(CONSOLES / OF_A_KEY));
  await using alone = await startWatched(0);
  using readers = await Readers.open(watched, CONSOLES);
  const timer = setInterval(() => {
    for (const { changes } of [watched, alone]) changes.change();
  }, CHANGE_EVERY_MS);
  try {
    const targets = { watched: watched.service.read, alone: alone.service.read };
    const of = await loadInTurn("warm read beside consoles", targets, effort);
    if (readers.bytes === 0) throw new Error("no console was told anything");
    return ratios(of.watched, of.alone, "requestsPerSecond");
  } finally {
    clearInterval(timer);
  }
}

/** A service with many apps beside the one that is read, and so many keys of administrators. */
interface Watched extends AsyncDisposable {
  readonly service: KeyedService;
  readonly keys: readonly string[];
  readonly changes: CredentialChanges;
}

async function startWatched(count: number): Promise<Watched> {
  let keys: string[] = [];
  let apps: readonly string[] = [];
  const service = await startKeyedService({
    apps: 1 + APPS,
    prepare: async ({ path, appIds }) => {
      apps = appIds.slice(1);
      keys = await makeKeys(path, count);
    },
  });
  const changes = new CredentialChanges(join(service.folder, "data", "accesstoken.db"), apps, Date.now());
  const dispose = async () => {
    changes[Symbol.dispose]();
    await service[Symbol.asyncDispose]();
  };
  return { service, keys, changes, [Symbol.asyncDispose]: dispose };
}

async function makeKeys(folder: string, count: number): Promise<string[]> {
  const database = `file:${join(folder, "data", "accesstoken.db")}`;
  const service = await openLocalService(
    loadConfig({ ENV_FILE: join(folder, ".env"), DATABASE_URL: database }),
  );
  const post = async (path: string, body: object): Promise<{ api_key?: string }> => {
    const headers = { "content-type": "application/json" };
    const init = { method: "POST", headers, body: JSON.stringify(body) };
    const response = await service.handle(new Request(`http://localhost${path}`, init));
    return ((await response.json()) as { data: { api_key?: string } }).data;
  };
  const keys: string[] = [];
  for (let n = 0; n < count; n++) {
    const grants = [{ apps: ["*"], actions: ["admin"] }];
    await post("/v1/clients", { client: `console-${n}`, environment: "prod", grants });
    keys.push((await post(`/v1/clients/console-${n}/keys`, {})).api_key ?? "");
  }
  await service.close();
  return keys;
}

/** Readers of many streams, who keep nothing of what they are told. */
class Readers implements Disposable {
  readonly #sockets: Bun.Socket[] = [];
  /** When each was told something last, by its place. */
  readonly #toldAt: number[] = [];
  bytes = 0;

  static async open({ service, keys }: Watched, count: number): Promise<Readers> {
    const readers = new Readers();
    const { hostname, port } = new URL(service.url);
    for (let n = 0; n < count; n++) {
      const key = keys[n % keys.length] ?? "";
      const request = `GET /v1/events HTTP/1.1\r\nHost: localhost\r\nX-API-Key: ${key}\r\n\r\n`;
      const data = (_: Bun.Socket, { length }: Uint8Array) => {
        readers.#toldAt[n] = performance.now();
        readers.bytes += length;
      };
      readers.#sockets.push(await Bun.connect({ hostname, port: Number(port), socket: { data } }));
      readers.#sockets[n]?.write(request);
    }
    await Harness.until(() => readers.#toldAt.filter(Boolean).length === count);
    readers.bytes = 0;
    return readers;
  }

  /** How long after the first the last of them learns of what `change` does, in milliseconds. */
  async spreadOf(change: () => void): Promise<number> {
    const since = performance.now();
    change();
    await Harness.until(() => this.#toldAt.every((at) => at > since));
    return Math.max(...this.#toldAt) - Math.min(...this.#toldAt);
  }

  [Symbol.dispose](): void {
    for (const socket of this.#sockets) socket.terminate();
  }
}

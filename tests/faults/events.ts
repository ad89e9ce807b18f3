import { join } from "node:path";
import { residentMb } from "../bench/bench-server.ts";
import { CredentialChanges } from "../support/credential-changes.ts";
import { ask, ProcessHarness } from "../support/process-harness.ts";
import { type FaultCase, type FaultOptions, must, mustFail, type Outcome } from "./fault-case.ts";

const APPS = Array.from({ length: 200 }, (_, n) => `wx${n.toString(16).padStart(16, "0")}`);
const READERS = 20;
const MINUTES = 30;
/** What a service needs until its caches and its collector are warm. */
const WARM_MINUTES = 5;
const EVERY_MS = 20;
const MAX_GROWN_MB = 15;
const MAX_READ_MS = 5000;

/** What half an hour of changes came to. */
interface Watch {
  /** By how much memory grew after it was warm. */
  readonly grownMb: number;
  readonly changes: number;
  /** Of the reader that was told of the fewest. */
  readonly told: number;
  readonly ended: number;
  /** The slowest look at an app's state meanwhile. */
  readonly readMs: number;
}

/** Fifty changes a second for half an hour, and twenty consoles that follow them. */
export function eventCases({ program }: FaultOptions): FaultCase[] {
  return [
    { name: "events: 50 a second for 30 min", run: () => watch(program) },
    { name: "events: control", run: control },
  ];
}

async function watch(program: readonly string[]): Promise<Outcome> {
  await using it = new ProcessHarness(program);
  const secrets = APPS.map((app) => [`WEIXIN_SECRET_${app}`, app.slice(2).repeat(2)]);
  const { service, url } = await it.serve({ ...Object.fromEntries(secrets), ANONYMOUS_RATE_LIMIT: "0" });
  using changes = new CredentialChanges(join(it.folder, "data", "accesstoken.db"), APPS, Date.now());
  const told: number[] = Array.from({ length: READERS }, () => 0);
  let ended = 0;
  for (let n = 0; n < READERS; n++)
    void follow(url, (events) => (told[n] = (told[n] ?? 0) + events))
      // It is cut off when the service is stopped in the end.
      .catch(() => undefined)
      .finally(() => ended++);
  const startedAt = performance.now();
  const minutes = () => (performance.now() - startedAt) / 60_000;
  let [warmMb, readMs, lastMb] = [Number.NaN, 0, Number.NaN];
  for (let round = 0; minutes() < MINUTES; round++) {
    changes.change();
    if (Number.isNaN(warmMb) && minutes() >= WARM_MINUTES) warmMb = residentMb(service.pid);
    if (round % 50 === 0) {
      const askedAt = performance.now();
      await ask(url, `/v1/apps/${APPS[0]}`);
      readMs = Math.max(readMs, performance.now() - askedAt);
      lastMb = residentMb(service.pid);
    }
    await Bun.sleep(Math.max(0, startedAt + (round + 1) * EVERY_MS - performance.now()));
  }
  const seen = { grownMb: lastMb - warmMb, changes: changes.made, told: Math.min(...told), ended, readMs };
  check(seen);
  return {
    figures: `${seen.grownMb.toFixed(1)} MB more; ${seen.changes} changes, of which each was told ${seen.told}; states within ${readMs.toFixed(0)} ms`,
  };
}

function check({ grownMb, changes, told, ended, readMs }: Watch): void {
  must(grownMb <= MAX_GROWN_MB, `${grownMb.toFixed(1)} MB more of memory`);
  must(changes >= MINUTES * 60 * 10, `only ${changes} changes`);
  must(told >= changes * 0.99, `a reader was told of ${told} of ${changes} changes`);
  must(ended === 0, `${ended} streams have ended`);
  must(readMs <= MAX_READ_MS, `a look at a state took ${readMs.toFixed(0)} ms`);
}

/** Reads a stream until it ends, and says how many events came. */
async function follow(url: string, count: (events: number) => void): Promise<void> {
  const { body } = await fetch(`${url}/v1/events`);
  const decoder = new TextDecoder();
  for await (const chunk of body ?? []) count(decoder.decode(chunk).split("event: credential\n").length - 1);
}

async function control(): Promise<Outcome> {
  const good: Watch = { grownMb: 2, changes: 90_000, told: 90_000, ended: 0, readMs: 20 };
  const caught = [
    await mustFail("memory that grows", () => check({ ...good, grownMb: 16 })),
    await mustFail("too few changes", () => check({ ...good, changes: 100 })),
    await mustFail("a reader that misses some", () => check({ ...good, told: 80_000 })),
    await mustFail("a stream that ended", () => check({ ...good, ended: 1 })),
    await mustFail("a state that waits", () => check({ ...good, readMs: 6000 })),
  ];
  return { figures: caught.join("; ") };
}

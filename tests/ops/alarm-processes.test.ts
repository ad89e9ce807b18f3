import { expect, test } from "bun:test";
import { join } from "node:path";
import { systemClock } from "../../src/clock.ts";
import { Secret } from "../../src/secret.ts";
import { entryFor } from "../support/alarm-records.ts";
import { StoreFolder } from "../support/store-folder.ts";

const RULES = { minSeverity: "info" as const, mention: [], tellsResolved: true };

/** Starts a process of `alarm-process.ts`; `round` resolves when it has made one. */
function start(...args: readonly string[]) {
  const child = Bun.spawn([process.execPath, join(import.meta.dir, "alarm-process.ts"), ...args], {
    ...{ stdin: "pipe", stdout: "pipe", stderr: "inherit" },
  });
  const reader = child.stdout.getReader();
  const round = async (facts: { readonly now: number; readonly isBlocked: boolean }) => {
    void child.stdin.write(`${JSON.stringify(facts)}\n`);
    if ((await reader.read()).done) throw new Error("the process has ended");
  };
  return { child, round };
}

test("of two processes one sends one message, and when one is killed the other tells the end, once", async () => {
  using folder = new StoreFolder(systemClock);
  let isBlocked = true;
  const told: string[] = [];
  using server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: async (request) => {
      const { kind } = (await request.json()) as { kind: string };
      told.push(kind);
      return new Response("ok");
    },
  });
  const store = await folder.open();
  const url = new Secret(`${server.url.origin}/hook-0123456789`);
  const channel = {
    name: "ops",
    kind: "webhook" as const,
    url,
    secret: undefined,
    isEnabled: true,
    rules: RULES,
  };
  await store.channels.save(channel, 0, entryFor("notification_channel.created"));
  folder.close();
  const processes = [1, 2].map(() => start(folder.path, folder.keyPath));
  const [first, second] = processes;
  if (!first || !second) throw new Error("no process");
  let now = systemClock.now();
  /** Two minutes, in which each of them looks every second. */
  const pass = async (running: readonly (typeof first)[]) => {
    for (const end = now + 120_000; now < end; now += 1000)
      await Promise.all(running.map(({ round }) => round({ now, isBlocked })));
  };
  try {
    await pass(processes);
    expect(told).toEqual(["firing"]);
    first.child.kill("SIGKILL");
    await first.child.exited;
    isBlocked = false;
    await pass([second]);
    expect(told).toEqual(["firing", "resolved"]);
  } finally {
    for (const { child } of processes) child.kill("SIGKILL");
  }
}, 120_000);

import { expect, test } from "bun:test";
import * as fc from "fast-check";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { CredentialStore } from "../../src/credentials/credential-store.ts";
import type { Credential, CredentialName, CredentialRecord } from "../../src/credentials/credential.ts";
import type { PacingStore } from "../../src/credentials/pacing-store.ts";
import { Secret } from "../../src/secret.ts";
import { openSqliteStore } from "../../src/store/sqlite/sqlite-store.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { MemoryCredentialStore, MemoryDatabase, MemoryPacingStore } from "./memory-store.ts";
import { clearOne, rejectOne } from "../support/store-folder.ts";

const START = 1_795_320_000_000;
const METHODS = [
  "lease",
  "release",
  "save",
  "accept",
  "clear",
  "reject",
  "mark revoked",
  "shorten",
  "use",
] as const;
const HOLDERS = ["a", "b"];

/** One call, in small numbers; `back` is by how much the generation that it names is out of date. */
const call = fc.record({
  method: fc.constantFrom(...METHODS),
  holder: fc.integer({ min: 0, max: 1 }),
  value: fc.integer({ min: 1, max: 3 }),
  back: fc.integer({ min: 0, max: 1 }),
  at: fc.integer({ min: -25_000, max: 25_000 }),
});
type Call = typeof call extends fc.Arbitrary<infer T> ? T : never;

/** What a call did, with nothing in it that two stores may do differently. */
async function perform(
  stores: { credentials: CredentialStore; pacing: PacingStore },
  name: CredentialName,
  { method, holder: index, value, back, at }: Call,
): Promise<unknown> {
  const { credentials: store, pacing } = stores;
  const holder = HOLDERS[index] ?? "a";
  const before = await store.find(name);
  const generation = before.generation - back;
  const now = START + 30_000 + at;
  const credential: Credential = {
    value: new Secret(`value-${value}-sixteen-long`),
    issuedAt: now,
    expiresAt: now + 7_200_000 + value,
  };
  switch (method) {
    case "lease": {
      const answer = await store.lease(name, { holder, now, lifeMs: 10_000 });
      return [answer.isGranted, shown(answer.record)];
    }
    case "release":
      await store.release(name, holder);
      return shown(await store.find(name));
    case "save":
      return shown(await store.save(name, credential, generation));
    case "accept":
      return shown(await store.accept(name, credential));
    case "clear":
      return shown(await clearOne(store, name));
    case "reject":
      return shown(await rejectOne(store, name, generation));
    case "mark revoked":
      return shown(await store.markRevoked(name, credential.value, generation, { now, earlyMs: 0 }));
    case "shorten": {
      const standing = (back === 0 && before.credential) || credential;
      return shown(await store.shorten(name, standing, { expiresAt: now + 300_000, renewBeforeMs: 60_000 }));
    }
    case "use": {
      const limits = [{ key: name.slot.appId, most: value, from: now - 10_000 }];
      return (await pacing.use({ limits, now, until: now + 10_000 })).blocked;
    }
    default:
      throw new Error("no such call");
  }
}

function shown({ generation, credential, isRejected, revoked, wasSaved }: CredentialRecord): unknown {
  const { value, ...life } = credential ?? {};
  return { generation, value: value?.reveal(), life, isRejected, revoked: revoked?.reveal(), wasSaved };
}

test("the store of the schedules answers every call as SQLite does", async () => {
  const folder = mkdtempSync(join(tmpdir(), "accesstoken-test-"));
  const clock = new ManualClock(START);
  const sqlite = await openSqliteStore({
    path: join(folder, "data.db"),
    masterKey: undefined,
    masterKeyFile: join(folder, "master.key"),
    clock,
    onKeyCreated: () => undefined,
  });
  try {
    let run = 0;
    const calls = fc.array(call, { minLength: 1, maxLength: 15 });
    const agree = fc.asyncProperty(calls, async (sequence) => {
      const name: CredentialName = {
        slot: { platform: "weixin", appId: `app${++run}`, name: "classic" },
        kind: "access_token",
      };
      const now = () => Promise.resolve();
      const database = new MemoryDatabase();
      const memory = {
        credentials: new MemoryCredentialStore(database, "a", now, () => clock.now()),
        pacing: new MemoryPacingStore(database, now),
      };
      for (const each of sequence)
        expect(await perform(memory, name, each)).toEqual(await perform(sqlite, name, each));
    });
    await fc.assert(agree, { numRuns: 300 });
  } finally {
    sqlite.close();
    rmSync(folder, { recursive: true, force: true });
  }
});

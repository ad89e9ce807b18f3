import { expect, test } from "bun:test";
import { Clearing } from "../../src/credentials/clearing.ts";
import { CredentialCache } from "../../src/credentials/credential-cache.ts";
import { credentialKey, type CredentialName } from "../../src/credentials/credential.ts";
import { LostCredentials } from "../../src/credentials/lost-credentials.ts";
import { Pacing } from "../../src/credentials/pacing.ts";
import { EventBus, type ServiceEvent } from "../../src/events.ts";
import { Secret } from "../../src/secret.ts";
import { busy } from "../../src/store/sql.ts";
import type { Store } from "../../src/store/store.ts";
import { Harness } from "../support/harness.ts";
import { ManualChanges } from "../support/manual-changes.ts";
import { tokenOf, weixinSlot } from "../support/slots.ts";
import { clearOne, saveUnderLease, StoreFolder } from "../support/store-folder.ts";
import { PauseClock } from "./credentials-harness.ts";

const TOKEN = tokenOf();
const OTHER = tokenOf(weixinSlot("wx2"));

/** A store, one that takes its place, and processes that know the first. */
async function setup() {
  const clock = new PauseClock();
  const folders = [new StoreFolder(clock), new StoreFolder(clock)] as const;
  const [first, second] = [await folders[0].open(), await folders[1].open()];
  let current = first;
  const save = (text: string, stores: readonly Store[], name: CredentialName = TOKEN) => {
    clock.advance(1000);
    const issuedAt = clock.now();
    const credential = { value: new Secret(text), issuedAt, expiresAt: issuedAt + 7_200_000 };
    return Promise.all(stores.map((store) => saveUnderLease(store.credentials, name, credential)));
  };
  const processes: { changes: ManualChanges; lost: LostCredentials }[] = [];
  const startProcess = () => {
    const changes = new ManualChanges();
    const events = new EventBus();
    const restored: ServiceEvent[] = [];
    events.subscribe((event) => restored.push(event));
    const reads: string[] = [];
    const failures: Error[] = [];
    const ports = {
      find: (name: CredentialName) => {
        reads.push(credentialKey(name));
        return current.credentials.find(name);
      },
      touch: async () => undefined,
      restore: async (lost: Parameters<Store["credentials"]["restore"]>[0]) => {
        const failure = failures.pop();
        if (failure) throw failure;
        return current.credentials.restore(lost);
      },
    };
    const memory = new CredentialCache(ports, changes, clock);
    const lost = new LostCredentials({ memory, store: ports, changes, clock, events });
    lost.start();
    processes.push({ changes, lost });
    const know = async (name: CredentialName = TOKEN) => (await memory.read(name)).held?.value.reveal();
    /** Of the second store. */
    const pacing = new Pacing({ store: second.pacing, clock, events, isKnown: async () => true });
    const clearing = new Clearing({ store: second.credentials, memory, pacing, clock, events }, () => []);
    return { changes, know, reads, restored, failures, lost, clearing };
  };
  /** The first store is gone, and each process has done what it does then, one after the other. */
  const becomeSecond = async (isDone = () => true) => {
    current = second;
    clock.advance(1000);
    for (const { changes, lost } of processes) {
      changes.becomeAnother();
      await Harness.until(async () => isDone());
      await lost.stop();
    }
  };
  const standing = async (name: CredentialName = TOKEN) =>
    (await second.credentials.find(name)).credential?.value.reveal();
  const dispose = () => folders.forEach((folder) => folder[Symbol.dispose]());
  return { clock, first, second, save, startProcess, becomeSecond, standing, [Symbol.dispose]: dispose };
}

test("P5: what a store has lost is stored again, also where its whole row is gone, with a later generation", async () => {
  using it = await setup();
  await it.save("old", [it.first, it.second]);
  const [saved] = await it.save("new", [it.first]);
  await it.save("of another", [it.first], OTHER);
  const process = it.startProcess();
  await process.know();
  await process.know(OTHER);
  await it.becomeSecond();
  expect([await it.standing(), await it.standing(OTHER)]).toEqual(["new", "of another"]);
  expect(process.restored.map((event) => "key" in event && event.key)).toEqual([
    credentialKey(OTHER),
    credentialKey(TOKEN),
  ]);
  expect((await it.second.credentials.find(TOKEN)).generation).toBeGreaterThan(saved!.generation);
  expect(await process.know()).toBe("new");
});

test("P5: of processes that knew different ones the newest stays, whichever is stored first", async () => {
  for (const order of ["older first", "newer first"]) {
    using it = await setup();
    await it.save("old", [it.first, it.second]);
    const know = async () => {
      await it.save("new", [it.first]);
      await it.startProcess().know();
      await it.save("newest", [it.first]);
      await it.startProcess().know();
    };
    const reversed = async () => {
      const [one, two] = [it.startProcess(), it.startProcess()];
      await it.save("new", [it.first]);
      await two.know();
      await it.save("newest", [it.first]);
      await one.know();
    };
    await (order === "older first" ? know() : reversed());
    await it.becomeSecond();
    expect(await it.standing(), order).toBe("newest");
  }
});

test("P2, P5: what was changed since, or was known to have changed is not stored again", async () => {
  using it = await setup();
  const names = [tokenOf(weixinSlot("wx3")), tokenOf(weixinSlot("wx4")), tokenOf(weixinSlot("wx5"))] as const;
  const [cleared, replaced, stale] = names;
  const process = it.startProcess();
  for (const name of names) {
    await it.save("old", [it.first, it.second], name);
    await it.save("new", [it.first], name);
    await process.know(name);
  }
  // One more epoch than any record has.
  for (let n = 0; n < 20; n++) process.changes.raise("credentials", credentialKey(stale));
  await clearOne(it.second.credentials, cleared);
  await it.save("later", [it.second], replaced);
  await it.becomeSecond();
  expect(await it.standing(cleared)).toBeUndefined();
  expect(await it.standing(replaced)).toBe("later");
  expect(await it.standing(stale)).toBe("old");
});

test("P2: until it is stored again a process hands out what it has, also to who asks before it knows of the other store", async () => {
  using it = await setup();
  await it.save("old", [it.first, it.second]);
  await it.save("new", [it.first]);
  const process = it.startProcess();
  await process.know();
  await process.lost.stop();
  await it.becomeSecond();
  expect(await process.know()).toBe("new");
  expect(await it.standing()).toBe("old");
});

test("P2: what is cleared before it is stored again is not stored again, also where its whole row is gone", async () => {
  using it = await setup();
  const actor = { client: "", environment: "", address: "", traceId: "" };
  for (const name of [TOKEN, OTHER]) await it.save("lost", [it.first], name);
  const [process, another] = [it.startProcess(), it.startProcess()];
  for (const { know, lost } of [process, another]) {
    for (const name of [TOKEN, OTHER]) expect(await know(name)).toBe("lost");
    await lost.stop();
  }
  await it.becomeSecond();
  await process.clearing.clear([TOKEN], { actor });
  await process.clearing.clearApp({ platform: "weixin", appId: "wx2" }, "access_token", { actor });
  expect(process.restored.map(({ type }) => type)).toEqual(["credential.cleared", "credential.cleared"]);
  for (const { lost } of [process, another]) lost.start();
  await it.becomeSecond();
  for (const name of [TOKEN, OTHER]) {
    expect(await it.standing(name)).toBeUndefined();
    for (const { know } of [process, another]) expect(await know(name)).toBeUndefined();
  }
});

test("what can't be stored again at once is told once, and tried less and less often until it can", async () => {
  using it = await setup();
  await it.save("lost", [it.first]);
  const process = it.startProcess();
  await process.know();
  process.failures.push(...Array.from({ length: 9 }, () => busy()));
  it.clock.pauses.length = 0;
  await it.becomeSecond(() => process.restored.some(({ type }) => type === "credential.restored"));
  expect(it.clock.pauses).toEqual([500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
  expect(await it.standing()).toBe("lost");
  expect(process.restored.map(({ type }) => type)).toEqual([
    "credential.restore_failed",
    "credential.restored",
  ]);
});

test("a store that has lost nothing is asked for a few credentials, and changes none", async () => {
  using it = await setup();
  const process = it.startProcess();
  for (let n = 0; n < 15; n++) {
    const name = tokenOf(weixinSlot(`wx-${n}`));
    await it.save("one", [it.first, it.second], name);
    await process.know(name);
  }
  process.reads.length = 0;
  await it.becomeSecond();
  expect(process.restored).toEqual([]);
  expect(process.reads).toHaveLength(10);
});

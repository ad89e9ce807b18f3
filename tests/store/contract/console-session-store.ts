import { expect, test as declared } from "bun:test";
import type { ConsoleSession } from "../../../src/access/console-sessions.ts";
import { entryOf } from "../../support/audit-entries.ts";
import type { OpenStore } from "./open-store.ts";

const AT = 1_795_320_000_000;
const SESSION: ConsoleSession = {
  digest: "a".repeat(64),
  client: "shop",
  clientCreatedAt: AT,
  keyPrefix: "ats_4fGh7Kq2",
  address: "10.0.0.8",
  createdAt: AT,
  usedAt: AT,
  expiresAt: AT + 1000,
};
const LINK = { digest: "b".repeat(64), client: "shop", createdAt: AT, expiresAt: AT + 1000 };
const SETUP = { ...LINK, digest: "c".repeat(64), client: "" };

/** What is looked for when a link is used. */
const used = ({ digest, client }: typeof LINK) => ({ digest, isSetup: client === "" });

const SIGNED_IN = entryOf({ action: "console.signed_in", detail: {} });
const SETUP_USED = entryOf({ action: "console.setup", detail: {} });
const SIGNED_OUT = entryOf({ action: "console.signed_out", detail: {} });

/** What every store of the console's sessions must do. `kind` names it in the tests' names. */
export function consoleSessionStoreContract(kind: string, open: OpenStore, test = declared): void {
  async function setup() {
    const opened = await open();
    const actions = async () =>
      (await opened.store.audit.list({}, { limit: 10 })).map(({ action }) => action).toReversed();
    return { ...opened, actions, [Symbol.dispose]: () => opened.dispose() };
  }

  test(`${kind}: P3: a session is kept until it ends, and what begins and ends it is audited`, async () => {
    using it = await setup();
    const { consoleSessions, changes } = it.store;
    const before = changes.epoch("sessions");
    await consoleSessions.add(SESSION, SIGNED_IN);
    expect(changes.epoch("sessions")).toBeGreaterThan(before);
    expect(await consoleSessions.list(AT + 999)).toEqual([SESSION]);
    expect(await consoleSessions.list(AT + 1000)).toEqual([]);
    expect(await consoleSessions.remove(SESSION.digest, SIGNED_OUT)).toBe(true);
    expect(await consoleSessions.remove(SESSION.digest, SIGNED_OUT)).toBe(false);
    expect(await consoleSessions.list(AT)).toEqual([]);
    expect(await it.actions()).toEqual(["console.signed_in", "console.signed_out"]);
  });

  test(`${kind}: a later use of a session is written down, an earlier one is not, and others learn of it`, async () => {
    using it = await setup();
    const { digest } = SESSION;
    await it.store.consoleSessions.add(SESSION, SIGNED_IN);
    const beside = await it.beside();
    const before = beside.changes.epoch("sessions");
    await it.store.consoleSessions.touch([{ digest, usedAt: AT + 60 }]);
    await it.store.consoleSessions.touch([{ digest, usedAt: AT + 30 }]);
    await beside.changes.catchUp();
    expect(beside.changes.epoch("sessions")).toBeGreaterThan(before);
    expect(await beside.consoleSessions.list(AT)).toEqual([{ ...SESSION, usedAt: AT + 60 }]);
    beside.close();
  });

  test(`${kind}: a client has fifty sessions at most: the oldest goes`, async () => {
    using it = await setup();
    const { consoleSessions } = it.store;
    await consoleSessions.add({ ...SESSION, digest: "other", client: "other" }, SIGNED_IN);
    for (let n = 0; n < 51; n++)
      await consoleSessions.add({ ...SESSION, digest: `s${n}`, createdAt: AT + n }, SIGNED_IN);
    const digests = (await consoleSessions.list(AT)).map(({ digest }) => digest);
    expect(digests).toHaveLength(51);
    expect(digests).not.toContain("s0");
    expect(digests).toContain("other");
  });

  test(`${kind}: a link is taken by one alone of many who try at once, and by none once it has ended`, async () => {
    using it = await setup();
    const beside = await it.beside();
    await it.store.consoleSessions.addLink(LINK);
    const stores = [it.store, beside, it.store, beside].map(({ consoleSessions }) => consoleSessions);
    const taken = await Promise.all(stores.map((store) => store.takeLink(used(LINK), AT)));
    expect(taken.filter((link) => link !== undefined)).toEqual([LINK]);
    await it.store.consoleSessions.addLink(LINK);
    expect(await beside.consoleSessions.takeLink(used(LINK), AT + 1000)).toBeUndefined();
    beside.close();
  });

  test(`${kind}: a new set-up link takes the place of the one before; links of clients stay`, async () => {
    using it = await setup();
    const { consoleSessions } = it.store;
    const next = { ...SETUP, digest: "d".repeat(64) };
    for (const link of [LINK, SETUP, next]) await consoleSessions.addLink(link);
    expect(await consoleSessions.takeLink(used(SETUP), AT)).toBeUndefined();
    expect(await consoleSessions.takeLink({ ...used(next), isSetup: false }, AT)).toBeUndefined();
    expect(await consoleSessions.takeLink({ ...used(LINK), isSetup: true }, AT)).toBeUndefined();
    expect(await consoleSessions.takeLink(used(next), AT, SETUP_USED)).toEqual(next);
    expect(await consoleSessions.takeLink(used(next), AT, SETUP_USED)).toBeUndefined();
    expect(await it.actions()).toEqual(["console.setup"]);
    expect(await consoleSessions.takeLink(used(LINK), AT)).toEqual(LINK);
  });

  test(`${kind}: what has ended is dropped, once in a while among all processes`, async () => {
    using it = await setup();
    const { consoleSessions } = it.store;
    const lasting = { ...SESSION, digest: "e".repeat(64), expiresAt: AT + 5000 };
    for (const session of [SESSION, lasting]) await consoleSessions.add(session, SIGNED_IN);
    await consoleSessions.addLink(LINK);
    await consoleSessions.prune(AT + 1000, 600);
    expect(await consoleSessions.list(0)).toEqual([lasting]);
    expect(await consoleSessions.takeLink(used(LINK), 0)).toBeUndefined();
    await consoleSessions.prune(AT + 1100, 600);
    expect(await consoleSessions.list(0)).toEqual([lasting]);
    await consoleSessions.prune(AT + 5000, 600);
    expect(await consoleSessions.list(0)).toEqual([]);
  });
}

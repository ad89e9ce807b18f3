import { expect, test } from "bun:test";
import { copyFileSync, existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../../src/clock.ts";
import { VirtualTokens } from "../../src/credentials/virtual-tokens.ts";
import { rotateMasterKey } from "../../src/store/sqlite/rotate-master-key.ts";
import { openSqliteStore } from "../../src/store/sqlite/sqlite-store.ts";
import { Harness } from "../support/harness.ts";
import { ALL_ACTIONS, GatewayHarness, WX_APP } from "./gateway-harness.ts";

const INFO = "/cgi-bin/user/get";
const GRANTS = [{ apps: ["*"], actions: ALL_ACTIONS }];

/** A running service with a virtual client, and a thief who has a copy of its database and its master key of then. */
async function setup() {
  const it = await GatewayHarness.create({ client: { delivery: "virtual", grants: GRANTS } });
  const { clock, databasePath: path } = it.world;
  const masterKeyFile = join(it.world.folder, "data", "master.key");
  const folder = mkdtempSync(join(tmpdir(), "accesstoken-thief-"));
  const [copy, key] = [join(folder, "accesstoken.db"), join(folder, "master.key")];
  for (const end of ["", "-wal"]) if (existsSync(path + end)) copyFileSync(path + end, copy + end);
  copyFileSync(masterKeyFile, key);
  const open = { masterKey: undefined, clock, onKeyCreated: () => undefined };
  const thief = await openSqliteStore({ path: copy, masterKeyFile: key, ...open });
  const loaded = await thief.clients.load();
  const client = loaded.clients.find(({ name }) => name === "program");
  const { prefix = "" } = loaded.keys.find((each) => each.client === "program") ?? {};
  const forged = new VirtualTokens(thief.virtualTokenKeys, clock);
  const claimsOfNow = () => {
    const claims = { client: "program", clientCreatedAt: client?.createdAt ?? 0, keyPrefix: prefix };
    return { ...claims, app: WX_APP, issuedAt: clock.now() };
  };
  return {
    clock,
    token: () => it.token(),
    /** A token that nobody was given, for the client in the copy. */
    forge: () => forged.issue(claimsOfNow()).reveal(),
    errcode: async (token: string) => (await it.send(`${INFO}?access_token=${token}`)).errcode,
    rotate: (revokesVirtualTokens: boolean) =>
      rotateMasterKey({
        path,
        masterKey: undefined,
        masterKeyFile,
        newKeyFile: undefined,
        clock: { ...systemClock, now: () => clock.now() },
        graceMs: 0,
        revokesVirtualTokens,
      }),
    /** A token of another process that has opened the database since, which tells the running one of a new key. */
    tokenOfNewProcess: async () => {
      const beside = await openSqliteStore({ path, masterKeyFile, ...open });
      const token = new VirtualTokens(beside.virtualTokenKeys, clock).issue(claimsOfNow()).reveal();
      beside.close();
      return token;
    },
    [Symbol.asyncDispose]: async () => {
      thief.close();
      await it[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true });
    },
  };
}

test("a change of the master key ends a theft of it within two hours, and no caller notices", async () => {
  await using it = await setup();
  const out = await it.token();
  expect(await it.errcode(it.forge())).toBeUndefined();
  await it.rotate(false);
  const next = await it.tokenOfNewProcess();
  for (const token of [out, next, await it.token()]) expect(await it.errcode(token)).toBeUndefined();
  it.clock.advance(7_201_000);
  expect(await it.errcode(it.forge())).toBe(42001);
  expect(await it.errcode(await it.token())).toBeUndefined();
});

test("with --now a theft of the master key ends at once: callers fetch another token, as after any that expired", async () => {
  await using it = await setup();
  const out = await it.token();
  await it.rotate(true);
  // The running service learns of it by the change feed.
  it.clock.advance(1000);
  await Harness.until(async () => (await it.errcode(out)) === 42001);
  expect(await it.errcode(it.forge())).toBe(42001);
  expect(await it.errcode(await it.token())).toBeUndefined();
});

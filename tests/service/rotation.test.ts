import { expect, test } from "bun:test";
import { join } from "node:path";
import { systemClock } from "../../src/clock.ts";
import { Secret } from "../../src/secret.ts";
import { rotateMasterKey, type RotationOptions } from "../../src/store/sqlite/rotate-master-key.ts";
import { RotationFolder } from "../support/rotation-folder.ts";
import { CORP, WECOM, Harness, WX, WX_FOREIGN } from "../support/harness.ts";

const TOKEN_PATHS = [
  ["/AccessToken/getXcx", { appid: WX.appId }],
  ["/AccessToken/getXcx", { appid: WX_FOREIGN.appId, secret: WX_FOREIGN.secret }],
  ["/AccessToken/getQyapi", { corpid: CORP, agentid: WECOM.agent }],
] as const;

/** A running service, and a change of the key of its database. */
async function setup(environment: Record<string, string> = {}) {
  const world = await Harness.create({ environment });
  const rotate = (options: Partial<RotationOptions> = {}) =>
    rotateMasterKey({
      path: world.databasePath,
      masterKey: undefined,
      masterKeyFile: join(world.folder, "data", "master.key"),
      newKeyFile: undefined,
      clock: systemClock,
      graceMs: 0,
      ...options,
    });
  const tokens = async () => {
    const answers = await Promise.all(TOKEN_PATHS.map(([path, query]) => world.get(path, query)));
    return answers.map(({ code, data }) => ({ code, token: data["access_token"] as string }));
  };
  return { world, rotate, tokens, [Symbol.asyncDispose]: () => world[Symbol.asyncDispose]() };
}

test("P3, P4: a service serves and writes on while its master key is changed, and a restarted one has it all", async () => {
  await using it = await setup();
  const { world } = it;
  const stop = new AbortController();
  let rounds = 0;
  const faults: unknown[] = [];
  const load = async () => {
    for (; !stop.signal.aborted; rounds++) {
      await world.get("/AccessToken/clearXcx", { appid: WX.appId });
      const login = { appid: WX.appId, code: `sandbox-code-${rounds}` };
      const answers = [...(await it.tokens()), await world.get("/xcx/jscode2session", login)];
      world.clock.advance(1000);
      const ready = await world.get("/readyz");
      for (const answer of [...answers, ready]) if (answer.code !== 0) faults.push(answer);
    }
  };
  const loads = load();
  await Harness.until(() => rounds > 1);
  for (let n = 0; n < 3; n++) {
    await it.rotate();
    const reached = rounds;
    await Harness.until(() => rounds > reached + 1);
  }
  stop.abort();
  await loads;
  expect(faults).toEqual([]);
  const before = await it.tokens();
  await world.stop();
  await world.start();
  const calls = world.sandbox.calls("/cgi-bin/stable_token");
  expect(await it.tokens()).toEqual(before);
  expect(world.sandbox.calls("/cgi-bin/stable_token")).toBe(calls);
  expect(world.events.filter(({ type }) => type === "store.damaged")).toEqual([]);
});

test("an idle service whose key is in its environment learns of the new key before the old one is put out of use", async () => {
  using files = new RotationFolder();
  const masterKey = new Secret("11".repeat(32));
  await files.fill(3, { masterKey });
  const idle = await files.open({ masterKey, clock: systemClock });
  const newKeyFile = join(files.folder, "new.key");
  await files.rotate({ masterKey, newKeyFile, clock: systemClock });
  const contents = await files.contents(idle);
  expect(contents).toMatchObject({ faults: [], tokens: expect.not.arrayContaining([undefined]) });
  const restarted = await files.open({ masterKey: new Secret(await Bun.file(newKeyFile).text()) });
  expect(await files.contents(restarted)).toEqual(await files.contents(idle));
});

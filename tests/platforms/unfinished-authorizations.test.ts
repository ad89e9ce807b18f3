import { expect, test } from "bun:test";
import { ServiceError } from "../../src/errors.ts";
import { platformStates } from "../../src/ops/platform-states.ts";
import { Secret } from "../../src/secret.ts";
import { openProcess } from "../ops/alarm-harness.ts";
import { failureOf } from "../support/refusals.ts";
import {
  COMPONENT,
  MINI,
  OFFICIAL,
  pathOf,
  PlatformHarness,
  type PlatformProcess,
} from "./platform-harness.ts";
import { CORP, MINUTE, OTHER_CORP, SUITE, SuiteWorld } from "./suite-world.ts";

const { signal } = new AbortController();
const DAY_MS = 24 * 60 * MINUTE;

/** The codes that an operator is told of, as the overview, the status and the alarm have them. */
async function failedOf({ store, directory }: PlatformProcess, platform: string, now: number) {
  const states = await platformStates(directory, store, now);
  return states.find(({ app }) => app.id === platform)?.failed.map(({ account }) => account);
}

/** The corp's administrator agrees, and the process that has asked WeCom with the code is killed before it stores the answer. */
async function installLost(it: SuiteWorld, send: "push" | "neither"): Promise<void> {
  const { authCode } = await it.sandbox.suite(SUITE).install(CORP, { send });
  const codes = it.first.store.authorizationCodes;
  const [code, now] = [new Secret(authCode), it.clock.now()];
  // As the return of a browser notes it.
  await codes.add({ platformApp: SUITE, account: "", code, now, expiresAt: now + 60 * MINUTE });
  await codes.take({ digest: codes.digestOf(SUITE, code), now, until: now + 30_000 });
  await it.protocol.exchange(it.slot(SUITE), code, signal);
  it.clock.advance(30_000);
}

test.each(["push", "neither"] as const)(
  "an installation whose answer a killed process had is told of for a day, and the corp is here once it has installed again (told by %s)",
  async (send) => {
    await using it = await SuiteWorld.create();
    await it.ticket();
    await installLost(it, send);
    const { store, directory } = it.first;
    const { clock } = it;
    const { alarms } = await openProcess(
      ...[store, clock, {}, { platforms: () => platformStates(directory, store, clock.now()) }],
    );
    await it.authorizations.tick();
    await it.first.learn();
    expect(it.find(`${CORP}_${SUITE}`)).toBeUndefined();
    expect(await failedOf(it.first, SUITE, clock.now())).toEqual(["*"]);
    await alarms.tick();
    expect(await store.alarms.list("authorization_failed")).toMatchObject([
      {
        ...{ subject: SUITE, state: "firing", since: clock.now() },
        detail: { errcode: 40078, hint: expect.stringContaining(`accesstoken platforms link ${SUITE}`) },
      },
    ]);
    const app = await it.install();
    expect(it.sandbox.accepts(await it.token(app))).toBeTrue();
    clock.advance(DAY_MS);
    expect(await failedOf(it.first, SUITE, clock.now())).toEqual([]);
  },
);

test("a code that somebody makes up is told of to nobody", async () => {
  await using it = await SuiteWorld.create();
  await it.ticket();
  const asked = it.authorizations.exchange(it.slot(SUITE), new Secret("made-up"), signal, "caller");
  expect((await failureOf(asked)).upstream?.errcode).toBe(40078);
  expect(await failedOf(it.first, SUITE, it.clock.now())).toEqual([]);
});

test("an account whose code came to nothing is named until it is here", async () => {
  await using it = await PlatformHarness.create();
  for (const account of [OFFICIAL, MINI]) {
    it.sandbox.inject({ kind: "error", errcode: 61010, endpoint: pathOf("api_query_auth"), times: 1 });
    await it.authorized(account);
  }
  const failed = async () => (await failedOf(await it.first.learn(), COMPONENT, it.clock.now()))?.toSorted();
  expect(await failed()).toEqual([OFFICIAL, MINI]);
  await it.authorized(OFFICIAL);
  expect(await failed()).toEqual([MINI]);
});

test("an installation's code is asked for although WeCom has limited the token of another corp", async () => {
  await using it = await SuiteWorld.create();
  await it.ticket();
  const app = await it.install();
  await it.authorizations.tick();
  const endpoint = "/cgi-bin/service/get_corp_token";
  for (const minutes of [1, 5, 15]) {
    it.sandbox.inject({ kind: "error", errcode: 45009, endpoint, times: 1 });
    expect(await failureOf(it.token(app))).toMatchObject({ retryAfterMs: minutes * MINUTE });
    if (minutes < 15) it.clock.advance(minutes * MINUTE);
  }
  const other = await it.install(SUITE, OTHER_CORP);
  await it.authorizations.tick();
  await it.first.learn();
  expect(it.sandbox.accepts(await it.token(other))).toBeTrue();
});

/** A store that keeps nothing until it is mended, and says when it was tried. */
function breakKeep({ store }: PlatformProcess) {
  const codes = store.authorizationCodes;
  const keep = codes.keep.bind(codes);
  const tried = Promise.withResolvers<void>();
  codes.keep = () => {
    tried.resolve();
    return Promise.reject(new ServiceError("store_unusable", "disk full"));
  };
  return { tried: tried.promise, mend: () => (codes.keep = keep) };
}

test("what a code gave is kept as soon as the database takes it, although WeCom has refused the code to another process by then", async () => {
  await using it = await SuiteWorld.create();
  await it.ticket();
  const other = await it.process();
  const { tried, mend } = breakKeep(it.first);
  await it.sandbox.suite(SUITE).install(CORP);
  const taken = it.authorizations.tick();
  await tried;
  it.clock.advance(30_000);
  await other.authorizations.tick();
  expect(await failedOf(it.first, SUITE, it.clock.now())).toEqual(["*"]);
  mend();
  await taken;
  await it.first.learn();
  expect(await it.permanentCode(`${CORP}_${SUITE}`)).toBe(it.sandbox.suite(SUITE).permanentCodeOf(CORP));
  expect(await failedOf(it.first, SUITE, it.clock.now())).toEqual([]);
});

test("what a code gave is not kept as new where the corp has cancelled meanwhile", async () => {
  await using it = await SuiteWorld.create();
  await it.ticket();
  const { tried, mend } = breakKeep(it.first);
  await it.sandbox.suite(SUITE).install(CORP);
  const taken = it.authorizations.tick();
  await tried;
  it.clock.advance(30_000);
  await it.sandbox.suite(SUITE).cancelAuth(CORP, { isLost: true });
  mend();
  await taken;
  await it.first.learn();
  expect(it.find(`${CORP}_${SUITE}`)).toBeUndefined();
});

test("a stop does not wait for a database that takes nothing", async () => {
  await using it = await SuiteWorld.create();
  await it.ticket();
  const { tried } = breakKeep(it.first);
  await it.sandbox.suite(SUITE).install(CORP);
  const taken = it.authorizations.tick();
  await tried;
  await it.authorizations.stop();
  await taken;
});

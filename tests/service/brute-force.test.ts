import { expect, test } from "bun:test";
import { createApiKey } from "../../src/access/api-key.ts";
import { createAdmin, createClient } from "../support/access-harness.ts";
import { rawGet } from "../support/raw-http.ts";
import { type Answer, CORP, WECOM, Harness, WX } from "../support/harness.ts";

const ATTEMPTS = 10_000;
const AT_ONCE = 50;
const FREE = 20;
const TOKEN = "/AccessToken/getXcx";
const READ = [{ apps: [WX.appId], actions: ["token:read" as const] }];

/** A guess: what is wrong with it, where it is put, and what the first of its kind are told. */
interface Guess {
  readonly path: string;
  readonly headers: Record<string, string>;
  readonly code: number;
}

/** Every way to bring something wrong. */
const GUESSES: readonly ((n: number) => Guess)[] = [
  () => ({ path: query({}), headers: { authorization: `Bearer ${unknownKey()}` }, code: 401 }),
  () => ({ path: query({}), headers: { "x-api-key": unknownKey() }, code: 401 }),
  () => ({ path: query({ secret: unknownKey() }), headers: {}, code: 401 }),
  (n) => ({ path: query({}), headers: { authorization: `Bearer ats_${n}` }, code: 401 }),
  (n) => ({ path: query({}), headers: { "x-api-key": String(n) }, code: 401 }),
  (n) => ({ path: query({ secret: `ats_${n}` }), headers: {}, code: 401 }),
  (n) => ({ path: query({ secret: hex(n) }), headers: {}, code: 40125 }),
  (n) => ({
    path: `/AccessToken/getQyapi?corpid=${CORP}&agentid=${WECOM.agent}&secret=${hex(n)}`,
    headers: {},
    code: 40001,
  }),
  () => ({ path: "/v1/apps", headers: { "x-api-key": unknownKey() }, code: 401 }),
  () => ({ path: "/nope", headers: { authorization: `Bearer ${unknownKey()}` }, code: 401 }),
];

function query(more: Record<string, string>): string {
  return `${TOKEN}?${new URLSearchParams({ appid: WX.appId, ...more }).toString()}`;
}

function hex(n: number): string {
  return n.toString(16).padStart(32, "0");
}

function unknownKey(): string {
  return createApiKey().reveal();
}

/** A world with one client, and a token that stands, so that nothing but a guess could cost an upstream call. */
async function setup() {
  const world = await Harness.create({ environment: { ANONYMOUS: "off" } });
  const key = await createClient(world, { name: "order", grants: READ });
  const ask = (headers: Record<string, string>, path = query({})) => world.request(path, { headers });
  const byKey = () => ask({ "x-api-key": key });
  expect((await byKey()).code).toBe(0);
  expect((await ask({}, query({ secret: WX.secret }))).code).toBe(0);
  world.sandbox.resetCalls();
  const guess = (n: number) => {
    const { path, headers, code } = GUESSES[n % GUESSES.length]!(n);
    return ask(headers, path).then((answer) => ({ answer, code, isV1: path.startsWith("/v1/") }));
  };
  return { world, key, ask, byKey, guess };
}

function expectTooMany(answer: Answer, isV1 = false): void {
  expect([answer.code, answer.status]).toEqual([429, isV1 ? 429 : 200]);
  const seconds = Number(answer.headers.get("retry-after"));
  expect(seconds).toBeGreaterThanOrEqual(1);
  expect(seconds).toBeLessThanOrEqual(60);
  expect(answer.data).toEqual({});
}

test("of 10,000 wrong keys and secrets from one address 20 are told so, the rest to wait, and a valid key is always served", async () => {
  const { world, byKey, ask, guess } = await setup();
  await using _ = world;
  for (let n = 0; n < FREE; n++) {
    const { answer, code } = await guess(n);
    expect([n, answer.code]).toEqual([n, code]);
    expect(answer.headers.get("retry-after")).toBeNull();
  }
  for (let n = FREE; n < ATTEMPTS; n += AT_ONCE) {
    const count = Math.min(AT_ONCE, ATTEMPTS - n);
    const guesses = Promise.all(Array.from({ length: count }, (_, offset) => guess(n + offset)));
    // Among them, from the very same address.
    expect((await byKey()).code).toBe(0);
    for (const { answer, isV1 } of await guesses) expectTooMany(answer, isV1);
  }
  expect((await byKey()).code).toBe(0);
  expect((await ask({}, query({ secret: WX.secret }))).code).toBe(0);
  expect(world.sandbox.calls()).toBe(0);
  expect(world.events.filter(({ type }) => type === "request.failed")).toEqual([]);
});

test("the wait that is told is the wait that is needed: every three seconds one more guess is looked at", async () => {
  const { world, guess } = await setup();
  await using _ = world;
  for (let n = 0; n < FREE; n++) await guess(n);
  const { answer } = await guess(0);
  expectTooMany(answer);
  expect(answer.headers.get("retry-after")).toBe("3");
  world.clock.advance(2999);
  expectTooMany((await guess(0)).answer);
  world.clock.advance(1);
  expect((await guess(0)).answer.code).toBe(401);
  expectTooMany((await guess(0)).answer);
  // After an hour as after a minute: what is not used is not saved up.
  world.clock.advance(3_600_000);
  for (let n = 0; n < FREE; n++) expect((await guess(n)).answer.code).not.toBe(429);
  expectTooMany((await guess(0)).answer);
  expect(world.sandbox.calls()).toBe(0);
});

test("a wall clock that is set forward or back buys no more guesses and costs none", async () => {
  const { world, guess } = await setup();
  await using _ = world;
  for (let n = 0; n < FREE; n++) await guess(n);
  for (const jump of [86_400_000, -2 * 86_400_000, 86_400_000]) {
    world.clock.jumpWall(jump);
    expectTooMany((await guess(0)).answer);
  }
});

test("each address has guesses of its own, and what one has used up costs no other any", async () => {
  const { world, key } = await setup();
  await using _ = world;
  const codeFrom = async (address: string, header: string) => {
    const { body } = await rawGet(world.service.url, query({}), ["Host: localhost", header], address);
    return (JSON.parse(body) as { code: number }).code;
  };
  for (const address of ["127.0.0.1", "127.0.0.2", "127.0.0.3"]) {
    const codes: number[] = [];
    for (let n = 0; n < FREE + 3; n++) codes.push(await codeFrom(address, `X-API-Key: ${unknownKey()}`));
    expect([address, ...codes]).toEqual([address, ...Array<number>(FREE).fill(401), 429, 429, 429]);
    expect(await codeFrom(address, `X-API-Key: ${key}`)).toBe(0);
  }
  expect(world.sandbox.calls()).toBe(0);
});

test("a forwarding header is no way to another address's guesses", async () => {
  const { world, ask } = await setup();
  await using _ = world;
  const codes: number[] = [];
  for (let n = 0; n < FREE + 5; n++) {
    const headers = { "x-api-key": unknownKey(), "x-forwarded-for": `192.0.2.${n}` };
    codes.push((await ask(headers)).code);
  }
  expect(codes).toEqual([...Array<number>(FREE).fill(401), ...Array<number>(5).fill(429)]);
});

test("every one of the wrong guesses is in the audit's counts, under its address", async () => {
  const { world, guess } = await setup();
  await using _ = world;
  const admin = await createAdmin(world);
  for (let n = 0; n < 100; n++) await guess(n);
  await Harness.until(async () => {
    const answer = await world.get(
      "/v1/audit/denials",
      { limit: "100" },
      { headers: { "x-api-key": admin } },
    );
    const rows = answer.data["denials"] as { address: string; count: number }[];
    const ours = rows.filter(({ address }) => address === "127.0.0.1");
    return ours.reduce((sum, { count }) => sum + count, 0) === 100;
  });
});

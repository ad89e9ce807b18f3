import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { appName } from "../../src/apps/app.ts";
import { CallCounter } from "../../src/audit/call-counts.ts";
import { AppIndex } from "../../src/credentials/app-index.ts";
import { CredentialCache } from "../../src/credentials/credential-cache.ts";
import { Pacing } from "../../src/credentials/pacing.ts";
import { CredentialStates } from "../../src/credentials/status.ts";
import { EventBus } from "../../src/events.ts";
import { Secret } from "../../src/secret.ts";
import { openProcess } from "../ops/alarm-harness.ts";
import { COMPONENT, pathOf, PlatformHarness, type PlatformProcess } from "./platform-harness.ts";
import { failureOf } from "../support/refusals.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const TOKEN = "api_component_token";
const START = "api_start_push_ticket";

const ticketOf = async (process: PlatformProcess) => {
  const ref = { slot: process.component, kind: "component_verify_ticket" } as const;
  return (await process.credentials.get(ref).catch(() => undefined))?.value.reveal();
};

test("trap 8: a ticket outlives the process, and is good for twelve hours and no longer", async () => {
  await using it = await PlatformHarness.create();
  const ticket = it.control.component.latestTicket();
  it.clock.advance(12 * HOUR_MS - 2000);
  const restarted = await it.process();
  expect(await ticketOf(restarted)).toBe(ticket);
  expect(it.sandbox.accepts(await restarted.componentToken())).toBeTrue();
  it.clock.advance(2000);
  expect(await ticketOf(await it.process())).toBeUndefined();
});

test("trap 9: an old ticket does not overwrite a newer one, in whichever order they come and however often", async () => {
  await using it = await PlatformHarness.create();
  const seconds = Math.floor(it.clock.now() / 1000);
  const other = await it.process();
  await it.control.pushTicket({ value: "ticket@@@older-0123456789", createTime: seconds - 600 });
  const newest = it.control.component.addTicket();
  await it.control.pushTicket({ value: newest });
  await it.control.pushTicket({ value: newest });
  await it.control.pushTicket({ value: "ticket@@@oldest-0123456789", createTime: seconds - 1200 });
  for (const process of [it.first, other]) expect(await ticketOf(process)).toBe(newest);
});

test("trap 9: an old ticket does not overwrite a newer one where our clock is behind WeChat's", async () => {
  await using it = await PlatformHarness.create();
  const seconds = Math.floor(it.clock.now() / 1000) + 120;
  await it.control.pushTicket({ value: "ticket@@@newer-0123456789", createTime: seconds + 10 });
  it.clock.advance(1000);
  await it.control.pushTicket({ value: "ticket@@@older-0123456789", createTime: seconds });
  expect(await ticketOf(it.first)).toBe("ticket@@@newer-0123456789");
  await it.control.pushTicket({ value: "ticket@@@newest-0123456789", createTime: seconds + 11 });
  expect(await ticketOf(it.first)).toBe("ticket@@@newest-0123456789");
});

test("a ticket that is pushed again an hour later is good for twelve hours from then", async () => {
  await using it = await PlatformHarness.create();
  const ticket = it.control.component.latestTicket();
  it.clock.advance(HOUR_MS);
  await it.control.pushTicket({ repeat: true });
  it.clock.advance(12 * HOUR_MS - 2000);
  expect(await ticketOf(it.first)).toBe(ticket);
});

test("without a ticket nothing is asked, and the error says to wait for the push", async () => {
  await using it = await PlatformHarness.create({ hasTicket: false });
  expect(await failureOf(it.first.componentToken())).toMatchObject({ code: "unavailable" });
  expect(it.calls()).toBe(0);
  await it.control.pushTicket();
  expect(it.sandbox.accepts(await it.first.componentToken())).toBeTrue();
});

test("while there is no ticket nothing is begun for those who ask, and a token that is left is used to its end", async () => {
  await using it = await PlatformHarness.create();
  await it.authorized();
  it.clock.advance(11.5 * HOUR_MS);
  await it.first.componentToken();
  it.clock.advance(HOUR_MS);
  expect(await ticketOf(it.first)).toBeUndefined();
  const other = await it.process();
  expect(it.sandbox.accepts(await other.token())).toBeTrue();
  it.clock.advance(2 * HOUR_MS);
  const before = other.events.length;
  for (let n = 0; n < 3; n++)
    expect(await failureOf(other.token())).toMatchObject({ code: "unavailable", retryAfterMs: 60_000 });
  expect(other.events.slice(before).map(({ type }) => type)).toEqual([]);
  await it.control.pushTicket();
  expect(it.sandbox.accepts(await other.token())).toBeTrue();
});

test("trap 22: the secret has the name that each call wants, and no error shows it or the ticket", async () => {
  await using it = await PlatformHarness.create();
  await it.first.componentToken();
  const signal = AbortSignal.timeout(60_000);
  await it.first.platforms.parts.startPushing(it.first.component, signal);
  it.clock.advance(2 * HOUR_MS);
  const errmsg = `invalid appsecret ${it.control.component.latestTicket()} 0123456789abcdef0123456789abcdef`;
  it.sandbox.inject({ kind: "error", errcode: 40125, errmsg, endpoint: pathOf(TOKEN), times: 1 });
  const error = await it.first.componentToken().catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({
    upstream: { class: "config", errmsg: expect.stringContaining("invalid appsecret *** ***") },
  });
});

test("trap 25: the component has one token for every process and environment", async () => {
  await using it = await PlatformHarness.create({ componentOverlapMs: 0 });
  const processes = [it.first, await it.process(), await it.process(), await it.process()];
  const tokens = await Promise.all(processes.map((each) => each.componentToken()));
  expect(new Set(tokens).size).toBe(1);
  expect(it.sandbox.accepts(tokens[0] ?? "")).toBeTrue();
  expect(it.calls(TOKEN)).toBe(1);
});

test("an address that is not on the component's list is named, so that it can be put there", async () => {
  await using it = await PlatformHarness.create();
  const errmsg = "access clientip is not registered requestIP: 175.11.201.147 rid: 5f92a0c3-1";
  it.sandbox.inject({ kind: "error", errcode: 61004, errmsg, endpoint: pathOf(TOKEN), times: 1 });
  expect(await failureOf(it.first.componentToken())).toMatchObject({
    upstream: { class: "config" },
    hint: expect.stringContaining("175.11.201.147"),
  });
});

test("an address that is not on the component's list raises the alarm of a blocked app, which names it", async () => {
  await using it = await PlatformHarness.create();
  const { store, directory } = it.first;
  const { clock } = it;
  const parts = { facts: store.credentialFacts, directory, changes: store.changes, clock };
  const states = new CredentialStates({
    ...{ ...parts, calls: new CallCounter(store.callCounts, clock), idleAfterMs: 24 * HOUR_MS },
    memory: new CredentialCache(store.credentials, store.changes, clock),
    pacing: new Pacing({ store: store.pacing, clock, events: new EventBus() }),
  });
  const { alarms } = await openProcess(
    store,
    clock,
    {},
    {
      index: new AppIndex({ ...parts, pacing: store.pacing, calls: store.callCounts }),
      statusesOf: async (names) => {
        const all = await states.ofApps(names.map((name) => directory.slotOfApp(name)));
        return new Map(all.map((status) => [appName(status.slot), status]));
      },
    },
  );
  await alarms.tick();
  expect(await store.alarms.list()).toEqual([]);
  it.sandbox.changeWeixinApp(COMPONENT, { ipList: ["203.0.113.7"] });
  clock.advance(MINUTE_MS);
  await failureOf(it.first.componentToken());
  await alarms.tick();
  expect(await store.alarms.list()).toMatchObject([
    {
      ...{ condition: "app_blocked", subject: COMPONENT, state: "firing" },
      detail: { errcode: 61004, hint: expect.stringContaining("127.0.0.1") },
    },
  ]);
});

test("when no ticket comes for 25 minutes one of all processes asks WeChat to push again, and every 25 minutes until one comes", async () => {
  await using it = await PlatformHarness.create();
  const processes = [it.first, await it.process()];
  const asked: number[] = [];
  const look = async (waitMs: number) => {
    it.clock.advance(waitMs);
    await Promise.all(processes.map(({ platforms }) => platforms.watch.tick()));
    asked.push(it.calls(START));
  };
  for (const minutes of [24, 1, 1, 23, 1, 25]) await look(minutes * MINUTE_MS);
  expect(asked).toEqual([0, 1, 1, 1, 2, 3]);
  // A restart does not begin anew.
  await (await it.process()).platforms.watch.tick();
  expect(it.calls(START)).toBe(3);
  await it.control.pushTicket();
  it.sandbox.inject({
    kind: "error",
    errcode: 40013,
    errmsg: "invalid appid",
    endpoint: pathOf(START),
    times: 1,
  });
  for (const minutes of [24, 1]) await look(minutes * MINUTE_MS);
  expect(asked.slice(-2)).toEqual([3, 4]);
  const told = processes.flatMap(({ events }) => events.filter(({ type }) => type === "tickets.requested"));
  expect(told).toMatchObject([...Array(3).fill({ platformApp: COMPONENT }), { errcode: 40013 }]);
  // However many silences there are, they leave one row.
  using database = new Database(it.databasePath, { readonly: true });
  expect(database.query("SELECT name FROM due_work WHERE name LIKE 'tickets of %'").all()).toEqual([
    { name: `tickets of ${COMPONENT}` },
  ]);
});

test("a request for tickets that failed is made again in the same silence, every ten minutes, by one of all processes", async () => {
  await using it = await PlatformHarness.create();
  const processes = [it.first, await it.process()];
  it.clock.advance(26 * MINUTE_MS);
  it.sandbox.inject({ kind: "reset_before", endpoint: pathOf(START), times: 1 });
  const told = () =>
    processes.flatMap(({ events }) => events.filter(({ type }) => type === "tickets.requested"));
  const made: number[] = [];
  for (const waitMs of [0, 9, 1, 10, 10].map((minutes) => minutes * MINUTE_MS)) {
    it.clock.advance(waitMs);
    for (const { platforms } of processes) await platforms.watch.tick();
    made.push(told().length);
  }
  expect(made).toEqual([1, 1, 2, 2, 2]);
});

test("a command of another platform, and what can't be read, changes nothing here", async () => {
  await using it = await PlatformHarness.create({ hasTicket: false });
  const app = it.first.directory.find(COMPONENT)!;
  const receive = async (text: string) =>
    Buffer.from(await it.first.platforms.events.receive(app, Buffer.from(text), it.clock.now())).toString();
  const ticket = (appId: string) =>
    `<xml><AppId>${appId}</AppId><InfoType>component_verify_ticket</InfoType><ComponentVerifyTicket>ticket@@@a&amp;b</ComponentVerifyTicket></xml>`;
  const shown = await receive(ticket("wx0000000000000000"));
  expect(shown).toContain("ticket@@@withheld");
  expect(shown).not.toContain("a&amp;b");
  expect(await ticketOf(it.first)).toBeUndefined();
  expect(await receive("not xml")).toBe("not xml");
  await receive(ticket(COMPONENT));
  expect(await ticketOf(it.first)).toBe(new Secret("ticket@@@a&b").reveal());
});

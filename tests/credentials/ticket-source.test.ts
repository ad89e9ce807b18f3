import { expect, test } from "bun:test";
import { type CredentialSource, type TicketExchange, ticketSource } from "../../src/credentials/source.ts";
import { CredentialCache } from "../../src/credentials/credential-cache.ts";
import { CredentialManager } from "../../src/credentials/manager.ts";
import { Pacing } from "../../src/credentials/pacing.ts";
import { EventBus } from "../../src/events.ts";
import { ManualProbe } from "../support/manual-probe.ts";
import { issued, ManualSource } from "../support/manual-source.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { failureOf, refusal } from "../support/refusals.ts";
import { foreignSlot, tokenOf, weixinSlot } from "../support/slots.ts";
import { StoreFolder } from "../support/store-folder.ts";

/** Tickets and tokens joined as in the service. Tokens in `dead` are refused by getticket. */
async function setup(dead: readonly string[] = [], ...tokens: ConstructorParameters<typeof ManualSource>) {
  const clock = new ManualClock();
  const folder = new StoreFolder(clock);
  const { changes, credentials: store, pacing: pacingStore } = await folder.open();
  const events = new EventBus();
  const tokenSource = new ManualSource(...tokens);
  const askedWith: string[] = [];
  const exchange: TicketExchange = {
    ticketFor: async ({ kind }, token) => {
      askedWith.push(token.reveal());
      if (dead.includes(token.reveal())) throw refusal("token_invalid", 40001);
      return issued(kind === "jsapi_ticket" ? `ticket-for-${token.reveal()}` : `${kind}-${token.reveal()}`);
    },
  };
  const source: CredentialSource = {
    obtain: (ref, options) => (ref.kind === "access_token" ? tokenSource : tickets).obtain(ref, options),
  };
  const probe = new ManualProbe();
  const manager = new CredentialManager({
    source,
    store,
    pacing: new Pacing({ store: pacingStore, clock, events }),
    probe,
    memory: new CredentialCache(store, changes, clock),
    clock,
    events,
    holder: "this process",
  });
  const tickets = ticketSource(exchange, manager);
  const ticket = (slot = weixinSlot()) => manager.get({ slot, kind: "jsapi_ticket" });
  return {
    manager,
    tickets,
    ticket,
    askedWith,
    tokenSource,
    probe,
    clock,
    [Symbol.dispose]: () => folder[Symbol.dispose](),
  };
}

test("a ticket is obtained with the app's own token, kept as a credential of its own, and asked for once", async () => {
  using it = await setup([], "token");
  const all = await Promise.all(Array.from({ length: 100 }, () => it.ticket()));
  expect(new Set(all.map(({ value }) => value.reveal()))).toEqual(new Set(["ticket-for-token"]));
  expect((await it.manager.get(tokenOf())).value.reveal()).toBe("token");
  expect(it.askedWith).toEqual(["token"]);
  expect(it.tokenSource.asked).toHaveLength(1);
});

test("a token that getticket calls dead is replaced once, and the ticket asked for again", async () => {
  using it = await setup(["dead"], "dead", "alive");
  expect((await it.ticket()).value.reveal()).toBe("ticket-for-alive");
  expect(it.askedWith).toEqual(["dead", "alive"]);
  expect((await it.manager.get(tokenOf())).value.reveal()).toBe("alive");
});

test("a second dead token in a row is not replaced again: the refusal is passed on", async () => {
  using it = await setup(["dead", "dead-too"], "dead", "dead-too", "never");
  expect((await failureOf(it.ticket())).upstream?.class).toBe("token_invalid");
  expect(it.askedWith).toEqual(["dead", "dead-too"]);
  expect(it.tokenSource.asked).toHaveLength(2);
});

test("a token that WeChat itself calls alive is kept although getticket refused it, and the refusal is passed on", async () => {
  using it = await setup(["refused"], "refused", "refused");
  it.probe.verdict = "valid";
  expect((await failureOf(it.ticket())).upstream?.class).toBe("token_invalid");
  expect(it.askedWith).toEqual(["refused", "refused"]);
  expect(it.probe.asked).toEqual(["refused"]);
  expect((await it.manager.get(tokenOf())).value.reveal()).toBe("refused");
  expect(it.tokenSource.forced).toBe(0);
});

test("each kind of ticket is a credential of its own, obtained with the one token", async () => {
  using it = await setup([], "token");
  const kinds = ["jsapi_ticket", "wx_card_ticket"] as const;
  const get = () => Promise.all(kinds.map((kind) => it.manager.get({ slot: weixinSlot(), kind })));
  for (const round of [1, 2]) {
    const values = (await get()).map(({ value }) => value.reveal());
    expect(values, `round ${round}`).toEqual(["ticket-for-token", "wx_card_ticket-token"]);
  }
  expect(it.askedWith).toHaveLength(2);
  expect(it.tokenSource.asked).toHaveLength(1);
});

test("any other refusal leaves the token alone", async () => {
  using it = await setup([], "token");
  const failing = ticketSource({ ticketFor: () => Promise.reject(refusal("permission", 48001)) }, it.manager);
  const lost = failing.obtain(
    { slot: weixinSlot(), kind: "jsapi_ticket" },
    { signal: AbortSignal.timeout(1000) },
  );
  expect((await failureOf(lost)).upstream?.errcode).toBe(48001);
  expect(it.tokenSource.asked).toHaveLength(1);
});

test("P5: clearing the token leaves the ticket, which lives on its own", async () => {
  using it = await setup([], "token");
  await it.ticket();
  await it.manager.clear(tokenOf(), {
    actor: { client: "test", environment: "", address: "127.0.0.1", traceId: "" },
  });
  expect((await it.ticket()).value.reveal()).toBe("ticket-for-token");
  expect(it.askedWith).toHaveLength(1);
});

test("tickets for forty unknown secrets at once are all obtained: none waits for itself", async () => {
  using it = await setup([], ...Array.from({ length: 40 }, (_, n) => `token-${n}`));
  const all = Array.from({ length: 40 }, (_, n) => it.ticket(foreignSlot(`s${n}`)));
  expect(new Set((await Promise.all(all)).map(({ value }) => value.reveal())).size).toBe(40);
});

test("a token that takes too long ends the wait for the ticket, and still comes to those who want the token", async () => {
  using it = await setup();
  const over = new AbortController();
  const ticket = it.tickets.obtain({ slot: weixinSlot(), kind: "jsapi_ticket" }, { signal: over.signal });
  await it.tokenSource.askedTimes(1);
  over.abort();
  expect((await failureOf(ticket)).code).toBe("upstream_timeout");
  const token = it.manager.get(tokenOf());
  it.tokenSource.open[0]!.issue("token");
  expect((await token).value.reveal()).toBe("token");
  expect(it.tokenSource.asked).toHaveLength(1);
});

import { expect, test } from "bun:test";
import type { ServiceEvent } from "../src/events.ts";
import { EventBus, reportCall } from "../src/events.ts";
import { consoleLine, createLog, jsonLine, LOG_LEVELS, type LogLevel, visibleJson } from "../src/log.ts";
import { unusable } from "../src/store/sql.ts";
import { ManualClock } from "./support/manual-clock.ts";

/** One of each kind: a new event does not compile until its level is written here. */
const FAILURE = {
  traceId: "t",
  parentTraceId: "0af7651916cd43dd8448eb211c80319c",
  rid: "65f3c1d2-1a2b3c4d-5e6f7a8b",
  route: "/v1/apps/:app",
  client: "order-service",
  app: "wx1",
  address: "10.0.0.8",
  code: 403,
  errcode: 40164,
  errmsg: "invalid ip 203.0.113.7",
  hint: "add 203.0.113.7",
};
const { errcode: _errcode, errmsg: _errmsg, hint: _hint, ...FAULT } = FAILURE;

const EACH: { [T in ServiceEvent["type"]]: [LogLevel, Omit<Extract<ServiceEvent, { type: T }>, "type">] } = {
  "service.started": [
    "info",
    {
      url: "http://127.0.0.1:3000",
      version: "1.0.0",
      apps: 1,
      names: ["wx0000000000000001"],
      anonymous: "off",
      docs: "http://127.0.0.1:3000/docs/",
    },
  ],
  "service.stopping": ["info", { reason: "SIGTERM" }],
  "service.stopped": ["info", {}],
  "connections.paused": ["warn", {}],
  "connections.resumed": ["info", {}],
  "service.outdated": ["error", {}],
  "master_key.replaced": ["info", { path: "/key/master.key", keyId: "1a2b3c4d" }],
  "database.created": ["warn", { path: "/data/accesstoken.db" }],
  "backup.made": [
    "info",
    { file: "accesstoken-20270101T000000Z-3f9c21ab.tar.gz", bytes: 4096, durationMs: 900 },
  ],
  "backup.failed": [
    "error",
    { code: "store_unusable", errmsg: "磁盘已满 (the disk is full)", hint: "make room" },
  ],
  "database.copied": ["info", { path: "/data/accesstoken.db.before-0010-20270101T000000Z" }],
  "database.lost": ["error", { path: "/data/accesstoken.db-wal" }],
  "store.read_only": ["error", {}],
  "store.history_lost": ["error", { changes: 120, from: 41, to: 60 }],
  "credential.restored": ["warn", { key: "weixin:wx1:stable:access_token", generation: 1 }],
  "credential.restore_failed": ["warn", { code: "unavailable", errmsg: "the database is busy" }],
  "console.setup_needed": ["info", { message: "accesstoken console setup" }],
  "config.warning": ["warn", { message: "WEIXIN_X: unknown" }],
  "credential.refreshed": [
    "info",
    { key: "weixin:wx1:stable:access_token", lifeMs: 7_200_000, generation: 1 },
  ],
  "credential.accepted": [
    "info",
    { key: "weixin:wx1:stable:access_token", lifeMs: 7_200_000, generation: 1 },
  ],
  "credential.refresh_failed": [
    "warn",
    { key: "k", code: "upstream_rejected", class: "config", errcode: 40125, errmsg: "no", hint: "do" },
  ],
  "credential.fenced": ["warn", { key: "k", generation: 2 }],
  "credential.cleared": ["info", { key: "k", address: "127.0.0.1" }],
  "access.denied": ["info", FAILURE],
  "request.invalid": ["info", FAILURE],
  "request.unserved": ["warn", FAILURE],
  "access.unreadable": ["error", { code: "store_unusable", errmsg: "SQLITE_IOERR" }],
  "audit.failed": ["error", { code: "store_unusable", errmsg: "SQLITE_FULL" }],
  "audit.pruned": ["info", { entries: 3, before: 1_780_000_000_000 }],
  "audit.broken": ["error", { id: 7 }],
  "app.unblocked": ["info", { key: "k", address: "127.0.0.1" }],
  "credential.lease_waited": ["debug", { key: "k" }],
  "credential.lease_wait_ended": ["debug", { key: "k", waitedMs: 120 }],
  "refresh.started": ["debug", { key: "k" }],
  "refresh.finished": ["debug", { key: "k", durationMs: 310 }],
  "waiter.added": ["debug", { key: "k" }],
  "waiter.removed": ["debug", { key: "k" }],
  "credential.revoked_early": ["warn", { key: "k", earlyMs: 5_000_000 }],
  "store.damaged": ["error", { key: "weixin:wx1:stable:access_token" }],
  "quota.nearly_used": ["warn", { key: "k", calls: 1800, limit: 2000 }],
  "upstream.called": [
    "info",
    {
      platform: "weixin",
      appId: "wx1",
      endpoint: "/cgi-bin/token",
      durationMs: 12,
      outcome: "errcode",
      errcode: -1,
    },
  ],
  "upstream.slow": [
    "warn",
    { platform: "weixin", appId: "wx1", endpoint: "/cgi-bin/token", durationMs: 3000, outcome: "ok" },
  ],
  "request.handled": [
    "debug",
    {
      traceId: "t",
      parentTraceId: "0af7651916cd43dd8448eb211c80319c",
      method: "GET",
      route: "/AccessToken/getXcx",
      code: 0,
      result: "hit",
      durationMs: 0.4,
    },
  ],
  "gateway.sent": [
    "debug",
    {
      platform: "wecom",
      appId: "ww1",
      endpoint: "/cgi-bin/user",
      durationMs: 12,
      outcome: "errcode",
      errcode: 60111,
    },
  ],
  "push.answered": ["debug", { app: "wx1", outcome: "reply", durationMs: 12 }],
  "push.skewed": ["info", { app: "wx1" }],
  "authorization.granted": ["info", { app: "wx1_wx2" }],
  "authorization.lost": [
    "error",
    { app: "wx1_wx2", code: "upstream_rejected", errcode: 61003, errmsg: "no" },
  ],
  "authorization.revoked": ["info", { app: "wx1_wx2" }],
  "authorization.failed": [
    "warn",
    { platformApp: "wx2", isFinal: true, code: "upstream_rejected", errcode: 61010, errmsg: "expired" },
  ],
  "authorizations.reconciled": ["info", { platformApp: "wx2", added: 1, lost: 0 }],
  "tickets.requested": ["warn", { platformApp: "wx2", silentMs: 1_500_000 }],
  "delivery.tried": ["debug", { app: "wx1", target: "dev", outcome: "failed", reason: "timeout" }],
  "delivery.died": ["warn", { app: "wx1", target: "dev", id: 7 }],
  "alarm.fired": ["warn", { condition: "app_blocked", subject: "wx1", severity: "critical" }],
  "alarm.resolved": [
    "info",
    { condition: "app_blocked", subject: "wx1", severity: "critical", lastedMs: 90_000 },
  ],
  "notification.sent": ["info", { channel: "ops", kind: "wecom", message: "firing" }],
  "notification.failed": [
    "warn",
    { channel: "ops", kind: "wecom", message: "firing", errcode: 93000, hint: "copy the URL again" },
  ],
  "store.queried": ["debug", { operation: "read", durationMs: 1, failure: "away" }],
  "change.seen": ["debug", { delayMs: 12 }],
  "clock.skewed": ["warn", { offsetMs: -31_000 }],
  "event_stream.dropped": ["debug", {}],
  "user_tokens.evicted": ["warn", { count: 5000 }],
  "web_login.moved": ["debug", { step: "begun" }],
  "web_logins.evicted": ["warn", { count: 3 }],
  "rejected_token.used": ["debug", { app: "wx1" }],
  "gateway.called": [
    "debug",
    {
      client: "order-service",
      app: "wx1",
      family: "/cgi-bin/media",
      outcome: "ok",
      healing: "healed",
      durationMs: 1.5,
    },
  ],
  "request.failed": ["error", { ...FAULT, error: "TypeError", stack: "at x" }],
};

const EVENTS = Object.entries(EACH).map(
  ([type, [level, fields]]) => [level, { type, ...fields } as ServiceEvent] as const,
);

function setup(level: LogLevel = "debug") {
  const lines: string[] = [];
  const clock = new ManualClock(Date.UTC(2026, 0, 2, 3, 4, 5, 678));
  const log = createLog(level, clock, (line) => lines.push(line));
  return { log, lines, clock };
}

test("every event is one JSON line with its time, its level and all of its own fields", () => {
  const { log, lines } = setup();
  for (const [, event] of EVENTS) log(event);
  expect(lines.join("")).not.toContain("\n");
  for (const [n, [level, { type, ...fields }]] of EVENTS.entries()) {
    expect(JSON.parse(lines[n] ?? "")).toEqual({
      time: "2026-01-02T03:04:05.678Z",
      level,
      event: type,
      ...fields,
    });
  }
});

test("P6: a field that is not on the list of its event does not reach the log", () => {
  const { log, lines } = setup();
  for (const [, event] of EVENTS) {
    const careless = {
      ...event,
      secret: "canary",
      access_token: "canary",
      cause: new Error("canary"),
      query: "canary",
    };
    log(careless);
  }
  expect(lines).toHaveLength(EVENTS.length);
  expect(lines.join("\n")).not.toContain("canary");
});

test("a line is written at its own level and above, and not below", () => {
  for (const [place, level] of LOG_LEVELS.entries()) {
    const { log, lines } = setup(level);
    for (const [, event] of EVENTS) log(event);
    const expected = EVENTS.filter(([of]) => LOG_LEVELS.indexOf(of) >= place);
    expect(lines).toHaveLength(expected.length);
  }
});

test("refreshes that fail with made-up secrets fill one line a minute, and none of them is left out", () => {
  const { log, lines, clock } = setup("warn");
  const fail = (name: string) =>
    log({ type: "credential.refresh_failed", key: `weixin:wx1:${name}:access_token`, code: "rate_limited" });
  for (let second = 0; second < 150; second++) {
    for (let n = 0; n < 100; n++) fail(`~${second}-${n}`);
    clock.advance(1000);
  }
  fail("stable");
  log({ type: "service.stopped" });
  const told = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(told).toMatchObject([
    { event: "credential.refresh_failed", level: "warn", key: "weixin:wx1:~0-0:access_token" },
    { event: "credential.refresh_failed", level: "warn", unknownSecrets: 5999 },
    { unknownSecrets: 6000 },
    { key: "weixin:wx1:stable:access_token" },
    { unknownSecrets: 3000 },
  ]);
  expect(told).toHaveLength(5);
});

test("what callers can cause any number of fills 60 lines a minute, each kind its own, and none is left out", () => {
  for (const type of ["access.denied", "request.invalid", "request.unserved"] as const) {
    const { log, lines, clock } = setup("info");
    const told = () => lines.splice(0).map((line) => JSON.parse(line) as Record<string, unknown>);
    for (let n = 0; n < 5000; n++) log({ type, ...FAILURE, traceId: `t${n}` });
    expect(told()).toHaveLength(60);
    log({ type: "audit.failed", code: "store_unusable" });
    expect(told()).toMatchObject([{ event: "audit.failed" }]);

    clock.advance(60_000);
    log({ type, ...FAILURE });
    expect(told()).toMatchObject([{ event: type, suppressed: 4940 }, { traceId: "t" }]);
    for (let n = 0; n < 70; n++) log({ type, ...FAILURE });
    log({ type: "service.stopped" });
    const end = told();
    expect(end).toHaveLength(60);
    expect(end.slice(-2)).toMatchObject([{ event: type, suppressed: 12 }, { event: "service.stopped" }]);
  }
});

test("an audit that fails each second is one line a minute with the database's own code", () => {
  const { log, lines, clock } = setup("error");
  const { code, message: errmsg } = unusable("SQLITE_FULL");
  for (let second = 0; second < 180; second++, clock.advance(1000))
    log({ type: "audit.failed", code, errmsg });
  expect(lines).toHaveLength(3);
  expect(lines[0]).toContain("SQLITE_FULL");
  expect(JSON.parse(lines[1] ?? "")).toMatchObject({ event: "audit.failed", suppressed: 59 });
});

test("a text with line breaks or quotes can't forge a second line", () => {
  const { log, lines } = setup();
  log({ type: "service.stopping", reason: 'x"}\n{"level":"error"}\r\u2028' });
  expect(lines).toHaveLength(1);
  expect(lines[0]).not.toMatch(/[\n\r]/);
});

test("a listener that throws harms neither the feature that spoke nor the other listeners", () => {
  const bus = new EventBus();
  const heard: string[] = [];
  bus.subscribe(() => {
    throw new Error("no");
  });
  const leave = bus.subscribe(({ type }) => heard.push(type));
  bus.emit({ type: "service.stopped" });
  leave();
  bus.emit({ type: "service.stopped" });
  expect(heard).toEqual(["service.stopped"]);
});

test("a line has no character in it that deceives the eye or ends a line elsewhere", () => {
  const lines: string[] = [];
  const message = "WEIXIN_\u2028\u202e\u009b: unknown";
  createLog("info", new ManualClock(), (line) => lines.push(line))({ type: "config.warning", message });
  expect(lines[0]).toContain("WEIXIN_\\u2028\\u202e\\u009b: unknown");
  expect(JSON.parse(lines[0] ?? "")).toMatchObject({ message });
});

test("what is not seen at all is shown in both formats, and JSON means the same by it", () => {
  const reason = "a\u200bb\ufeffc\u{e0041}d";
  for (const format of [jsonLine, consoleLine({ hasColor: false })]) {
    const lines: string[] = [];
    createLog(
      "info",
      new ManualClock(),
      (line) => lines.push(line),
      format,
    )({ type: "service.stopping", reason });
    expect(lines[0]).toContain('"a\\u200bb\\ufeffc\\udb40\\udc41d"');
  }
  expect(JSON.parse(visibleJson({ reason }))).toEqual({ reason });
});

/** What people read, by the clock of `setup`. */
function consoleSetup(hasColor: boolean) {
  const lines: string[] = [];
  const clock = new ManualClock(Date.UTC(2026, 0, 2, 3, 4, 5, 678));
  return { lines, log: createLog("debug", clock, (line) => lines.push(line), consoleLine({ hasColor })) };
}

test("for people a line is local time, level, event and fields, and only a terminal gets colors", () => {
  const { log, lines } = consoleSetup(false);
  const call = { platform: "weixin", appId: "wx1", endpoint: "/cgi-bin/token", durationMs: 12 } as const;
  log({ type: "upstream.called", ...call, outcome: "errcode", errcode: -1 });
  log({ type: "config.warning", message: "WEIXIN_X: unknown" });
  const local = new Date(Date.UTC(2026, 0, 2, 3, 4, 5, 678));
  const time = `2026-01-0${local.getDate()} ${local.toTimeString().slice(0, 8)}.678`;
  expect(lines).toEqual([
    `${time} INFO  upstream.called platform=weixin appId=wx1 endpoint=/cgi-bin/token durationMs=12 outcome=errcode errcode=-1`,
    `${time} WARN  config.warning message="WEIXIN_X: unknown"`,
  ]);
  const coloured = consoleSetup(true);
  coloured.log({ type: "service.outdated" });
  expect(coloured.lines).toEqual([`${time} \u001b[31mERROR\u001b[0m service.outdated`]);
});

test("for people too every event is one line, which no text in it can forge or color", () => {
  const { log, lines } = consoleSetup(false);
  for (const [, event] of EVENTS) log(event);
  expect(lines).toHaveLength(EVENTS.length);
  const reason = 'x" a=b\n2026-01-01 ERROR \u001b[31m\r\u2028\u202e\u009b\u00a0\u200b';
  log({ type: "service.stopping", reason });
  log({ type: "service.stopping", reason: "\u001b[31m" });
  log({ type: "service.stopping", reason: "a=b" });
  for (const line of lines) expect(line).not.toMatch(/[\p{Cc}\u2028\u2029\u202e]/u);
  expect(lines.at(-3)).toContain('reason="x\\" a=b\\n2026-01-01 ERROR \\u001b[31m');
  expect(lines.at(-1)).toEndWith(' reason="a=b"');
});

test("a call upstream that took three seconds is a warning beside its own line", () => {
  const { log, lines } = setup();
  const bus = new EventBus();
  bus.subscribe(log);
  const call = { platform: "weixin", appId: "wx1", endpoint: "/cgi-bin/token", outcome: "ok" } as const;
  reportCall(bus, "upstream.called", { ...call, durationMs: 2999 });
  reportCall(bus, "gateway.sent", { ...call, durationMs: 3000 });
  expect(lines.map((line) => JSON.parse(line) as object)).toMatchObject([
    { event: "upstream.called", level: "info" },
    { event: "gateway.sent", level: "debug" },
    { event: "upstream.slow", level: "warn", durationMs: 3000 },
  ]);
});

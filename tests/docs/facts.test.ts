import { expect, test } from "bun:test";
import { API_PRESETS } from "../../src/access/api-policy.ts";
import { ACTIONS } from "../../src/access/client.ts";
import { toWechatFailure } from "../../src/api/wechat-answer.ts";
import { dropinRoutes } from "../../src/api/dropin.ts";
import { type DropinParts, dropinEndpoints } from "../../src/api/wechat-endpoints.ts";
import { AUDIT_ACTIONS } from "../../src/audit/audit-entry.ts";
import { CREDENTIAL_KINDS, DAILY_LIMITS, KINDS } from "../../src/credentials/kinds.ts";
import { CREDENTIAL_STATES } from "../../src/credentials/status.ts";
import { failureEnvelope, failureStatus } from "../../src/envelope.ts";
import { type ErrorCode, ServiceError } from "../../src/errors.ts";
import { CONDITION_IDS, conditionOf } from "../../src/ops/conditions.ts";
import { CHECKS } from "../../src/ops/doctor.ts";
import { CAUSES } from "../../src/signing/causes.ts";
import { allRoutes } from "../support/routes.ts";
import { codeOf, read } from "./document.ts";

const CODES = Object.keys({
  invalid_parameter: true,
  unauthorized: true,
  forbidden: true,
  not_found: true,
  method_not_allowed: true,
  conflict: true,
  precondition_failed: true,
  payload_too_large: true,
  unsupported_media_type: true,
  rate_limited: true,
  upstream_rejected: true,
  upstream_invalid: true,
  upstream_unreachable: true,
  upstream_timeout: true,
  unavailable: true,
  invalid_config: true,
  store_unusable: true,
  internal: true,
} satisfies Record<ErrorCode, true>) as ErrorCode[];

/** The code spans in the first column of a page's tables. */
function keysOf(page: string): Set<string> {
  return new Set(
    read(`docs/${page}.md`).tables.flatMap((table) => table.flatMap(([key = ""]) => codeOf(key))),
  );
}

/** Those of `wanted` that no table of the page has a row for. */
function missingIn(page: string, wanted: readonly string[]): string[] {
  const keys = keysOf(page);
  return wanted.filter((each) => !keys.has(each));
}

test.each(["docs/doctor.md", "docs/zh/doctor.md"])(
  "%s has a row for every check, with its number",
  (path) => {
    const rows = read(path).tables.flatMap((table) =>
      table.slice(1).map((row) => [codeOf(row[0] ?? "")[0], row[1]]),
    );
    expect(rows).toEqual(CHECKS.map(({ name, id }) => [name, String(id)]));
  },
);

test("errors.md has a row for every code and every errcode of the service's own", () => {
  const errors = CODES.map((code) => new ServiceError(code, ""));
  const codes = errors.map((error) => String(failureEnvelope(error, "").code));
  const errcodes = [
    ...errors.map((error) => toWechatFailure(error, "weixin").errcode),
    ...["upstream_invalid", "upstream_timeout"].map(
      (code) =>
        toWechatFailure(new ServiceError(code as ErrorCode, "", { mayHaveRun: true }), "weixin").errcode,
    ),
  ];
  expect(missingIn("errors", ["0", ...codes, ...errcodes.map(String)])).toEqual([]);
});

test("under /v1 the status differs from the code where errors.md says so, and nowhere else", () => {
  const differing = CODES.map((code) => new ServiceError(code, "")).filter(
    (error) => failureStatus(error) !== failureEnvelope(error, "").code,
  );
  expect(differing.map(({ code }) => code)).toEqual(["invalid_parameter"]);
  const upstream = { platform: "weixin", errcode: 40164, errmsg: "", class: "config" } as const;
  expect(failureStatus(new ServiceError("upstream_rejected", "", { upstream }))).toBe(502);
});

test("access.md has a row for every action and every preset", () => {
  expect(missingIn("access", [...ACTIONS, ...API_PRESETS])).toEqual([]);
});

test("audit.md has a row for every action that is recorded", () => {
  expect(missingIn("audit", AUDIT_ACTIONS)).toEqual([]);
});

test.each(["notifications", "zh/notifications"])(
  "%s.md says of every alarm how bad it is and when it is told",
  (page) => {
    const table = read(`docs/${page}.md`).tables.find((each) =>
      each.some(([key]) => key === "`app_blocked`"),
    );
    const told = CONDITION_IDS.map((id) => {
      const { severity, threshold, holdMs, isOn } = conditionOf(id);
      return [`\`${id}\``, `\`${severity}\``, threshold?.value ?? 0, isOn ? holdMs / 1000 : -1];
    });
    const shown = table?.slice(1).map(([id, severity, threshold = "", after = ""]) => {
      const seconds = /^(\d+) s$/.exec(after)?.[1];
      return [
        id,
        severity,
        Number.parseInt(threshold, 10) || 0,
        seconds === undefined ? -1 : Number(seconds),
      ];
    });
    expect(shown).toEqual(told);
  },
);

test("signature-debugging.md has a row for every cause, in both languages", () => {
  const causes = Object.keys(CAUSES);
  expect(missingIn("signature-debugging", causes)).toEqual([]);
  expect(missingIn("zh/signature-debugging", causes)).toEqual([]);
});

test("api.md has a row for every state, and names every kind of credential", () => {
  expect(missingIn("api", CREDENTIAL_STATES)).toEqual([]);
  const { lines } = read("docs/api.md");
  expect(CREDENTIAL_KINDS.filter((kind) => !lines.some((line) => line.includes(`\`${kind}\``)))).toEqual([]);
});

test("drop-in.md has a row for every endpoint, and none for another", () => {
  const rows = [...keysOf("drop-in")].flatMap((key) => /\/\S+/.exec(key)?.[0] ?? []);
  const paths = dropinRoutes(dropinEndpoints({} as DropinParts)).map(({ path }) => path);
  expect(new Set(rows)).toEqual(new Set(paths));
});

test("every route of the documented protocol and of /v1 has a row in the pages on calling", () => {
  const rows = [
    "protocol",
    "api",
    "api-management",
    "oauth",
    "callbacks",
    "deliveries",
    "notifications",
  ].flatMap((page) => [...keysOf(page)]);
  const documented = new Set(rows.flatMap((key) => /\/\S*/.exec(key)?.[0] ?? []));
  const routes = allRoutes().filter(({ pattern }) => !/^\/(swagger|docs|$)/.test(pattern));
  const former = new Set(["/v1/audit/reads", "/v1/audit/refusals"]);
  expect(
    routes
      .map(({ pattern }) => pattern)
      .filter((pattern) => !documented.has(pattern) && !former.has(pattern)),
  ).toEqual([]);
});

test("concepts.md says when tokens and tickets are renewed, and how many calls a day there are", () => {
  const slot = { platform: "weixin", appId: "wx", name: "stable" } as const;
  const seconds = ["access_token", "jsapi_ticket"].flatMap((kind) => {
    const { firstLeftMs = 0, lastLeftMs = 0 } = KINDS.get({ slot, kind }).renewal ?? {};
    return [`${firstLeftMs / 1000} s`, `${lastLeftMs / 1000} s`];
  });
  const limits = [...DAILY_LIMITS.values()].map((limit) => limit.toLocaleString("en-US"));
  const text = read("docs/concepts.md").lines.join("\n");
  expect([...seconds, ...limits].filter((each) => !text.includes(each))).toEqual([]);
});

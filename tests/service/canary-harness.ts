import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { FaultEffect } from "../../src/sandbox/fault.ts";
import { binary, ProcessHarness } from "../support/process-harness.ts";

/** Apps whose secrets occur nowhere else. */
export const OWN = { appId: "wx0000000000000c01", secret: "canaryOwnSecret+/=8f1d2c3b" };
export const CLASSIC = { appId: "wx0000000000000c02", secret: "canaryClassicSecret&%4a5b6c7d" };
export const FOREIGN = { appId: "wx0000000000000c03", secret: "canaryForeignSecret?#9e8d7c6b" };
export const FOREIGN_LATER = { appId: "wx0000000000000c06", secret: "canaryForeignLater=7c6b5a49" };
export const FROZEN = { appId: "wx0000000000000c04", secret: "canaryFrozenSecret-1a2b3c4d" };
/** Registered while the service runs. */
export const MANAGED = { appId: "wx0000000000000c07", secret: "canaryManagedSecret*^3b2a1f0e" };
export const CORP = { corpId: "ww0000000000000c05", agent: "7", secret: "canaryCorpSecret\"'5f6e7d8c" };
export const CORP_FOREIGN = { corpId: CORP.corpId, agent: "8", secret: "canaryCorpForeign<>0a1b2c3d" };
export const CORP_LATER = { corpId: CORP.corpId, agent: "9", secret: "canaryCorpLater|2f3e4d5c" };
export const CORP_MANAGED = { corpId: CORP.corpId, agent: "10", secret: "canaryCorpManaged;7e6d5c4b" };
export const CORP_APP = `${CORP.corpId}_${CORP.agent}`;
export const WRONG = "canaryWrongSecret~!6c5d4e3f";
const MASTER_KEY = "c0ffee5eca5e0fca11ab1eca5cadedeca1c1f1edf00dfacade5ca1ab1eba11ad";
export const BAD_CODE = "canaryBadCode*7b8a9c0d";
export const CLEARED = "70_canaryClearedToken_2d3e4f5a";

/** What is secret before anything happens, and what each is. */
export const SECRETS: readonly (readonly [value: string, kind: string])[] = [
  ...[OWN, CLASSIC, FOREIGN, FOREIGN_LATER, FROZEN, MANAGED].map(({ secret }) => [secret, "secret"] as const),
  ...[CORP, CORP_FOREIGN, CORP_LATER, CORP_MANAGED].map(({ secret }) => [secret, "secret"] as const),
  [WRONG, "wrong secret"],
  [MASTER_KEY, "master key"],
  [BAD_CODE, "bad code"],
  [CLEARED, "cleared token"],
];

/** What goes wrong upstream, one after the other, whoever asks. */
export const FAULTS: readonly FaultEffect[] = [
  { kind: "error", errcode: -1 },
  { kind: "error", errcode: 45009, errmsg: "reach max api daily quota limit" },
  { kind: "http", status: 502 },
  { kind: "reset_before" },
  { kind: "reset_after" },
  { kind: "truncated_json" },
  { kind: "truncated_body" },
  { kind: "oversized", bytes: 128 * 1024 },
  { kind: "gzip_bomb", bytes: 1024 * 1024 },
  { kind: "field", field: "expires_in", value: "soon" },
  { kind: "redirect", location: "http://127.0.0.1:1/" },
];

/** A folder, and a sandbox that knows the apps. */
export function canaryHarness(): ProcessHarness {
  return new ProcessHarness(binary(), {
    weixinApps: [OWN, CLASSIC, FOREIGN, FOREIGN_LATER, MANAGED, { ...FROZEN, frozenSecret: true }],
    wecomApps: [CORP, CORP_FOREIGN, CORP_LATER, CORP_MANAGED],
  });
}

/** The variables of a service that says as much as it can. */
export const VARIABLES = {
  LOG_LEVEL: "debug",
  ANONYMOUS: "on",
  MASTER_KEY,
  [`WEIXIN_SECRET_${OWN.appId}`]: OWN.secret,
  [`WEIXIN_SECRET_${CLASSIC.appId}`]: CLASSIC.secret,
  [`WEIXIN_TOKEN_MODE_${CLASSIC.appId}`]: "classic",
  [`THIRD_APPID_${FROZEN.appId}`]: FROZEN.secret,
  [`WECOM_SECRET_${CORP.corpId}_${CORP.agent}`]: CORP.secret,
  WEIXIN_UNHEARD_OF: WRONG,
};

/** Every byte of every file that the service made, and the files' names. */
export function filesOf(world: ProcessHarness): string {
  const folder = join(world.folder, "data");
  return readdirSync(folder)
    .map((name) => `${name}\n${readFileSync(join(folder, name), "latin1")}`)
    .join("\n");
}

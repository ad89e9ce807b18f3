import { type Answer } from "../support/harness.ts";
import { ask, ProcessHarness } from "../support/process-harness.ts";
import type { SandboxOptions } from "../../src/sandbox/sandbox.ts";

const SECRET = "f0e1d2c3b4a5968778695a4b3c2d1e0f";

/** One WeChat app of many. */
export interface FaultApp {
  readonly appId: string;
  readonly mode: "stable" | "classic";
}

/** `count` apps; every second one is asked for in classic mode, where each request brings another token. */
export function appsOf(count: number, mode?: FaultApp["mode"]): FaultApp[] {
  return Array.from({ length: count }, (_, index) => ({
    appId: `wx${String(index).padStart(16, "0")}`,
    mode: mode ?? (index % 2 === 0 ? "classic" : "stable"),
  }));
}

/** What a service answers about one access token. */
export interface Got {
  readonly code: number;
  readonly msg: string;
  readonly value: string;
  /** Seconds. */
  readonly expiresIn: number;
}

/** A sandbox that knows `apps`, and services in processes of their own that hold them, all in one folder. */
export class FaultHarness extends ProcessHarness {
  readonly apps: readonly FaultApp[];

  constructor(program: readonly string[], apps: readonly FaultApp[], sandbox: Partial<SandboxOptions> = {}) {
    super(program, { weixinApps: apps.map(({ appId }) => ({ appId, secret: SECRET })), ...sandbox });
    this.apps = apps;
  }

  override get variables(): Record<string, string> {
    const own = this.apps.flatMap(({ appId, mode }) => [
      [`WEIXIN_SECRET_${appId}`, SECRET],
      [`WEIXIN_TOKEN_MODE_${appId}`, mode],
    ]);
    return {
      PORT: "0",
      ENV_FILE: "",
      WEIXIN_BASE_URL: this.sandbox.weixinUrl,
      WECOM_BASE_URL: this.sandbox.wecomUrl,
      ...(Object.fromEntries(own) as Record<string, string>),
    };
  }

  get databasePath(): string {
    return `${this.folder}/data/accesstoken.db`;
  }

  /** How often the sandbox was asked for a token. */
  tokenCalls(): number {
    return this.sandbox.calls("/cgi-bin/token") + this.sandbox.calls("/cgi-bin/stable_token");
  }
}

/** The path of an app's access token. */
export function tokenPath({ appId }: FaultApp, verb = ""): string {
  return `/v1/apps/${appId}/credentials/access_token${verb}`;
}

/** Gets an app's access token. */
export async function getToken(url: string, app: FaultApp): Promise<Got> {
  return gotOf(await ask(url, tokenPath(app)));
}

/** POSTs to one of the verbs of an app's access token. */
export async function post(url: string, app: FaultApp, verb: string, body: object): Promise<Got> {
  const headers = { "content-type": "application/json" };
  return gotOf(
    await ask(url, tokenPath(app, verb), {}, { method: "POST", headers, body: JSON.stringify(body) }),
  );
}

function gotOf({ code, msg, data }: Answer): Got {
  return { code, msg, value: String(data["value"] ?? ""), expiresIn: Number(data["expires_in"] ?? 0) };
}

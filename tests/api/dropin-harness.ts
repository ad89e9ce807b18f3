import { expect } from "bun:test";
import type { Action, Delivery } from "../../src/access/client.ts";
import { createClient } from "../support/access-harness.ts";
import { rawRequest } from "../support/raw-http.ts";
import { CORP, Harness, WECOM, type WorldOptions, WX } from "../support/harness.ts";

/** The public name of the WeCom application that most tests ask for. */
export const WECOM_APP = `${CORP}_${WECOM.agent}`;
/** An address that is in no trusted network. */
export const STRANGE = "127.1.0.1";
/** How our tokens begin. */
export const VIRTUAL = /^atv1_[A-Za-z0-9_-]+$/;

const ACTIONS: readonly Action[] = [
  "token:read",
  "token:refresh",
  "ticket:read",
  "ticket:sign",
  "login",
  "api:call",
];

/** What was answered, in WeChat's shape. */
export interface WireAnswer {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: ReadonlyMap<string, string>;
  readonly text: string;
  // oxlint-disable-next-line typescript/no-explicit-any -- each test knows the fields that it asks for
  readonly body: Record<string, any>;
}

/** What a request has beside its path. */
export interface Asking {
  readonly method?: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
  /** JSON unless it is a text. */
  readonly body?: object | string;
  /** The address that it comes from, in the place of a trusted one. */
  readonly from?: string;
}

/** What the client of a key may do, and what it is given. */
interface WantedKey {
  readonly actions: readonly Action[];
  readonly apps: readonly string[];
  readonly delivery: Delivery;
}

/** A world whose trusted network is 127.0.0.0/16, asked over plain sockets as SDKs do. */
export class DropinHarness {
  readonly world: Harness;

  private constructor(world: Harness) {
    this.world = world;
  }

  static async create(options: WorldOptions = {}): Promise<DropinHarness> {
    const environment = { TRUSTED_NETWORKS: "127.0.0.0/16", ANONYMOUS: "on", ...options.environment };
    return new DropinHarness(await Harness.create({ ...options, environment }));
  }

  get sandbox(): Harness["sandbox"] {
    return this.world.sandbox;
  }

  /** The API key of a new client, by default one that may do everything and is given real tokens. */
  key(
    name: string,
    { actions = ACTIONS, apps = ["*"], delivery = "real" }: Partial<WantedKey> = {},
  ): Promise<string> {
    return createClient(this.world, { name, grants: [{ apps, actions }], delivery });
  }

  /** Sends a request as it stands, and reads the answer, which must be HTTP 200 with the headers that each has. */
  async ask(path: string, asking: Asking = {}): Promise<WireAnswer> {
    const { query = {}, headers = {}, body, from } = asking;
    const { method = body === undefined ? "GET" : "POST" } = asking;
    const search = new URLSearchParams(query).toString();
    const text = body === undefined || typeof body === "string" ? body : JSON.stringify(body);
    const lines = [
      `${method} ${search ? `${path}?${search}` : path} HTTP/1.1`,
      "Host: localhost",
      "Connection: close",
      ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
      ...(text === undefined ? [] : [`Content-Length: ${Buffer.byteLength(text)}`]),
    ];
    const url = this.world.service.url;
    const answer = await rawRequest(url, `${lines.join("\r\n")}\r\n\r\n${text ?? ""}`, from);
    expect([path, answer.status]).toEqual([path, 200]);
    expect(answer.headers.get("trace-id")).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
    expect(answer.headers.get("cache-control")).toBe("no-store");
    expect(answer.headers.get("x-content-type-options")).toBe("nosniff");
    return {
      status: answer.status,
      headers: answer.headers,
      text: answer.body,
      body: answer.body === "" ? {} : JSON.parse(answer.body),
    };
  }

  /** The errcode of an answer to that request, and its text without the request id. */
  async refusal(path: string, asking: Asking = {}): Promise<readonly [errcode: number, errmsg: string]> {
    const { body } = await this.ask(path, asking);
    const errmsg = String(body["errmsg"]).replace(/,? rid: .*|, hint: \[.*/, "");
    return [Number(body["errcode"]), errmsg];
  }

  /** A token of the WeChat app, or of the WeCom application, as its secret's holder is given it. */
  async token(platform: "weixin" | "wecom" = "weixin", secret?: string): Promise<string> {
    const answer = await (platform === "weixin"
      ? this.ask("/cgi-bin/token", {
          query: { grant_type: "client_credential", appid: WX.appId, secret: secret ?? WX.secret },
        })
      : this.ask("/cgi-bin/gettoken", { query: { corpid: CORP, corpsecret: secret ?? WECOM.secret } }));
    expect(answer.body["access_token"]).toBeString();
    return String(answer.body["access_token"]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.world[Symbol.asyncDispose]();
  }
}

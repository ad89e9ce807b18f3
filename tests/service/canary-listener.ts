import { ask } from "../support/process-harness.ts";
import type { Answer } from "../support/harness.ts";
import { SECRETS } from "./canary-harness.ts";

/** Which answers are meant to hand out something secret, and in which fields. Nothing else may hold any. */
const HANDED_OUT: readonly (readonly [route: RegExp, ...fields: string[]])[] = [
  [/^(GET|POST) \/AccessToken\/get/, "access_token", "refresh_token", "session_key"],
  [/^GET \/xcx\/jscode2session/, "session_key"],
  [/^(GET|POST) \/v1\/apps\/[^/]+\/credentials\/\w+(\/(refresh|replace))?(\?|$)/, "value"],
  [/^POST \/v1\/clients\/[^/]+\/keys(\/[^/]+\/roll)?$/, "api_key"],
];

/** What WeChat's own paths hand out in a success. */
const IN_WECHATS = ["access_token", "refresh_token", "session_key", "ticket", "user_ticket"];

/** Asks a service, keeps what is secret of what it hands out, and all else that it says. */
export class Ear {
  /** What is secret, and what it is. */
  readonly secrets = new Map<string, string>(SECRETS);
  readonly url: string;
  /** Every answer with its headers, without what it was meant to hand out. */
  said = "";
  /** How often which code was answered. */
  readonly codes = new Map<number, number>();
  #made = 0;

  constructor(url: string) {
    this.url = url;
  }

  /** How many answers were errors. */
  get errors(): number {
    return [...this.codes].reduce((sum, [code, count]) => (code === 0 ? sum : sum + count), 0);
  }

  /** A value that occurs nowhere else. */
  fresh(kind: string): string {
    const value = `canary${this.#made++}~${kind.replaceAll(" ", "_")}!+/=6c5d4e3f`;
    this.secrets.set(value, kind);
    return value;
  }

  async get(
    path: string,
    query: Record<string, string> = {},
    headers: Record<string, string> = {},
  ): Promise<Answer> {
    const search = new URLSearchParams(query).toString();
    return this.send("GET", search ? `${path}?${search}` : path, { headers });
  }

  /** POSTs JSON, or a text that should be some. */
  async post(path: string, body: object | string, headers: Record<string, string> = {}): Promise<Answer> {
    return this.change("POST", path, body, headers);
  }

  async change(
    method: string,
    path: string,
    body: object | string,
    headers: Record<string, string> = {},
  ): Promise<Answer> {
    const text = typeof body === "string" ? body : JSON.stringify(body);
    return this.send(method, path, {
      headers: { "content-type": "application/json", ...headers },
      body: text,
    });
  }

  /** Sends what it is told to, and keeps the answer, which must be an envelope. */
  async send(method: string, path: string, init: RequestInit = {}): Promise<Answer> {
    const answer = await ask(this.url, path, {}, { ...init, method });
    this.codes.set(answer.code, (this.codes.get(answer.code) ?? 0) + 1);
    let { text } = answer;
    const [, ...fields] = HANDED_OUT.find(([route]) => route.test(`${method} ${path}`)) ?? [];
    for (const name of answer.code === 0 ? fields : []) {
      const value: unknown = answer.data[name];
      if (typeof value !== "string" || value === "") continue;
      if (!this.secrets.has(value)) this.secrets.set(value, name);
      text = text.replace(value, "");
    }
    this.keep(text, answer.headers);
    return answer;
  }

  /** As `send`, to one of WeChat's own paths, which answer in WeChat's shape; gives the texts in the answer. */
  async wechat(method: string, path: string, init: RequestInit = {}): Promise<Record<string, string>> {
    const response = await fetch(this.url + path, { keepalive: false, ...init, method });
    // What goes wrong upstream is handed on by the gateway as it is: HTML, halves, and bodies that break off.
    let text = await response.text().catch(() => "");
    const body = objectIn(text);
    const code = Number(body["errcode"] ?? body["code"] ?? 0);
    this.codes.set(code, (this.codes.get(code) ?? 0) + 1);
    for (const name of code === 0 ? IN_WECHATS : []) {
      const value = body[name];
      if (typeof value !== "string" || value === "") continue;
      if (!this.secrets.has(value)) this.secrets.set(value, name);
      // Below /sns slashes are escaped.
      for (const form of [value, value.replaceAll("/", String.raw`\/`)]) text = text.replace(form, "");
    }
    this.keep(text, response.headers);
    return Object.fromEntries(Object.entries(body).filter(isText));
  }

  /** Keeps an answer of any kind, which is not meant to hand out anything. */
  async overhear(method: string, path: string, headers: Record<string, string> = {}): Promise<string> {
    const response = await fetch(this.url + path, { method, headers, keepalive: false });
    const text = await response.text();
    this.keep(text, response.headers);
    return text;
  }

  keep(text: string, headers = new Headers()): void {
    this.said += `${text}\n${[...headers.entries()].join("\n")}\n`;
  }
}

function objectIn(text: string): Record<string, unknown> {
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch {
    return {};
  }
}

function isText(field: [string, unknown]): field is [string, string] {
  return typeof field[1] === "string";
}

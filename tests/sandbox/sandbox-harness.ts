import type { SandboxWecomApp, SandboxWeixinApp } from "../../src/sandbox/sandbox-settings.ts";
import { Sandbox, type SandboxOptions } from "../../src/sandbox/sandbox.ts";
import { ManualClock } from "../support/manual-clock.ts";

export const APP = { appId: "wx0000000000000001", secret: "secret-of-app-one" };
export const OTHER_APP = { appId: "wx0000000000000002", secret: "secret-of-app-two" };
export const WECOM_APP = { corpId: "ww0000000000000001", agent: "1000002", secret: "corpsecret-one" };
export const OTHER_AGENT = { corpId: "ww0000000000000001", agent: "1000003", secret: "corpsecret-two" };

export const SECOND = 1000;
export const MINUTE = 60 * SECOND;
export const HOUR = 60 * MINUTE;

/** What came back: the parts of an HTTP answer that these tests look at, and the body read as JSON if it is any. */
export interface Reply {
  status: number;
  type: string | null;
  headers: Headers;
  text: string;
  json: Record<string, unknown>;
}

export interface WorldOptions extends Omit<Partial<SandboxOptions>, "weixinApps" | "wecomApps"> {
  app?: Partial<SandboxWeixinApp>;
  wecomApp?: Partial<SandboxWecomApp>;
}

/** A sandbox with two apps on each side, a clock that stands still, and short ways to ask. */
export class SandboxHarness {
  readonly clock = new ManualClock();
  readonly sandbox: Sandbox;

  constructor({ app, wecomApp, ...options }: WorldOptions = {}) {
    this.sandbox = Sandbox.start({
      clock: this.clock,
      weixinApps: [{ ...APP, ...app }, OTHER_APP],
      wecomApps: [{ ...WECOM_APP, ...wecomApp }, OTHER_AGENT],
      ...options,
    });
  }

  weixin(path: string, query: Record<string, string> = {}, init?: RequestInit): Promise<Reply> {
    return ask(`${this.sandbox.weixinUrl}${path}?${new URLSearchParams(query).toString()}`, init);
  }

  wecom(path: string, query: Record<string, string> = {}, init?: RequestInit): Promise<Reply> {
    return ask(`${this.sandbox.wecomUrl}${path}?${new URLSearchParams(query).toString()}`, init);
  }

  weixinPost(path: string, query: Record<string, string>, body: unknown): Promise<Reply> {
    return this.weixin(path, query, postOf(body));
  }

  wecomPost(path: string, query: Record<string, string>, body: unknown): Promise<Reply> {
    return this.wecom(path, query, postOf(body));
  }

  classic({ appId, secret } = APP): Promise<Reply> {
    return this.weixin("/cgi-bin/token", { grant_type: "client_credential", appid: appId, secret });
  }

  stable(force_refresh?: boolean, { appId, secret } = APP): Promise<Reply> {
    const body = { grant_type: "client_credential", appid: appId, secret, force_refresh };
    return this.weixinPost("/cgi-bin/stable_token", {}, body);
  }

  corpToken({ corpId, secret } = WECOM_APP): Promise<Reply> {
    return this.wecom("/cgi-bin/gettoken", { corpid: corpId, corpsecret: secret });
  }

  /** The errcode of a cheap call with that token on WeChat, `undefined` when it was accepted. */
  async tryToken(access_token: unknown): Promise<unknown> {
    const reply = await this.weixin("/cgi-bin/getcallbackip", { access_token: String(access_token) });
    return reply.json["errcode"];
  }

  /** The errcode of a cheap call with that token on WeCom, 0 when it was accepted. */
  async tryCorpToken(access_token: unknown): Promise<unknown> {
    const reply = await this.wecom("/cgi-bin/getcallbackip", { access_token: String(access_token) });
    return reply.json["errcode"];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.sandbox.stop();
  }
}

/** Posts to the control interface. */
export function postOf(body: unknown, contentType = "application/json"): RequestInit {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  return { method: "POST", body: text, headers: { "Content-Type": contentType } };
}

/** What a URL answers. */
export async function ask(url: string, init?: RequestInit): Promise<Reply> {
  // Without keepalive, because fetch sends a GET again when a kept connection is reset.
  const response = await fetch(url, { keepalive: false, redirect: "manual", proxy: false, ...init });
  const text = await response.text();
  return {
    status: response.status,
    type: response.headers.get("Content-Type"),
    headers: response.headers,
    text,
    json: asObject(text),
  };
}

function asObject(text: string): Record<string, unknown> {
  try {
    const parsed: unknown = JSON.parse(text);
    return typeof parsed === "object" && parsed !== null ? { ...parsed } : {};
  } catch {
    return {};
  }
}

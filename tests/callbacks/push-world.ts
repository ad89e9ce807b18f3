import type { AuditEntry } from "../../src/audit/audit-entry.ts";
import { SERVICE } from "../../src/audit/audit-entry.ts";
import type { CallbackSettings, Route, Target } from "../../src/callbacks/callback-settings.ts";
import { decryptPush, generatePushKey, type PushKey } from "../../src/callbacks/push-crypto.ts";
import { cdata, readPushFields } from "../../src/callbacks/push-fields.ts";
import { checkQuery, encryptedCopy, type PushCopy } from "../../src/callbacks/push-reply.ts";
import { keepPush } from "../../src/callbacks/kept-push.ts";
import { verifyPush } from "../../src/callbacks/verify-push.ts";
import type { Secret } from "../../src/secret.ts";
import { openSqliteStore } from "../../src/store/sqlite/sqlite-store.ts";
import type { Store } from "../../src/store/store.ts";
import { Harness, WX, type WorldOptions } from "../support/harness.ts";

/** What a target was sent. */
export interface Arrived {
  readonly url: URL;
  readonly headers: Headers;
  readonly body: string;
}

/** How a target answers; undefined for `success`. */
export type Behaviour = (arrived: Arrived) => Response | Promise<Response> | undefined;

/** A program that receives pushes, on a port of its own. */
export class Receiver {
  readonly arrived: Arrived[] = [];
  readonly #server: Bun.Server<undefined>;
  behave: Behaviour;

  constructor(behave: Behaviour = () => undefined, port = 0) {
    this.behave = behave;
    this.#server = Bun.serve({
      hostname: "127.0.0.1",
      port,
      fetch: async (request) => {
        const body = await request.text();
        const arrived = { url: new URL(request.url), headers: request.headers, body };
        this.arrived.push(arrived);
        return (await this.behave(arrived)) ?? new Response("success");
      },
    });
  }

  get url(): string {
    return `${this.#server.url.origin}/wx`;
  }

  get port(): number {
    return this.#server.port ?? 0;
  }

  /** The dedupe keys of what arrived. */
  get keys(): string[] {
    return this.arrived.map(({ headers }) => headers.get("x-accesstoken-delivery") ?? "");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.stop(true);
  }
}

/** The key of the app's callback URL in every test. */
export const KEY: PushKey = generatePushKey();
const ENTRY: AuditEntry = {
  ...SERVICE,
  action: "callback.updated",
  app: WX.appId,
  outcome: "ok",
  tokenDigest: "",
  detail: {},
};

/** A target that a test wants; everything else has a default. */
type WantedTarget = Pick<Target, "name"> & Partial<Target>;

/** What a test wants to be set. */
export interface WantedCallbacks {
  readonly targets: readonly WantedTarget[];
  /** Default: the first target is the primary, the others get copies. */
  readonly routes?: readonly Route[];
  readonly settings?: Partial<CallbackSettings>;
}

/** Writes callback settings of an app into a store. */
export async function setCallbacks(
  store: Pick<Store, "callbackSettings">,
  { targets, routes, settings }: WantedCallbacks,
  app = WX.appId,
): Promise<void> {
  const { callbackSettings } = store;
  const { token, encodingAesKey: aesKey } = KEY;
  const secure = { app, token, aesKey, mode: "secure", format: "xml", receiveIds: [WX.appId] } as const;
  const entry = { ...ENTRY, app };
  await callbackSettings.save({ ...secure, ...settings }, undefined, entry);
  for (const target of targets) {
    const whole = { app, environment: "prod", content: "original", ...target } as const;
    await callbackSettings.saveTarget(whole, undefined, entry);
  }
  const usual = targets.map(({ name }, index): Route => ({
    target: name,
    role: index === 0 ? "primary" : "copy",
    rule: {},
  }));
  await callbackSettings.saveRoutes(app, routes ?? usual, undefined, entry);
}

let lastId = 0;

/** A text message of a user as the push of it, encrypted. */
export function textPush({
  content = "hello",
  type = "text",
  openid = "oUser1",
  msgId = `2400000000000${1000 + ++lastId}`,
  now,
  key = KEY,
}: {
  readonly content?: string;
  readonly type?: string;
  readonly openid?: string;
  readonly msgId?: string;
  readonly now: number;
  readonly key?: PushKey;
}): PushCopy {
  const fields = { ToUserName: "gh_1", FromUserName: openid };
  const texts = Object.entries(fields).map(([name, value]) => `<${name}>${cdata(value)}</${name}>`);
  const message = `<xml>${texts.join("")}<CreateTime>${Math.floor(now / 1000)}</CreateTime><MsgType>${cdata(type)}</MsgType><Content>${cdata(content)}</Content><MsgId>${msgId}</MsgId></xml>`;
  return encryptedCopy(
    "weixin",
    { message: Buffer.from(message), format: "xml", receiveId: WX.appId },
    key,
    now,
  );
}

/** A push of a text as the store keeps it. */
export function keptText(now: number): Secret {
  const { query, body: text, contentType } = textPush({ now });
  const body = Buffer.from(text);
  const settings = { platform: "weixin", mode: "secure", keys: [KEY], receiveIds: [WX.appId] } as const;
  const push = verifyPush(settings, { method: "POST", query, body }, now);
  if (push.kind !== "push") throw new Error("no push");
  return keepPush({ platform: "weixin", request: { query, body, contentType }, push });
}

/** A passive reply as a program writes it. */
export function textReply(content: string): Response {
  const users = "<ToUserName><![CDATA[oUser1]]></ToUserName><FromUserName><![CDATA[gh_1]]></FromUserName>";
  const text = `<xml>${users}<CreateTime>1790000000</CreateTime><MsgType><![CDATA[text]]></MsgType><Content>${cdata(content)}</Content></xml>`;
  return new Response(text, { headers: { "content-type": "text/xml" } });
}

/** What an encrypted push, or a text reply that is encrypted for WeChat, says. */
export function contentOf(text: string): string | undefined {
  const encrypted = readPushFields(Buffer.from(text)).fields.get("Encrypt") ?? "";
  return readPushFields(decryptPush(encrypted, KEY).message).fields.get("Content");
}

/** A service with callbacks of its WeChat app, which may reach targets on this machine. */
export class PushWorld {
  readonly world: Harness;
  #beside: Store | undefined;

  private constructor(world: Harness) {
    this.world = world;
  }

  static async create(wanted: WantedCallbacks, options: WorldOptions = {}): Promise<PushWorld> {
    const environment = { CALLBACK_NETWORKS: "127.0.0.0/8,::1", ANONYMOUS: "off", ...options.environment };
    const made = new PushWorld(await Harness.create({ stopMs: 1000, ...options, environment }));
    await made.set(wanted);
    return made;
  }

  /** The store, as another process sees it. */
  async store(): Promise<Store> {
    const { databasePath, clock, folder } = this.world;
    this.#beside ??= await openSqliteStore({
      path: databasePath,
      masterKey: undefined,
      masterKeyFile: `${folder}/data/master.key`,
      clock,
      onKeyCreated: () => undefined,
    });
    return this.#beside;
  }

  /** Sets callbacks, and waits until the service knows them. */
  async set(wanted: WantedCallbacks): Promise<void> {
    // The service knows the settings when it takes this key.
    const marker = generatePushKey();
    const previous = { previousToken: marker.token, previousAesKey: marker.encodingAesKey };
    await setCallbacks(await this.store(), { ...wanted, settings: { ...previous, ...wanted.settings } });
    await Harness.until(async () => {
      // The feed of a manual clock looks again when time has passed.
      this.world.clock.advance(100);
      return (await this.check("ready", marker)).status === 200;
    });
  }

  /** WeChat's GET check. */
  check(echo: string, key: PushKey = KEY): Promise<Response> {
    const query = checkQuery("weixin", { key, receiveId: WX.appId, echo }, this.world.clock.now());
    return fetch(`${this.url}?${query}`);
  }

  get url(): string {
    return `${this.world.service.url}/callback/${WX.appId}`;
  }

  /** Sends a push as WeChat does. */
  async send({ query, body, contentType }: PushCopy): Promise<{ status: number; text: string }> {
    const response = await fetch(`${this.url}?${query}`, {
      method: "POST",
      headers: { "content-type": contentType },
      body,
    });
    return { status: response.status, text: await response.text() };
  }

  /** A push of the world's time. */
  text(wanted: Omit<Parameters<typeof textPush>[0], "now"> = {}): PushCopy {
    return textPush({ ...wanted, now: this.world.clock.now() });
  }

  /** Passes time until `condition` holds: what is due is delivered in real time. */
  async until(condition: () => boolean | Promise<boolean>, stepMs = 500): Promise<void> {
    await Harness.until(async () => {
      this.world.clock.advance(stepMs);
      return condition();
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#beside?.close();
    await this.world[Symbol.asyncDispose]();
  }
}

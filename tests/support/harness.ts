import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadConfig } from "../../src/config.ts";
import { EventBus, type ServiceEvent } from "../../src/events.ts";
import { Sandbox, type SandboxOptions } from "../../src/sandbox/sandbox.ts";
import { Networks } from "../../src/access/networks.ts";
import type { ChannelSender } from "../../src/ops/notifications.ts";
import { type ServiceOptions, startService } from "../../src/service.ts";
import type { Service } from "../../src/service/running-service.ts";
import { HttpChannelSender } from "../../src/upstream/channel-sender.ts";
import { ManualClock } from "./manual-clock.ts";

/** An Official Account that the sandbox knows and whose secret the service holds. */
export const WX = { appId: "wx00000000000000aa", secret: "a1b2c3d4e5f60718293a4b5c6d7e8f90" };
/** One that the sandbox knows and the service holds nothing of. */
export const WX_FOREIGN = { appId: "wx00000000000000bb", secret: "0f1e2d3c4b5a69788796a5b4c3d2e1f0" };
/** A corp with two applications that the service holds, and one that it does not. */
export const CORP = "ww00000000000000cc";
export const WECOM = {
  corpId: CORP,
  agent: "1000002",
  secret: "wecomSecretOfAgent1000002-aaaaaaaaaaaaaaaaa",
};
export const WECOM_CONTACTS = {
  corpId: CORP,
  agent: "contacts",
  secret: "wecomSecretOfContacts-bbbbbbbbbbbbbbbbbbbbb",
};
export const WECOM_FOREIGN = {
  corpId: CORP,
  agent: "1000009",
  secret: "wecomSecretOfAgent1000009-ccccccccccccccccc",
};

/** Limits in real time, of which a busy machine may take much before the sandbox has its turn. */
export const PATIENT = {
  upstreamMs: { attempt: 60_000, total: 60_000 },
  forwardTimes: { headMs: 60_000, uploadMs: 60_000, bodyMs: 60_000 },
  turnMs: { calls: 60_000, uploads: 120_000 },
  pushAnswerMs: 60_000,
};

/** The documented envelope, as a caller reads it. */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  readonly code: number;
  readonly msg: string;
  // oxlint-disable-next-line typescript/no-explicit-any -- each test knows the fields that it asks for
  readonly data: Record<string, any>;
}

/** What a test may set about its world. */
export interface WorldOptions {
  readonly sandbox?: Partial<SandboxOptions>;
  readonly environment?: Record<string, string>;
  readonly upstreamMs?: { attempt: number; total: number };
  readonly forwardTimes?: ServiceOptions["forwardTimes"];
  /** How long a stop waits for what is under way. */
  readonly stopMs?: number;
  /** How long the primary of a push may take, in milliseconds. */
  readonly pushAnswerMs?: number;
  /** Among how many processes limits are divided; default 1. */
  readonly workers?: number;
  /** What sends alarms; default: to loopback the real one, and elsewhere nothing. */
  readonly channelSender?: ChannelSender;
}

/** Sends alarms to this machine alone: no test may ask a bot on the Internet. */
class LoopbackSender implements ChannelSender {
  readonly #sender: ChannelSender;

  constructor(clock: ManualClock) {
    this.#sender = new HttpChannelSender({
      clock,
      proxyUrl: undefined,
      networks: new Networks("127.0.0.0/8"),
    });
  }

  send(...[address, message]: Parameters<ChannelSender["send"]>): ReturnType<ChannelSender["send"]> {
    const { hostname } = new URL(address.url.reveal());
    if (/^(127\.|localhost$)/.test(hostname)) return this.#sender.send(address, message);
    return Promise.resolve({ ok: true, answer: "0 ok" });
  }
}

/**
 * A service on a real port with a real database file, against a sandbox of its own, all on one manual clock.
 *
 * Use it with `await using`: it closes the servers and removes the folder.
 */
export class Harness {
  readonly clock: ManualClock;
  readonly sandbox: Sandbox;
  readonly folder: string;
  readonly events: ServiceEvent[] = [];
  readonly #options: WorldOptions;
  #service: Service | undefined;

  private constructor(options: WorldOptions) {
    this.#options = options;
    this.clock = new ManualClock();
    // No machine is ever of age 0, and the caches take an entry from that moment for one without an end.
    this.clock.advance(60_000);
    this.folder = mkdtempSync(join(tmpdir(), "accesstoken-test-"));
    this.sandbox = Sandbox.start({
      clock: this.clock,
      weixinApps: [WX, WX_FOREIGN],
      wecomApps: [WECOM, WECOM_CONTACTS, WECOM_FOREIGN],
      ...options.sandbox,
    });
  }

  static async create(options: WorldOptions = {}): Promise<Harness> {
    const world = new Harness(options);
    await world.start();
    return world;
  }

  /** Resolves when `condition` holds; for what happens in real time. Throws after `ms`. */
  static async until(condition: () => boolean | Promise<boolean>, ms = 60_000): Promise<void> {
    const end = performance.now() + ms;
    while (!(await condition())) {
      if (performance.now() > end) throw new Error(`it did not come true within ${ms} ms`);
      await Bun.sleep(10);
    }
  }

  get service(): Service {
    if (!this.#service) throw new Error("the service of this world is stopped");
    return this.#service;
  }

  get databasePath(): string {
    return join(this.folder, "data", "accesstoken.db");
  }

  /** Starts the service, also again after `stop`, on the same database. */
  async start(environment: Record<string, string> = {}): Promise<void> {
    const events = new EventBus();
    events.subscribe((event) => this.events.push(event));
    const config = loadConfig({
      ENV_FILE: "",
      PORT: "0",
      DATABASE_URL: `file:${this.databasePath}`,
      WEIXIN_BASE_URL: this.sandbox.weixinUrl,
      WECOM_BASE_URL: this.sandbox.wecomUrl,
      [`WEIXIN_SECRET_${WX.appId}`]: WX.secret,
      [`WECOM_SECRET_${CORP}_${WECOM.agent}`]: WECOM.secret,
      [`WECOM_SECRET_${CORP}_${WECOM_CONTACTS.agent}`]: WECOM_CONTACTS.secret,
      ...this.#options.environment,
      ...environment,
    });
    const { upstreamMs, forwardTimes, stopMs, pushAnswerMs, workers = 1 } = this.#options;
    this.#service = await startService(config, {
      clock: this.clock,
      events,
      ...PATIENT,
      ...(upstreamMs ? { upstreamMs } : {}),
      ...(forwardTimes ? { forwardTimes } : {}),
      ...(stopMs === undefined ? {} : { stopMs }),
      pushAnswerMs: pushAnswerMs ?? PATIENT.pushAnswerMs,
      workers,
      channelSender: this.#options.channelSender ?? new LoopbackSender(this.clock),
    });
  }

  async stop(): Promise<void> {
    await this.#service?.stop("test");
    this.#service = undefined;
  }

  /** GETs a path with a query. */
  get(path: string, query: Record<string, string> = {}, init: RequestInit = {}): Promise<Answer> {
    const search = new URLSearchParams(query).toString();
    return this.request(search ? `${path}?${search}` : path, init);
  }

  /** POSTs JSON. */
  post(path: string, body: unknown, init: RequestInit = {}): Promise<Answer> {
    const headers = new Headers(init.headers);
    if (!headers.has("content-type")) headers.set("content-type", "application/json");
    return this.request(path, { method: "POST", body: JSON.stringify(body), ...init, headers });
  }

  /** Sends what it is told to, and reads the envelope. */
  async request(path: string, init: RequestInit = {}): Promise<Answer> {
    const response = await fetch(this.service.url + path, init);
    const text = await response.text();
    const { code, msg, data } = JSON.parse(text) as Answer;
    return { status: response.status, headers: response.headers, text, code, msg, data };
  }

  /** Asks as an administrator of this machine, past the network; no client exists for it. */
  async administer(path: string, init: RequestInit = {}): Promise<Answer> {
    const response = await this.service.handle(new Request(`http://localhost${path}`, init));
    const text = await response.text();
    const { code, msg, data } = JSON.parse(text) as Answer;
    return { status: response.status, headers: response.headers, text, code, msg, data };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await this.sandbox.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

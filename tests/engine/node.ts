import { setImmediate as nextTurn } from "node:timers/promises";
import { loadConfig } from "../../src/config.ts";
import { EventBus, type ServiceEvent } from "../../src/events.ts";
import { startService } from "../../src/service.ts";
import type { Service } from "../../src/service/running-service.ts";
import { type Answer, CORP, WECOM, Harness, type WorldOptions, WX } from "../support/harness.ts";

/** A stable app, a classic app and a WeCom application, as `/v1` names them. */
export const STABLE = WX.appId;
export const CLASSIC = "wx00000000000000c1";
export const WECOM_APP = `${CORP}_${WECOM.agent}`;
const CLASSIC_SECRET = "c1a551c0c1a551c0c1a551c0c1a551c0";

/** A world whose service holds an app of each sort. */
export function createHarness({ sandbox, environment, ...rest }: WorldOptions = {}): Promise<Harness> {
  return Harness.create({
    ...rest,
    sandbox: { weixinApps: [WX, { appId: CLASSIC, secret: CLASSIC_SECRET }], ...sandbox },
    environment: {
      [`WEIXIN_SECRET_${CLASSIC}`]: CLASSIC_SECRET,
      [`WEIXIN_TOKEN_MODE_${CLASSIC}`]: "classic",
      ...environment,
    },
  });
}

/** What a service says about a credential. */
export interface Got extends Answer {
  readonly value: string;
  readonly expiresIn: number;
  readonly retryAfter: number | undefined;
}

/** One running service, spoken to over HTTP. */
export class Node {
  readonly #service: () => Service;
  readonly #events: ServiceEvent[];

  constructor(service: () => Service, events: ServiceEvent[]) {
    this.#service = service;
    this.#events = events;
  }

  /** The service of a world. */
  static of(world: Harness): Node {
    return new Node(() => world.service, world.events);
  }

  get(app: string, { kind = "access_token", minTtl = 0 } = {}): Promise<Got> {
    return this.#ask(`/v1/apps/${app}/credentials/${kind}${minTtl > 0 ? `?min_ttl=${minTtl}` : ""}`);
  }

  /** The value of a get that must succeed. */
  async token(app: string, options: { kind?: string; minTtl?: number } = {}): Promise<string> {
    const got = await this.get(app, options);
    if (got.code !== 0) throw new Error(`get ${app}: ${got.text}`);
    return got.value;
  }

  replace(app: string, rejected: string): Promise<Got> {
    return this.#post(`/v1/apps/${app}/credentials/access_token/replace`, { rejected });
  }

  refresh(app: string, body: { force?: boolean } = {}): Promise<Got> {
    return this.#post(`/v1/apps/${app}/credentials/access_token/refresh`, body);
  }

  clear(app: string): Promise<Got> {
    return this.#ask(`/v1/apps/${app}/credentials/access_token`, { method: "DELETE" });
  }

  /** `clearXcx` with the refused value. */
  complain(appid: string, accessToken: string): Promise<Got> {
    const query = new URLSearchParams({ appid, access_token: accessToken }).toString();
    return this.#ask(`/AccessToken/clearXcx?${query}`);
  }

  /** Does what the refresher does in a second, and waits for what that has begun. */
  async tick(): Promise<void> {
    await this.#service().tick();
    await this.settle();
  }

  /** Waits until no flight is under way. */
  async settle(): Promise<void> {
    do await nextTurn();
    while (this.flights() > 0);
  }

  /** How many flights are under way. */
  flights(): number {
    let flights = 0;
    for (const { type } of this.#events) {
      if (type === "refresh.started") flights++;
      if (type === "refresh.finished") flights--;
    }
    return flights;
  }

  /** The events of one type, since the last `forget`. */
  told<T extends ServiceEvent["type"]>(type: T): Extract<ServiceEvent, { type: T }>[] {
    return this.#events.filter((event): event is Extract<ServiceEvent, { type: T }> => event.type === type);
  }

  /** Forgets the events so far; only while nothing flies. */
  forget(): void {
    this.#events.length = 0;
  }

  #post(path: string, body: object): Promise<Got> {
    const headers = { "content-type": "application/json" };
    return this.#ask(path, { method: "POST", headers, body: JSON.stringify(body) });
  }

  async #ask(path: string, init: RequestInit = {}): Promise<Got> {
    const response = await fetch(this.#service().url + path, init);
    const text = await response.text();
    const answer = JSON.parse(text) as Pick<Answer, "code" | "msg" | "data"> & { retry_after?: number };
    const { status, headers } = response;
    const { value = "", expires_in: expiresIn = 0 } = answer.data;
    const retryAfter = answer.retry_after;
    return { ...answer, status, headers, text, value, expiresIn, retryAfter };
  }
}

/** A second service on the database of `world`, against the same sandbox. */
export async function startBeside(
  world: Harness,
  environment: Record<string, string> = {},
): Promise<Node & AsyncDisposable> {
  const all: ServiceEvent[] = [];
  const events = new EventBus();
  events.subscribe((event) => all.push(event));
  const config = loadConfig({
    ENV_FILE: "",
    PORT: "0",
    DATABASE_URL: `file:${world.databasePath}`,
    WEIXIN_BASE_URL: world.sandbox.weixinUrl,
    WECOM_BASE_URL: world.sandbox.wecomUrl,
    [`WEIXIN_SECRET_${STABLE}`]: WX.secret,
    [`WEIXIN_SECRET_${CLASSIC}`]: CLASSIC_SECRET,
    [`WEIXIN_TOKEN_MODE_${CLASSIC}`]: "classic",
    [`WECOM_SECRET_${CORP}_${WECOM.agent}`]: WECOM.secret,
    ...environment,
  });
  const service = await startService(config, { clock: world.clock, events });
  const dispose = { [Symbol.asyncDispose]: () => service.stop("test") };
  return Object.assign(new Node(() => service, all), dispose);
}

import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Sandbox } from "../../src/sandbox/sandbox.ts";
import { binary, ProcessHarness } from "../support/process-harness.ts";
import { WireTap } from "./wire-tap.ts";

/** In which form a client is given access tokens. */
export type Delivery = "real" | "virtual";
export const DELIVERIES: readonly Delivery[] = ["real", "virtual"];

/** A picture that is none, with every byte in it. */
export const PICTURE = Buffer.concat([
  Buffer.from([0xff, 0xd8, 0xff, 0xe0]),
  Buffer.from(Array.from({ length: 4096 }, (_, n) => (n * 7) & 0xff)),
]);

const ACTIONS = ["token:read", "token:refresh", "ticket:read", "ticket:sign", "login", "api:call"];
const APPS = 20;
const AGENT = "1000002";

/** An app that one test has to itself, and a client of it: SDKs are given the key where the secret would be. */
export interface SdkClient {
  /** The appid or the corpid. */
  readonly id: string;
  readonly agent: string;
  readonly apiKey: string;
  /** An empty folder for what the SDK keeps. */
  readonly folder: string;
  /** The app's real secret, which the client doesn't know. */
  readonly secret: string;
}

/**
 * The compiled program in a process of its own, against a sandbox, with clients made over `/v1`; and a tap through which
 * the SDKs reach it.
 *
 * The tests of a file share it: each takes apps of its own. Use it with `await using`, or dispose of it after all.
 */
export class SdkHarness {
  readonly #world: ProcessHarness;
  readonly #tap: WireTap;
  readonly #serviceUrl: string;
  readonly #adminKey: string;
  /** Keys of clients that are given real credentials, by app. */
  readonly #observers = new Map<string, string>();
  #taken = 0;

  private constructor(world: ProcessHarness, tap: WireTap, serviceUrl: string, adminKey: string) {
    this.#world = world;
    this.#tap = tap;
    this.#serviceUrl = serviceUrl;
    this.#adminKey = adminKey;
  }

  static async start(): Promise<SdkHarness> {
    const numbers = Array.from({ length: APPS }, (_, n) => String(n).padStart(2, "0"));
    const weixinApps = numbers.map((n) => ({
      appId: `wx00000000000000${n}`,
      secret: `wxsecret${n}`.padEnd(32, "0"),
    }));
    const wecomApps = numbers.map((n) => ({
      corpId: `ww00000000000000${n}`,
      agent: AGENT,
      secret: `wecomSecret${n}`.padEnd(43, "0"),
    }));
    const world = new ProcessHarness(binary(), { weixinApps, wecomApps });
    try {
      const secrets = Object.fromEntries([
        ...weixinApps.map(({ appId, secret }) => [`WEIXIN_SECRET_${appId}`, secret]),
        ...wecomApps.map(({ corpId, secret }) => [`WECOM_SECRET_${corpId}_${AGENT}`, secret]),
      ]) as Record<string, string>;
      const admin = world.run(["keys", "create", "--admin"]);
      if ((await admin.exited()) !== 0) throw new Error(admin.stderr);
      const { url } = await world.serve(secrets);
      return new SdkHarness(world, await WireTap.open(url), url, admin.stdout.trim());
    } catch (error) {
      await world[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Where the SDKs find the service. */
  get url(): string {
    return this.#tap.url;
  }

  get sandbox(): Sandbox {
    return this.#world.sandbox;
  }

  /**
   * An app of WeChat that no other test has, and a client of it that may call everything. Without `delivery` one as it is
   * made outside `prod` when nothing else is said: with virtual tokens, and without a way to real users.
   */
  weixin(delivery?: Delivery): Promise<SdkClient> {
    const n = this.#next();
    const app = { id: `wx00000000000000${n}`, agent: "", secret: `wxsecret${n}`.padEnd(32, "0") };
    return this.#client(app, app.id, delivery);
  }

  /** The same with an application of WeCom. */
  wecom(delivery?: Delivery): Promise<SdkClient> {
    const n = this.#next();
    const app = { id: `ww00000000000000${n}`, agent: AGENT, secret: `wecomSecret${n}`.padEnd(43, "0") };
    return this.#client(app, `${app.id}_${AGENT}`, delivery);
  }

  /** The real credential of that kind, as another client of the same app is told it, past the tap. */
  async credential(client: SdkClient, kind = "access_token"): Promise<string> {
    const app = client.agent === "" ? client.id : `${client.id}_${client.agent}`;
    const url = `${this.#serviceUrl}/v1/apps/${app}/credentials/${kind}`;
    const response = await fetch(url, { headers: { "x-api-key": await this.#observer(app) } });
    const { data } = (await response.json()) as { data: { value: string } };
    return data.value;
  }

  /** A file with the picture's bytes in the client's folder; gives its path. */
  picture(client: SdkClient, name = "picture.jpg"): string {
    const path = join(client.folder, name);
    writeFileSync(path, PICTURE);
    return path;
  }

  /** Everything that the client's SDK has sent, received or kept. */
  everythingSeenBy(client: SdkClient): string {
    const files = readdirSync(client.folder).map(
      (name) => `${name}\n${readFileSync(join(client.folder, name), "latin1")}`,
    );
    return [this.#tap.heard, ...files].join("\n");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#tap[Symbol.asyncDispose]();
    await this.#world[Symbol.asyncDispose]();
  }

  #next(): string {
    if (this.#taken >= APPS) throw new Error("there are no more apps in this world");
    return String(this.#taken++).padStart(2, "0");
  }

  async #client(
    app: Pick<SdkClient, "id" | "agent" | "secret">,
    name: string,
    delivery: Delivery | undefined,
  ): Promise<SdkClient> {
    const folder = join(this.#world.folder, `sdk-${name}`);
    mkdirSync(folder);
    const apiKey = await this.#newKey(`sdk-${name.toLowerCase()}`, name, delivery);
    return { ...app, apiKey, folder };
  }

  async #observer(app: string): Promise<string> {
    const known = this.#observers.get(app);
    if (known !== undefined) return known;
    const key = await this.#newKey(`observer-${app.toLowerCase()}`, app, "real");
    this.#observers.set(app, key);
    return key;
  }

  async #newKey(client: string, app: string, delivery: Delivery | undefined): Promise<string> {
    await this.#administer("/v1/clients", {
      client,
      environment: "dev",
      grants: [{ apps: [app], actions: ACTIONS }],
      ...(delivery && { delivery, policy: { preset: "all" } }),
    });
    const { api_key } = await this.#administer(`/v1/clients/${client}/keys`, {});
    return String(api_key);
  }

  async #administer(path: string, body: object): Promise<Record<string, unknown>> {
    const headers = { "content-type": "application/json", "x-api-key": this.#adminKey };
    const response = await fetch(this.#serviceUrl + path, {
      method: "POST",
      headers,
      body: JSON.stringify(body),
    });
    const text = await response.text();
    if (response.status !== 201) throw new Error(`${path} was refused: ${text}`);
    return (JSON.parse(text) as { data: Record<string, unknown> }).data;
  }
}

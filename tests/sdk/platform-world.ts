import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { Delivery } from "../../src/access/client.ts";
import { generatePushKey } from "../../src/callbacks/push-crypto.ts";
import type { ComponentControl } from "../../src/sandbox/component-control.ts";
import type { SandboxComponent } from "../../src/sandbox/sandbox-settings.ts";
import type { SuiteControl } from "../../src/sandbox/suite-control.ts";
import { createClient } from "../support/access-harness.ts";
import { Harness } from "../support/harness.ts";
import { WireTap } from "./wire-tap.ts";

/** The accounts that authorize the component, and the corps that install the suites. */
export const OFFICIAL = "wxa000000000000001";
export const MINI = "wxa000000000000002";
export const CORP = "wwcustomer0000000001";
export const COMPONENT = "wxc000000000000001";
export const PROVIDER = "wwprovider00000001";
export const SUITE = "wwsuite0000000000001";
export const TEMPLATE = "dktemplate0000000001";

const PLATFORMS = [
  { kind: "component", id: COMPONENT, secret: "c0".repeat(16) },
  { kind: "provider", id: PROVIDER, secret: "provider-secret".padEnd(43, "0") },
  { kind: "suite", id: SUITE, secret: "suite-secret".padEnd(43, "0"), provider: PROVIDER },
  { kind: "suite", id: TEMPLATE, secret: "template-secret".padEnd(43, "0"), provider: PROVIDER },
] as const;

const ACTIONS = [
  "token:read",
  "ticket:read",
  "ticket:sign",
  "login",
  "api:call",
  "callback:receive",
] as const;

/** A program that knows a platform by its key alone. */
export interface PlatformClient {
  readonly name: string;
  readonly apiKey: string;
  /** An empty folder for what the SDK keeps. */
  readonly folder: string;
}

/** Where a program's events go: the Token and key of its own that they are encrypted with. */
export interface PlatformTarget {
  readonly token: string;
  readonly aesKey: string;
}

/**
 * A service that holds a component, a provider, a third-party app and a template, against a sandbox of them, and a tap
 * through which SDKs reach it. Tickets have arrived when it is there.
 *
 * The tests of a file share it. Use it with `await using`, or dispose of it after all.
 */
export class PlatformWorld {
  readonly world: Harness;
  readonly #tap: WireTap;

  private constructor(world: Harness, tap: WireTap) {
    this.world = world;
    this.#tap = tap;
  }

  static async create(): Promise<PlatformWorld> {
    const keys = new Map(PLATFORMS.map(({ id }) => [id, generatePushKey()]));
    const keyOf = (id: (typeof PLATFORMS)[number]["id"]) => {
      const { token, encodingAesKey } = keys.get(id) ?? generatePushKey();
      return { token: token.reveal(), aesKey: encodingAesKey.reveal() };
    };
    const [component, provider, ...suites] = PLATFORMS;
    const authorizers: SandboxComponent["authorizers"] = [
      { appId: OFFICIAL, name: "公众号一", userName: "gh_000000000001", kind: "official", funcIds: [1, 2] },
      { appId: MINI, name: "小程序二", userName: "gh_000000000002", kind: "miniprogram", funcIds: [17] },
    ];
    const world = await Harness.create({
      environment: { CALLBACK_NETWORKS: "127.0.0.0/8", ANONYMOUS: "off" },
      sandbox: {
        components: [{ appId: COMPONENT, secret: component.secret, ...keyOf(COMPONENT), authorizers }],
        providers: [
          {
            corpId: PROVIDER,
            secret: provider.secret,
            suites: suites.map(({ id, secret }, index) => ({
              ...{ suiteId: id, secret, ...keyOf(id) },
              corps: [{ corpId: CORP, name: "客户甲", agentId: 1_000_010 + index }],
            })),
          },
        ],
        // A stalled machine is not a late answer.
        switches: { commandTimeoutMs: 60_000 },
      },
    });
    const made = new PlatformWorld(world, await WireTap.open(world.service.url));
    try {
      for (const platform of PLATFORMS) {
        await made.administer("POST", "/v1/platforms", platform);
        if (platform.kind === "provider") continue;
        const { token, aesKey } = keyOf(platform.id);
        await made.administer("PUT", `/v1/apps/${platform.id}/callbacks`, { token, aes_key: aesKey });
      }
      await made.#connect();
      return made;
    } catch (error) {
      await made[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Where the SDKs find the service. */
  get url(): string {
    return this.#tap.url;
  }

  /** Everything that has passed between the SDKs and the service. */
  get heard(): string {
    return this.#tap.heard;
  }

  get component(): ComponentControl {
    return this.world.sandbox.component(COMPONENT);
  }

  suite(id: string = SUITE): SuiteControl {
    return this.world.sandbox.suite(id);
  }

  /** A client that may use every platform and whatever they have. */
  async client(name: string, delivery: Delivery): Promise<PlatformClient> {
    const apps = PLATFORMS.flatMap(({ id }) => [`platform:${id}`, `platform:${id}/*`]);
    const grants = [{ apps, actions: [...ACTIONS] }];
    const apiKey = await createClient(this.world, { name, grants, delivery });
    const folder = join(this.world.folder, name);
    mkdirSync(folder);
    return { name, apiKey, folder };
  }

  /** From now on sends a platform's events, and those of its accounts, to that client's program alone. */
  async target(platform: string, { name }: PlatformClient, url: string): Promise<PlatformTarget> {
    const path = `/v1/apps/${platform}/callbacks`;
    const target = { environment: "dev", url };
    const { token, aes_key } = await this.administer("PUT", `${path}/targets/${name}`, target);
    await this.administer("PUT", `${path}/routes`, { routes: [{ target: name, role: "primary" }] });
    return { token: String(token), aesKey: String(aes_key) };
  }

  /** Passes time until `condition` holds: what is due is done in real time. */
  until(condition: () => boolean | Promise<boolean>): Promise<void> {
    return Harness.until(async () => {
      if (await condition()) return true;
      this.world.clock.advance(100);
      return false;
    });
  }

  /** Asks as an administrator. Throws what was refused. */
  async administer(method: string, path: string, body: object): Promise<Record<string, unknown>> {
    const headers = { "content-type": "application/json" };
    const answer = await this.world.administer(path, { method, headers, body: JSON.stringify(body) });
    if (answer.status >= 300) throw new Error(`${method} ${path} was refused: ${answer.text}`);
    return answer.data;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#tap[Symbol.asyncDispose]();
    await this.world[Symbol.asyncDispose]();
  }

  /** What an operator enters in the consoles; then the first tickets arrive. */
  async #connect(): Promise<void> {
    const url = (id: string, rest: string) => `${this.world.service.url}/callback/${id}/${rest}`;
    this.component.setUrls({ eventUrl: url(COMPONENT, "auth"), messageUrl: url(COMPONENT, "$APPID$") });
    const pushes = [() => this.component.pushTicket()];
    for (const id of [SUITE, TEMPLATE]) {
      this.suite(id).setUrls({ commandUrl: url(id, "auth"), dataUrl: url(id, "$CORPID$") });
      pushes.push(() => this.suite(id).pushTicket() as never);
    }
    for (const push of pushes) await this.until(async () => (await push()).accepted);
  }
}

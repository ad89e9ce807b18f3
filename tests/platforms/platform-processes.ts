import { join } from "node:path";
import { systemClock } from "../../src/clock.ts";
import type { SandboxCorp, SandboxSwitches } from "../../src/sandbox/sandbox-settings.ts";
import { openSqliteStore } from "../../src/store/sqlite/sqlite-store.ts";
import type { Store } from "../../src/store/store.ts";
import { KEYS } from "../callbacks/push-vectors.ts";
import type { Answer } from "../support/harness.ts";
import { freePort } from "../support/postgres-server.ts";
import { ask, ProcessHarness } from "../support/process-harness.ts";

export const COMPONENT = "wxc000000000000001";
const PROVIDER = "wwprovider00000001";
export const SUITE = "wwsuite0000000000001";
export const TEMPLATE = "dktemplate0000000001";
const SECRET = "0123456789abcdef0123456789abcdef";
const { token, encodingAesKey } = KEYS.MADE_UP;
const PUSH_KEY = { token: token.reveal(), aesKey: encodingAesKey?.reveal() ?? "" };

/** What there is at WeChat and WeCom. */
export interface PlatformProcessOptions {
  /** How many accounts may authorize the component; default 2. */
  readonly accounts?: number;
  /** How many corps may install the suite and the template; default 2. */
  readonly corps?: number;
  readonly switches?: Partial<SandboxSwitches>;
  /** More variables, as those of another database. */
  readonly env?: Readonly<Record<string, string>>;
}

/**
 * A sandbox with a component, a suite and a template of agency apps, and processes of the program, on one folder, that hold
 * them: what is pushed comes to one port, as a proxy before them would have it.
 *
 * Use it with `await using`.
 */
export class PlatformProcesses extends ProcessHarness {
  /** The AppIDs of the accounts that may authorize the component. */
  readonly accounts: readonly string[];
  /** The CorpIDs of the corps that may install the suite and the template. */
  readonly corps: readonly string[];
  /** Where pushes come to, and people return to. */
  readonly port = freePort();
  readonly #env: Readonly<Record<string, string>>;
  #adminKey = "";
  #key = "";

  constructor(
    program: readonly string[],
    { accounts: many = 2, corps: some = 2, switches = {}, env = {} }: PlatformProcessOptions = {},
  ) {
    const accounts = Array.from({ length: many }, (_, n) => `wxa${String(n).padStart(15, "0")}`);
    const corps = Array.from({ length: some }, (_, n) => `wwcustomer${String(n).padStart(10, "0")}`);
    const corpsFrom = (from: number): SandboxCorp[] =>
      corps.map((corpId, n) => ({ corpId, name: `客户${n}`, agentId: from + n }));
    super(program, {
      ...{ weixinApps: [], wecomApps: [] },
      components: [
        {
          ...{ appId: COMPONENT, secret: SECRET, ...PUSH_KEY },
          authorizers: accounts.map((appId, n) => ({
            ...{ appId, name: `帐号${n}`, userName: `gh_${String(n).padStart(12, "0")}` },
            kind: n % 2 === 0 ? "official" : "miniprogram",
          })),
        },
      ],
      providers: [
        {
          ...{ corpId: PROVIDER, secret: SECRET },
          suites: [
            { suiteId: SUITE, secret: SECRET, ...PUSH_KEY, corps: corpsFrom(1_000_010) },
            { suiteId: TEMPLATE, secret: SECRET, ...PUSH_KEY, corps: corpsFrom(1_100_010) },
          ],
        },
      ],
      // A busy machine is no late answer.
      switches: { commandTimeoutMs: 60_000, ...switches },
    });
    this.#env = env;
    this.accounts = accounts;
    this.corps = corps;
    this.turnTo(this.url);
  }

  /** The address of the process on `port`. */
  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  override get variables(): Record<string, string> {
    return {
      ...{ PORT: String(this.port), ENV_FILE: "", ANONYMOUS: "off" },
      ...{ WEIXIN_BASE_URL: this.sandbox.weixinUrl, WECOM_BASE_URL: this.sandbox.wecomUrl },
      // Its pages have another name than the way of administrators.
      PUBLIC_URL: `http://localhost:${this.port}`,
      ...this.#env,
    };
  }

  get component() {
    return this.sandbox.component(COMPONENT);
  }

  /** From now on WeChat and WeCom push there. */
  turnTo(url: string): void {
    this.component.setUrls({ eventUrl: `${url}/callback/${COMPONENT}/auth` });
    for (const suite of [SUITE, TEMPLATE])
      this.sandbox.suite(suite).setUrls({ commandUrl: `${url}/callback/${suite}/auth` });
  }

  /** The database, past every process. */
  async store(): Promise<Store> {
    return openSqliteStore({
      ...{ path: this.databasePath, masterKey: undefined, clock: systemClock },
      ...{ masterKeyFile: join(this.folder, "data", "master.key"), onKeyCreated: () => undefined },
    });
  }

  get databasePath(): string {
    return join(this.folder, "data", "accesstoken.db");
  }

  /** Makes an administrator's key; before `administer`. */
  async makeAdmin(): Promise<void> {
    const child = this.run(["keys", "create", "--admin"], this.variables);
    if ((await child.exited()) !== 0) throw new Error(child.stdout + child.stderr);
    this.#adminKey = child.stdout.trim();
  }

  /** Registers the platforms, their callbacks, and a program that may have real tokens of everything that they have. */
  async prepare(url: string): Promise<void> {
    const secret = SECRET;
    const provider = PROVIDER;
    const platforms = [
      { kind: "component", id: COMPONENT, secret },
      { kind: "suite", id: SUITE, secret, provider },
      { kind: "suite", id: TEMPLATE, secret, provider },
    ];
    for (const platform of platforms) {
      await this.administer(url, "/v1/platforms", "POST", platform);
      const keys = { token: PUSH_KEY.token, aes_key: PUSH_KEY.aesKey };
      await this.administer(url, `/v1/apps/${platform.id}/callbacks`, "PUT", keys);
    }
    const apps = platforms.flatMap(({ id }) => [`platform:${id}`, `platform:${id}/*`]);
    const grants = [{ apps, actions: ["token:read"] }];
    const client = { client: "shop", environment: "prod", delivery: "real", grants };
    await this.administer(url, "/v1/clients", "POST", client);
    const { api_key } = await this.administer(url, "/v1/clients/shop/keys", "POST", {});
    this.#key = String(api_key);
  }

  /** Asks a process as an administrator. */
  async administer(url: string, path: string, method = "GET", body?: object): Promise<Answer["data"]> {
    const headers = { authorization: `Bearer ${this.#adminKey}`, "content-type": "application/json" };
    const init = { method, headers, ...(body && { body: JSON.stringify(body) }) };
    const { code, msg, data } = await ask(url, path, {}, init);
    if (code !== 0) throw new Error(`${method} ${path}: ${code} ${msg}`);
    return data;
  }

  /** Gets the token of an app, as a program does. */
  token(url: string, app: string, kind = "access_token"): Promise<Answer> {
    const headers = { authorization: `Bearer ${this.#key}` };
    return ask(url, `/v1/apps/${app}/credentials/${kind}`, {}, { headers });
  }

  /** Makes a link, and answers with its state, which a return from WeChat's page brings back. */
  async linkState(url: string, platform = COMPONENT): Promise<string> {
    const { state } = await this.administer(url, `/v1/platforms/${platform}/links`, "POST", {});
    return String(state);
  }

  /** Returns from the consent page with a code, as a browser does; resolves with the status. */
  async comeBack(url: string, state: string, code: string): Promise<number> {
    const query = new URLSearchParams({ state, auth_code: code, expires_in: "3600" });
    const answer = await fetch(`${url}/connect/authorize/return?${query.toString()}`, { keepalive: false });
    await answer.text();
    return answer.status;
  }
}

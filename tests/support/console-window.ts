import { createClient } from "./access-harness.ts";
import { Browser, type Size } from "./browser.ts";
import { CORP, type Harness, WECOM, WX, WX_FOREIGN } from "./harness.ts";
import { ManagingHarness } from "./managing-harness.ts";
import { addAuthorized, addTicket, COMPONENT, GAME, PROVIDER, SHOP, SUITE } from "./platforms.ts";

const MINUTE_MS = 60_000;

/** How the console is looked at. */
export interface Look {
  readonly language?: "zh" | "en";
  readonly theme?: "light" | "dark";
}

/** A string as a script writes it. */
const quote = (text: string) => JSON.stringify(text);

/**
 * The console of a real service in a real browser, with an administrator signed in. The service has some of everything:
 * tokens young and old, an app that WeChat refuses, clients of several environments.
 *
 * Use it with `await using`, once for all tests of a file that do not mind each other: it takes seconds to open.
 */
export class ConsoleWindow {
  readonly world: Harness;
  readonly browser: Browser;
  /** Asks the service as the administrator. */
  readonly ask: ManagingHarness["ask"];
  readonly adminKey: string;
  readonly #managing: ManagingHarness;

  private constructor(managing: ManagingHarness, browser: Browser) {
    this.world = managing.world;
    this.browser = browser;
    this.ask = managing.ask.bind(managing);
    this.adminKey = managing.adminKey;
    this.#managing = managing;
  }

  static async open(size?: Size): Promise<ConsoleWindow> {
    const managing = await ManagingHarness.create();
    const window = new ConsoleWindow(managing, await Browser.open(size));
    await window.#seed();
    await window.browser.navigate(`${window.url}#/`);
    await window.signIn();
    return window;
  }

  get url(): string {
    return `${this.world.service.url}/console/`;
  }

  async #seed(): Promise<void> {
    const { clock } = this.world;
    // The browser has a clock of its own.
    clock.advance(Date.now() - clock.now() - 100 * MINUTE_MS);
    const appToken = (app: string) => this.ask("GET", `/v1/apps/${app}/credentials/access_token`);
    await appToken(`${CORP}_${WECOM.agent}`);
    clock.advance(80 * MINUTE_MS);
    await appToken(WX.appId);
    clock.advance(20 * MINUTE_MS);
    const secret = WX_FOREIGN.secret.replaceAll("f", "0");
    await this.ask("POST", "/v1/apps", {
      ...{ platform: "weixin", app_id: WX_FOREIGN.appId, title: "小程序商城 Shop", secret },
    });
    await appToken(WX_FOREIGN.appId);
    for (const environment of ["prod", "st", "dev"]) {
      const apps = environment === "prod" ? ["*"] : [WX.appId];
      const grants = [{ apps, actions: ["token:read", "ticket:sign", "api:call"] as const }];
      await createClient(this.world, { name: `shop-${environment}`, environment, grants });
    }
    await this.#seedPushes();
    const { bots, wecomUrl } = this.world.sandbox;
    await this.ask("POST", "/v1/notifications/channels", {
      ...{ channel: "ops", kind: "wecom", url: bots.urlOf("wecom", wecomUrl), enabled: false },
      ...{ min_severity: "warning", mention: ["zhangsan"] },
    });
  }

  /** An app that receives pushes, and whose web logins return to two environments. */
  async #seedPushes(): Promise<void> {
    const app = `/v1/apps/${WX.appId}`;
    await this.ask("PUT", `${app}/callbacks`, {});
    const url = "https://dev.example.com/wx/$APPID$";
    await this.ask("PUT", `${app}/callbacks/targets/dev-web`, { environment: "dev", url });
    await this.ask("PUT", `${app}/callbacks/targets/laptop`, { environment: "dev", content: "decrypted" });
    const copy = { target: "laptop", role: "copy", types: ["event"], event_keys: ["qrscene_dev*"] };
    await this.ask("PUT", `${app}/callbacks/routes`, {
      routes: [{ target: "dev-web", role: "primary" }, copy],
    });
    for (const environment of ["prod", "dev"])
      await this.ask("PUT", `${app}/redirect-origins/${environment}`, {
        redirect_origins: [`https://${environment}.example.com`],
      });
  }

  /** Adds a platform that gets tickets, with an account that is good and one that is lost; and a suite that gets none. */
  async addPlatforms(): Promise<void> {
    const now = this.world.clock.now();
    const { id, secret } = COMPONENT;
    await this.ask("POST", "/v1/platforms", {
      kind: "component",
      id,
      secret,
      title: "建站平台 Site builder",
    });
    await this.ask("PATCH", `/v1/apps/${id}`, { public_url: "https://wx.example.com" });
    await this.ask("PUT", `/v1/apps/${id}/callbacks`, {});
    await addTicket(this.world, id, now - 4 * MINUTE_MS);
    const suite = { kind: "suite", ...SUITE, provider: PROVIDER.id };
    await this.ask("POST", "/v1/platforms", suite);
    const scopes = [1, 2, 3, 4, 7, 11, 13, 15, 22, 24, 26, 27];
    const authorizedAt = now - 90 * 24 * 60 * MINUTE_MS;
    await addAuthorized(this.world, SHOP, id, { title: "花店 Flower shop", scopes, authorizedAt });
    const lostAt = now - 50 * MINUTE_MS;
    await addAuthorized(this.world, GAME, id, { isMiniProgram: true, authorizedAt, lostAt });
  }

  /** Signs in within the page, which then shows where it is; default as the administrator. */
  async signIn(key = this.adminKey): Promise<void> {
    const init = `{ method: "POST", headers: { "content-type": "application/json" }, body: ${quote(JSON.stringify({ key }))} }`;
    const status = await this.browser.evaluate<number>(
      `fetch("/console/session", ${init}).then(({ status }) => status)`,
    );
    if (status !== 200) throw new Error(`the sign-in was refused: ${status}`);
    await this.#reload();
  }

  /**
   * Shows a screen, by what follows `#`, and waits until it has all that it asked for; then clicks on what the selectors
   * name, one after the other. Dialogs that were open are left.
   */
  async show(path: string, { clicks = [], ...look }: Look & { clicks?: readonly string[] | undefined } = {}) {
    await this.look({ language: "en", theme: "light", ...look });
    await this.browser.press("Escape");
    const screen = (hash: string) => hash.split("?")[0];
    const before = await this.browser.evaluate<string>("location.hash");
    // Only another screen drops what this one has open.
    if (screen(before) === screen(`#${path}`)) await this.#go("/nowhere");
    await this.#go(path);
    for (const selector of clicks) {
      await this.browser.click(selector);
      await this.settled();
    }
  }

  /** Changes language and theme of what is shown. */
  async look({ language, theme }: Look): Promise<void> {
    const steps = [
      theme === undefined ? "" : `document.documentElement.dataset.theme = ${quote(theme)};`,
      language === undefined
        ? ""
        : `if (!document.documentElement.lang.startsWith(${quote(language)})) document.querySelector(".language")?.click();`,
    ];
    await this.browser.evaluate(`(() => { ${steps.join(" ")} })()`);
    await this.settled();
  }

  async #go(path: string): Promise<void> {
    await this.browser.evaluate(`void (location.hash = ${quote(`#${path}`)})`);
    await this.settled();
  }

  async #reload(): Promise<void> {
    // The page that is left goes on for a moment as if nothing were.
    await this.browser.evaluate("(window.isLeft = true, location.reload())").catch(() => undefined);
    await this.browser.until("window.isLeft === undefined");
    await this.settled();
  }

  /** Waits until the page shows a screen, and nothing of it is still on its way. */
  async settled(): Promise<void> {
    await this.browser.until(
      `document.readyState === "complete" && document.querySelector("h1") !== null &&
        document.querySelector(".skeleton, [aria-busy=true]") === null &&
        new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(() => resolve(true))))`,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.browser[Symbol.dispose]();
    await this.#managing[Symbol.asyncDispose]();
  }
}

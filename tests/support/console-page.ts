import type { Answer, Harness } from "./harness.ts";

/** The console's page in a browser, as far as requests go: it keeps the cookie and says where it is. */
export class ConsolePage {
  readonly #url: () => string;
  /** As sent back: `name=value`. */
  cookie = "";
  /** As the service set it last. */
  setCookie = "";

  /** A page of the service that `url` gives, also after a restart. */
  constructor(url: Pick<Harness, "service"> | (() => string)) {
    this.#url = typeof url === "function" ? url : () => url.service.url;
  }

  get origin(): string {
    return this.#url();
  }

  /** Sends what the page's script would send. `headers` take the place of the browser's own; an empty one is left out. */
  async send(
    method: string,
    path: string,
    body?: object,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Answer> {
    const all = {
      "sec-fetch-site": "same-origin",
      ...(this.cookie === "" ? {} : { cookie: this.cookie }),
      ...(method === "GET" ? {} : { origin: this.origin }),
      ...(body === undefined ? {} : { "content-type": "application/json" }),
      ...headers,
    };
    const response = await fetch(this.origin + path, {
      method,
      headers: Object.fromEntries(Object.entries(all).filter(([, value]) => value !== "")),
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const set = response.headers.get("set-cookie");
    if (set !== null) {
      this.setCookie = set;
      const [pair = ""] = set.split(";");
      this.cookie = pair.endsWith("=") ? "" : pair;
    }
    const text = await response.text();
    const { code, msg, data } = JSON.parse(text) as Answer;
    return { status: response.status, headers: response.headers, text, code, msg, data };
  }

  get(path: string, headers: Readonly<Record<string, string>> = {}): Promise<Answer> {
    return this.send("GET", path, undefined, headers);
  }

  /** Signs in with an API key. */
  signIn(key: string): Promise<Answer> {
    return this.send("POST", "/console/session", { key });
  }
}

import type { Sandbox } from "../../src/sandbox/sandbox.ts";
import type { Call } from "./nemesis-history.ts";

/** The secrets of an app, one after the other; the sandbox knows the first. */
export function secretOf(version: number): string {
  return `a1b2c3d4e5f60718293a4b5c6d7e${version.toString(16).padStart(4, "0")}`;
}

const TOKEN_PATHS = ["/cgi-bin/token", "/cgi-bin/stable_token"];

/** Every token that the sandbox has issued through any door, by app, in that order. */
export class IssueBook {
  readonly #numbers = new Map<string, { readonly app: string; readonly number: number }>();
  readonly #newest = new Map<string, number>();

  /** The place of a token among those of its app, the first time it is seen the next one. */
  note(app: string, token: string): number {
    const known = this.#numbers.get(token);
    if (known) return known.number;
    const number = this.newest(app) + 1;
    this.#numbers.set(token, { app, number });
    this.#newest.set(app, number);
    return number;
  }

  /** The place of a token that was handed out for `app`; -1 where none was issued like that. */
  find(app: string, token: string): number {
    const known = this.#numbers.get(token);
    return known?.app === app ? known.number : -1;
  }

  /** The newest token of an app; -1 for none. */
  newest(app: string): number {
    return this.#newest.get(app) ?? -1;
  }
}

/** What a door needs. */
export interface DoorOptions {
  readonly sandbox: Sandbox;
  readonly book: IssueBook;
  /** Told of each call for a token when it is over. */
  readonly onCall: (call: Omit<Call, "type" | "node">) => void;
  readonly now: () => number;
  /** How long a call takes, in milliseconds; half before the work and half after. */
  readonly slowness: () => number;
}

/** One node's door to the sandbox: it takes its time, writes down who asked for what, and knows every secret as the right one. */
export class RecordingUpstream {
  readonly url: string;
  readonly #server: Bun.Server<undefined>;

  constructor({ sandbox, book, onCall, now, slowness }: DoorOptions) {
    this.#server = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      idleTimeout: 30,
      fetch: async (request) => {
        const { pathname, searchParams } = new URL(request.url);
        const body = request.method === "GET" ? undefined : await request.text();
        const isCall = TOKEN_PATHS.includes(pathname);
        const forward = (query: URLSearchParams, sent = body) =>
          fetch(`${sandbox.weixinUrl}${pathname}?${query.toString()}`, {
            method: request.method,
            keepalive: false,
            ...(sent === undefined ? {} : { body: sent, headers: { "content-type": "application/json" } }),
          });
        if (!isCall) return forward(searchParams);
        const from = now();
        const asked = (body ? JSON.parse(body) : Object.fromEntries(searchParams)) as Record<string, string>;
        const { appid: app = "", secret = "" } = asked;
        const halfMs = slowness() / 2;
        await Bun.sleep(halfMs);
        const right = { ...asked, secret: secretOf(0) };
        const answer = body
          ? await forward(searchParams, JSON.stringify(right))
          : await forward(new URLSearchParams(right));
        const text = await answer.text();
        const { access_token: value } = JSON.parse(text) as { access_token?: string };
        const token = value === undefined ? {} : { token: book.note(app, value) };
        await Bun.sleep(halfMs);
        onCall({ from, to: now(), app, secret: Number.parseInt(secret.slice(-4), 16), ...token });
        return new Response(text, { headers: { "content-type": "application/json" } });
      },
    });
    this.url = `http://127.0.0.1:${this.#server.port}`;
  }

  [Symbol.dispose](): void {
    void this.#server.stop(true);
  }
}

import type { AuditActor, AuditEntry } from "../audit/audit-entry.ts";
import type { Clock } from "../clock.ts";
import { ServiceError } from "../errors.ts";
import { Secret } from "../secret.ts";
import type { ClientAdministration, CreatedKey } from "./client-administration.ts";
import type { ClientDirectory } from "./client-directory.ts";
import { ANY_APP, type Client } from "./client.ts";
import type { ConsoleSessionStore } from "./console-sessions.ts";

/** How long a link works that makes the first administrator, and one that signs in. */
const SETUP_MS = 15 * 60_000;
const SIGN_IN_MS = 5 * 60_000;
const TOKEN_BYTES = 32;

/** The client of whoever uses the set-up link. */
const ADMIN = "admin";
/** Who that is in the audit before it is a client. */
const SETUP_LINK = "(set-up link)";

const NO_LIMITS = { expiresAt: undefined, rateLimit: undefined, concurrency: undefined };

/** A link of the console, without the origin: nobody is asked for what is behind the `#`. */
export interface NewConsoleLink {
  readonly path: Secret;
  /** The client that it signs in; undefined for the link that makes the first administrator. */
  readonly client: string | undefined;
  /** Epoch milliseconds. */
  readonly expiresAt: number;
}

/** What links work with. */
export interface ConsoleLinkParts {
  readonly store: Pick<ConsoleSessionStore, "addLink" | "takeLink">;
  readonly clients: Pick<ClientDirectory, "refresh" | "find" | "hasAdmin">;
  readonly administration: Pick<ClientAdministration, "create" | "createKey">;
  readonly clock: Clock;
}

/** Links of the command line that open the console, each once. */
export class ConsoleLinks {
  readonly #parts: ConsoleLinkParts;

  constructor(parts: ConsoleLinkParts) {
    this.#parts = parts;
  }

  /**
   * A link that makes the first administrator, in the place of the one before; it works for 15 minutes.
   *
   * @throws {ServiceError} `conflict` once there is an administrator.
   */
  async createSetup(): Promise<NewConsoleLink> {
    await this.#checkNoAdmin();
    return this.#create("setup", undefined, SETUP_MS);
  }

  /** A link that signs the client in; it works for five minutes. Throws `not_found`. */
  async createSignIn(client: string): Promise<NewConsoleLink> {
    await this.#parts.clients.refresh();
    if (!this.#parts.clients.find(client)) throw noSuchClient();
    return this.#create("sign-in", client, SIGN_IN_MS);
  }

  /** The client that the link of `token` signs in; undefined for none. It works no more. */
  async redeemSignIn(token: string): Promise<Client | undefined> {
    const { store, clients, clock } = this.#parts;
    const link = await store.takeLink({ digest: digestOf(token), isSetup: false }, clock.now());
    if (!link) return undefined;
    await clients.refresh();
    return clients.find(link.client);
  }

  /**
   * Makes the first administrator, with a key that is never shown again; undefined for a wrong token. The link works no
   * more.
   *
   * @throws {ServiceError} `conflict` once there is an administrator.
   */
  async redeemSetup(
    token: string,
    by: Pick<AuditActor, "address" | "traceId">,
  ): Promise<(CreatedKey & { readonly client: Client }) | undefined> {
    const { store, clients, administration, clock } = this.#parts;
    const actor = { client: SETUP_LINK, environment: "", ...by };
    const link = await store.takeLink(
      { digest: digestOf(token), isSetup: true },
      clock.now(),
      entryOf(actor, { of: ADMIN }),
    );
    if (!link) return undefined;
    await this.#checkNoAdmin();
    const grants = [{ apps: [ANY_APP], actions: ["admin" as const] }];
    const settings = { environment: ADMIN, grants, networks: [], ...NO_LIMITS };
    await administration.create(ADMIN, settings, { actor });
    const made = await administration.createKey(ADMIN, { label: "console", expiresAt: undefined }, { actor });
    const client = clients.find(ADMIN);
    return client && { ...made, client };
  }

  async #create(way: string, client: string | undefined, lifeMs: number): Promise<NewConsoleLink> {
    const { store, clock } = this.#parts;
    const token = Buffer.from(crypto.getRandomValues(new Uint8Array(TOKEN_BYTES))).toString("base64url");
    const createdAt = clock.now();
    const expiresAt = createdAt + lifeMs;
    await store.addLink({ digest: digestOf(token), client: client ?? "", createdAt, expiresAt });
    return { path: new Secret(`/console/#/${way}/${token}`), client, expiresAt };
  }

  async #checkNoAdmin(): Promise<void> {
    const { clients } = this.#parts;
    await clients.refresh();
    if (!clients.hasAdmin && !clients.find(ADMIN)) return;
    throw new ServiceError(
      "conflict",
      clients.hasAdmin
        ? "已有管理员 (there is an administrator already)"
        : "名为admin的客户端已存在，但不是管理员 (there is a client named admin, and it is no administrator)",
      {
        hint: clients.hasAdmin
          ? "请用 accesstoken console login <client> 获取登录链接 (accesstoken console login <client> makes a link to sign in)"
          : "请先执行 accesstoken clients grant admin --actions admin (first: accesstoken clients grant admin --actions admin)",
      },
    );
  }
}

function digestOf(token: string): string {
  return new Bun.SHA256().update(token).digest("hex");
}

function noSuchClient(): ServiceError {
  return new ServiceError("not_found", "没有该客户端 (no such client)", {
    hint: "accesstoken clients list 列出全部客户端 (accesstoken clients list shows them)",
  });
}

function entryOf(actor: AuditActor, detail: Readonly<Record<string, unknown>>): AuditEntry {
  return { ...actor, action: "console.setup", app: "", outcome: "ok", tokenDigest: "", detail };
}

import type { ApiPolicy } from "./api-policy.ts";
import type { AuditEntry } from "../audit/audit-entry.ts";

/** Which access tokens a client gets: WeChat's own, or ours in their place, which only our gateway accepts. */
export const DELIVERIES = ["real", "virtual"] as const;
export type Delivery = (typeof DELIVERIES)[number];

/** A program of one environment, and what it may do. Instants are epoch milliseconds. */
export interface Client {
  /** Unique; `CLIENT_NAME`. */
  readonly name: string;
  /** `prod`, `pre`, `st`, `dev`, or any other name. */
  readonly environment: string;
  readonly grants: readonly Grant[];
  /** CIDR blocks from which it may call; empty for any address. */
  readonly networks: readonly string[];
  /** Origins of the pages that may call with its key; undefined for any that may call at all. */
  readonly origins?: readonly string[] | undefined;
  /** From then on it is refused. */
  readonly expiresAt: number | undefined;
  /** Requests a second; undefined for no limit. */
  readonly rateLimit: number | undefined;
  /** Requests under way at once through the gateway; undefined for the default of `Concurrency`, under which calls wait. */
  readonly concurrency: number | undefined;
  /** `virtual` wherever the policy refuses anything: a real token names no client, so no policy can restrict it. */
  readonly delivery: Delivery;
  /** What it may call through the gateway. */
  readonly policy: ApiPolicy;
  readonly createdAt: number;
  readonly updatedAt: number;
  /** Grows with each change. */
  readonly version: number;
  /** What of it the store can't read, by the names of `/v1`: until it is set again the client may do nothing. */
  readonly damaged?: readonly string[];
}

/** The name of a client. In the audit a caller that is no client has a name in parentheses, which never matches. */
export const CLIENT_NAME = /^[a-z0-9][a-z0-9._-]{0,63}$/;

/** One key of a client, without the key. Instants are epoch milliseconds. */
export interface ApiKeyRecord {
  /** The public prefix of the key, which names it. */
  readonly prefix: string;
  readonly client: string;
  /** SHA-256 of the whole key, hex. */
  readonly digest: string;
  /** What people call it; unique among the client's valid keys, but for one that is being rolled. */
  readonly label: string;
  readonly createdAt: number;
  readonly expiresAt: number | undefined;
  readonly revokedAt: number | undefined;
  /** The prefix of the key that was made in its place. */
  readonly replacedBy?: string | undefined;
  /** To the minute, as far as it is stored. */
  readonly lastUsedAt: number | undefined;
  /** Whether the store can't read all of it: then it is accepted no more. */
  readonly isDamaged?: boolean;
}

/** Whether the client manages this service. */
export function isAdmin({ grants }: Pick<Client, "grants">): boolean {
  return grants.some(({ apps, actions }) => actions.includes("admin") && apps.includes(ANY_APP));
}

/**
 * The apps whose real access tokens the client may get, or may have got before it was damaged: public names, or `ANY_APP`
 * for all of them, and for every account of a platform, as those change.
 */
export function tokenApps({
  grants,
  delivery,
  damaged,
}: Pick<Client, "grants" | "delivery" | "damaged">): string[] {
  if (damaged) return [ANY_APP];
  if (delivery !== "real") return [];
  return grants.flatMap(({ apps, actions }) => {
    const isGiven = (["token:read", "token:refresh", "admin"] as const).some((each) =>
      actions.includes(each),
    );
    return isGiven ? apps.map(oneOrAny) : [];
  });
}

/** What a client may be allowed to do. */
export const ACTIONS = [
  /** See the app in the console and by `/v1`, its history and its audit; no value of it. */
  "view",
  /** Get an access token. */
  "token:read",
  /** Clear one. */
  "token:clear",
  /** Request a new one, also by force; report one as rejected; remove an app's backoffs. */
  "token:refresh",
  /** Get a ticket. */
  "ticket:read",
  /** Have a page signed. */
  "ticket:sign",
  /** Exchange a user's code. */
  "login",
  /** Call WeChat through the gateway. */
  "api:call",
  /** See, pull, answer and replay pushes of the client's own environment. */
  "callback:receive",
  /** Manage how pushes are verified and where they go, and see those of every environment. */
  "callback:manage",
  /** Manage where web logins may return to, and which codes they bring. */
  "oauth:manage",
  /** Read the metrics, which name every app and client. */
  "metrics:read",
  /** Manage apps, clients and keys, read the audit, and everything above on every app. */
  "admin",
] as const;
export type Action = (typeof ACTIONS)[number];

/** Those that only a key gives, also to a caller from a trusted network or with the app's secret. */
export const KEY_ACTIONS: readonly Action[] = [
  "view",
  "callback:receive",
  "callback:manage",
  "oauth:manage",
  "admin",
];

/** Those that are about the service and no app: they are granted on `ANY_APP`. */
export const SERVICE_ACTIONS: readonly Action[] = ["metrics:read", "admin"];

/** In the place of an app's name: every app. No app is called so. */
export const ANY_APP = "*";

/** In the place of an app's name: every account that has authorized a third-party platform, or the platform itself. */
const OF_PLATFORM = /^platform:([A-Za-z0-9_-]+)(\/\*)?$/;

/** The platform of `platform:<id>/*` or `platform:<id>` in a grant; undefined for the name of an app. */
export function platformOf(name: string): string | undefined {
  return OF_PLATFORM.exec(name)?.[1];
}

function oneOrAny(name: string): string {
  const [, platform, all] = OF_PLATFORM.exec(name) ?? [];
  return platform === undefined ? name : all ? ANY_APP : platform;
}

/** Whether the names of a grant include the app of that public name. */
export function includesApp(names: ReadonlySet<string>, app: string): boolean {
  if (names.has(ANY_APP) || names.has(app) || names.has(`platform:${app}`)) return true;
  // The name of an account ends with its platform's.
  const cut = app.lastIndexOf("_");
  return cut > 0 && names.has(`platform:${app.slice(cut + 1)}/*`);
}

/** Some actions on some apps. */
export interface Grant {
  /**
   * Public names of apps, `platform:<id>` for a third-party platform, `platform:<id>/*` for every account that has
   * authorized it, or `ANY_APP` for all of them.
   */
  readonly apps: readonly string[];
  readonly actions: readonly Action[];
}

/** Reads stored grants; undefined when they can't be read. An action that this version does not know is not granted. */
export function readGrants(text: string): Grant[] | undefined {
  const known: ReadonlySet<string> = new Set(ACTIONS);
  try {
    const stored = JSON.parse(text) as { readonly apps: unknown; readonly actions: unknown }[];
    const grants = stored.flatMap(({ apps, actions }) =>
      isTexts(apps) && isTexts(actions)
        ? [{ apps, actions: actions.filter((action): action is Action => known.has(action)) }]
        : [],
    );
    return grants.length === stored.length ? grants : undefined;
  } catch {
    return undefined;
  }
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((each) => typeof each === "string");
}

/**
 * `grants` as a function of action and app that costs two look-ups, however long they are. `admin` on every app allows
 * everything; on some apps, as earlier versions could grant it, every action on those apps and nothing else.
 */
export function grantTable(grants: readonly Grant[]): (action: Action, app: string) => boolean {
  if (isAdmin({ grants })) return () => true;
  const apps = new Map<Action, Set<string>>();
  const ofApps = ACTIONS.filter((action) => !SERVICE_ACTIONS.includes(action));
  for (const grant of grants)
    for (const action of grant.actions.includes("admin") ? ofApps : grant.actions)
      apps.set(action, new Set([...(apps.get(action) ?? []), ...grant.apps]));
  return (action, app) => {
    const granted = apps.get(action);
    return granted !== undefined && includesApp(granted, app);
  };
}

/** What an administrator has decided about callers that are no client, for all processes. */
export interface AccessSettings {
  /** Whether callers without key and secret are answered, where `ANONYMOUS` does not say. */
  readonly isAnonymousOn: boolean;
  /** Origins whose pages may call the signature routes; undefined for those of `CORS_ORIGINS`. */
  readonly corsOrigins: readonly string[] | undefined;
}

/**
 * Where clients and their keys are kept.
 *
 * Each change writes its audit entry in the same transaction: what can't be audited is not done. It raises the epoch of
 * `clients`; that of `environments` too where a client is given the name of a new environment, which it creates.
 */
export interface ClientStore {
  /** Every client, every key and the settings, for a process's memory. */
  load(): Promise<{
    readonly clients: readonly Client[];
    readonly keys: readonly ApiKeyRecord[];
    readonly settings: AccessSettings;
  }>;
  /** Changes what is given of the settings. */
  saveSettings(change: Partial<AccessSettings>, entry: AuditEntry): Promise<void>;
  /** When keys of a client were last used, as far as any process has written it down; epoch milliseconds. */
  lastUsesOf(client: string): Promise<readonly { readonly prefix: string; readonly usedAt: number }[]>;
  /**
   * Adds a client at a version that no earlier client of that name can have had: an ETag of that one must not fit this
   * one. Throws `conflict` when its name is taken.
   */
  create(client: Omit<Client, "version">, entry: AuditEntry): Promise<void>;
  /** Puts `client` in the place of its `version - 1`. Throws `precondition_failed` when another version stands. */
  update(client: Client, entry: AuditEntry): Promise<void>;
  /** Removes a client of that version, and its keys. Throws `precondition_failed` when another version stands. */
  remove(name: string, version: number, entry: AuditEntry): Promise<void>;
  /** Adds a key. Throws `conflict` when its label is taken among the client's keys that are not over. */
  addKey(key: ApiKeyRecord, entry: AuditEntry): Promise<void>;
  /** Adds `next` and lets `prefix` end at `endsAt`, unless it ends earlier. Throws `not_found` when it is revoked or gone. */
  rollKey(prefix: string, endsAt: number, next: ApiKeyRecord, entry: AuditEntry): Promise<void>;
  /** Revokes a key of a client. Throws `not_found` when there is none that is not revoked. */
  revokeKey(client: string, prefix: string, at: number, entry: AuditEntry): Promise<void>;
  /** Writes down when keys were last used; raises no epoch. */
  touchKeys(uses: readonly { readonly prefix: string; readonly usedAt: number }[]): Promise<void>;
}

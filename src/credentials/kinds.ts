import {
  isAuthorizer,
  type PlatformRole,
  roleOf,
  type Slot,
  type SlotName,
  type TokenMode,
} from "../apps/app.ts";
import { type Platform, ServiceError } from "../errors.ts";

/** When a credential is renewed before it expires, for a life of two hours; shorter lives scale it down. */
interface RenewalRule {
  /** The life that is left at the earliest and at the latest; in between, jitter spreads the credentials of many apps. */
  readonly firstLeftMs: number;
  readonly lastLeftMs: number;
  /** Whether a renewal that brought no longer life is tried again every 15 s, or when half of what is left is gone. */
  readonly again: "often" | "half";
}

/** One kind of credential, as one platform issues it, and everything in which it differs from the others. */
export interface Kind {
  readonly platform: Platform;
  readonly name: string;
  /** The token mode that the row is for; undefined where the mode makes no difference. */
  readonly mode?: TokenMode;
  /** Whose it is, where not every app has it: a third-party platform's, or an account's that a component has. */
  readonly holder?: Holder;
  /**
   * What it is obtained with: the app's secret, the app's access token, or a credential of the app's parent. One that
   * is pushed cannot be requested: WeChat sends it on its own, and `accept` stores it.
   */
  readonly obtainedBy: "secret" | "token" | "parent" | "pushed";
  /** The kind that it is obtained with: the app's own token, or what the app's parent has. */
  readonly parent?: string;
  /** Undefined for one that is not renewed before it expires. */
  readonly renewal?: RenewalRule;
  /** The same value is issued until so much of its life is left; undefined where that is not known. */
  readonly repeatedUntilLeftMs?: number;
  /** Whether each fetch issues a new one, and so ends the one before its predecessor. */
  readonly invalidatesPredecessor?: boolean;
  /** For how long a valid value that was replaced stays valid. */
  readonly predecessorMs: number;
  /** Whether the upstream issues a new one on demand, although the current one is valid. */
  readonly canForce?: boolean;
  /** Where it is obtained, for those whose calls are counted by the day, and how many calls a day are allowed. */
  readonly daily?: { readonly endpoint: string; readonly limit: number };
  /** Whether the upstream can be asked if a value is still valid. */
  readonly hasProbe?: boolean;
  /** Whether it is asked before another is fetched, because that may end the current one. */
  readonly probesFirst?: boolean;
  /** What a refusal of it blames: the slot, which is its secret and account, or this credential alone. */
  readonly blames: "slot" | "credential";
  /** Whether callers send it back to us with their calls, so that it must be recognized. */
  readonly isPresented?: boolean;
}

/** Who has credentials of kinds of their own. `app`: one that we have a secret of. */
type Holder = PlatformRole | "app" | "authorizer";

const MINUTE_MS = 60_000;
/** How long WeChat keeps the predecessor of a token valid. */
const HANDOVER_MS = 5 * MINUTE_MS;
/** WeChat's and WeCom's credentials live two hours. */
const FULL_LIFE_MS = 120 * MINUTE_MS;
/**
 * From 285 s on: before 300 s stable mode repeats the same token, and a classic fetch would leave those who were
 * promised a longer life with an invalid one, because the predecessor lives 300 s. Jitter only goes later.
 */
const WEIXIN_TOKEN_RENEWAL: RenewalRule = { firstLeftMs: 285_000, lastLeftMs: 200_000, again: "often" };
const AGAIN_MS = 15_000;
const TICKET_RENEWAL: RenewalRule = { firstLeftMs: 600_000, lastLeftMs: 600_000, again: "half" };
const WEIXIN_TOKEN = {
  platform: "weixin",
  name: "access_token",
  holder: "app",
  obtainedBy: "secret",
  renewal: WEIXIN_TOKEN_RENEWAL,
  predecessorMs: HANDOVER_MS,
  hasProbe: true,
  blames: "slot",
  isPresented: true,
} as const;
const TICKET = {
  obtainedBy: "token",
  parent: "access_token",
  renewal: TICKET_RENEWAL,
  predecessorMs: 0,
  blames: "credential",
} as const;
/** Ahead by ten minutes, as WeChat advises for its component: whether the one before stays valid is not told. */
const PLATFORM_RENEWAL: RenewalRule = { firstLeftMs: 600_000, lastLeftMs: 420_000, again: "often" };
const PLATFORM_TOKEN = {
  obtainedBy: "secret",
  renewal: PLATFORM_RENEWAL,
  predecessorMs: 0,
  blames: "slot",
  isPresented: true,
} as const;
/** WeChat and WeCom push it every ten minutes. */
const PUSHED_TICKET = { obtainedBy: "pushed", predecessorMs: 0, blames: "credential" } as const;
const WECOM_TICKET = { ...TICKET, platform: "wecom", repeatedUntilLeftMs: 0 } as const;
/** WeCom repeats a token until it expires, so it is requested a second after that. */
const WECOM_TOKEN = {
  platform: "wecom",
  renewal: { firstLeftMs: -1000, lastLeftMs: -1000, again: "often" },
  repeatedUntilLeftMs: 0,
} as const;

/** A new kind is one row here, and one source unless it is pushed. */
const ROWS = [
  {
    ...WEIXIN_TOKEN,
    mode: "stable",
    repeatedUntilLeftMs: HANDOVER_MS,
    canForce: true,
    daily: { endpoint: "/cgi-bin/stable_token", limit: 500_000 },
  },
  {
    ...WEIXIN_TOKEN,
    mode: "classic",
    invalidatesPredecessor: true,
    daily: { endpoint: "/cgi-bin/token", limit: 2000 },
  },
  {
    platform: "weixin",
    name: "access_token",
    holder: "authorizer",
    obtainedBy: "parent",
    parent: "component_access_token",
    renewal: WEIXIN_TOKEN_RENEWAL,
    predecessorMs: HANDOVER_MS,
    hasProbe: true,
    blames: "slot",
    isPresented: true,
  },
  { ...TICKET, platform: "weixin", name: "jsapi_ticket" },
  { ...TICKET, platform: "weixin", name: "wx_card_ticket" },
  {
    ...WECOM_TOKEN,
    name: "access_token",
    obtainedBy: "secret",
    predecessorMs: 0,
    hasProbe: true,
    blames: "slot",
    isPresented: true,
  },
  { ...WECOM_TICKET, name: "jsapi_ticket" },
  { ...WECOM_TICKET, name: "wx_card_ticket" },
  { ...WECOM_TICKET, name: "agent_config_ticket" },
  {
    ...PLATFORM_TOKEN,
    platform: "weixin",
    name: "component_access_token",
    holder: "component",
    hasProbe: true,
    probesFirst: true,
  },
  { ...PUSHED_TICKET, platform: "weixin", name: "component_verify_ticket", holder: "component" },
  { ...PLATFORM_TOKEN, ...WECOM_TOKEN, name: "suite_access_token", holder: "suite" },
  { ...PUSHED_TICKET, platform: "wecom", name: "suite_ticket", holder: "suite" },
  { ...PLATFORM_TOKEN, ...WECOM_TOKEN, name: "provider_access_token", holder: "provider" },
] as const satisfies readonly Kind[];

/** The short-lived things that WeChat and WeCom issue to us. */
export type CredentialKind = (typeof ROWS)[number]["name"];

/** The name of every kind, on either platform. */
export const CREDENTIAL_KINDS: readonly CredentialKind[] = [...new Set(ROWS.map(({ name }) => name))];

/** Kinds of credentials by platform, name and token mode. */
export class Kinds {
  readonly #rows: readonly Kind[];

  /** Throws where a row that is obtained with another credential names none of its platform. */
  constructor(rows: readonly Kind[]) {
    for (const { platform, name, obtainedBy, parent } of rows) {
      const needsParent = obtainedBy === "token" || obtainedBy === "parent";
      if (needsParent !== rows.some((row) => row.platform === platform && row.name === parent))
        throw new Error(`the kind ${name} of ${platform} has no parent, or one that it does not need`);
    }
    this.#rows = rows;
  }

  /** The kind of a credential; undefined when the platform issues none of that name. */
  find({ slot, kind }: { readonly slot: Slot | SlotName; readonly kind: string }): Kind | undefined {
    const { platform } = slot;
    // A configured slot of WeChat's is named after its mode. Where neither says it, what differs does not matter.
    const mode = "tokenMode" in slot ? slot.tokenMode : slot.name;
    const holder = holderOf(slot);
    let found: Kind | undefined;
    for (const row of this.#rows) {
      if (row.platform !== platform || row.name !== kind || !isKindOf(row, holder)) continue;
      if (row.mode === undefined || row.mode === mode) return row;
      found ??= row;
    }
    return found;
  }

  /**
   * The kind of a credential.
   *
   * @throws {ServiceError} `invalid_parameter` when the platform issues none of that name.
   */
  get(name: { readonly slot: Slot | SlotName; readonly kind: string }): Kind {
    const kind = this.find(name);
    if (kind) return kind;
    const others = kindsOf(name.slot).join(", ");
    throw new ServiceError(
      "invalid_parameter",
      `该应用没有这种凭证，只有 ${others} (the app has no credential of this kind, only ${others})`,
    );
  }
}

/** The kinds that this service knows. */
export const KINDS = new Kinds(ROWS);

/** Which kinds each platform issues. */
export const KINDS_OF: Readonly<Record<Platform, readonly CredentialKind[]>> = {
  weixin: namesOf("weixin"),
  wecom: namesOf("wecom"),
};

/** Which kinds each holder has, in the order of the table. */
const KINDS_OF_HOLDERS = { weixin: kindsOfHolders("weixin"), wecom: kindsOfHolders("wecom") };

/** How many kinds an app has at most. */
export const MAX_KINDS = Math.max(
  ...Object.values(KINDS_OF_HOLDERS).flatMap((all) => Object.values(all).map(({ length }) => length)),
);

/** Which kinds the slot's app has, its token first. */
export function kindsOf(slot: SlotName): readonly CredentialKind[] {
  return KINDS_OF_HOLDERS[slot.platform][holderOf(slot)];
}

/** The kind of the token that calls to WeChat are made with. */
export function tokenKindOf(slot: Pick<SlotName, "name">): CredentialKind {
  const role = roleOf(slot);
  return role ? `${role}_access_token` : "access_token";
}

const TOKEN_NAMES: ReadonlySet<string> = new Set(
  ROWS.flatMap((row) => ("isPresented" in row ? [row.name] : [])),
);

/** Under which of its names a query has a token: an app's, or a third-party platform's. */
export function tokenNamesIn({ names }: { readonly names: readonly string[] }): string[] {
  return names.filter((name) => TOKEN_NAMES.has(name));
}

/** The daily limits of the upstream's endpoints where they are known, by endpoint. */
export const DAILY_LIMITS: ReadonlyMap<string, number> = new Map(
  ROWS.flatMap((row) => ("daily" in row ? [[row.daily.endpoint, row.daily.limit] as const] : [])),
);

/** What the renewal of a credential depends on. */
export interface Life {
  /** The life that it was issued with. */
  readonly lifeMs: number;
  /** Overrides the kind's rule; see `Credential.renewBeforeMs`. */
  readonly renewBeforeMs?: number | undefined;
}

/**
 * How much life is left when a credential is first renewed, in milliseconds; `chance` in [0, 1) says where between the
 * earliest and the latest. Minus infinity for a kind that is not renewed.
 */
export function renewBeforeMs({ renewal }: Kind, life: Life, chance: number): number {
  if (!renewal) return Number.NEGATIVE_INFINITY;
  if (life.renewBeforeMs !== undefined) return life.renewBeforeMs;
  const { firstLeftMs, lastLeftMs } = renewal;
  // After the expiry it is a matter of clocks, and not scaled.
  return (firstLeftMs - (firstLeftMs - lastLeftMs) * chance) * (firstLeftMs > 0 ? scaleOf(life) : 1);
}

/** How long to wait after a renewal that brought no longer life, in milliseconds. */
export function renewAgainMs({ renewal }: Kind, life: Life, remainingMs: number): number {
  const step = Math.max(1000, AGAIN_MS * scaleOf(life));
  return renewal?.again === "half" ? Math.max(step, remainingMs / 2) : step;
}

/**
 * When a credential that was just obtained is due to be renewed, in epoch milliseconds; undefined when it is not
 * renewed. `isRepeated` says that the upstream issued the value that we had.
 */
export function renewalAt(
  kind: Kind,
  credential: Life & { readonly expiresAt: number },
  {
    now,
    isRepeated,
    chance,
  }: { readonly now: number; readonly isRepeated: boolean; readonly chance: number },
): number | undefined {
  if (!kind.renewal) return undefined;
  const remainingMs = credential.expiresAt - now;
  const leftMs = renewBeforeMs(kind, credential, chance);
  const isDue = remainingMs <= (isRepeated ? renewBeforeMs(kind, credential, 0) : leftMs);
  return Math.round(
    isDue ? now + renewAgainMs(kind, credential, remainingMs) : credential.expiresAt - leftMs,
  );
}

function holderOf(slot: SlotName): Holder {
  return roleOf(slot) ?? (isAuthorizer(slot) ? "authorizer" : "app");
}

function kindsOfHolders(platform: Platform): Readonly<Record<Holder, readonly CredentialKind[]>> {
  const of = (holder: Holder) => {
    const rows = ROWS.filter((row) => row.platform === platform && isKindOf(row, holder));
    return [...new Set(rows.map(({ name }) => name))];
  };
  const platforms = { component: of("component"), suite: of("suite"), provider: of("provider") };
  return { app: of("app"), authorizer: of("authorizer"), ...platforms };
}

/** A kind without a holder is of everybody who is no platform. WeCom's corps have what an application has. */
function isKindOf(row: object, holder: Holder): boolean {
  if ("holder" in row) return row.holder === holder;
  return holder === "app" || holder === "authorizer";
}

function scaleOf({ lifeMs }: Life): number {
  return Math.min(1, lifeMs / FULL_LIFE_MS);
}

function namesOf(platform: Platform): CredentialKind[] {
  return CREDENTIAL_KINDS.filter((name) =>
    ROWS.some((row) => row.platform === platform && row.name === name),
  );
}

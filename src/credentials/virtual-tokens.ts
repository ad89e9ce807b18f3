import { timingSafeEqual } from "node:crypto";
import type { Clock } from "../clock.ts";
import type { Platform } from "../errors.ts";
import { Secret } from "../secret.ts";
import { appName, roleOf } from "../apps/app.ts";
import type { AuditActor } from "../audit/audit-entry.ts";
import { onBehalf, type Permit } from "../access/permits.ts";
import { accountsOf, mayUse } from "../access/authenticator.ts";
import { type ClientPrincipal, denied, forbidden, type Principal } from "../access/principal.ts";
import { credentialKey, type CredentialRef } from "./credential.ts";
import type { CachedCredential } from "./credential-cache.ts";
import { tokenKindOf } from "./kinds.ts";
import type { CredentialManager, GetOptions } from "./manager.ts";

/** The life of a virtual token, whatever the real one has left. */
export const VIRTUAL_LIFE_MS = 7_200_000;

/** How far the clocks of processes may differ. */
const SKEW_MS = 60_000;
/** The length that WeChat tells developers to reserve for a token. */
const MAX_LENGTH = 512;
/** The prefix of every virtual token. A real one begins with a number. */
const START = "atv1_";

/** Whether `text` is written as a virtual token, valid or not. */
export function isVirtualToken(text: string): boolean {
  return text.startsWith(START);
}
const NONCE_BYTES = 4;
/** Of base64url, 192 bits: there is no bit to spare, so that no two texts have the same. */
const MAC_LENGTH = 32;
const INSTANT_BYTES = 6;
const FIXED_BYTES = NONCE_BYTES + 2 * INSTANT_BYTES;

/** The claims of a virtual token: for which client, key and app it was issued. Instants are epoch milliseconds. */
export interface VirtualTokenClaims {
  /** The client's name. */
  readonly client: string;
  /** Which client of that name: one that was removed and created again is another. */
  readonly clientCreatedAt: number;
  /** The public prefix of the API key with which it was requested. */
  readonly keyPrefix: string;
  /** The public name of the app. */
  readonly app: string;
  readonly issuedAt: number;
}

/** What signs virtual tokens, 32 bytes each. */
export interface VirtualTokenKeys {
  /** Signs new ones. */
  readonly current: Uint8Array;
  /** Those whose place it or another has taken, each accepted until an instant in epoch milliseconds. */
  readonly former: readonly { readonly key: Uint8Array; readonly until: number }[];
}

/** Where the keys are found; any process may change them. */
export interface VirtualTokenKeyStore {
  /**
   * As this process knows them: a change of another process is known after 250 ms.
   *
   * @throws {ServiceError} `unavailable` when this process was shut out of the store by a change of the master key.
   */
  keys(): VirtualTokenKeys;
  /** Resolves when every change that was committed before the call is known. */
  refresh(): Promise<void>;
}

/**
 * Issues and verifies tokens of our own that look like WeChat's.
 *
 * They are not stored: a token carries its claims, signed with a key that every process of one database has. Whether
 * its client may still use it is checked elsewhere.
 */
export class VirtualTokens {
  readonly #keys: VirtualTokenKeyStore;
  readonly #clock: Clock;

  constructor(keys: VirtualTokenKeyStore, clock: Clock) {
    this.#keys = keys;
    this.#clock = clock;
  }

  /** A new token with those claims; each call gives another. Throws a `RangeError` for names that don't fit into one. */
  issue(claims: VirtualTokenClaims): Secret {
    const nonce = crypto.getRandomValues(new Uint8Array(NONCE_BYTES));
    return new Secret(signClaims(START, claims, nonce, this.#keys.keys().current));
  }

  /**
   * What `text` claims; undefined for a token that is none of ours, was changed, or has expired: older than
   * `VIRTUAL_LIFE_MS`, or from the future by more than a minute.
   */
  async read(text: string): Promise<VirtualTokenClaims | undefined> {
    if (!text.startsWith(START)) return undefined;
    let claims = this.#read(text);
    if (!claims) {
      // Another process may just have changed the key and issued it.
      await this.#keys.refresh();
      claims = this.#read(text);
      if (!claims) return undefined;
    }
    const ageMs = this.#clock.now() - claims.issuedAt;
    return ageMs >= -SKEW_MS && ageMs < VIRTUAL_LIFE_MS ? claims : undefined;
  }

  #read(text: string): VirtualTokenClaims | undefined {
    const { current, former } = this.#keys.keys();
    const now = this.#clock.now();
    const keys = [current, ...former.filter(({ until }) => now < until).map(({ key }) => key)];
    return readClaims(START, text, keys);
  }
}

/** `claims` as a signed text that begins with `start`. Throws a `RangeError` for names that don't fit into one. */
export function signClaims(
  start: string,
  claims: VirtualTokenClaims,
  nonce: Uint8Array,
  key: Uint8Array,
): string {
  const signed = start + payloadOf(claims, nonce).toString("base64url");
  const text = signed + sign(signed, key);
  if (text.length > MAX_LENGTH) throw new RangeError("the names are too long for a token");
  return text;
}

/** What a text claims that `signClaims` made with one of the keys; undefined for any other. */
export function readClaims(
  start: string,
  text: string,
  keys: readonly Uint8Array[],
): VirtualTokenClaims | undefined {
  if (!text.startsWith(start) || text.length > MAX_LENGTH) return undefined;
  // Compared as text and before anything is decoded: more than one text can stand for the same bytes.
  const [signed, mac] = [text.slice(0, -MAC_LENGTH), text.slice(-MAC_LENGTH)];
  if (!keys.some((key) => isSame(mac, sign(signed, key)))) return undefined;
  return claimsIn(Buffer.from(signed.slice(start.length), "base64url"));
}

/**
 * On which platform a token seems to be, by its form alone: for the words of a refusal, and for nothing else. Undefined
 * where the form does not tell. WeChat's begin with a counter; WeCom's are long and have none.
 */
export function platformByForm(token: string): Platform | undefined {
  if (token.startsWith(START)) {
    const payload = Buffer.from(token.slice(START.length, -MAC_LENGTH), "base64url");
    try {
      return platformOfName(claimsIn(payload).app);
    } catch {
      return undefined;
    }
  }
  if (/^\d+_/.test(token)) return "weixin";
  return /^[\w-]{64,}$/.test(token) ? "wecom" : undefined;
}

/** A corp's application, or a suite; and an account of a component, whose AppID follows. */
function platformOfName(app: string): Platform {
  if (app.includes("_")) return /_wx[0-9a-f]{16}$/.test(app) && app.startsWith("wx") ? "weixin" : "wecom";
  return app.startsWith("wx") ? "weixin" : "wecom";
}

function sign(text: string, key: Uint8Array): string {
  return new Bun.CryptoHasher("sha256", key).update(text).digest("base64url").slice(0, MAC_LENGTH);
}

/** Nonce, two instants, client and key prefix behind their lengths, and the app's name to the end. */
function payloadOf(
  { client, clientCreatedAt, keyPrefix, app, issuedAt }: VirtualTokenClaims,
  nonce: Uint8Array,
): Buffer {
  const [clientBytes, keyBytes, appBytes] = [lengthOf(client), lengthOf(keyPrefix), lengthOf(app)];
  const payload = Buffer.allocUnsafe(FIXED_BYTES + 1 + clientBytes + 1 + keyBytes + appBytes);
  payload.set(nonce);
  payload.writeUIntBE(issuedAt, NONCE_BYTES, INSTANT_BYTES);
  payload.writeUIntBE(clientCreatedAt, NONCE_BYTES + INSTANT_BYTES, INSTANT_BYTES);
  let at = payload.writeUInt8(clientBytes, FIXED_BYTES);
  at += payload.write(client, at);
  at = payload.writeUInt8(keyBytes, at);
  at += payload.write(keyPrefix, at);
  payload.write(app, at);
  return payload;
}

function claimsIn(payload: Buffer): VirtualTokenClaims {
  const clientAt = FIXED_BYTES + 1;
  const keyAt = clientAt + payload.readUInt8(FIXED_BYTES) + 1;
  const appAt = keyAt + payload.readUInt8(keyAt - 1);
  return {
    client: payload.toString("utf8", clientAt, keyAt - 1),
    clientCreatedAt: payload.readUIntBE(NONCE_BYTES + INSTANT_BYTES, INSTANT_BYTES),
    keyPrefix: payload.toString("utf8", keyAt, appAt),
    app: payload.toString("utf8", appAt),
    issuedAt: payload.readUIntBE(NONCE_BYTES, INSTANT_BYTES),
  };
}

function lengthOf(name: string): number {
  const bytes = Buffer.byteLength(name);
  if (bytes > 255) throw new RangeError("the name is too long for a token");
  return bytes;
}

function isSame(given: string, wanted: string): boolean {
  const [a, b] = [Buffer.from(given), Buffer.from(wanted)];
  return a.length === b.length && timingSafeEqual(a, b);
}

/** A credential as a caller is given it. The version of a virtual token is that of the real one. */
export type DeliveredToken = Pick<
  CachedCredential,
  "value" | "version" | "issuedAt" | "expiresAt" | "remainingMs"
>;

/** What `TokenDelivery` works with. */
export interface TokenDeliveryParts {
  readonly credentials: Pick<CredentialManager, "peek" | "get" | "refresh" | "replace">;
  readonly virtualTokens: Pick<VirtualTokens, "issue">;
  readonly clock: Clock;
}

/**
 * Returns credentials to callers, each in its form.
 *
 * A client whose delivery is `virtual` gets a virtual token in place of an access token or a third-party platform's, and only when the real one is
 * available: a failure to obtain that is reported as usual. Everything else is returned unchanged.
 */
export class TokenDelivery {
  readonly #parts: TokenDeliveryParts;

  constructor(parts: TokenDeliveryParts) {
    this.#parts = parts;
  }

  /** As `CredentialManager.peek`; undefined also where `get` has more to say. */
  peek(permit: Permit, ref: CredentialRef, minTtlMs: number): DeliveredToken | undefined {
    const isVirtual = isVirtualTo(permit.principal, ref);
    const key = credentialKey(ref);
    if (!isVirtual) return this.#parts.credentials.peek(key, minTtlMs);
    const issue = this.#virtualFor(permit, ref);
    const held = this.#parts.credentials.peek(key);
    return held && issue?.(held);
  }

  /** As `CredentialManager.get`. Throws `forbidden` when no virtual token can be issued to the caller. */
  async get(permit: Permit, ref: CredentialRef, options: GetOptions = {}): Promise<DeliveredToken> {
    const { credentials } = this.#parts;
    const issue = this.#virtualFor(permit, ref);
    if (!issue) return onBehalf(permit, credentials.get(ref, options));
    // A virtual token always has its whole life: the gateway renews the real one.
    const { notes } = options;
    return issue(await onBehalf(permit, credentials.get(ref, notes ? { notes } : {})));
  }

  /** As `CredentialManager.refresh`; see `get`. */
  async refresh(
    permit: Permit,
    ref: CredentialRef,
    order: { readonly force: boolean; readonly actor?: AuditActor },
  ): Promise<DeliveredToken> {
    const issue = this.#virtualFor(permit, ref);
    const held = await onBehalf(permit, this.#parts.credentials.refresh(ref, order));
    return issue?.(held) ?? held;
  }

  /** As `CredentialManager.replace`; see `get`. A virtual token is never the current value, so it replaces nothing. */
  async replace(
    permit: Permit,
    ref: CredentialRef,
    rejected: Secret,
    actor?: AuditActor,
  ): Promise<DeliveredToken> {
    const issue = this.#virtualFor(permit, ref);
    const replacing = this.#parts.credentials.replace(ref, rejected, actor, { endpoint: "v1" });
    const held = await onBehalf(permit, replacing);
    return issue?.(held) ?? held;
  }

  /** What issues the caller's own token in the place of a real one; undefined for a caller that gets the real credential. */
  #virtualFor(
    { principal }: Permit,
    ref: CredentialRef,
  ): ((held: Pick<CachedCredential, "version">) => DeliveredToken) | undefined {
    const { slot } = ref;
    if (!isVirtualTo(principal, ref)) return undefined;
    const { owner, key } = principal;
    if (key.prefix === "")
      throw denied(
        principal,
        forbidden(
          "虚拟token属于签发时的API密钥，请改用API密钥登录控制台",
          "a virtual token belongs to an API key: sign in to the console by a key",
        ),
      );
    if (!slot.configured)
      throw denied(
        principal,
        forbidden(
          "该客户端使用虚拟token，只能用于本服务已配置的应用和secret",
          "this client uses virtual tokens, which are only for apps and secrets that this service holds",
        ),
      );
    const { name: client, createdAt: clientCreatedAt } = owner.client;
    const { virtualTokens, clock } = this.#parts;
    return ({ version }) => {
      const issuedAt = clock.now();
      const app = appName(slot);
      const claims = { client, clientCreatedAt, keyPrefix: key.prefix, app, issuedAt };
      return {
        value: virtualTokens.issue(claims),
        version,
        issuedAt,
        expiresAt: issuedAt + VIRTUAL_LIFE_MS,
        remainingMs: () => VIRTUAL_LIFE_MS,
      };
    };
  }
}

/**
 * Whether the caller gets a virtual token in the place of a real one. A real token of a third-party platform names no client
 * and is good for every account of the platform: only who may use them all gets it.
 */
function isVirtualTo(principal: Principal, { slot, kind }: CredentialRef): principal is ClientPrincipal {
  if (principal.kind !== "client" || kind !== tokenKindOf(slot)) return false;
  if (principal.owner.client.delivery === "virtual") return true;
  return roleOf(slot) !== undefined && !mayUse(principal, "token:read", accountsOf(slot.appId));
}

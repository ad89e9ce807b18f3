import { randomBytes } from "node:crypto";
import { onBehalf, type Permit } from "../access/permits.ts";
import { mayUse } from "../access/authenticator.ts";
import { TokenBuckets } from "../access/limits.ts";
import { type Caller, callerKey, denied, tooMany } from "../access/principal.ts";
import type { AppDirectory } from "../apps/app-directory.ts";
import { appName, type Slot } from "../apps/app.ts";
import type { Clock } from "../clock.ts";
import { credentialKey, credentialRef } from "../credentials/credential.ts";
import type { CredentialCache } from "../credentials/credential-cache.ts";
import { type CredentialKind, kindsOf } from "../credentials/kinds.ts";
import type { CredentialManager } from "../credentials/manager.ts";
import { type Diagnosis, diagnose } from "./diagnosis.ts";
import type { PageClaims } from "./page-claims.ts";
import type { TriedTicket } from "./signature-search.ts";

/** So many diagnoses of one caller in a minute: each tells whether a signature was made with a ticket of ours. */
const MAX_PER_MINUTE = 10;
/** Of so many other apps the tickets are tried. */
const MAX_OTHER_APPS = 50;

/** What the debugger works with. */
export interface SignatureDebuggerParts {
  readonly credentials: Pick<CredentialManager, "get">;
  readonly memory: Pick<CredentialCache, "read" | "replaced">;
  readonly directory: Pick<AppDirectory, "find" | "findSlot" | "list" | "namesOfCorp">;
  readonly clock: Clock;
  /** Among how many processes the limit is divided. */
  readonly processes: () => number;
}

/** A diagnosis, and for which call of the page. */
export interface PageDiagnosis extends Diagnosis {
  readonly call: "config" | "agentConfig";
  /** How many other apps were tried. */
  readonly otherApps: number;
}

/** Finds out why WeChat or WeCom refuses a page's signature. */
export class SignatureDebugger {
  readonly #parts: SignatureDebuggerParts;
  readonly #buckets: TokenBuckets;

  constructor(parts: SignatureDebuggerParts) {
    this.#parts = parts;
    this.#buckets = new TokenBuckets(parts.clock);
  }

  /**
   * What is wrong with a page of the permit's app. Of other apps it tries those alone that the caller may sign for, and
   * fetches nothing for them.
   *
   * @throws {ServiceError} What obtaining the ticket throws.
   */
  async run(permit: Permit, claims: PageClaims): Promise<PageDiagnosis> {
    const { slot } = permit;
    const call = slot.platform === "wecom" ? (claims.call ?? "config") : "config";
    const tickets = await onBehalf(permit, this.#ticketsOf(slot, call));
    const app = this.#parts.directory.find(appName(slot));
    const input = {
      claims: { ...claims, ...(claims.call && { call }) },
      app: {
        name: appName(slot),
        platform: slot.platform,
        appId: slot.appId,
        agentId: /^\d+$/.test(slot.name) ? slot.name : undefined,
      },
      domains: app?.managed?.jsDomains ?? [],
      tickets,
      now: this.#parts.clock.now(),
      nonce: randomBytes(8).toString("hex"),
    };
    const alone = diagnose({ ...input, others: [] });
    if (!alone.findings.some(({ cause }) => cause === "no_match" || cause === "unknown_ticket"))
      return { ...alone, call, otherApps: 0 };
    const names = this.#otherApps(permit, claims);
    const others = (await Promise.all(names.map((name) => this.#storedTicketsOf(name)))).flat();
    return { ...diagnose({ ...input, others }), call, otherApps: names.length };
  }

  /** Counts a diagnosis, before anything is done for it. Throws `rate_limited` beyond ten in a minute. */
  admit(caller: Caller, { principal }: Permit): void {
    const processes = this.#parts.processes();
    const size = {
      perSecond: MAX_PER_MINUTE / 60 / processes,
      burst: Math.max(1, MAX_PER_MINUTE / processes),
    };
    const waitMs = this.#buckets.take(callerKey(principal, caller.origin), size);
    if (waitMs > 0) throw denied(principal, tooMany("签名诊断过于频繁", "too many diagnoses", waitMs));
  }

  async #ticketsOf(slot: Slot, call: PageDiagnosis["call"]): Promise<[TriedTicket, ...TriedTicket[]]> {
    const kind: CredentialKind = call === "agentConfig" ? "agent_config_ticket" : "jsapi_ticket";
    const named = (kind: CredentialKind) => ({ app: appName(slot), appId: slot.appId, kind });
    const { value } = await this.#parts.credentials.get(credentialRef(slot, kind));
    const kinds = kindsOf(slot);
    const replaced = kinds.flatMap((kind) => {
      const value = this.#parts.memory.replaced(credentialKey({ slot, kind }));
      return value ? [{ ...named(kind), isPrevious: true, value }] : [];
    });
    const further = await this.#stored(
      slot,
      kinds.filter((each) => each !== kind),
    );
    return [{ ...named(kind), value }, ...replaced, ...further];
  }

  /** The names of other apps to try: first what the page names itself. */
  #otherApps({ slot, principal }: Permit, { appId = "" }: PageClaims): readonly string[] {
    const { directory } = this.#parts;
    const isWanted = (name: string) => name !== appName(slot) && mayUse(principal, "ticket:sign", name);
    const named = [appId, ...directory.namesOfCorp(appId)].filter((name) => directory.find(name));
    const all = [...named.filter(isWanted), ...directory.list({ limit: MAX_OTHER_APPS, isWanted })];
    return [...new Set(all)].slice(0, MAX_OTHER_APPS);
  }

  async #storedTicketsOf(name: string): Promise<readonly TriedTicket[]> {
    const slot = this.#parts.directory.findSlot(name);
    if (!slot || slot.isDisabled || slot.isLoginOnly) return [];
    const signing: readonly CredentialKind[] = ["jsapi_ticket", "agent_config_ticket"];
    return this.#stored(
      slot,
      kindsOf(slot).filter((kind) => signing.includes(kind)),
    );
  }

  async #stored(slot: Slot, kinds: readonly CredentialKind[]): Promise<readonly TriedTicket[]> {
    const reads = kinds.map(async (kind) => {
      const { held } = await this.#parts.memory.read({ slot, kind });
      return held ? [{ app: appName(slot), appId: slot.appId, kind, value: held.value }] : [];
    });
    return (await Promise.all(reads)).flat();
  }
}

import type { Secret } from "../secret.ts";

/** No code waits as long as this for its next attempt. */
export const MAX_AHEAD_MS = 120_000;

/** What a code was exchanged for. */
export interface CodeAnswer {
  /** The public name of the app that it made or changed. */
  readonly app: string;
  /** JSON of WeChat's or WeCom's own answer, with the real refresh token or permanent code in it. */
  readonly text: Secret;
}

/** Stands for the account of a code of which we know from elsewhere than a caller, but not whose it is. */
export const UNNAMED = "*";

/** A code by which somebody authorizes a third-party platform. Instants are epoch milliseconds. */
export interface StoredCode {
  /** Of the platform and the code; names it where the code itself must not be seen. */
  readonly digest: string;
  /** The public name of the platform. */
  readonly platformApp: string;
  /** The AppID or CorpID of whoever gives it, or `UNNAMED`; empty where nobody but a caller has told of the code. */
  readonly account: string;
  /** Undefined once it was exchanged, and where the store can't open it. */
  readonly code: Secret | undefined;
  readonly state: "waiting" | "exchanged" | "failed";
  readonly attempts: number;
  readonly createdAt: number;
  /** When a waiting one may be taken next; when a failed one has failed. */
  readonly dueAt: number;
  readonly expiresAt: number;
  /** Of an exchanged one, and of a waiting one what was kept. */
  readonly answer: CodeAnswer | undefined;
  /** Why the last attempt failed: our code and WeChat's errcode; nothing secret. */
  readonly error: string | undefined;
}

/** A code of which a push has told, and that has come to nothing for good. */
export type FailedCode = Pick<StoredCode, "platformApp" | "account" | "dueAt" | "error">;

/** Whether a code may be taken: one that is due far ahead was noted under a clock that has been set back since. */
export function isDue(dueAt: number, now: number): boolean {
  return dueAt <= now || dueAt > now + MAX_AHEAD_MS;
}

/** Where codes are kept, sealed, so that each is exchanged once by whichever process. */
export interface AuthorizationCodeStore {
  /** The name of a code: the same for the same platform and code, and meaningless without the master key. */
  digestOf(platformApp: string, code: Secret): string;
  /**
   * Notes a code that has arrived, due at once. False where it is known already: the same again changes nothing, unless it
   * says for the first time whose it is. Then one that has failed waits again, or where it `isAgain` wanted. Durable when it
   * resolves.
   */
  add(code: {
    readonly platformApp: string;
    readonly account: string;
    readonly code: Secret;
    readonly now: number;
    readonly expiresAt: number;
    readonly isAgain?: boolean;
  }): Promise<boolean>;
  find(digest: string): Promise<StoredCode | undefined>;
  /**
   * Takes a waiting code for one attempt: nobody else may until `until`. Undefined where it is not waiting, or another
   * has it. With no digest, one that is due at `now`: those that a caller alone has told of last, then the oldest first.
   */
  take(request: {
    readonly digest?: string;
    readonly now: number;
    readonly until: number;
  }): Promise<StoredCode | undefined>;
  /**
   * Keeps what a code was exchanged for, which is still to be done with: it is taken until `until` and waits until `expiresAt`,
   * also where another attempt has failed since. One that is done with stays so.
   */
  keep(
    digest: string,
    answer: CodeAnswer,
    times: { readonly until: number; readonly expiresAt: number },
  ): Promise<void>;
  /** Ends a code that was exchanged; the code itself is dropped, the answer kept until `expiresAt`. */
  succeed(digest: string, answer: CodeAnswer, expiresAt: number): Promise<void>;
  /**
   * Notes a failure: it is tried again at `dueAt`, or has failed for good `at` that time, and is kept until `expiresAt` where
   * anybody but a caller has told of it. What a caller alone has told of is not tried again, unless something was kept of it.
   * Resolves with whether it is tried again.
   */
  fail(
    digest: string,
    error: string,
    next: { readonly dueAt: number } | { readonly at: number; readonly expiresAt: number },
  ): Promise<boolean>;
  /** Those that failed for good, the last first. */
  listFailed(now: number): Promise<FailedCode[]>;
  /** Forgets one. */
  drop(digest: string): Promise<void>;
  /** When a code is due next; undefined for none. */
  nextDueAt(): Promise<number | undefined>;
  /** Forgets what has expired. */
  prune(now: number): Promise<void>;
}

/** What a link to a consent page asks for. */
export interface LinkRequest {
  /** WeChat's `auth_type`; undefined for the default. */
  readonly authType?: number | undefined;
  /** The one account that may authorize. */
  readonly bizAppId?: string | undefined;
  /** Ids of permission sets. */
  readonly categoryIds?: readonly number[] | undefined;
  /** Whether it is opened inside WeChat. */
  readonly isMobile?: boolean | undefined;
  /** WeCom: whether it is a test installation of a suite that is not published. */
  readonly isTest?: boolean | undefined;
  /** Where the person returns to afterwards; undefined for a page of ours that says how it went. */
  readonly returnUrl?: string | undefined;
}

/** A link to a consent page. Instants are epoch milliseconds. */
export interface AuthorizationLink {
  /** What stands in the link, and comes back as `state`. `[A-Za-z0-9]`, at most 32. */
  readonly state: string;
  /** The public name of the platform. */
  readonly platformApp: string;
  readonly request: LinkRequest;
  readonly createdAt: number;
  readonly expiresAt: number;
}

/** Where links to consent pages are kept. */
export interface AuthorizationLinkStore {
  add(link: AuthorizationLink): Promise<void>;
  /** Undefined for one that is unknown or has expired. */
  find(state: string, now: number): Promise<AuthorizationLink | undefined>;
  /** Notes that a code came back by it. */
  noteReturn(state: string, at: number): Promise<void>;
  prune(now: number): Promise<void>;
}

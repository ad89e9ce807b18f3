import { Database } from "bun:sqlite";
import { VirtualTokens } from "../../src/credentials/virtual-tokens.ts";
import { ServiceError } from "../../src/errors.ts";
import { Secret } from "../../src/secret.ts";
import {
  rotateMasterKey,
  type RotationOptions,
  type RotationProgress,
} from "../../src/store/sqlite/rotate-master-key.ts";
import { type RotationReport, SEALED_COLUMNS } from "../../src/store/resealing.ts";
import type { SqliteStoreOptions } from "../../src/store/sqlite/sqlite-store.ts";
import type { StoreFault } from "../../src/ops/readiness.ts";
import type { Store } from "../../src/store/store.ts";
import { entryOf } from "./audit-entries.ts";
import { foreignSlot, tokenOf, weixinSlot } from "./slots.ts";
import { saveUnderLease, StoreFolder } from "./store-folder.ts";

/** How many apps, and as many tokens, there are. */
const APPS = 3;
const LOGIN_KEY = "login-digest";
const LOGIN_ANSWER = "canary-session-key-0123456789";
const PUSH = { app: "wx0", dedupeKey: "24000000000000001" };
const PUSHED = "canary-push-0123456789";
const PUSH_ANSWER = "canary-answer-0123456789";
const LOGIN_STATE = "0123456789abcdef0123456789abcdef";
const LOGIN_REQUEST = "canary-login-request-0123456789";
const LOGIN_CODE = "canary-login-code-0123456789";
const CODE_BEHIND = "canary-code-behind-0123456789";
const PLATFORM = "wxc000000000000001";
const [WAITING_CODE, EXCHANGED_CODE] = ["canary-authorization-code-1", "canary-authorization-code-2"].map(
  (text) => new Secret(text),
) as [Secret, Secret];
const CODE_ANSWER = { app: "wxa1_wxc1", text: new Secret("canary-refresh-token-0123456789") };
const LINK_STATE = "fedcba9876543210fedcba9876543210";
const DEAD = "canary-dead-token-0123456789";
const [TOKEN, AES_KEY, HMAC_KEY] = ["canaryCallbackToken", "canaryCallbackKey", "canary-callback-hmac"].map(
  (text) => new Secret(text),
) as [Secret, Secret, Secret];
const OLD = new Secret("canaryPreviousCallbackKey");
/** Where alarms are sent. */
const CHANNEL = {
  ...{ name: "ops", kind: "feishu" as const, isEnabled: true },
  url: new Secret("https://open.feishu.cn/open-apis/bot/v2/hook/canary-channel-url"),
  secret: new Secret("canary-channel-secret"),
  rules: { minSeverity: "info" as const, mention: [], tellsResolved: true },
};
/** No clock of a test gets there. */
const LATE = 9_000_000_000_000;

/** Everything that is sealed, as an open store reads it, and what depends on its keys. */
export interface Contents {
  readonly apps: readonly string[];
  readonly tokens: readonly (string | undefined)[];
  readonly dead: string | undefined;
  readonly login: string;
  /** A web login's request, and WeChat's code behind one of ours. */
  readonly webLogin: readonly (string | undefined)[];
  /** A code that waits, what another was good for, and where a link returns to. */
  readonly authorization: readonly (string | undefined)[];
  readonly digest: string;
  /** The address of a channel, and what its messages are signed with. */
  readonly channel: readonly (string | undefined)[];
  /** The Tokens and keys of pushes. */
  readonly callbacks: readonly string[];
  /** A push that waits, and its answer. */
  readonly pushes: readonly (string | undefined)[];
  /** The slots of which the tokens are known to be. */
  readonly slots: readonly (string | undefined)[];
  /** Whether a virtual token that was issued when it was filled is still one. */
  readonly isVirtualTokenKnown: boolean;
  readonly faults: readonly StoreFault[];
  readonly isAuditIntact: boolean;
}

/** A store folder with something in every sealed column, and ways to change its master key and to look what is left. */
export class RotationFolder extends StoreFolder {
  #virtualToken = new Secret("");

  /** Fills it: apps, their tokens, a dead token, and a login's answer. */
  async fill(tokens = APPS, options: Partial<SqliteStoreOptions> = {}): Promise<void> {
    const store = await this.open(options);
    await store.apps.replaceAll(
      Array.from({ length: APPS }, (_, n) => ({
        platform: "weixin" as const,
        id: `wx${n}`,
        secret: new Secret(secretOf(n)),
        tokenMode: "stable" as const,
      })),
    );
    for (let n = 0; n < tokens; n++) await saveUnderLease(store.credentials, nameOf(n), credentialOf(n));
    const dead = tokenOf(foreignSlot("foreign"));
    const { generation } = await saveUnderLease(store.credentials, dead, credentialOf(0));
    await store.credentials.markRevoked(dead, new Secret(DEAD), generation, { now: 2, earlyMs: 0 });
    await store.loginAnswers.begin(LOGIN_KEY, 1, LATE);
    await store.loginAnswers.complete(LOGIN_KEY, LATE, new Secret(LOGIN_ANSWER));
    const keys = { token: TOKEN, aesKey: AES_KEY };
    const entry = entryOf({ client: "admin", action: "callback.updated", app: "wx0", outcome: "ok" });
    const settings = { ...keys, previousToken: OLD, previousAesKey: OLD, receiveIds: ["wx0"] };
    await store.callbackSettings.save(
      { app: "wx0", mode: "secure", format: "xml", ...settings },
      undefined,
      entry,
    );
    await store.callbackSettings.saveTarget(
      { app: "wx0", name: "dev", environment: "dev", content: "reencrypted", ...keys, hmacKey: HMAC_KEY },
      undefined,
      entry,
    );
    await store.channels.save(CHANNEL, 0, entry);
    const push = { ...PUSH, type: "text", event: "", receivedAt: 1, request: new Secret(PUSHED) };
    const target = { target: "dev", environment: "dev", role: "primary", sender: "o1" } as const;
    const delivery = { ...target, leasedUntil: undefined };
    await store.deliveries.accept({ ...push, answer: new Secret(PUSH_ANSWER) }, [delivery], "holder");
    await store.webLogins.add({
      ...{ state: LOGIN_STATE, app: "wx0", environment: "dev", expiresAt: LATE },
      request: new Secret(LOGIN_REQUEST),
    });
    const code = new Secret(LOGIN_CODE);
    await store.webLogins.finish(
      { state: LOGIN_STATE, code, appId: "wx0", issued: [{ code, behind: new Secret(CODE_BEHIND) }] },
      { now: 1, repeatUntil: LATE, codesUntil: LATE },
    );
    const codes = store.authorizationCodes;
    for (const each of [WAITING_CODE, EXCHANGED_CODE])
      await codes.add({ platformApp: PLATFORM, account: "", code: each, now: 1, expiresAt: LATE });
    await codes.succeed(codes.digestOf(PLATFORM, EXCHANGED_CODE), CODE_ANSWER, LATE);
    const link = { state: LINK_STATE, platformApp: PLATFORM, createdAt: 1, expiresAt: LATE };
    await store.authorizationLinks.add({ ...link, request: { returnUrl: "https://canary-link/" } });
    this.#virtualToken = this.issue(store);
    this.close();
  }

  /** A virtual token of now, signed with the store's key. */
  issue(store: Pick<Store, "virtualTokenKeys">): Secret {
    const issuedAt = this.clock.now();
    const claims = { client: "dev", clientCreatedAt: 1, keyPrefix: "ats_01234567", app: "wx0", issuedAt };
    return new VirtualTokens(store.virtualTokenKeys, this.clock).issue(claims);
  }

  /** Whether the store takes that virtual token for one of its own that is valid. */
  async knows(store: Pick<Store, "virtualTokenKeys">, token: Secret): Promise<boolean> {
    return (await new VirtualTokens(store.virtualTokenKeys, this.clock).read(token.reveal())) !== undefined;
  }

  /** What an open store reads; equal before and after a change of the key. */
  async contents(store: Store, tokens = APPS): Promise<Contents> {
    const apps = await store.apps.list();
    const names = Array.from({ length: tokens }, (_, n) => nameOf(n));
    const records = await Promise.all(names.map((name) => store.credentials.find(name)));
    const slotByToken = async (n: number) => {
      const { value, issuedAt } = credentialOf(n);
      return (await store.issuedTokens.findIssued(value, issuedAt))?.slot.appId;
    };
    const login = await store.loginAnswers.begin(LOGIN_KEY, 1, LATE);
    return {
      apps: apps.map(({ id, secret }) => `${id} ${secret.reveal()}`).toSorted(),
      tokens: records.map(({ credential }) => credential?.value.reveal()),
      dead: (await store.credentials.find(tokenOf(foreignSlot("foreign")))).revoked?.reveal(),
      login: login.state === "answered" ? login.answer.reveal() : login.state,
      webLogin: [
        (await store.webLogins.find(LOGIN_STATE, 1))?.request.reveal(),
        (await store.webLogins.findCode({ appId: "wx0" }, new Secret(LOGIN_CODE), 1))?.behind?.reveal(),
      ],
      authorization: await authorizationSecrets(store),
      digest: store.digest("weixin", "wx0", new Secret("some secret")),
      slots: await Promise.all(names.map((_, n) => slotByToken(n))),
      channel: (await store.channels.load()).channels.flatMap(({ url, secret }) => [
        url?.reveal(),
        secret?.reveal(),
      ]),
      callbacks: await callbackSecrets(store),
      pushes: [
        (await store.deliveries.find({ app: PUSH.app }, 1))?.request?.reveal(),
        (await store.deliveries.look(PUSH, 1)).answer?.reveal(),
      ],
      isVirtualTokenKnown: await this.knows(store, this.#virtualToken),
      faults: await store.probe(),
      isAuditIntact: (await store.audit.verify()).isIntact,
    };
  }

  /** Changes the master key. */
  rotate(options: Partial<RotationOptions> = {}): Promise<RotationReport> {
    return rotateMasterKey({
      path: this.path,
      masterKey: undefined,
      masterKeyFile: this.keyPath,
      newKeyFile: undefined,
      clock: this.clock,
      ...options,
    });
  }

  /** The ids of the keys under which anything is sealed, and those that the database knows. */
  keyIds(): { readonly used: string[]; readonly known: string[] } {
    const database = new Database(this.path, { readonly: true });
    try {
      const used = SEALED_COLUMNS.flatMap(({ table, column }) =>
        database
          .query<{ id: string }, []>(
            `SELECT DISTINCT substr(${column}, 1, 8) AS id FROM ${table} WHERE ${column} IS NOT NULL`,
          )
          .all(),
      );
      const known = database.query<{ id: string }, []>("SELECT key_id AS id FROM keyring").all();
      return {
        used: [...new Set(used.map(({ id }) => id))],
        known: known.map(({ id }) => id),
      };
    } finally {
      database.close();
    }
  }
}

/** Breaks a rotation off once it has come to `step`; see `brokenOff`. */
export function breakAt(step: RotationProgress["step"]) {
  return (progress: RotationProgress): void => {
    if (progress.step === step) throw new BrokenOff();
  };
}

/** Resolves when `rotation` was broken off; throws when it was not, or failed. */
export async function brokenOff(rotation: Promise<unknown>): Promise<void> {
  const ending: unknown = await rotation.catch((error: unknown) => error);
  if (!(ending instanceof BrokenOff)) throw new Error("the rotation was not broken off", { cause: ending });
}

/** The secrets of the one app whose pushes are set up. Throws where any of them does not open. */
async function callbackSecrets(store: Store): Promise<string[]> {
  const [callbacks] = (await store.callbackSettings.load()).apps;
  const [target] = callbacks?.targets ?? [];
  const { token, aesKey, previousToken, previousAesKey } = callbacks?.settings ?? {};
  return [token, aesKey, previousToken, previousAesKey, target?.token, target?.aesKey, target?.hmacKey].map(
    (secret) => {
      if (!secret) throw new ServiceError("store_unusable", "a secret of pushes does not open");
      return secret.reveal();
    },
  );
}

async function authorizationSecrets({
  authorizationCodes: codes,
  authorizationLinks: links,
}: Store): Promise<(string | undefined)[]> {
  const find = (code: Secret) => codes.find(codes.digestOf(PLATFORM, code));
  return [
    (await find(WAITING_CODE))?.code?.reveal(),
    (await find(EXCHANGED_CODE))?.answer?.text.reveal(),
    (await links.find(LINK_STATE, 1))?.request.returnUrl,
  ];
}

class BrokenOff extends Error {}

/** The value of the `n`th token. */
function tokenText(n: number): string {
  return `canary-token-${n}-0123456789abcdef`;
}

/** The name of the `n`th token. */
export function nameOf(n: number) {
  return tokenOf(weixinSlot(`wx${n}`));
}

function secretOf(n: number): string {
  return `canary-secret-${n}-0123456789`;
}

function credentialOf(n: number) {
  return { value: new Secret(tokenText(n)), issuedAt: 1, expiresAt: 7_200_001 };
}

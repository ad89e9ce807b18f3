import { type App, nameOfApp } from "../apps/app.ts";
import type { AppDirectory } from "../apps/app-directory.ts";
import type { CallbackDirectory } from "./callback-directory.ts";
import type { AppCallbacks } from "./callback-settings.ts";
import type { KeptPush } from "./kept-push.ts";
import { PushRefused } from "./push-crypto.ts";
import type { PushMessage } from "./push-message.ts";
import { encryptedCopy } from "./push-reply.ts";
import type { PushSettings } from "./verify-push.ts";

/** Takes what third-party platforms are told: tickets, and who has authorized them or does so no more. */
export interface PlatformCommands {
  /**
   * Stores what a command brings, without asking WeChat anything: it waits for a second. The same again changes nothing.
   *
   * Gives the command as environments may see it, without ticket and code; one that needs no change as it came. What was
   * brought is on the disk when it resolves; where it rejects, WeChat shall send the command again.
   */
  receive(platform: App, message: Uint8Array, now: number): Promise<Uint8Array>;
}

/** What places pushes of third-party platforms. */
export interface PlatformPushParts {
  readonly directory: Pick<AppDirectory, "find" | "authorizedTo">;
  readonly callbacks: Pick<CallbackDirectory, "of">;
  readonly commands: PlatformCommands;
}

/** A verified push to a URL of a platform. */
interface ToPlatform {
  readonly kept: KeptPush;
  readonly message: PushMessage;
  /** As the path has it. */
  readonly account: string | undefined;
}

/** Whose push it is, what is kept of it, and by whose callbacks it goes on. */
interface Placed {
  readonly app: App;
  readonly kept: KeptPush;
  readonly callbacks: AppCallbacks;
  /** What stands before its dedupe key: two accounts of one platform may have messages of one id. */
  readonly scope: string;
  /** Whether WeChat is answered `success` whatever any target says. */
  readonly isAnswered: boolean;
}

/** In the place of an account's id: the URL is for commands, for the messages of all, or has never been filled in. */
const NO_ACCOUNT: ReadonlySet<string> = new Set(["auth", "data", "$APPID$", "$CORPID$"]);
const APP_ID = /^wx[0-9a-f]{16}$/;

/**
 * Tells what pushes to the URLs of third-party platforms are: commands to the platform itself, or messages to one of its
 * accounts.
 *
 * All have the platform's Token and key. A component's pushes name the component, whosever they are; a suite's commands
 * name the suite, in some reports the provider, its GET checks the provider, the messages of a corp the corp. An operator
 * may enter one URL for both, so what was decrypted decides, and nothing outside of it.
 * https://developers.weixin.qq.com/doc/oplatform/Third-party_Platforms/2.0/api/Before_Develop/message_push.html
 * https://developer.work.weixin.qq.com/document/path/97172
 */
export class PlatformPushes {
  readonly #parts: PlatformPushParts;

  constructor(parts: PlatformPushParts) {
    this.#parts = parts;
  }

  /** What the URLs of a platform accept beside what its settings say. */
  widen(settings: PushSettings, platform: App, account: string | undefined): PushSettings {
    const { role, id, provider } = platform;
    if (role !== "suite") return settings;
    const { directory } = this.#parts;
    return {
      ...settings,
      checkReceiveIds: [...(provider === undefined ? [] : [provider]), ...settings.receiveIds],
      // A corp's first message may come before its code was exchanged.
      isReceiver: (corp) =>
        corp !== "" && (corp === namedIn(account) || directory.find(`${corp}_${id}`) !== undefined),
    };
  }

  /**
   * Where a push belongs. A command has its effect first.
   *
   * @throws {PushRefused} For what has the right signature, and is another platform's or another account's.
   * @throws {ServiceError} When a command can't be stored.
   */
  async place(platform: App, callbacks: AppCallbacks, pushed: ToPlatform, now: number): Promise<Placed> {
    const { directory, callbacks: all, commands } = this.#parts;
    const { kept } = pushed;
    if (isCommand(platform, callbacks, pushed)) {
      const shown = await commands.receive(platform, kept.push.message, now);
      const changed = withMessage(kept, shown, now);
      return { app: platform, callbacks, kept: changed, scope: "", isAnswered: true };
    }
    const common = { scope: "", isAnswered: false };
    const account = this.#accountOf(platform, callbacks, pushed);
    if (account === undefined) return { ...common, app: platform, callbacks, kept };
    const app = directory.find(`${account}_${platform.id}`);
    if (app?.managed?.isDisabled) throw new PushRefused("not_configured");
    const own = app && all.of(nameOfApp(app));
    const placed = { ...common, app: app ?? platform, kept: { ...kept, account } };
    if (own && own.routes.length > 0) return { ...placed, callbacks: own };
    return { ...placed, callbacks, scope: `${account}:` };
  }

  /**
   * The AppID or CorpID of whose message it is; undefined where nothing says it. A corp is named by what was decrypted. An
   * account is named by the path, which nobody signs: a message whose ToUserName is another account's came elsewhere.
   */
  #accountOf(
    platform: App,
    { settings }: AppCallbacks,
    { kept, message, account }: ToPlatform,
  ): string | undefined {
    const { directory } = this.#parts;
    const { receiveId } = kept.push;
    const { toUserName } = message;
    const named = namedIn(account);
    if (platform.role === "suite") {
      // WeCom names nobody to individual developers. A provider may have its own suite.
      if (receiveId === "" || receiveId === named) return named;
      const isHeld = directory.find(`${receiveId}_${platform.id}`) !== undefined;
      return isHeld || !settings.receiveIds.includes(receiveId) ? receiveId : undefined;
    }
    if (named !== undefined && !APP_ID.test(named)) throw new PushRefused("not_configured");
    const known = named === undefined ? undefined : directory.find(`${named}_${platform.id}`);
    if (toUserName === undefined || known?.authorization?.userName === toUserName) return named;
    const owner = directory
      .authorizedTo(platform.id)
      .find(({ authorization }) => authorization?.userName === toUserName);
    if (named !== undefined && owner && owner !== known) throw new PushRefused("wrong_receive_id");
    return named ?? owner?.id;
  }
}

/** The account's id in the path, where one stands there. */
function namedIn(account: string | undefined): string | undefined {
  return account === undefined || NO_ACCOUNT.has(account) ? undefined : account;
}

/**
 * Whether it is a command to the platform. Throws for another platform's, which may have the same Token and key, and for one
 * that names a corp, as messages alone do: it has no effect, and what it brings must not go on.
 */
function isCommand({ id, role }: App, { settings }: AppCallbacks, { kept, message }: ToPlatform): boolean {
  const { infoType, msgType, platformApp } = message;
  // A message has what its user wrote: whatever looks like a command in it is none.
  if (infoType === undefined || msgType !== undefined) return false;
  if (!settings.receiveIds.includes(kept.push.receiveId)) throw new PushRefused("wrong_receive_id");
  // A provider is told of its suites.
  if (role !== "provider" && platformApp !== undefined && platformApp !== id)
    throw new PushRefused("wrong_receive_id");
  return true;
}

/** The push with another message, encrypted for whom it was meant. */
function withMessage(kept: KeptPush, message: Uint8Array, now: number): KeptPush {
  const { platform, push } = kept;
  if (Buffer.from(message).equals(push.message)) return kept;
  const changed = { ...push, message };
  const copy = encryptedCopy(platform, changed, push.key, now);
  return { platform, request: { ...copy, body: Buffer.from(copy.body) }, push: changed };
}

import { notReadBack, outdated } from "../apps/app-administration.ts";
import type { AuditAction, AuditActor, AuditEntry, ChangeOptions } from "../audit/audit-entry.ts";
import { ServiceError } from "../errors.ts";
import type { Secret } from "../secret.ts";
import type { ChannelStore, ConditionChoice } from "./alarm-store.ts";
import { isChannelUrl } from "./channel-url.ts";
import {
  CHANNEL_NAME,
  type ChannelDirectory,
  checkedChoice,
  checkRules,
  invalid,
  noSuchChannel,
} from "./channels.ts";
import type { ConditionId } from "./conditions.ts";
import type { Channel, ChannelKind, ChannelRules } from "./notifications.ts";

const MAX_CHANNELS = 50;
const MAX_URL = 2048;

/** What an administrator decides about a channel; what is left out stays, or has its default. */
export interface ChannelInput {
  readonly url?: Secret | undefined;
  /** Null for none. */
  readonly secret?: Secret | null | undefined;
  readonly isEnabled?: boolean | undefined;
  readonly minSeverity?: ChannelRules["minSeverity"] | undefined;
  /** Null for none. */
  readonly quietHours?: ChannelRules["quietHours"] | null | undefined;
  readonly mention?: readonly string[] | undefined;
  readonly tellsResolved?: boolean | undefined;
}

/** Creates, changes and removes channels, and decides of conditions; each change with its audit entry. */
export class ChannelAdministration {
  readonly #store: ChannelStore;
  readonly #directory: ChannelDirectory;

  constructor(store: ChannelStore, directory: ChannelDirectory) {
    this.#store = store;
    this.#directory = directory;
  }

  /** Throws `invalid_parameter`, `conflict`. */
  async create(
    name: string,
    kind: ChannelKind,
    input: ChannelInput,
    { actor }: ChangeOptions,
  ): Promise<void> {
    if (!CHANNEL_NAME.test(name))
      throw invalid(
        "name应为1到32个字母、数字、点、下划线或连字符",
        "name must be 1 to 32 letters, digits, dots, underscores and hyphens",
      );
    if (this.#directory.find(name)) throw new ServiceError("conflict", "该渠道已存在 (the channel exists)");
    if (this.#directory.list().length >= MAX_CHANNELS)
      throw invalid(`最多${MAX_CHANNELS}个渠道`, `there are ${MAX_CHANNELS} channels at most`);
    const made = { name, kind, isEnabled: true, url: undefined, secret: undefined, rules: DEFAULT_RULES };
    await this.#save(
      withInput(made, input),
      0,
      entryOf("notification_channel.created", actor, factsOf(name, kind, input)),
    );
  }

  /** Changes what is given of it. Throws `not_found`, `precondition_failed`, `invalid_parameter`. */
  async update(name: string, input: ChannelInput, { actor, version }: ChangeOptions): Promise<void> {
    const found = this.#directory.find(name);
    if (!found) throw noSuchChannel();
    if (version !== undefined && version !== found.version) throw outdated();
    // What can't be read must not be taken for none: then messages would go unsigned.
    if (found.damaged.includes("secret") && input.secret === undefined)
      throw invalid(
        "该渠道的secret已损坏，请同时给出secret，没有则为null",
        "the channel's secret is damaged: give it as well, or null for none",
      );
    const entry = entryOf("notification_channel.updated", actor, factsOf(name, found.kind, input));
    await this.#save(withInput(found, input), found.version, entry);
  }

  /** Throws `not_found`, `precondition_failed`. */
  async remove(name: string, { actor, version }: ChangeOptions): Promise<void> {
    const found = this.#directory.find(name);
    if (!found) throw noSuchChannel();
    if (version !== undefined && version !== found.version) throw outdated();
    await this.#store.remove(
      name,
      found.version,
      entryOf("notification_channel.deleted", actor, { of: name }),
    );
    await this.#reload();
  }

  /** Decides of conditions; null for what the service does by default. Throws `precondition_failed`, `invalid_parameter`. */
  async choose(
    input: Readonly<Partial<Record<ConditionId, ConditionChoice | null>>>,
    { actor, version }: ChangeOptions,
  ): Promise<void> {
    const { of, version: standing } = this.#directory.choices;
    if (version !== undefined && version !== standing) throw outdated();
    const chosen = new Map(Object.entries(of) as [ConditionId, ConditionChoice][]);
    for (const [id, choice] of Object.entries(input) as [ConditionId, ConditionChoice | null][]) {
      if (choice === null) chosen.delete(id);
      else chosen.set(id, checkedChoice(id, { ...chosen.get(id), ...choice }));
    }
    const entry = entryOf("setting.changed", actor, { conditions: input });
    await this.#store.saveChoices(Object.fromEntries(chosen), standing, entry);
    await this.#reload();
  }

  async #save(
    channel: Parameters<ChannelStore["save"]>[0],
    version: number,
    entry: AuditEntry,
  ): Promise<void> {
    checkAddress(channel.kind, channel.url, channel.secret);
    checkRules(channel.rules);
    await this.#store.save(channel, version, entry);
    await this.#reload();
  }

  async #reload(): Promise<void> {
    try {
      await this.#directory.refresh();
    } catch (cause) {
      throw notReadBack(cause);
    }
  }
}

const DEFAULT_RULES: ChannelRules = { minSeverity: "info", mention: [], tellsResolved: true };

function withInput(
  channel: Pick<Channel, "name" | "kind" | "url" | "secret" | "isEnabled" | "rules">,
  input: ChannelInput,
): Parameters<ChannelStore["save"]>[0] {
  const { name, kind, rules } = channel;
  const { url = channel.url, secret = channel.secret ?? null, isEnabled = channel.isEnabled } = input;
  const {
    minSeverity = rules.minSeverity,
    mention = rules.mention,
    tellsResolved = rules.tellsResolved,
  } = input;
  const quietHours = input.quietHours === undefined ? rules.quietHours : (input.quietHours ?? undefined);
  return {
    ...{ name, kind, url, isEnabled, secret: secret ?? undefined },
    rules: { minSeverity, mention, tellsResolved, ...(quietHours ? { quietHours } : {}) },
  };
}

/** Refuses an address that is none of its kind. What a host name stands for is looked up with each message. */
function checkAddress(kind: ChannelKind, given: Secret | undefined, secret: Secret | undefined): void {
  const text = given?.reveal() ?? "";
  const url =
    text.length <= MAX_URL && /^[\x21-\x7e]+$/.test(text) && !/[\\#]/.test(text) ? URL.parse(text) : null;
  if (!url || !isChannelUrl(kind, url)) throw invalid(...FORMS[kind]);
  if (kind === "wecom" && secret) throw invalid("企业微信群机器人没有secret", "WeCom's bots have no secret");
  if (secret && !/^[\x21-\x7e]{8,256}$/.test(secret.reveal()))
    throw invalid("secret应为8到256个可见字符", "secret must be 8 to 256 visible characters");
}

/** What an address is to look like, in both languages. */
const FORMS: Readonly<Record<ChannelKind, readonly [string, string]>> = {
  wecom: formOf("https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=…"),
  dingtalk: formOf("https://oapi.dingtalk.com/robot/send?access_token=…"),
  feishu: formOf("https://open.feishu.cn/open-apis/bot/v2/hook/…"),
  webhook: [
    "url应为https地址，不含用户名、密码和#片段",
    "url must be an https URL without user, password and fragment",
  ],
};

function formOf(example: string): readonly [string, string] {
  return [
    `url应为 ${example}，请从群机器人的设置中复制`,
    `url must be as ${example}: copy it from the bot's settings`,
  ];
}

/** What the audit says of a change: which fields, and the values of those that are not secret. */
function factsOf(name: string, kind: ChannelKind, { url, secret, ...rules }: ChannelInput) {
  const given = Object.fromEntries(Object.entries(rules).filter(([, value]) => value !== undefined));
  return {
    ...{ of: name, kind },
    ...given,
    ...(url ? { url: "changed" } : {}),
    ...(secret === undefined ? {} : { secret: secret === null ? "removed" : "changed" }),
  };
}

function entryOf(
  action: AuditAction,
  actor: AuditActor,
  detail: Readonly<Record<string, unknown>>,
): AuditEntry {
  return { ...actor, action, app: "", outcome: "ok", tokenDigest: "", detail };
}

import type { Platform } from "../errors.ts";
import messaging from "./policies/no-messaging.txt" with { type: "text" };
import reading from "./policies/read-only.txt" with { type: "text" };
import shared from "./policies/safe.txt" with { type: "text" };
import { OPENID, RECIPIENT_FIELDS } from "./test-messages.ts";

/** What a policy allows where its lists say nothing. */
export const API_PRESETS = [
  /** Every path. */
  "all",
  /** `READING_PATHS` alone. */
  "read-only",
  /** Every path but `MESSAGING_PATHS`. */
  "no-messaging",
  /** As `no-messaging`, without `SHARED_PATHS` and without paths that delete or set something by their name. */
  "safe",
  /** No path. */
  "none",
] as const;
export type ApiPreset = (typeof API_PRESETS)[number];

/**
 * Which paths of WeChat or WeCom a client may call through us.
 *
 * A path on `deny` is refused; else one on `allow` is allowed; else the preset decides. With `testOpenids`, a path that
 * sends to single users is allowed for these alone, unless it is on `deny`.
 */
export interface ApiPolicy {
  readonly preset: ApiPreset;
  /** Patterns, as `API_PATTERN`. */
  readonly allow: readonly string[];
  readonly deny: readonly string[];
  /** Users to whom messages may be sent, as `OPENID`; absent where the rest decides. */
  readonly testOpenids?: readonly string[];
}

/** A policy by the names of `/v1`. */
export interface PolicyFields extends Omit<ApiPolicy, "testOpenids"> {
  readonly test_openids?: readonly string[];
}

/** A policy as `/v1` and the audit show it. */
export function policyFields({ testOpenids, ...policy }: ApiPolicy): PolicyFields {
  return { ...policy, ...(testOpenids && { test_openids: testOpenids }) };
}

/** The policy that refuses nothing. */
export const ALLOW_ALL: ApiPolicy = { preset: "all", allow: [], deny: [] };

/** The policy for programs that share an app with production. */
export const SAFE: ApiPolicy = { preset: "safe", allow: [], deny: [] };

const READ_ONLY: ApiPolicy = { preset: "read-only", allow: [], deny: [] };
const NO_MESSAGING: ApiPolicy = { preset: "no-messaging", allow: [], deny: [] };

/** The policy that refuses everything, also in place of one that can't be read. */
export const ALLOW_NONE: ApiPolicy = { preset: "none", allow: [], deny: [] };

/** A path, or a path and `/**` for itself and everything below it. */
export const API_PATTERN = /^((\/[A-Za-z0-9_-][A-Za-z0-9._-]*)+\/?|(\/[A-Za-z0-9_-][A-Za-z0-9._-]*)*\/\*\*)$/;

/** How WeChat's paths are spelt. In any other spelling an upstream may see another path than we do. */
const PLAIN_PATH = /^(\/[A-Za-z0-9_-][A-Za-z0-9._-]*)+\/*$/;

/**
 * Words in a path, in lower case, that say that it deletes, overwrites or sets something. New paths have them too.
 * Not `model`, `delivery`, `delay` and `credit`.
 */
const CHANGES =
  /(?<!mo)del(?!iver|ay)|remove|clear|clean|cancel|dismiss|unbind|untag|modify|update|rename|replace|switch|reset|(?<!cr)edit|[/_](set|bind|mod_)/;

const PRESETS: Readonly<Record<ApiPreset, (platform: Platform, plain: string) => boolean>> = {
  all: () => true,
  "read-only": (platform, plain) => matches(READING_PATHS[platform], plain),
  "no-messaging": (platform, plain) => !matches(MESSAGING_PATHS[platform], plain),
  safe: (platform, plain) =>
    !CHANGES.test(plain) && ![MESSAGING_PATHS, SHARED_PATHS].some((lists) => matches(lists[platform], plain)),
  none: () => false,
};

type PathLists = Readonly<Record<Platform, readonly string[]>>;

/** What the preset `no-messaging` refuses, as patterns. */
export const MESSAGING_PATHS = readPaths(messaging);
/** What `safe` refuses beside them and by `CHANGES`. */
export const SHARED_PATHS = readPaths(shared);
/** What `read-only` allows. */
export const READING_PATHS = readPaths(reading);

/** The patterns in a file of `policies/`: one a line below `[weixin]` or `[wecom]`, and comments that begin with `#`. */
function readPaths(text: string): PathLists {
  const lists = { weixin: [] as string[], wecom: [] as string[] };
  let platform: Platform = "weixin";
  for (const line of text.split(/\r?\n/)) {
    if (line === "[weixin]" || line === "[wecom]") platform = line === "[wecom]" ? "wecom" : "weixin";
    else if (line !== "" && !line.startsWith("#")) lists[platform].push(line);
  }
  return lists;
}

/** Whether `policy` refuses nothing at all, so that a real token grants no more than it does. */
export function isUnrestricted({ preset, deny }: ApiPolicy): boolean {
  return preset === "all" && deny.length === 0;
}

/**
 * Whether `policy` allows `path`, as it is sent, on that platform.
 *
 * Case and trailing slashes make no difference. A policy that refuses anything also refuses paths that are spelt as
 * none of WeChat's: with escapes, empty segments, dot segments or parameters.
 */
export function isPathAllowed(policy: ApiPolicy, platform: Platform, path: string): boolean {
  if (isUnrestricted(policy)) return true;
  // Before the case is folded: other letters fold to ASCII ones.
  if (!PLAIN_PATH.test(path)) return false;
  const plain = plainPath(path);
  if (matches(policy.deny, plain)) return false;
  if (matches(policy.allow, plain) || recipientFields(policy, platform, path)) return true;
  return PRESETS[policy.preset](platform, plain);
}

/** What a call of a path may do: only read, reach users, or (as every path that is not known) change something. */
export type Effect = "reads" | "writes" | "messages";

/** What a call of `path`, as it is sent, may do on that platform. */
export function effectOf(platform: Platform, path: string): Effect {
  if (isPathAllowed(READ_ONLY, platform, path)) return "reads";
  return isPathAllowed(NO_MESSAGING, platform, path) ? "writes" : "messages";
}

/** Every path of that platform that a list of ours names, in the order of the alphabet; with a slash at its end for all below it. */
export function knownPaths(platform: Platform): readonly string[] {
  const lists = [READING_PATHS, MESSAGING_PATHS, SHARED_PATHS].flatMap((each) => each[platform]);
  const sending = platform === "weixin" ? RECIPIENT_FIELDS.keys() : [];
  return [...new Set([...lists.map((pattern) => pattern.replace(/\*\*$/, "")), ...sending])].toSorted();
}

/** Which fields of a message on `path` must name none but the policy's test openids; undefined for any other path. */
export function recipientFields(
  { testOpenids }: ApiPolicy,
  platform: Platform,
  path: string,
): readonly string[] | undefined {
  return testOpenids && platform === "weixin" ? RECIPIENT_FIELDS.get(plainPath(path)) : undefined;
}

/** The first two segments of a path and what is below them, for people and counts; `*` for one that is spelt unusually. */
export function familyPattern(path: string): string {
  if (!PLAIN_PATH.test(path)) return "*";
  const [, first = "", second, third] = plainPath(path).split("/");
  // As long as a caller likes, and none of theirs.
  if (first.length + (second?.length ?? 0) > 100) return "*";
  return `/${[first, second, third === undefined ? undefined : "**"].filter(Boolean).join("/")}`;
}

/**
 * Reads a stored policy. One that is damaged, or that this version knows only in part, is `ALLOW_NONE`, so that it
 * never grants more than was meant.
 */
export function readPolicy(text: string): ApiPolicy {
  try {
    const { preset, allow, deny, testOpenids, ...unknown } = JSON.parse(text) as Partial<
      Record<keyof ApiPolicy, unknown>
    >;
    const known = API_PRESETS.find((each) => each === preset);
    if (
      known &&
      Object.keys(unknown).length === 0 &&
      isListOf(API_PATTERN, allow) &&
      isListOf(API_PATTERN, deny)
    ) {
      if (testOpenids === undefined) return { preset: known, allow, deny };
      if (isListOf(OPENID, testOpenids)) return { preset: known, allow, deny, testOpenids };
    }
  } catch {
    // As an unknown policy.
  }
  return ALLOW_NONE;
}

function isListOf(form: RegExp, value: unknown): value is string[] {
  return Array.isArray(value) && value.every((each) => typeof each === "string" && form.test(each));
}

type Matcher = (plain: string) => boolean;

/** Cached as long as the policies: lists are matched at each request. */
const matchers = new WeakMap<readonly string[], Matcher>();

function matches(patterns: readonly string[], plain: string): boolean {
  let matcher = matchers.get(patterns);
  if (!matcher) matchers.set(patterns, (matcher = matcherOf(patterns)));
  return matcher(plain);
}

function matcherOf(patterns: readonly string[]): Matcher {
  const paths = new Set<string>();
  const roots = new Set<string>();
  for (const pattern of patterns.map(plainPath)) {
    if (pattern.endsWith("/**")) roots.add(pattern.slice(0, -"/**".length));
    else paths.add(pattern);
  }
  return (plain) => {
    if (paths.has(plain)) return true;
    for (let root = plain; root !== ""; root = root.slice(0, root.lastIndexOf("/")))
      if (roots.has(root)) return true;
    return roots.has("");
  };
}

function plainPath(path: string): string {
  return path.toLowerCase().replace(/\/+$/, "");
}

/** First segments of WeChat's paths beside `cgi-bin`, each a family by itself. */
const BY_FIRST = new Set(
  (
    "wxa wxaapi wxaop datacube customservice card semantic cv device shakearound bizwifi shop product tcb xpay channels " +
    "merchant scan hardware wxopen publisher nontax intp sns cityservice mall promoter redpacketcover retail union user-order " +
    "marketing componenttcb newtmpl wxdata"
  ).split(" "),
);

/** Second segments below `/cgi-bin/`, of WeChat and WeCom. */
const BELOW_CGI_BIN = new Set(
  (
    "account agent appchat auth batch business callback checkin clear_quota comment corp corpgroup customservice " +
    "department device dial draft express externalcontact externalpay freepublish get_api_domain_ip " +
    "get_current_selfmenu_info getcallbackip guide health hr idconvert invoice kf linkedcorp living material media " +
    "meeting menu message miniapppay oa openapi openuserid_to_userid poi qrcode school security shorturl shorten soter " +
    "tag tags template ticket user wedoc wedrive wxaapp wxopen"
  ).split(" "),
);

/** Every family of WeChat's paths; WeCom has those below `/cgi-bin` alone. */
export const PATH_FAMILIES: readonly string[] = [
  "/cgi-bin",
  ...[...BELOW_CGI_BIN].map((each) => `/cgi-bin/${each}`),
  ...[...BY_FIRST].map((each) => `/${each}`),
  "other",
];

/**
 * The family of a path, for counts and metrics: its first segments where they are known, else `other`. There are fewer
 * than a hundred.
 */
export function pathFamily(path: string): string {
  const [, first = "", second = ""] = path.split("/");
  if (first === "cgi-bin") return BELOW_CGI_BIN.has(second) ? `/cgi-bin/${second}` : "/cgi-bin";
  return BY_FIRST.has(first) ? `/${first}` : "other";
}

/** Whether a path's first segment is one of that platform's; in any case, as WeChat does not mind. */
export function isPlatformPath(path: string, platform: Platform = "weixin"): boolean {
  const first = path.split("/", 2)[1]?.toLowerCase() ?? "";
  return first === "cgi-bin" || (platform === "weixin" && BY_FIRST.has(first));
}

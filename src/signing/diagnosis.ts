import type { Platform } from "../errors.ts";
import { type CauseId, CAUSES } from "./causes.ts";
import type { PageClaims } from "./page-claims.ts";
import { jsApiText, signJsApi } from "./page-signer.ts";
import {
  isComplete,
  masked,
  type Match,
  type SearchInput,
  SignatureSearch,
  type TriedTicket,
} from "./signature-search.ts";
import { cleanUrl, differences, type UrlDifference } from "./url-variants.ts";

/** What a diagnosis goes by. */
export interface DiagnosisInput extends SearchInput {
  readonly app: {
    readonly name: string;
    readonly platform: Platform;
    readonly appId: string;
    /** The agentid; undefined where it is not known. */
    readonly agentId?: string | undefined;
  };
  /** The hosts whose pages may use the JS-SDK; none where nobody said. */
  readonly domains: readonly string[];
  /** Epoch milliseconds. */
  readonly now: number;
  /** For a page that has said none. */
  readonly nonce: string;
}

/** One cause, with what shows it. */
interface Finding {
  readonly cause: CauseId;
  /** Whether it is proved by what was sent, or is to be looked at. */
  readonly certainty: "found" | "possible";
  readonly found?: string | undefined;
  readonly expected?: string | undefined;
}

/** What is right for a page, what it did instead, and why it is refused. */
export interface Diagnosis {
  /** The address that should be signed. */
  readonly url: string;
  readonly timestamp: number;
  readonly nonce: string;
  /** The string to hash, its ticket masked. */
  readonly text: string;
  readonly signature: string;
  readonly match: Match | undefined;
  readonly tried: SignatureSearch["tried"];
  /** What is proved comes first. */
  readonly findings: readonly Finding[];
}

/** The life of a ticket: an older signature was made with another one. */
const MAX_AGE_SECONDS = 7200;
/** Looks for everything that makes WeChat or WeCom refuse the page. Asks nobody: what there is was given. */
export function diagnose(input: DiagnosisInput): Diagnosis {
  const { claims, tickets, now } = input;
  const url = expectedUrl(claims);
  const given = claims.timestamp ?? "";
  const timestamp = /^\d{13}$/.test(given)
    ? Math.floor(Number(given) / 1000)
    : /^\d{10}$/.test(given)
      ? Number(given)
      : Math.floor(now / 1000);
  const nonce = claims.nonce ?? input.nonce;
  const ticket = tickets[0].value;
  const search = new SignatureSearch(input, url);
  const match = search.run();
  const findings = new Findings();
  findIdentity(input, findings);
  findForm(input, findings);
  findAddress(input, { url, match }, findings);
  if (match) findTicket(input, match, findings);
  findEnvironment(input, url, findings);
  findings.conclude(claims, match);
  return {
    url,
    timestamp,
    nonce,
    text: jsApiText({ ticket: masked(ticket), nonce, timestamp, url }),
    signature: signJsApi({ ticket: ticket.reveal(), nonce, timestamp, url }),
    match,
    tried: search.tried,
    findings: findings.sorted(),
  };
}

/** The address that WeChat compares with, as far as the claims tell. */
function expectedUrl({ platform, landingUrl, href, url }: PageClaims): string {
  const counted = platform === "ios" ? (landingUrl ?? href) : href;
  return cleanUrl(counted ?? url ?? landingUrl ?? "");
}

/** Findings by cause: the first of each counts, unless a later one is surer. */
class Findings {
  readonly #byCause = new Map<CauseId, Finding>();

  add(cause: CauseId, more: Omit<Finding, "cause" | "certainty"> = {}): void {
    this.#put({ cause, certainty: "found", ...more });
  }

  suspect(cause: CauseId, more: Omit<Finding, "cause" | "certainty"> = {}): void {
    this.#put({ cause, certainty: "possible", ...more });
  }

  /** Says what the search came to where no cause does. */
  conclude(claims: PageClaims, match: Match | undefined): void {
    const isProved = [...this.#byCause.values()].some(({ certainty }) => certainty === "found");
    if (match) {
      if (!isProved) this.add("correct", { found: match.url });
    } else if (isComplete(claims)) this.suspect("no_match");
    else if (!isProved && isAboutSignature(claims)) this.suspect("incomplete");
  }

  sorted(): readonly Finding[] {
    const order = Object.keys(CAUSES);
    const rank = ({ cause, certainty }: Finding) =>
      order.indexOf(cause) + (certainty === "found" ? 0 : order.length);
    return [...this.#byCause.values()].toSorted((a, b) => rank(a) - rank(b));
  }

  #put(finding: Finding): void {
    const known = this.#byCause.get(finding.cause);
    if (!known || (known.certainty === "possible" && finding.certainty === "found"))
      this.#byCause.set(finding.cause, finding);
  }
}

/** Whose page it says to be, and with whose ticket it was signed where that was pasted. */
function findIdentity({ claims, app, tickets, others }: DiagnosisInput, findings: Findings): void {
  const { appId, agentId, ticket } = claims;
  if (appId !== undefined && appId !== app.appId)
    findings.add("other_app", { found: appId, expected: app.appId });
  else if (agentId !== undefined && app.agentId !== undefined && agentId !== app.agentId)
    findings.add("other_app", { found: agentId, expected: app.agentId });
  if (ticket === undefined || /…|\.\.\.|\*/.test(ticket)) return;
  const known = [...tickets, ...others].find(({ value }) => value.reveal() === ticket);
  if (known) nameTicket(known, { app, right: tickets[0] }, findings);
  else findings.add("unknown_ticket");
}

/** How the fields of wx.config look. */
function findForm({ claims, now }: DiagnosisInput, findings: Findings): void {
  const { timestamp, isTimestampQuoted, nonceNames, signature, call } = claims;
  if (timestamp !== undefined && !/^\d{10}$/.test(timestamp))
    findings.add("timestamp_form", { found: timestamp, expected: String(Math.floor(now / 1000)) });
  else if (timestamp !== undefined && now / 1000 - Number(timestamp) > MAX_AGE_SECONDS)
    findings.suspect("stale_timestamp", { found: timestamp, expected: String(Math.floor(now / 1000)) });
  if (isTimestampQuoted && call !== undefined) findings.suspect("timestamp_type");
  const wrongName = nonceNames?.includes("nonceStr") ? undefined : nonceNames?.[0];
  if (wrongName !== undefined) {
    const names = { found: wrongName, expected: "nonceStr" };
    // What a back end answers may have any name.
    if (call === undefined) findings.suspect("nonce_name", names);
    else findings.add("nonce_name", names);
  }
  if (signature !== undefined && !/^[0-9a-f]{40}$/.test(signature))
    findings.add("signature_form", { found: signature });
}

/** In what the address that was signed differs from the page's. */
function findAddress(
  { claims }: DiagnosisInput,
  { url, match }: { readonly url: string; readonly match: Match | undefined },
  findings: Findings,
): void {
  const { platform, landingUrl, href } = claims;
  const signed = match?.url ?? claims.url;
  const isMoved = href !== undefined && landingUrl !== undefined && cleanUrl(href) !== cleanUrl(landingUrl);
  if (signed !== undefined) {
    const isLanding = platform === "ios" && isMoved && differences(signed, cleanUrl(href)).length === 0;
    const causes: readonly (UrlDifference | "ios_landing_url")[] = isLanding
      ? ["ios_landing_url"]
      : differences(signed, url);
    // What follows # is cut off by whoever signs as he should.
    const isSure = (cause: string) => match !== undefined || cause !== "hash_included";
    for (const cause of causes) {
      if (isSure(cause)) findings.add(cause, { found: signed, expected: url });
      else findings.suspect(cause, { found: signed, expected: url });
    }
  }
  const mayBeLanding = platform === "ios" ? landingUrl === undefined : platform === undefined && isMoved;
  if (mayBeLanding && isAboutSignature(claims)) findings.suspect("ios_landing_url", { expected: landingUrl });
}

/** With what it was signed. */
function findTicket({ app, tickets, claims }: DiagnosisInput, match: Match, findings: Findings): void {
  nameTicket(match.ticket, { app, right: tickets[0] }, findings);
  if (!match.isUsualForm) findings.add("string_form", { found: match.text });
  if (match.timestamp !== claims.timestamp)
    findings.add("timestamp_form", { found: match.timestamp, expected: claims.timestamp });
}

function nameTicket(
  ticket: TriedTicket,
  { app, right }: { readonly app: DiagnosisInput["app"]; readonly right: TriedTicket },
  findings: Findings,
): void {
  // The ticket for wx.config is the corp's, whichever application obtained it.
  const isOwn = ticket.kind === "jsapi_ticket" ? ticket.appId === app.appId : ticket.app === app.name;
  if (!isOwn) findings.add("other_app", { found: ticket.app, expected: app.name });
  if (ticket.kind !== right.kind) findings.add("wrong_ticket", { found: ticket.kind, expected: right.kind });
  else if (ticket.isPrevious) findings.add("old_ticket");
}

/** What WeChat's console, the account and the client of the user have to do with it. */
function findEnvironment({ claims, app, domains }: DiagnosisInput, url: string, findings: Findings): void {
  const { error = "", call, browser } = claims;
  if (URL.canParse(url)) {
    const { hostname, host } = new URL(url);
    const isListed = domains.some((domain) => hostname === domain || hostname.endsWith(`.${domain}`));
    const isUnfit = app.platform === "weixin" && (host !== hostname || /^[\d.]+$|^\[/.test(hostname));
    const more = { found: host, expected: domains.length > 0 ? domains.join(", ") : undefined };
    if (isUnfit || (domains.length > 0 && !isListed)) findings.add("url_domain", more);
    else if (/invalid url domain/i.test(error)) findings.suspect("url_domain", more);
  }
  if (call === "agentConfig") {
    if (browser !== undefined && browser !== "wecom")
      findings.add("agent_config_client", { found: browser, expected: "wecom" });
    else if (error !== "") findings.suspect("agent_config_client");
  }
  if (/permission denied|no permission/i.test(error)) findings.add("permission_denied", { found: error });
  if (/offline verifying/i.test(error)) findings.add("not_configured", { found: error });
}

function isAboutSignature({ error }: PageClaims): boolean {
  return error === undefined || /signature|config:fail|系统错误|system error/i.test(error);
}

import type { AppDirectory } from "../apps/app-directory.ts";
import { type App, isAgency, nameOfApp, ownSlotOf } from "../apps/app.ts";
import type { CredentialFactsStore } from "../credentials/credential-store.ts";
import { KINDS, kindsOf } from "../credentials/kinds.ts";
import { type AuthorizationCodeStore, type FailedCode, UNNAMED } from "../platforms/authorization-store.ts";
import { failureOf } from "../platforms/kept-texts.ts";
import type { Finding } from "./alarm-state.ts";

const MINUTE_MS = 60_000;

/** How a third-party platform is. */
export interface PlatformState {
  readonly app: App;
  /** Whether tickets are pushed to it: not to a WeCom service provider. */
  readonly hasTicket: boolean;
  /** When the last one was pushed, in epoch milliseconds; undefined where none has come. */
  readonly ticketAt: number | undefined;
  /** How many accounts or corps it has. */
  readonly valid: number;
  /** Those whose authorization WeChat or WeCom refuses. */
  readonly lost: readonly App[];
  /** The codes of the last day that came to nothing, the last first, and whose account is not here by another. */
  readonly failed: readonly FailedCode[];
}

/** Reads how every third-party platform is: two statements, whatever their number. */
export async function platformStates(
  directory: Pick<AppDirectory, "sorted" | "find">,
  {
    credentialFacts,
    authorizationCodes,
  }: {
    readonly credentialFacts: Pick<CredentialFactsStore, "ofSlots">;
    readonly authorizationCodes: Pick<AuthorizationCodeStore, "listFailed">;
  },
  now: number,
): Promise<PlatformState[]> {
  const platforms: App[] = [];
  const accounts = new Map<string, { valid: number; lost: App[] }>();
  for (const app of directory.sorted()) {
    if (app.role) platforms.push(app);
    if (!app.authorization) continue;
    const { platformApp, lostAt } = app.authorization;
    const of = accounts.get(platformApp) ?? { valid: 0, lost: [] };
    if (lostAt === undefined) of.valid += 1;
    else of.lost.push(app);
    accounts.set(platformApp, of);
  }
  if (platforms.length === 0) return [];
  const slots = platforms.map(ownSlotOf);
  const known = await credentialFacts.ofSlots(slots);
  const failed = (await authorizationCodes.listFailed(now)).filter(({ platformApp, account }) => {
    const app = directory.find(`${account}_${platformApp}`);
    return !app?.authorization || app.authorization.lostAt !== undefined;
  });
  return platforms.map((app, n) => {
    const slot = ownSlotOf(app);
    const ticket = kindsOf(slot).find((kind) => KINDS.get({ slot, kind }).obtainedBy === "pushed");
    return {
      app,
      hasTicket: ticket !== undefined,
      ticketAt: known[n]?.find(({ kind }) => kind === ticket)?.life?.issuedAt,
      ...(accounts.get(app.id) ?? { valid: 0, lost: [] }),
      failed: failed.filter(({ platformApp }) => platformApp === app.id),
    };
  });
}

/** After how long without a ticket its pushes count as ended: WeChat's lasts 12 hours, WeCom's 30 minutes; both come every ten. */
export function ticketMissingAfterMs({ platform }: Pick<App, "platform">): number {
  return (platform === "weixin" ? 30 : 15) * MINUTE_MS;
}

/** What to do about a ticket that does not come: 中文 (English). */
export function ticketRemedy({ id, platform }: Pick<App, "id" | "platform">): string {
  const path = `/callback/${id}/auth`;
  const start = `accesstoken platforms start-pushing ${id}`;
  return platform === "weixin"
    ? `授权事件接收URL须为 ${path} 且外网可达，再执行 ${start} (event URL ${path} must be reachable; then run ${start})`
    : `指令回调URL须为 ${path} 且外网可达，再在服务商后台手动推送ticket (command URL ${path} must be reachable; then push the ticket by hand in the provider's console)`;
}

/** That a platform gets no tickets any more; undefined where it does. */
export function findingOfTicket({ app, ticketAt }: PlatformState, now: number): Finding | undefined {
  // One that was added just now is still to be entered in WeChat's console.
  const silentMs = now - (ticketAt ?? app.addedAt ?? 0);
  if (silentMs < ticketMissingAfterMs(app)) return undefined;
  const minutes = Math.floor(silentMs / MINUTE_MS);
  const message =
    ticketAt === undefined
      ? "还没有收到过 (none has come yet)"
      : `上次收到是在${minutes}分钟前 (the last one came ${minutes} minutes ago)`;
  return {
    ...{ condition: "ticket_missing", subject: app.id },
    detail: { message, hint: ticketRemedy(app) },
  };
}

/** That an account's authorization is lost. */
export function findingOfLost(app: App): Finding {
  const platform = app.authorization?.platformApp ?? "";
  return {
    ...{ condition: "authorization_lost", subject: nameOfApp(app) },
    detail: { message: `平台 ${platform} (of the platform ${platform})` },
  };
}

/** That authorizations have come to nothing; undefined for none. WeCom has no list in which they could be found. */
export function findingOfFailed({ app, failed }: PlatformState): Finding | undefined {
  const [last] = failed;
  if (!last) return undefined;
  const names = [...new Set(failed.map(({ account }) => account))].filter((name) => name !== UNNAMED);
  const [chinese, english] = [names.length > 0 ? `：${names.join("、")}` : "", names.join(", ")];
  const { upstream } = failureOf(last.error);
  return {
    ...{ condition: "authorization_failed", subject: app.id, at: last.dueAt },
    detail: {
      message: `一天内有${failed.length}个授权没有完成${chinese} (${failed.length} authorizations of the last day came to nothing${english && `: ${english}`})`,
      hint: failedRemedy(app),
      ...(upstream ? { errcode: upstream.errcode } : {}),
    },
  };
}

/** What to do about an authorization that came to nothing: 中文 (English). */
export function failedRemedy({ id }: Pick<App, "id">): string {
  const link = `accesstoken platforms link ${id}`;
  return isAgency(id)
    ? `请企业重新授权（${link}），或在服务商后台重新获取该代开发应用的secret；此后已完成的无需处理 (have the corp authorize again by ${link}, or get its app's secret again in the provider's console; nothing is to be done where that has happened since)`
    : `请其管理员通过新的链接重新授权（${link}）；此后已完成的无需处理 (have its administrator authorize again by a new link of ${link}; nothing is to be done where that has happened since)`;
}

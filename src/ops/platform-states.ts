import type { AppDirectory } from "../apps/app-directory.ts";
import { type App, nameOfApp, ownSlotOf } from "../apps/app.ts";
import type { CredentialFactsStore } from "../credentials/credential-store.ts";
import { KINDS, kindsOf } from "../credentials/kinds.ts";
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
}

/** Reads how every third-party platform is: one statement, whatever their number. */
export async function platformStates(
  directory: Pick<AppDirectory, "sorted">,
  facts: Pick<CredentialFactsStore, "ofSlots">,
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
  const known = await facts.ofSlots(slots);
  return platforms.map((app, n) => {
    const slot = ownSlotOf(app);
    const ticket = kindsOf(slot).find((kind) => KINDS.get({ slot, kind }).obtainedBy === "pushed");
    return {
      app,
      hasTicket: ticket !== undefined,
      ticketAt: known[n]?.find(({ kind }) => kind === ticket)?.life?.issuedAt,
      ...(accounts.get(app.id) ?? { valid: 0, lost: [] }),
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

import { appName, type SlotName } from "../apps/app.ts";
import type { Clock } from "../clock.ts";
import type { AppIndex } from "../credentials/app-index.ts";
import { shareOf } from "../credentials/app-table.ts";
import type { StandingLife } from "../credentials/credential-store.ts";
import { KINDS_OF } from "../credentials/kinds.ts";
import { APP_STATES } from "../credentials/status.ts";
import type { UpstreamErrorClass } from "../errors.ts";
import { type Gauge, MAX_APPS, type MetricRegistry } from "./metrics.ts";
import type { PlatformState } from "./platform-states.ts";
import { ERROR_CLASSES } from "./upstream-metrics.ts";

/** Longer than this a snapshot does not wait for the index of very many apps: it then shows what the last one found. */
const INDEX_MS = 300;

/** What the metrics of credentials read at each snapshot. */
export interface CredentialMetricsParts {
  readonly clock: Clock;
  /** Of several workers the first alone reads the index, which takes 20 MB with very many apps. */
  readonly worker: string;
  readonly appCount: () => number;
  /** The current credentials. */
  readonly listLives: () => Promise<readonly StandingLife[]>;
  /** Which apps the upstream has refused for now, and why. */
  readonly listBlocked: () => Promise<
    readonly { readonly app: string; readonly class: UpstreamErrorClass }[]
  >;
  /** Whether it is the slot of a secret that we hold. Others get no series: callers could make any number. */
  readonly isConfigured: (slot: SlotName) => boolean;
  readonly platforms: () => Promise<readonly PlatformState[]>;
  /** Asked for after the service is wired. */
  readonly index: () => Pick<AppIndex, "credentialCounts" | "fullestQuotas">;
}

/** Shows which credentials there are, how long they live, which apps are refused, and what of their quotas is used. */
export class CredentialMetrics {
  readonly #parts: CredentialMetricsParts;
  readonly #left: Gauge;
  readonly #expiry: Gauge;
  readonly #blocked: Gauge;
  readonly #counts: Gauge;
  readonly #quotas: Gauge;
  readonly #ticketAge: Gauge;
  readonly #authorizations: Gauge;
  #reading: Promise<void> | undefined;

  constructor(registry: MetricRegistry, parts: CredentialMetricsParts) {
    this.#parts = parts;
    const gauge = (name: string, help: string, labelNames: readonly string[]) =>
      registry.gauge({ name: `accesstoken_${name}`, help, labelNames, merge: "max" });
    const credential = ["platform", "app", "kind"];
    this.#left = gauge(
      "credential_expiry_seconds",
      "Remaining life of each current credential; 0 when it has expired. Off above 1000 apps.",
      credential,
    );
    this.#expiry = gauge(
      "credential_expiry_timestamp_seconds",
      "When each current credential expires or has expired, in seconds since 1970. Off above 1000 apps.",
      credential,
    );
    this.#blocked = gauge(
      "blocked_apps",
      "Apps that WeChat or WeCom refuses for now, by class of errcode; GET /v1/apps says which.",
      ["class"],
    );
    this.#counts = gauge("credentials", "Credentials of the apps that are held, by what they are now.", [
      "platform",
      "kind",
      "state",
    ]);
    for (const [platform, kinds] of Object.entries(KINDS_OF))
      for (const kind of kinds) for (const state of APP_STATES) this.#counts.set(0, platform, kind, state);
    this.#quotas = gauge(
      "quota_used_ratio",
      "Used part of today's calls, of each app's endpoint of which most is used. Above 1000 apps the fullest alone, without app.",
      ["app", "endpoint"],
    );
    this.#ticketAge = gauge(
      "platform_ticket_age_seconds",
      "Since a ticket was last pushed to each third-party platform; left out where none has come.",
      ["platform"],
    );
    this.#authorizations = gauge(
      "authorizations",
      "Accounts and corps that have authorized each third-party platform, valid and lost.",
      ["platform", "state"],
    );
  }

  /** Reads all of it. What the store can't read is left out, or as it was. */
  async read(): Promise<void> {
    await this.#readExpiries();
    await this.#readBlocked();
    await this.#readPlatforms();
    if (this.#parts.worker !== "1") return;
    this.#reading ??= this.#readIndex()
      .catch(() => undefined)
      .finally(() => (this.#reading = undefined));
    await Promise.race([this.#reading, Bun.sleep(INDEX_MS)]);
  }

  async #readExpiries(): Promise<void> {
    const { appCount, clock, listLives, isConfigured } = this.#parts;
    const lives = appCount() > MAX_APPS ? [] : await listLives().catch(() => []);
    this.#left.clear();
    this.#expiry.clear();
    for (const { name, expiresAt } of lives) {
      if (!isConfigured(name.slot)) continue;
      const labels = [name.slot.platform, appName(name.slot), name.kind];
      this.#left.set(Math.max(0, expiresAt - clock.now()) / 1000, ...labels);
      this.#expiry.set(expiresAt / 1000, ...labels);
    }
  }

  async #readBlocked(): Promise<void> {
    const blocked = await this.#parts.listBlocked().catch(() => undefined);
    this.#blocked.clear();
    if (!blocked) return;
    for (const name of ERROR_CLASSES) {
      const apps = new Set(blocked.flatMap(({ app, class: why }) => (why === name ? [app] : [])));
      this.#blocked.set(apps.size, name);
    }
  }

  async #readPlatforms(): Promise<void> {
    const platforms = await this.#parts.platforms().catch(() => undefined);
    this.#ticketAge.clear();
    this.#authorizations.clear();
    for (const { app, ticketAt, valid, lost } of platforms ?? []) {
      this.#authorizations.set(valid, app.id, "valid");
      this.#authorizations.set(lost.length, app.id, "lost");
      if (ticketAt === undefined || app.managed?.isDisabled) continue;
      this.#ticketAge.set(Math.max(0, this.#parts.clock.now() - ticketAt) / 1000, app.id);
    }
  }

  async #readIndex(): Promise<void> {
    const index = this.#parts.index();
    const counts = await index.credentialCounts();
    const isMany = this.#parts.appCount() > MAX_APPS;
    const quotas = await index.fullestQuotas(() => true, isMany ? 1 : MAX_APPS);
    for (const { platform, kind, state, count } of counts) this.#counts.set(count, platform, kind, state);
    this.#quotas.clear();
    for (const quota of quotas) this.#quotas.set(shareOf(quota), isMany ? "" : quota.name, quota.endpoint);
  }
}

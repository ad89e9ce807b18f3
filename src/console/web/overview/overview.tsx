import type { OverviewData } from "../../../api/v1-overview-schema.ts";
import { post } from "../api.ts";
import { number, percent } from "../format.ts";
import { halfOf } from "../language.ts";
import { Button, LinkButton } from "../parts/button.tsx";
import type { IconName } from "../parts/icons.tsx";
import { Icon } from "../parts/icons.tsx";
import { LifeBar } from "../parts/life-bar.tsx";
import { Page, Section } from "../parts/page.tsx";
import { Spark } from "../parts/spark.tsx";
import { APP_STATES, STATES } from "../parts/state-badge.tsx";
import { Empty, Loaded } from "../parts/states.tsx";
import { Time } from "../parts/time.tsx";
import { attempt } from "../parts/toast.tsx";
import { useResource } from "../resource.ts";
import { href } from "../router.ts";
import { may } from "../session.ts";
import { w } from "./words.ts";

const MINUTES = 60;
const MINUTE_MS = 60_000;

type Need = OverviewData["needs_you"][number];

/** The first screen: how many apps are in which state, what needs somebody, and what comes next. */
export function Overview() {
  const overview = useResource<OverviewData>("/v1/overview", {
    topics: ["app", "credential", "backoffs", "client", "callback"],
  });
  return (
    <Page title={w.title}>
      <Loaded resource={overview}>
        {(data) =>
          data.counts.total === 0 ? (
            <Empty
              title={w.empty}
              hint={w.emptyHint}
              action={
                <LinkButton kind="primary" href={href("/apps", { add: 1 })}>
                  {w.toApps}
                </LinkButton>
              }
            />
          ) : (
            <div class="stack">
              <Counters counts={data.counts} />
              <NeedsYou needs={data.needs_you} onDone={overview.reload} />
              <div class="columns">
                <Lives lives={data.lives} />
                <div class="stack">
                  {data.service && <Traffic traffic={data.service.traffic} />}
                  <Quotas quotas={data.quota} />
                </div>
              </div>
              {data.service && (
                <p class="foot muted">
                  <span>
                    {w.version} {data.service.version}
                  </span>
                  <span>
                    {w.nodes} {number(data.service.nodes)}
                  </span>
                  <span>
                    {w.database} {data.service.database}
                  </span>
                </p>
              )}
            </div>
          )
        }
      </Loaded>
    </Page>
  );
}

function Counters({ counts }: { readonly counts: OverviewData["counts"] }) {
  return (
    <ul class="counters" aria-label={w.byState}>
      {APP_STATES.map((state) => (
        <li key={state}>
          <a
            class={counts[state] === 0 ? "counter idle" : `counter ${STATES[state].tone}`}
            href={href("/apps", { state })}
          >
            <span class="counter-number">{number(counts[state])}</span>
            <span class="counter-word">
              <Icon name={STATES[state].icon} />
              {w[state]}
            </span>
          </a>
        </li>
      ))}
    </ul>
  );
}

const NEEDS: Readonly<Record<Need["type"], { readonly icon: IconName; readonly tone: "bad" | "warn" }>> = {
  not_ready: { icon: "alert", tone: "bad" },
  audit_broken: { icon: "alert", tone: "bad" },
  blocked: { icon: "ban", tone: "bad" },
  foreign_refresh: { icon: "user", tone: "warn" },
  quota: { icon: "alert", tone: "warn" },
  ticket_missing: { icon: "alert", tone: "bad" },
  authorization_lost: { icon: "alert", tone: "warn" },
  authorization_failed: { icon: "alert", tone: "warn" },
  node_gone: { icon: "alert", tone: "warn" },
  backup_stale: { icon: "alert", tone: "warn" },
  dead_deliveries: { icon: "alert", tone: "warn" },
  key_ends: { icon: "key", tone: "warn" },
};

function NeedsYou({ needs, onDone }: { readonly needs: readonly Need[]; readonly onDone: () => void }) {
  return (
    <Section title={w.needsYou}>
      {needs.length === 0 ? (
        <p class="all-well">
          <Icon name="check" />
          {w.nothing}
        </p>
      ) : (
        <ul class="needs">
          {needs.map((need) => (
            <li key={`${need.type} ${need.app ?? ""} ${need.client ?? ""} ${need.message}`}>
              <span class={`need-icon ${NEEDS[need.type].tone}`}>
                <Icon name={NEEDS[need.type].icon} />
              </span>
              <div class="need-text">
                <div>
                  <strong>{need.type === "quota" ? w.quota_need : w[need.type]}</strong>
                  {need.app !== undefined && <AppLink app={need.app} title={need.title} />}
                  {need.client !== undefined && (
                    <a href={href(`/clients/${encodeURIComponent(need.client)}`)}>{need.client}</a>
                  )}
                  {need.at !== undefined && (
                    <span class="muted">
                      <Time at={need.at} />
                    </span>
                  )}
                </div>
                <div class="muted">{halfOf(need.message)}</div>
              </div>
              <NeedButton need={need} onDone={onDone} />
            </li>
          ))}
        </ul>
      )}
    </Section>
  );
}

function NeedButton({ need, onDone }: { readonly need: Need; readonly onDone: () => void }) {
  const { app = "" } = need;
  if (need.action === "unblock" && may("token:refresh", app)) {
    const unblock = async () => {
      const work = () => post(`/v1/apps/${encodeURIComponent(app)}/unblock`);
      if (await attempt(work, () => w.unblocked(app))) onDone();
    };
    return (
      <Button isSmall onClick={unblock}>
        {w.unblock}
      </Button>
    );
  }
  return (
    <a class="button plain small" href={pageOf(need)}>
      <span>{w.open}</span>
    </a>
  );
}

function pageOf({ action, app, client }: Need): string {
  if (app !== undefined) return href(`/apps/${encodeURIComponent(app)}`);
  if (client !== undefined) return href(`/clients/${encodeURIComponent(client)}`);
  return href(action === "settings" ? "/settings" : `/${action}`);
}

function AppLink({ app, title }: { readonly app: string; readonly title: string | undefined }) {
  return <a href={href(`/apps/${encodeURIComponent(app)}`)}>{title ?? app}</a>;
}

function Lives({ lives }: { readonly lives: OverviewData["lives"] }) {
  return (
    <Section title={w.lives}>
      {lives.length === 0 ? (
        <p class="muted">{w.noLives}</p>
      ) : (
        <ul class="lines">
          {lives.map(({ app, title, kind, state, issued_at, expires_at, renew_at }) => (
            <li key={`${app} ${kind}`}>
              <span class="line-name">
                <AppLink app={app} title={title} />
                <span class="muted">{kind}</span>
              </span>
              <LifeBar state={state} issuedAt={issued_at} expiresAt={expires_at} renewAt={renew_at} />
            </li>
          ))}
        </ul>
      )}
    </Section>
  );
}

function Quotas({ quotas }: { readonly quotas: OverviewData["quota"] }) {
  return (
    <Section title={w.quotas}>
      {quotas.length === 0 ? (
        <p class="muted">{w.noQuotas}</p>
      ) : (
        <ul class="lines">
          {quotas.map(({ app, title, endpoint, calls, limit }) => (
            <li key={app}>
              <span class="line-name">
                <AppLink app={app} title={title} />
                <span class="muted">{endpoint}</span>
              </span>
              <span class="quota" title={percent(calls / limit)}>
                <span class="life-track">
                  <span
                    class={`life-fill ${calls >= 0.8 * limit ? "warn" : "info"}`}
                    style={{ width: `${Math.min(100, (100 * calls) / limit)}%` }}
                  />
                </span>
                <span>{w.quotaOf(number(calls), number(limit))}</span>
              </span>
            </li>
          ))}
        </ul>
      )}
    </Section>
  );
}

function Traffic({ traffic }: { readonly traffic: NonNullable<OverviewData["service"]>["traffic"] }) {
  const newest = traffic.at(-1)?.[0] ?? 0;
  const byMinute = new Map(traffic.map(([minute, handedOut, denied]) => [minute, { handedOut, denied }]));
  const minutes = Array.from({ length: MINUTES }, (_, n) =>
    byMinute.get(newest - (MINUTES - 1 - n) * MINUTE_MS),
  );
  const handedOut = minutes.map((minute) => minute?.handedOut ?? 0);
  const denied = minutes.map((minute) => minute?.denied ?? 0);
  const [all, refused] = [handedOut, denied].map((values) => number(values.reduce((sum, n) => sum + n, 0)));
  return (
    <Section
      title={w.traffic}
      actions={
        <span class="muted">
          {w.handedOut(all ?? "")} · {w.denied(refused ?? "")}
        </span>
      }
    >
      <Spark
        label={w.trafficLabel(all ?? "", refused ?? "")}
        series={[
          { values: handedOut, tone: "accent" },
          { values: denied, tone: "bad" },
        ]}
      />
    </Section>
  );
}

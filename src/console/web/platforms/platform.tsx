import type { AuthorizationData, PlatformData } from "../../../api/v1-platforms-schema.ts";
import { post } from "../api.ts";
import { w as apps } from "../apps/words.ts";
import { number } from "../format.ts";
import { Button, LinkButton } from "../parts/button.tsx";
import { Id } from "../parts/copy.tsx";
import { openDialog } from "../parts/dialogs.tsx";
import { Facts, Page, Section } from "../parts/page.tsx";
import { pageSize } from "../parts/pager.tsx";
import { Badge, StateBadge } from "../parts/state-badge.tsx";
import { Banner, Loaded } from "../parts/states.tsx";
import { type Column, Table } from "../parts/table.tsx";
import { Time } from "../parts/time.tsx";
import { attempt, toast } from "../parts/toast.tsx";
import { urlItems } from "../pushes/pushes.tsx";
import { useResource } from "../resource.ts";
import { href, route } from "../router.ts";
import { LinkDialog } from "./link-dialog.tsx";
import { Named, PLATFORMS, Ticket, TOPICS } from "./platforms.tsx";
import { w } from "./words.ts";

/** One platform: its ticket and token, what is entered in WeChat's console, and the accounts that have authorized it. */
export function Platform({ params }: { readonly params: Readonly<Record<string, string>> }) {
  const { platform = "" } = params;
  const path = `${PLATFORMS}/${encodeURIComponent(platform)}`;
  const of = useResource<PlatformData>(path, { topics: TOPICS });
  const { data } = of;
  return (
    <Page
      title={data?.title ?? platform}
      back={{ href: href("/platforms"), title: w.title }}
      subtitle={
        data && (
          <>
            {data.title !== undefined && <Id text={platform} />}
            <span>{apps[data.kind]}</span>
            <a href={href(`/apps/${platform}`)}>{w.appPage}</a>
          </>
        )
      }
      actions={data && data.kind !== "provider" && <Actions of={data} path={path} />}
    >
      <Loaded resource={of}>
        {(shown) => (
          <div class="stack">
            <State of={shown} />
            {shown.kind !== "provider" && <Accounts of={shown} path={path} />}
          </div>
        )}
      </Loaded>
    </Page>
  );
}

interface Part {
  readonly of: PlatformData;
  readonly path: string;
}

/** Asks what the link shall be; of that account alone where it is named. */
function askForLink(of: PlatformData, account = ""): void {
  openDialog((close) => <LinkDialog of={of} account={account} onClose={close} />);
}

function Actions({ of, path }: Part) {
  const ask = (what: string, done: (answer: Record<string, number>) => string) => async () =>
    void (await attempt(async () => toast(done(await post(`${path}/${what}`)))));
  return (
    <>
      {of.kind === "component" && <Button onClick={ask("ticket", () => w.started)}>{w.start}</Button>}
      <Button
        onClick={ask("reconcile", ({ added = 0, lost = 0 }) => w.reconciled(number(added), number(lost)))}
      >
        {w.reconcile}
      </Button>
      <Button kind="primary" icon="plus" onClick={() => askForLink(of)}>
        {w.newLink}
      </Button>
    </>
  );
}

function State({ of }: { readonly of: PlatformData }) {
  const { platform, kind, ticket, token, callback, disabled } = of;
  const hasTicket = kind !== "provider";
  return (
    <>
      {hasTicket && !callback.is_set && (
        <Banner tone="warn" action={<LinkButton href={href(`/pushes/${platform}`)}>{w.setUp}</LinkButton>}>
          {w.notSetUp}
        </Banner>
      )}
      <section class="section framed">
        <div class="facts-across">
          <Facts
            items={[
              ["Ticket", hasTicket && <Ticket of={of} />],
              [apps.expires, ticket.expires_at && <Time at={ticket.expires_at} />],
              ["Token", <StateBadge state={disabled ? "disabled" : token.state} />],
              [apps.expires, token.expires_at && <Time at={token.expires_at} />],
            ]}
          />
        </div>
      </section>
      {hasTicket && (
        <Section title={w.urls} actions={<span class="muted">{w.urlsHint}</span>}>
          <Facts items={urlItems(kind, callback.auth_url, callback.message_url)} />
        </Section>
      )}
    </>
  );
}

function Accounts({ of, path }: Part) {
  const after = route.value.query.get("after");
  const search = new URLSearchParams({ limit: String(pageSize()), ...(after && { after }) }).toString();
  const accounts = useResource<{ readonly authorizations: AuthorizationData[]; readonly next?: string }>(
    `${path}/authorizations?${search}`,
    { topics: TOPICS },
  );
  return (
    <Section title={w.accounts} isBare>
      <Loaded resource={accounts}>
        {({ authorizations: rows, next }) => (
          <Table
            caption={w.accounts}
            rows={rows}
            keyOf={({ app }) => app}
            hrefOf={({ app }) => href(`/apps/${encodeURIComponent(app)}`)}
            columns={columns(of)}
            empty={<p class="muted">{w.noAccounts}</p>}
            page={{ next }}
          />
        )}
      </Loaded>
    </Section>
  );
}

function columns(of: PlatformData): Column<AuthorizationData>[] {
  return [
    {
      ...{ key: "account", title: w.account, isFlexible: true },
      cell: ({ account, title }) => <Named title={title} id={account} />,
    },
    { key: "kind", title: apps.type, from: "wide", cell: (row) => <span class="nowrap">{w[row.kind]}</span> },
    { key: "state", title: apps.state, cell: (row) => <Standing of={row} /> },
    { key: "scopes", title: w.scopes, from: "widest", cell: ({ scopes }) => scopes.join(", ") },
    { key: "since", title: w.since, from: "wide", cell: (row) => <Time at={row.authorized_at} /> },
    {
      ...{ key: "actions", title: "", isEnd: true },
      cell: ({ account }) =>
        of.kind === "component" && (
          <Button isSmall onClick={() => askForLink(of, account)}>
            {w.again}
          </Button>
        ),
    },
  ];
}

function Standing({ of: { lost_at, disabled } }: { readonly of: AuthorizationData }) {
  if (lost_at !== undefined)
    return (
      <Badge tone="bad" icon="alert">
        {w.isLost}
        <span class="wide">
          <Time at={lost_at} />
        </span>
      </Badge>
    );
  return (
    <Badge tone={disabled ? "idle" : "ok"} icon={disabled ? "pause" : "check"}>
      {disabled ? w.disabled : w.valid}
    </Badge>
  );
}

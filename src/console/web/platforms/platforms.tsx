import type { PlatformData } from "../../../api/v1-platforms-schema.ts";
import { post } from "../api.ts";
import { AppTabs } from "../apps/app-tabs.tsx";
import { w as apps } from "../apps/words.ts";
import { number, now, relative } from "../format.ts";
import { Button } from "../parts/button.tsx";
import { FormDialog } from "../parts/dialog.tsx";
import { openDialog } from "../parts/dialogs.tsx";
import { SelectField, TextField, useInput } from "../parts/field.tsx";
import { Page } from "../parts/page.tsx";
import { Badge, StateBadge } from "../parts/state-badge.tsx";
import { Empty, Loaded } from "../parts/states.tsx";
import { type Column, Table } from "../parts/table.tsx";
import { useResource } from "../resource.ts";
import { href, navigate } from "../router.ts";
import { w } from "./words.ts";

/** Where platforms are asked for. */
export const PLATFORMS = "/v1/platforms";
/** What changes what is shown of them. */
export const TOPICS = ["app", "credential", "callback", "backoffs"] as const;

const MINUTE_MS = 60_000;

/** Where a platform is shown. */
const pageOf = (platform: string) => `/platforms/${encodeURIComponent(platform)}`;

/** The third-party platforms: whether their tickets come, and how many accounts each has. */
export function Platforms() {
  const platforms = useResource<{ readonly platforms: readonly PlatformData[] }>(PLATFORMS, {
    topics: TOPICS,
  });
  const add = (
    <Button kind="primary" icon="plus" onClick={() => openDialog((close) => <AddPlatform onClose={close} />)}>
      {w.add}
    </Button>
  );
  return (
    <Page title={w.title} actions={platforms.data?.platforms.length ? add : undefined}>
      <AppTabs current="platforms" />
      <Loaded resource={platforms}>
        {({ platforms: rows }) => (
          <Table
            caption={w.title}
            rows={rows}
            keyOf={({ platform }) => platform}
            hrefOf={({ platform }) => href(pageOf(platform))}
            columns={columns()}
            empty={<Empty title={w.empty} hint={w.emptyHint} action={add} />}
          />
        )}
      </Loaded>
    </Page>
  );
}

function columns(): Column<PlatformData>[] {
  return [
    {
      ...{ key: "platform", title: apps.platform, isFlexible: true },
      cell: ({ platform, title }) => <Named title={title} id={platform} />,
    },
    { key: "kind", title: apps.type, from: "wide", cell: ({ kind }) => apps[kind] },
    { key: "ticket", title: "Ticket", cell: (of) => <Ticket of={of} /> },
    {
      ...{ key: "token", title: "Token", from: "wide" },
      cell: ({ token, disabled }) => <StateBadge state={disabled ? "disabled" : token.state} />,
    },
    {
      ...{ key: "accounts", title: w.accounts, isEnd: true },
      cell: ({ authorizations: { valid, lost } }) => (
        <>
          {number(valid)}
          {lost > 0 && <span class="bad-text"> {w.lost(number(lost))}</span>}
        </>
      ),
    },
  ];
}

/** What people call something, and its id. */
export function Named({ title, id }: { readonly title: string | undefined; readonly id: string }) {
  if (title === undefined) return <code>{id}</code>;
  return (
    <span class="two-lines">
      {title}
      <code class="muted">{id}</code>
    </span>
  );
}

/** When the last ticket was pushed; red once the pushes have ended. A provider has none. */
export function Ticket({ of }: { readonly of: PlatformData }) {
  const { kind, ticket } = of;
  if (kind === "provider") return null;
  const at = ticket.received_at;
  const isLate = at === undefined || now.value - at >= (kind === "component" ? 30 : 15) * MINUTE_MS;
  return (
    <Badge tone={isLate ? "bad" : "ok"} icon={isLate ? "alert" : "check"}>
      {at === undefined ? w.noTicket : w.lastPush(relative(at))}
    </Badge>
  );
}

const KINDS = ["component", "suite", "provider"] as const;

function AddPlatform({ onClose }: { readonly onClose: () => void }) {
  const kind = useInput<string>(KINDS[0]);
  const id = useInput("");
  const secret = useInput("");
  const provider = useInput("");
  const title = useInput("");
  const isSuite = kind.value === "suite";
  const add = async () => {
    const { platform } = await post<PlatformData>(PLATFORMS, {
      ...{ kind: kind.value, id: id.value.trim(), secret: secret.value.trim() },
      ...(isSuite ? { provider: provider.value.trim() } : {}),
      ...(title.value.trim() === "" ? {} : { title: title.value.trim() }),
    });
    navigate(pageOf(platform));
  };
  return (
    <FormDialog
      title={w.add}
      action={w.add}
      onClose={onClose}
      onSubmit={add}
      isDisabled={id.value === "" || secret.value === ""}
    >
      <SelectField label={apps.type} {...kind} options={KINDS.map((each) => [each, apps[each]])} />
      <TextField label={w.id} {...id} isMono hasFocus />
      {isSuite && <TextField label={w.provider} {...provider} isMono />}
      <TextField label={apps.secret} hint={apps.secretHint} {...secret} isMono isSecret />
      <TextField label={apps.displayName} {...title} isOptional />
    </FormDialog>
  );
}

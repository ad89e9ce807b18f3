import { remove } from "../api.ts";
import { Button } from "../parts/button.tsx";
import { ask } from "../parts/dialog.tsx";
import { Badge } from "../parts/state-badge.tsx";
import { Loaded } from "../parts/states.tsx";
import { Table } from "../parts/table.tsx";
import { Time } from "../parts/time.tsx";
import { useResource } from "../resource.ts";
import { w } from "./words.ts";

/** A session of the console, as `GET /v1/console/sessions` lists it. Instants are epoch milliseconds. */
interface Session {
  readonly session: string;
  readonly client: string;
  readonly key?: string;
  readonly address: string;
  readonly created_at: number;
  readonly used_at: number;
  readonly expires_at: number;
  readonly current: boolean;
}

const PATH = "/v1/console/sessions";

/** Who is signed in to the console, and the way to end it. */
export function Sessions() {
  const sessions = useResource<{ readonly sessions: readonly Session[] }>(PATH);
  const askEnd = ({ session, client, address }: Session) =>
    ask(() => ({
      title: w.endSession,
      action: w.end,
      hint: w.endHint(client, address),
      onConfirm: async () => {
        await remove(`${PATH}/${session}`);
        sessions.reload();
      },
    }));
  return (
    <Loaded resource={sessions}>
      {({ sessions: rows }) => (
        <Table
          caption={w.sessions}
          rows={rows}
          keyOf={({ session }) => session}
          columns={[
            {
              key: "client",
              title: w.client,
              isFlexible: true,
              cell: ({ client, current }) => (
                <span class="row">
                  {client}
                  {current && <Badge tone="info">{w.thisOne}</Badge>}
                </span>
              ),
            },
            {
              key: "by",
              title: w.signedInBy,
              from: "wide",
              cell: ({ key }) => (key ? <code>{key}</code> : w.byLink),
            },
            {
              key: "address",
              title: w.address,
              from: "wide",
              cell: ({ address }) => <code>{address}</code>,
            },
            { key: "began", title: w.began, from: "widest", cell: (row) => <Time at={row.created_at} /> },
            { key: "used", title: w.lastUsed, cell: (row) => <Time at={row.used_at} /> },
            { key: "expires", title: w.ends, from: "wide", cell: (row) => <Time at={row.expires_at} /> },
            {
              key: "end",
              title: "",
              isEnd: true,
              cell: (row) =>
                row.current ? null : (
                  <Button isSmall onClick={() => askEnd(row)}>
                    {w.end}
                  </Button>
                ),
            },
          ]}
        />
      )}
    </Loaded>
  );
}

import type { NodesData } from "../../../api/v1-nodes-schema.ts";
import { number } from "../format.ts";
import { Badge } from "../parts/state-badge.tsx";
import { Loaded } from "../parts/states.tsx";
import { type Column, Table } from "../parts/table.tsx";
import { Time } from "../parts/time.tsx";
import { useResource } from "../resource.ts";
import { w } from "./words.ts";

type Node = NodesData["nodes"][number];

/** The processes that share the database. */
export function Nodes() {
  const nodes = useResource<NodesData>("/v1/nodes");
  return (
    <Loaded resource={nodes}>
      {({ nodes: rows }) => (
        <Table caption={w.nodes} rows={rows} keyOf={({ node }) => node} columns={columns()} />
      )}
    </Loaded>
  );
}

function columns(): Column<Node>[] {
  return [
    {
      key: "host",
      title: w.host,
      isFlexible: true,
      cell: ({ host, pid }) => (
        <span class="row">
          {host}
          <span class="muted">{w.pid(pid)}</span>
        </span>
      ),
    },
    {
      key: "state",
      title: w.state,
      cell: ({ state }) => (
        <Badge tone={state === "live" ? "ok" : "bad"} icon={state === "live" ? "check" : "alert"}>
          {w[state]}
        </Badge>
      ),
    },
    { key: "version", title: w.version, from: "wide", cell: ({ version }) => version },
    { key: "started", title: w.started, from: "wide", cell: (node) => <Time at={node.started_at} /> },
    { key: "seen", title: w.seen, cell: (node) => <Time at={node.seen_at} /> },
    {
      key: "changes",
      title: w.changes,
      from: "widest",
      cell: ({ changes }) => w[changes],
    },
    {
      key: "offset",
      title: w.clockOffset,
      from: "widest",
      isEnd: true,
      cell: (node) => `${number(node.clock_offset_ms)} ms`,
    },
    {
      key: "keys",
      title: w.masterKey,
      from: "wide",
      isEnd: true,
      cell: (node) => <code>{node.key_ids.join(", ")}</code>,
    },
  ];
}

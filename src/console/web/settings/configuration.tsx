import type { Configuration as Data } from "../../../api/v1-settings-schema.ts";
import { halfOf, language } from "../language.ts";
import { FilterChips } from "../parts/filter-chips.tsx";
import { Badge } from "../parts/state-badge.tsx";
import { Banner, Loaded } from "../parts/states.tsx";
import { type Column, Table } from "../parts/table.tsx";
import { useResource } from "../resource.ts";
import { route, setQuery } from "../router.ts";
import { originWords, w } from "./words.ts";

type Variable = Data["variables"][number];

/** Each variable in force, and who sets it. */
export function Configuration() {
  const configuration = useResource<Data>("/v1/settings/configuration");
  const { query } = route.value;
  const [text, origin] = [query.get("q") ?? "", query.get("origin") ?? ""];
  const isWanted = ({ name, value, origin: of }: Variable) =>
    `${name} ${value}`.toLowerCase().includes(text.toLowerCase()) && (origin === "" || origin === of);
  return (
    <Loaded resource={configuration}>
      {({ host, version, variables, apps, warnings }) => (
        <>
          {warnings.map((warning) => (
            <Banner key={warning} tone="warn">
              {halfOf(warning)}
            </Banner>
          ))}
          <div class="toolbar">
            <input
              type="search"
              value={text}
              placeholder={w.findVariable}
              aria-label={w.findVariable}
              onInput={(event) => setQuery({ q: event.currentTarget.value })}
            />
            <FilterChips
              value={origin}
              onChange={(value) => setQuery({ origin: value })}
              chips={(["environment", "file", "default"] as const).map((value) => ({
                value,
                title: originWords[value],
                count: variables.filter((each) => each.origin === value).length,
              }))}
            />
          </div>
          <Table
            caption={w.configuration}
            rows={variables.filter(isWanted)}
            keyOf={({ name }) => name}
            columns={columns()}
          />
          <p class="muted note">{w.configurationOf(host, version, apps)}</p>
        </>
      )}
    </Loaded>
  );
}

function columns(): Column<Variable>[] {
  return [
    {
      key: "name",
      title: w.variable,
      cell: ({ name }) => <code class="name">{name}</code>,
    },
    {
      key: "value",
      title: w.value,
      cell: ({ value }) => (value === "" ? <span class="muted">{w.notSet}</span> : <code>{value}</code>),
    },
    {
      key: "origin",
      title: w.origin,
      cell: ({ origin, file, line }) => (
        <Badge tone={origin === "default" ? "idle" : "info"} title={file && `${file}:${line}`}>
          {origin === "file" ? w.lineOf(file?.replace(/.*\//, "") ?? "", line ?? 0) : originWords[origin]}
        </Badge>
      ),
    },
    {
      key: "meaning",
      title: w.meaning,
      from: "widest",
      isFlexible: true,
      cell: ({ meaning }) => <span class="muted small">{meaning?.[language.value].replaceAll("`", "")}</span>,
    },
  ];
}

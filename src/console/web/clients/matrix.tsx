import { useState } from "preact/hooks";
import type { Action } from "../../../access/client.ts";
import { number } from "../format.ts";
import { Button } from "../parts/button.tsx";
import { Section } from "../parts/page.tsx";
import { MAX_ROWS } from "../parts/table.tsx";
import { AppField } from "./choices.tsx";
import type { Edited } from "./draft.ts";
import {
  ACTION_GROUPS,
  ACTIONS,
  ANY_APP,
  grantsOf,
  impliedBy,
  isForService,
  type Matrix,
  matrixOf,
  toggled,
} from "./grants.ts";
import { actionWords, w } from "./words.ts";

/** What a client may do: apps by actions. Rows that lost their last action stay until the screen is left. */
export function GrantsMatrix({ edited: { client, set } }: { readonly edited: Edited }) {
  const [added, setAdded] = useState<readonly string[]>([]);
  const [filter, setFilter] = useState("");
  const [app, setApp] = useState("");
  const granted = matrixOf(client.grants);
  const names = [ANY_APP, ...added, ...granted.keys()];
  const matrix: Matrix = new Map(names.map((name) => [name, granted.get(name) ?? new Set<Action>()]));
  const rows = [...matrix.keys()].filter((name) => name === ANY_APP || name.includes(filter.trim()));
  const shown = rows.slice(0, MAX_ROWS);
  const add = (event: Event) => {
    event.preventDefault();
    const name = app.trim();
    if (name === "" || name === ANY_APP) return;
    setAdded([name, ...added.filter((each) => each !== name)]);
    setFilter("");
    setApp("");
  };
  const toggle = (name: string, action: Action) => {
    if (name !== ANY_APP && !added.includes(name)) setAdded([...added, name]);
    set({ grants: grantsOf(toggled(matrix, name, action)) });
  };
  const clear = (name: string) => {
    setAdded(added.filter((each) => each !== name));
    set({ grants: grantsOf(new Map([...matrix].filter(([each]) => each !== name))) });
  };
  return (
    <Section title={w.grants}>
      <p class="muted">{w.matrixHint}</p>
      <div class="matrix-tools">
        <form onSubmit={add}>
          <AppField label={w.addApp} value={app} onInput={setApp} />
          <Button type="submit" icon="plus" isDisabled={app.trim() === ""}>
            {w.add}
          </Button>
        </form>
        {matrix.size > 10 && (
          <input
            type="search"
            aria-label={w.filterApps}
            placeholder={w.filterApps}
            value={filter}
            onInput={(event) => setFilter(event.currentTarget.value)}
          />
        )}
      </div>
      <div class="table-box" role="region" aria-label={w.grants} tabIndex={0}>
        <table class="matrix">
          <Head />
          <tbody>
            {shown.map((name) => (
              <Row key={name} name={name} matrix={matrix} onToggle={toggle} onClear={clear} />
            ))}
          </tbody>
        </table>
      </div>
      {rows.length > shown.length && (
        <p class="muted">{w.shownApps(number(shown.length), number(rows.length))}</p>
      )}
    </Section>
  );
}

function Head() {
  const groups = {
    app: w.groupApp,
    token: w.groupToken,
    ticket: w.groupTicket,
    callback: w.groupCallback,
    oauth: w.groupOauth,
    service: w.groupService,
  } satisfies Record<keyof typeof ACTION_GROUPS, string>;
  return (
    <thead>
      <tr>
        <th rowSpan={2} scope="col">
          {w.app}
        </th>
        {Object.entries(ACTION_GROUPS).map(([group, { length }]) => (
          <th key={group} colSpan={length} scope="colgroup">
            {groups[group as keyof typeof groups]}
          </th>
        ))}
      </tr>
      <tr>
        {ACTIONS.map((action) => (
          <th key={action} scope="col" title={action}>
            {actionWords[action]}
          </th>
        ))}
      </tr>
    </thead>
  );
}

function Row(props: {
  readonly name: string;
  readonly matrix: Matrix;
  readonly onToggle: (app: string, action: Action) => void;
  readonly onClear: (app: string) => void;
}) {
  const { name, matrix } = props;
  const own = matrix.get(name);
  const isAny = name === ANY_APP;
  const title = isAny ? w.anyApp : name;
  return (
    <tr>
      <th scope="row">
        <span class="row">
          <span class={isAny ? "" : "mono"}>{title}</span>
          {!isAny && (
            <Button
              kind="quiet"
              isSmall
              icon="close"
              label={w.removeRow(name)}
              onClick={() => props.onClear(name)}
            />
          )}
        </span>
      </th>
      {ACTIONS.map((action) => {
        const implied = impliedBy(matrix, name, action);
        const isOut = !isAny && isForService(action);
        const why =
          implied === "admin" ? w.byAdmin : implied === "any" ? w.byAny : isOut ? w.serviceOnly : "";
        return (
          <td key={action} class={implied ? "implied" : ""} title={why || w.on(actionWords[action], title)}>
            {isOut ? (
              <span class="muted">–</span>
            ) : (
              <input
                type="checkbox"
                aria-label={w.on(actionWords[action], title)}
                checked={(own?.has(action) ?? false) || implied !== undefined}
                disabled={implied !== undefined && !own?.has(action)}
                onInput={() => props.onToggle(name, action)}
              />
            )}
          </td>
        );
      })}
    </tr>
  );
}

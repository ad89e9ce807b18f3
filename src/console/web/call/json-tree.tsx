import { number } from "../format.ts";
import { w } from "./words.ts";

/** So many members of one list or object are shown. */
const MAX_MEMBERS = 200;
/** Members below this depth are folded at first. */
const OPEN_DEPTH = 2;

/** A JSON value: objects and lists fold. */
export function Tree({ value }: { readonly value: unknown }) {
  return (
    <div class="tree" tabIndex={0} role="region" aria-label={w.tree}>
      <Member value={value} depth={0} />
    </div>
  );
}

function Member(props: { readonly name?: string; readonly value: unknown; readonly depth: number }) {
  const { name, value, depth } = props;
  const label = name === undefined ? null : <span class="tree-name">{name}: </span>;
  if (typeof value !== "object" || value === null) {
    return (
      <div>
        {label}
        <span class={`tree-${value === null ? "null" : typeof value}`}>{JSON.stringify(value)}</span>
      </div>
    );
  }
  const members = Object.entries(value);
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  const shown = members.slice(0, MAX_MEMBERS);
  return (
    <details open={depth < OPEN_DEPTH}>
      <summary>
        {label}
        {open}
        <span class="muted"> {number(members.length)} </span>
        {close}
      </summary>
      {shown.map(([key, member]) => (
        <Member key={key} name={key} value={member} depth={depth + 1} />
      ))}
      {shown.length < members.length && <div class="muted">{w.more(members.length - shown.length)}</div>}
    </details>
  );
}

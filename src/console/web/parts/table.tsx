import type { ComponentChildren } from "preact";
import { useRef } from "preact/hooks";
import { isTyping, useKeys } from "../keyboard.ts";
import { Button } from "./button.tsx";
import { Icon } from "./icons.tsx";
import { Pager } from "./pager.tsx";
import { common as w } from "./words.ts";

/** More rows than this are never in the page: the server pages. */
export const MAX_ROWS = 200;

/** A column; `key` is also what the server sorts by. */
export interface Column<Row> {
  readonly key: string;
  readonly title: string;
  readonly cell: (row: Row) => ComponentChildren;
  readonly isSortable?: boolean;
  /** Numbers and actions stand at the end. */
  readonly isEnd?: boolean;
  /** Only on wide screens: `wide` from 720 px, `widest` from 1080 px on. */
  readonly from?: "wide" | "widest";
  /** Takes what width is left. */
  readonly isFlexible?: boolean;
}

/** How a table is sorted: a column's key, `-` before it for the other way round. */
export type Sort = string;

/**
 * A dense table. The first cell of a row links to `hrefOf(row)`; the whole row does so for the mouse, `j`, `k` and Enter
 * for the keyboard. Sorting is the caller's: `sort` and `onSort` belong into the query of the route.
 */
export function Table<Row>(props: {
  /** What the table has, for a screen reader. */
  readonly caption: string;
  readonly columns: readonly Column<Row>[];
  readonly rows: readonly Row[];
  readonly keyOf: (row: Row) => string;
  readonly hrefOf?: (row: Row) => string | undefined;
  readonly sort?: Sort | undefined;
  readonly onSort?: (sort: Sort) => void;
  /** Whether newer rows are on their way. */
  readonly isLoading?: boolean;
  /** What stands in its place without rows. */
  readonly empty?: ComponentChildren;
  /** Of a list that the server pages: where the next page begins, if there is one. */
  readonly page?: { readonly next?: string | number | undefined };
}) {
  const body = useRef<HTMLTableSectionElement>(null);
  useRowKeys(body);
  const shown = props.rows.slice(0, MAX_ROWS);
  if (shown.length === 0 && props.empty) return <>{props.empty}</>;
  const open = (event: MouseEvent, href: string | undefined) => {
    const isOther =
      event.target instanceof Element && event.target.closest("a, button, input, label, select");
    if (href === undefined || isOther || getSelection()?.isCollapsed === false) return;
    if (event.metaKey || event.ctrlKey) window.open(href, "_blank", "noopener");
    else location.hash = href;
  };
  return (
    <>
      <div class="table-box" role="region" aria-label={props.caption} tabIndex={0}>
        <table aria-busy={props.isLoading ?? false}>
          <caption class="hidden">{props.caption}</caption>
          <thead>
            <tr>
              {props.columns.map((column) => (
                <th
                  key={column.key}
                  scope="col"
                  class={classOf(column)}
                  aria-sort={orderOf(column, props.sort)}
                >
                  <ColumnTitle column={column} sort={props.sort} onSort={props.onSort} />
                </th>
              ))}
            </tr>
          </thead>
          <tbody ref={body}>
            {shown.map((row) => {
              const href = props.hrefOf?.(row);
              return (
                <tr
                  key={props.keyOf(row)}
                  tabIndex={-1}
                  class={href === undefined ? "" : "link"}
                  onClick={(event) => open(event, href)}
                >
                  {props.columns.map((column, n) => (
                    <td key={column.key} class={classOf(column)}>
                      {n === 0 && href !== undefined ? (
                        <a href={href}>{column.cell(row)}</a>
                      ) : (
                        column.cell(row)
                      )}
                    </td>
                  ))}
                </tr>
              );
            })}
          </tbody>
        </table>
        {shown.length === 0 && <p class="no-rows">{w.noRows}</p>}
        {shown.length < props.rows.length && <p class="no-rows">{w.tooMany(MAX_ROWS)}</p>}
      </div>
      {props.page && <Pager count={shown.length} next={props.page.next} />}
    </>
  );
}

/** The last column of rows that can be changed and removed; `more` stands before that, `removal` names the icon. */
export function actionsColumn<Row>(
  actionsOf: (row: Row) => {
    readonly more?: ComponentChildren;
    readonly edit: () => void;
    readonly removal: string;
    readonly remove: () => void | Promise<void>;
  },
): Column<Row> {
  const cell = (row: Row) => {
    const { more, edit, removal, remove } = actionsOf(row);
    return (
      <span class="row">
        {more}
        <Button isSmall onClick={edit}>
          {w.edit}
        </Button>
        <Button isSmall kind="quiet" icon="trash" label={removal} onClick={remove} />
      </span>
    );
  };
  return { key: "actions", title: "", isEnd: true, cell };
}

function ColumnTitle<Row>(props: {
  readonly column: Column<Row>;
  readonly sort: Sort | undefined;
  readonly onSort: ((sort: Sort) => void) | undefined;
}) {
  const { column, sort, onSort } = props;
  if (!column.isSortable || !onSort) return <>{column.title}</>;
  const order = orderOf(column, sort);
  const icon = { ascending: "up", descending: "down", none: "sort" } as const;
  return (
    <button
      type="button"
      class="sort"
      onClick={() => onSort(order === "ascending" ? `-${column.key}` : column.key)}
    >
      {column.title}
      <Icon name={icon[order ?? "none"]} />
    </button>
  );
}

function orderOf<Row>(column: Column<Row>, sort: Sort | undefined) {
  if (!column.isSortable) return undefined;
  if (sort === column.key) return "ascending";
  return sort === `-${column.key}` ? "descending" : "none";
}

function classOf<Row>({ isEnd, from, isFlexible }: Column<Row>): string {
  return [isEnd ? "end" : "", from ?? "", isFlexible ? "flexible" : ""].filter(Boolean).join(" ");
}

/** `j` and `k` move the focus from row to row, Enter opens the row. */
function useRowKeys(body: { readonly current: HTMLTableSectionElement | null }): void {
  useKeys((event) => {
    const rows = [...(body.current?.rows ?? [])];
    const at = rows.findIndex((row) => row.contains(document.activeElement));
    // With several tables the keys belong to the one that has the focus, at first to the first.
    const table = document.activeElement?.closest("tbody") ?? document.querySelector("main tbody");
    if (isTyping(event) || rows.length === 0 || table !== body.current) return;
    if (event.key === "Enter" && document.activeElement === rows[at]) rows[at]?.querySelector("a")?.click();
    const to = { j: at + 1, k: at < 0 ? 0 : at - 1 }[event.key];
    if (to === undefined) return;
    rows[Math.max(0, Math.min(rows.length - 1, to))]?.focus();
    event.preventDefault();
  });
}

import type { ComponentChildren } from "preact";
import { useEffect } from "preact/hooks";
import { Icon } from "./icons.tsx";

/**
 * A screen: its title, also of the browser's tab; its actions at the right; `back` leads to the list it came from.
 * What `children` need first stands first.
 */
export function Page(props: {
  readonly title: string;
  readonly subtitle?: ComponentChildren;
  readonly back?: { readonly href: string; readonly title: string };
  readonly actions?: ComponentChildren;
  readonly children?: ComponentChildren;
}) {
  useEffect(() => {
    document.title = `${props.title} · accesstoken`;
  }, [props.title]);
  return (
    <>
      {props.back && (
        <a class="back" href={props.back.href}>
          <Icon name="back" />
          {props.back.title}
        </a>
      )}
      <header class="page-head">
        <div class="page-title">
          <h1 tabIndex={-1}>{props.title}</h1>
          {props.subtitle && <div class="subtitle">{props.subtitle}</div>}
        </div>
        {props.actions && <div class="page-actions">{props.actions}</div>}
      </header>
      {props.children}
    </>
  );
}

/** A part of a screen with a heading of its own, in a frame unless `isBare`. */
export function Section(props: {
  readonly title: string;
  readonly actions?: ComponentChildren;
  readonly isBare?: boolean;
  readonly children?: ComponentChildren;
}) {
  return (
    <section class={props.isBare ? "section" : "section framed"}>
      <header>
        <h2>{props.title}</h2>
        {props.actions}
      </header>
      {props.children}
    </section>
  );
}

/** Names and values beneath each other; `items` are `[name, value]`, those without a value are left out. */
export function Facts(props: {
  readonly items: readonly (readonly [name: string, value: ComponentChildren])[];
}) {
  return (
    <dl class="facts">
      {props.items
        .filter(([, value]) => value !== undefined && value !== null && value !== "")
        .map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
    </dl>
  );
}

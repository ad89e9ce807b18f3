import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { Icon, type IconName } from "./icons.tsx";

/** What a button may be. `kind`: `primary` at most once on a screen, `danger` for what can't be undone. */
export interface ButtonProps {
  readonly children?: ComponentChildren;
  readonly icon?: IconName;
  readonly kind?: "primary" | "plain" | "quiet" | "danger";
  readonly type?: "button" | "submit";
  /** The name of a button that shows an icon alone. */
  readonly label?: string;
  readonly isSmall?: boolean;
  readonly isDisabled?: boolean;
  /** Why it is disabled, or what it does. */
  readonly title?: string;
  /** While what it returns is pending, the button is busy and takes no clicks. It must not reject. */
  readonly onClick?: (event: MouseEvent) => void | Promise<void>;
}

/** A button: `<Button kind="primary" icon="plus" onClick={add}>{w.add}</Button>`. */
export function Button(props: ButtonProps) {
  const {
    children,
    icon,
    kind = "plain",
    type = "button",
    label,
    isSmall,
    isDisabled,
    title,
    onClick,
  } = props;
  const [isBusy, setIsBusy] = useState(false);
  const click = (event: MouseEvent) => {
    const work = onClick?.(event);
    if (!(work instanceof Promise)) return;
    setIsBusy(true);
    void work.finally(() => setIsBusy(false));
  };
  return (
    <button
      type={type}
      class={`button ${kind}${isSmall ? " small" : ""}${children === undefined ? " bare" : ""}`}
      disabled={isDisabled || isBusy}
      aria-busy={isBusy}
      aria-label={label}
      title={title ?? label}
      onClick={click}
    >
      {icon && <Icon name={icon} />}
      {children !== undefined && <span>{children}</span>}
    </button>
  );
}

/** A link that looks like a button. */
export function LinkButton(props: {
  readonly href: string;
  readonly children: ComponentChildren;
  readonly icon?: IconName;
  readonly kind?: "primary" | "plain" | "quiet";
}) {
  return (
    <a class={`button ${props.kind ?? "plain"}`} href={props.href}>
      {props.icon && <Icon name={props.icon} />}
      <span>{props.children}</span>
    </a>
  );
}

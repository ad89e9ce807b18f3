import type { ComponentChildren } from "preact";
import { useId, useRef } from "preact/hooks";
import { Icon, type IconName } from "./icons.tsx";

/** An entry of a menu: an action, or a link. */
export interface MenuItem {
  readonly title: string;
  readonly icon?: IconName;
  readonly isDanger?: boolean;
  readonly isDisabled?: boolean;
  /** Of a choice: whether it is the one. */
  readonly isChosen?: boolean;
  readonly onClick: () => void;
}

/** A button that opens a list of actions; arrows move in it, Escape closes it. Items in groups are apart. */
export function Menu(props: {
  readonly label: string;
  readonly icon?: IconName;
  readonly children?: ComponentChildren;
  /** Above the items. */
  readonly header?: ComponentChildren;
  readonly groups: readonly (readonly MenuItem[])[];
}) {
  const id = useId();
  const button = useRef<HTMLButtonElement>(null);
  const list = useRef<HTMLDivElement>(null);
  const place = () => {
    const [at, box] = [button.current?.getBoundingClientRect(), list.current];
    if (!at || !box) return;
    box.style.top = `${Math.min(at.bottom + 4, innerHeight - box.offsetHeight - 8)}px`;
    box.style.left = `${Math.max(8, Math.min(at.right, innerWidth - 8) - box.offsetWidth)}px`;
    box.querySelector<HTMLElement>("[role^=menuitem]:not(:disabled)")?.focus();
  };
  const move = (event: KeyboardEvent) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step === undefined) return;
    const items = [...(list.current?.querySelectorAll<HTMLElement>("[role^=menuitem]:not(:disabled)") ?? [])];
    const at = items.findIndex((item) => item === document.activeElement);
    items[(at + step + items.length) % items.length]?.focus();
    event.preventDefault();
  };
  return (
    <>
      <button
        ref={button}
        type="button"
        class={`button quiet${props.children === undefined ? " bare" : ""}`}
        popovertarget={id}
        aria-haspopup="menu"
        aria-label={props.label}
        title={props.label}
      >
        {props.icon && <Icon name={props.icon} />}
        {props.children}
      </button>
      <div
        ref={list}
        id={id}
        class="menu"
        popover="auto"
        onToggle={(event) => {
          if ((event as unknown as ToggleEvent).newState === "open") place();
        }}
        onKeyDown={move}
      >
        {props.header && <div class="menu-head">{props.header}</div>}
        <div role="menu" aria-label={props.label}>
          {props.groups.map((items, n) => (
            <div key={n} role="group" class="menu-group">
              {items.map((item) => (
                <button
                  key={item.title}
                  type="button"
                  role={item.isChosen === undefined ? "menuitem" : "menuitemradio"}
                  aria-checked={item.isChosen}
                  class={item.isDanger ? "danger" : ""}
                  disabled={item.isDisabled}
                  onClick={() => {
                    list.current?.hidePopover();
                    item.onClick();
                  }}
                >
                  {item.isChosen === undefined ? item.icon && <Icon name={item.icon} /> : null}
                  {item.isChosen !== undefined &&
                    (item.isChosen ? <Icon name="check" /> : <span class="icon" />)}
                  {item.title}
                </button>
              ))}
            </div>
          ))}
        </div>
      </div>
    </>
  );
}

import { useEffect, useRef } from "preact/hooks";

/** Whether a key goes into a field or belongs to a chord, or a dialog is open: then it is no command of ours. */
export function isTyping(event: KeyboardEvent): boolean {
  const isField = event.target instanceof Element && event.target.closest("input, textarea, select") !== null;
  const isModal = document.querySelector("dialog[open]") !== null;
  return isField || isModal || event.ctrlKey || event.metaKey || event.altKey;
}

/** Calls `press` with every key that is pressed anywhere, while the component is there. */
export function useKeys(press: (event: KeyboardEvent) => void): void {
  const current = useRef(press);
  current.current = press;
  useEffect(() => {
    const listen = (event: KeyboardEvent) => current.current(event);
    addEventListener("keydown", listen);
    return () => removeEventListener("keydown", listen);
  }, []);
}

import { effect, signal } from "@preact/signals";

/** What the user chose; `system` follows the machine. */
export type Theme = "system" | "light" | "dark";

const KEY = "ats.theme";
const kept = localStorage.getItem(KEY);

/** The theme in use. Set it to change it; it is kept on this device. */
export const theme = signal<Theme>(kept === "light" || kept === "dark" ? kept : "system");

effect(() => {
  document.documentElement.dataset["theme"] = theme.value;
  localStorage.setItem(KEY, theme.value);
});

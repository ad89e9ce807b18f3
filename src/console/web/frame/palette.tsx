import { useEffect, useId, useState } from "preact/hooks";
import { useKeys, isTyping } from "../keyboard.ts";
import { navigate } from "../router.ts";
import { useResource } from "../resource.ts";
import { MENU, type MenuEntry, SCREENS } from "../screens.ts";
import { Dialog } from "../parts/dialog.tsx";
import { w } from "./words.ts";

/** The letter that follows `g`. */
const LETTERS: Record<MenuEntry, string> = {
  ...{ overview: "o", apps: "a", clients: "c", audit: "u", tools: "t", settings: "s" },
};
const CHORD_MS = 1_500;
const SEARCH_MS = 150;
const MAX_APPS = 8;

/** The entries of the menu that have a screen for the user, each with the path of its first. */
export function menuPaths(): { readonly entry: MenuEntry; readonly path: string }[] {
  return MENU.flatMap((entry) => {
    const first = SCREENS.find(({ menu, path }) => menu === entry && !path.includes(":"));
    return first ? [{ entry, path: first.path }] : [];
  });
}

/** What the keyboard does everywhere, and the two dialogs that it opens: the commands and the list of keys. */
export function Keyboard({
  isOpen,
  onOpen,
}: {
  readonly isOpen: boolean;
  readonly onOpen: (isOpen: boolean) => void;
}) {
  const [isHelp, setIsHelp] = useState(false);
  const [chordAt, setChordAt] = useState(0);
  useKeys((event) => {
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
      event.preventDefault();
      onOpen(!isOpen);
      return;
    }
    if (isTyping(event)) return;
    if (event.key === "g") return setChordAt(event.timeStamp);
    const target = menuPaths().find(({ entry }) => LETTERS[entry] === event.key);
    if (target && event.timeStamp - chordAt < CHORD_MS) navigate(target.path);
    else if (event.key === "?") setIsHelp(true);
    else if (event.key === "/") {
      const field = document.querySelector<HTMLInputElement>("main input[type=search]");
      if (field) field.select();
      else onOpen(true);
    } else return;
    setChordAt(0);
    event.preventDefault();
  });
  return (
    <>
      {isOpen && <Palette onClose={() => onOpen(false)} />}
      {isHelp && <Help onClose={() => setIsHelp(false)} />}
    </>
  );
}

/** Goes to a screen or an app by a few letters. */
function Palette({ onClose }: { readonly onClose: () => void }) {
  const [text, setText] = useState("");
  const [at, setAt] = useState(0);
  const wanted = useSettled(text.trim());
  const list = useId();
  const query = new URLSearchParams({ q: wanted, limit: String(MAX_APPS) }).toString();
  const apps = useResource<{ apps: { app: string; title?: string }[] }>(
    wanted === "" ? undefined : `/v1/apps?${query}`,
  );
  const screens = menuPaths().map(({ entry, path }) => ({
    path,
    title: w[entry],
    note: `g ${LETTERS[entry]}`,
  }));
  const found = [
    ...screens.filter(({ title }) => title.toLowerCase().includes(text.trim().toLowerCase())),
    ...(text.trim() === "" ? [] : (apps.data?.apps ?? [])).slice(0, MAX_APPS).map(({ app, title }) => ({
      ...{
        path: `/apps/${encodeURIComponent(app)}`,
        title: title ?? app,
        note: title === undefined ? "" : app,
      },
    })),
  ];
  const chosen = Math.min(at, found.length - 1);
  const open = (path: string) => {
    onClose();
    navigate(path);
  };
  const press = (event: KeyboardEvent) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const item = found[chosen];
    if (step !== undefined) setAt((chosen + step + found.length) % Math.max(1, found.length));
    else if (event.key === "Enter" && item) open(item.path);
    else return;
    event.preventDefault();
  };
  return (
    <Dialog title={w.search} onClose={onClose}>
      <div class="palette">
        <input
          type="text"
          role="combobox"
          aria-label={w.search}
          aria-expanded="true"
          aria-controls={list}
          aria-activedescendant={chosen < 0 ? undefined : `${list}-${chosen}`}
          placeholder={w.searchHint}
          value={text}
          autocomplete="off"
          spellcheck={false}
          onInput={(event) => {
            setText(event.currentTarget.value);
            setAt(0);
          }}
          onKeyDown={press}
        />
        <ul id={list} role="listbox" aria-label={w.commands}>
          {found.map(({ path, title, note }, n) => (
            <li
              key={path}
              id={`${list}-${n}`}
              role="option"
              aria-selected={n === chosen}
              onMouseMove={() => setAt(n)}
              onClick={() => open(path)}
            >
              <span>{title}</span>
              <kbd>{note}</kbd>
            </li>
          ))}
        </ul>
        {found.length === 0 && <p class="muted">{w.noMatch}</p>}
      </div>
    </Dialog>
  );
}

/** `value` once it has not changed for a moment. */
function useSettled(value: string): string {
  const [settled, setSettled] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(value), SEARCH_MS);
    return () => clearTimeout(timer);
  }, [value]);
  return settled;
}

function Help({ onClose }: { readonly onClose: () => void }) {
  const rows: [string, string][] = [
    ["Ctrl K · ⌘ K", w.keyPalette],
    ["/", w.keySearch],
    ["j · k", w.keyRows],
    ["Enter", w.keyOpen],
    ...menuPaths().map(({ entry }): [string, string] => [`g ${LETTERS[entry]}`, w.keyGo(w[entry])]),
    ["?", w.keyHelp],
    ["Esc", w.keyEscape],
  ];
  return (
    <Dialog title={w.keys} onClose={onClose}>
      <dl class="keys">
        {rows.map(([key, meaning]) => (
          <div key={key}>
            <dt>
              <kbd>{key}</kbd>
            </dt>
            <dd>{meaning}</dd>
          </div>
        ))}
      </dl>
    </Dialog>
  );
}

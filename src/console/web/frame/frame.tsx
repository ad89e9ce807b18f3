import { useEffect, useState } from "preact/hooks";
import { relative } from "../format.ts";
import { live, liveSince } from "../live.ts";
import { href, route } from "../router.ts";
import { type MenuEntry, screenAt } from "../screens.ts";
import { me, signOut } from "../session.ts";
import { attempt } from "../parts/toast.tsx";
import { type Theme, theme } from "../theme.ts";
import { Button, LinkButton } from "../parts/button.tsx";
import { closeDialogs } from "../parts/dialogs.tsx";
import { Icon } from "../parts/icons.tsx";
import { Menu } from "../parts/menu.tsx";
import { Page } from "../parts/page.tsx";
import { Banner, Empty } from "../parts/states.tsx";
import { Brand, LanguageSwitch } from "./brand.tsx";
import { Keyboard, menuPaths } from "./palette.tsx";
import { w } from "./words.ts";

const THEMES: readonly [Theme, "themeSystem" | "themeLight" | "themeDark"][] = [
  ["system", "themeSystem"],
  ["light", "themeLight"],
  ["dark", "themeDark"],
];

/** What surrounds every screen: the menu, whether it is live, and who is signed in. */
export function Frame() {
  const { path } = route.value;
  const found = screenAt(path);
  const [isOpen, setIsOpen] = useState(false);
  // A screen begins at its top, and a screen reader at its heading.
  useEffect(() => {
    scrollTo(0, 0);
    document.querySelector("h1")?.focus({ preventScroll: true });
    return closeDialogs;
  }, [path]);
  return (
    <>
      <a class="skip" href="#main" onClick={skip}>
        {w.skip}
      </a>
      <header class="bar">
        <div class="bar-inner">
          <a class="brand" href={href("/")} aria-label={`accesstoken · ${w.overview}`}>
            <Brand />
          </a>
          <MainMenu current={found?.screen.menu} />
          <LiveMark />
          <Button kind="quiet" icon="search" label={`${w.search} (Ctrl K)`} onClick={() => setIsOpen(true)} />
          <LanguageSwitch />
          <Account />
        </div>
      </header>
      <main id="main" tabIndex={-1}>
        {live.value === "polling" && <Banner tone="warn">{w.lost(relative(liveSince.value))}</Banner>}
        {found ? <found.screen.component key={path} params={found.params} /> : <NotFound />}
      </main>
      <Keyboard isOpen={isOpen} onOpen={setIsOpen} />
    </>
  );
}

function skip(event: Event): void {
  event.preventDefault();
  document.getElementById("main")?.focus();
}

function MainMenu({ current }: { readonly current: MenuEntry | undefined }) {
  return (
    <nav class="main-menu" aria-label={w.menu}>
      {menuPaths().map(({ entry, path }) => (
        <a key={entry} href={href(path)} aria-current={entry === current ? "page" : undefined}>
          {w[entry]}
        </a>
      ))}
    </nav>
  );
}

function LiveMark() {
  const isOn = live.value === "on";
  const title = isOn ? w.liveOn : w.livePolling;
  return (
    <span class={`live ${isOn ? "ok" : "warn"}`} title={title}>
      <Icon name={isOn ? "check" : "clock"} />
      <span>{title}</span>
    </span>
  );
}

function Account() {
  const who = me.value;
  if (!who) return null;
  return (
    <Menu
      label={w.account}
      icon="user"
      header={
        <>
          <strong>{who.client}</strong>
          <span class="muted">{who.is_admin ? `${who.environment} · ${w.admin}` : who.environment}</span>
        </>
      }
      groups={[
        THEMES.map(([value, word]) => ({
          title: w[word],
          isChosen: theme.value === value,
          onClick: () => (theme.value = value),
        })),
        [{ title: w.signOut, onClick: () => void attempt(signOut) }],
      ]}
    />
  );
}

function NotFound() {
  return (
    <Page title={w.notFound}>
      <Empty
        icon="search"
        title={w.notFound}
        hint={w.notFoundHint}
        action={<LinkButton href={href("/")}>{w.toOverview}</LinkButton>}
      />
    </Page>
  );
}

import type { ComponentChildren } from "preact";
import { useEffect } from "preact/hooks";
import { language } from "../language.ts";
import { match, navigate, route } from "../router.ts";
import { loadSession, sessionState, signIn } from "../session.ts";
import { Brand, LanguageSwitch } from "../frame/brand.tsx";
import { Button } from "../parts/button.tsx";
import { Code } from "../parts/code.tsx";
import { FormError, useSubmit } from "../parts/dialog.tsx";
import { TextField, useInput } from "../parts/field.tsx";
import { w } from "./words.ts";

/** What is shown to those who are not signed in: a field for a key, or why there is none. */
export function SignIn() {
  useEffect(() => {
    document.title = `${w.title} · accesstoken`;
  }, [language.value]);
  const state = sessionState.value;
  if (state === "insecure") return <Insecure />;
  if (state === "unreachable") return <Unreachable />;
  return <KeyForm />;
}

/** The frame of what is shown before anybody is signed in. */
export function Gate({ title, children }: { readonly title: string; readonly children: ComponentChildren }) {
  return (
    <main class="gate">
      <div class="gate-box">
        <header>
          <span class="brand">
            <Brand />
          </span>
          <LanguageSwitch />
        </header>
        <p class="muted">{w.tagline}</p>
        <h1>{title}</h1>
        {children}
      </div>
    </main>
  );
}

function KeyForm() {
  const key = useInput("");
  const token = match("/sign-in/:token", route.value.path)?.["token"];
  const { submit, error, isBusy } = useSubmit(() => signIn({ key: key.value.trim() }));
  const link = useSubmit(async () => {
    if (token === undefined) return;
    // The link works once: it is not left in the address.
    navigate("/", {}, { isReplacing: true });
    await signIn({ link: token });
  });
  useEffect(() => {
    if (token !== undefined) link.submit(new Event("submit"));
  }, []);
  return (
    <Gate title={w.title}>
      <form onSubmit={submit} noValidate>
        <TextField label={w.key} hint={w.keyHint} {...key} isSecret isMono hasFocus placeholder="ats_…" />
        <FormError error={error ?? link.error} />
        <Button type="submit" kind="primary" isDisabled={isBusy || key.value.trim() === ""}>
          {w.signIn}
        </Button>
      </form>
      <h2>{w.noKey}</h2>
      <p>{w.noKeyLogin}</p>
      <Code label={w.command} text="accesstoken console login" />
      <p>{w.noKeySetup}</p>
      <Code label={w.command} text="accesstoken console setup" />
      <p class="muted">{w.noKeyAsk}</p>
    </Gate>
  );
}

function Insecure() {
  const port = location.port || "3000";
  return (
    <Gate title={w.insecure}>
      <p>{w.insecureHint}</p>
      <ul>
        <li>{w.insecureProxy}</li>
        <li>{w.insecureTunnel(`http://127.0.0.1:${port}/console/`)}</li>
      </ul>
      <Code label={w.command} text={`ssh -L ${port}:127.0.0.1:${port} ${location.hostname}`} />
    </Gate>
  );
}

function Unreachable() {
  return (
    <Gate title={w.unreachable}>
      <p>{w.unreachableHint}</p>
      <Button kind="primary" icon="refresh" onClick={() => loadSession()}>
        {w.retry}
      </Button>
    </Gate>
  );
}

import "./theme.ts";
import { render } from "preact";
import { useEffect } from "preact/hooks";
import { Frame } from "./frame/frame.tsx";
import { startLive } from "./live.ts";
import { route } from "./router.ts";
import { loadSession, sessionState } from "./session.ts";
import { SetUp } from "./sign-in/set-up.tsx";
import { SignIn } from "./sign-in/sign-in.tsx";
import { Dialogs } from "./parts/dialogs.tsx";
import { Skeleton } from "./parts/states.tsx";
import { Toasts } from "./parts/toast.tsx";

function Console() {
  useEffect(() => {
    startLive();
    void loadSession();
  }, []);
  const state = sessionState.value;
  const { path } = route.value;
  if (state === "unknown") return <Skeleton rows={3} />;
  if (path.startsWith("/setup/") && state !== "insecure") return <SetUp />;
  return state === "in" && !path.startsWith("/sign-in/") ? <Frame /> : <SignIn />;
}

const root = document.getElementById("root");
if (root) {
  render(
    <>
      <Console />
      <Dialogs />
      <Toasts />
    </>,
    root,
  );
}

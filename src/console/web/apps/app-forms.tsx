import { useState } from "preact/hooks";
import { patch, post } from "../api.ts";
import { FormDialog } from "../parts/dialog.tsx";
import { CheckField, SelectField, TextField } from "../parts/field.tsx";
import { toast } from "../parts/toast.tsx";
import { navigate } from "../router.ts";
import type { AppStatus } from "./app-status.tsx";
import { w } from "./words.ts";

/** Takes a new app; goes to it when WeChat has said that its secret is right. */
export function AddApp({ onClose }: { readonly onClose: () => void }) {
  const [kind, setKind] = useState("weixin");
  const [id, setId] = useState("");
  const [agent, setAgent] = useState("");
  const [title, setTitle] = useState("");
  const [secret, setSecret] = useState("");
  const [mode, setMode] = useState("stable");
  const [isVerified, setIsVerified] = useState(true);
  const isWecom = kind === "wecom";
  const isWebsite = kind === "website";
  const add = async () => {
    const { app } = await post<AppStatus>("/v1/apps", {
      ...{ platform: isWecom ? "wecom" : "weixin", app_id: id.trim(), secret: secret.trim() },
      ...(isWecom ? { agent: agent.trim() } : { mode }),
      ...(title.trim() === "" ? {} : { title: title.trim() }),
      ...(isWebsite ? { login_only: true } : { verify: isVerified }),
    });
    toast(w.added(app));
    navigate(`/apps/${encodeURIComponent(app)}`);
  };
  return (
    <FormDialog
      title={w.add}
      action={w.add}
      onClose={onClose}
      onSubmit={add}
      isDisabled={id === "" || secret === ""}
    >
      <SelectField
        label={w.platform}
        value={kind}
        onInput={setKind}
        options={[
          ["weixin", w.ofWeixin],
          ["wecom", w.ofWecom],
          ["website", w.website],
        ]}
      />
      <TextField
        label={isWecom ? w.corpId : w.appId}
        hint={isWecom ? w.corpIdHint : w.appIdHint}
        value={id}
        onInput={setId}
        isMono
        hasFocus
      />
      {isWecom && <TextField label={w.agent} hint={w.agentHint} value={agent} onInput={setAgent} isMono />}
      <TextField label={w.secret} hint={w.secretHint} value={secret} onInput={setSecret} isMono isSecret />
      <TextField label={w.name} hint={w.nameHint} value={title} onInput={setTitle} isOptional />
      {kind === "weixin" && <ModeField value={mode} onInput={setMode} />}
      {!isWebsite && (
        <CheckField label={w.verify} hint={w.verifyHint} isChecked={isVerified} onInput={setIsVerified} />
      )}
    </FormDialog>
  );
}

/** Changes an app's title, mode or secret. */
export function EditApp({
  app,
  onClose,
  onSaved,
}: {
  /** As it was when this was opened. */
  readonly app: AppStatus;
  readonly onClose: () => void;
  readonly onSaved: () => void;
}) {
  const [title, setTitle] = useState(app.title ?? "");
  const [mode, setMode] = useState<string>(app.mode ?? "");
  const [secret, setSecret] = useState("");
  const save = async () => {
    const body = {
      title: title.trim() === "" ? null : title.trim(),
      ...(app.mode === undefined ? {} : { mode }),
      ...(secret === "" ? {} : { secret: secret.trim(), verify: !app.login_only && !app.role }),
    };
    await patch(`/v1/apps/${encodeURIComponent(app.app)}`, body, { version: app.version });
    onSaved();
  };
  return (
    <FormDialog title={app.title ?? app.app} action={w.save} onClose={onClose} onSubmit={save}>
      <TextField label={w.name} hint={w.nameHint} value={title} onInput={setTitle} isOptional hasFocus />
      {app.mode !== undefined && !app.login_only && <ModeField value={mode} onInput={setMode} />}
      {app.authorized_to === undefined && (
        <TextField
          label={w.secret}
          hint={w.newSecretHint}
          value={secret}
          onInput={setSecret}
          isMono
          isSecret
          isOptional
        />
      )}
    </FormDialog>
  );
}

function ModeField(props: { readonly value: string; readonly onInput: (value: string) => void }) {
  return (
    <SelectField
      {...props}
      label={w.mode}
      options={[
        ["stable", w.modeStable],
        ["classic", w.modeClassic],
      ]}
    />
  );
}

import type { RedirectOriginsData, VerifyFilesData } from "../../../api/v1-oauth-schema.ts";
import { put, remove } from "../api.ts";
import { Button } from "../parts/button.tsx";
import { Code } from "../parts/code.tsx";
import { Id } from "../parts/copy.tsx";
import { ask, FormDialog } from "../parts/dialog.tsx";
import { openDialog } from "../parts/dialogs.tsx";
import { TextAreaField, TextField, useInput } from "../parts/field.tsx";
import { Facts, Section } from "../parts/page.tsx";
import { Badge } from "../parts/state-badge.tsx";
import { Empty, Loaded } from "../parts/states.tsx";
import { type Column, Table } from "../parts/table.tsx";
import { useResource } from "../resource.ts";
import { may, me } from "../session.ts";
import { ifMatch } from "./reception.tsx";
import { w } from "./words.ts";

type Owner = RedirectOriginsData["environments"][number];
const FILES = "/v1/verify-files";

/** Where an app's web logins may return to, and the link with which each environment begins one. */
export function Logins({ app }: { readonly app: string }) {
  const path = `/v1/apps/${encodeURIComponent(app)}/redirect-origins`;
  const origins = useResource<RedirectOriginsData>(path, { topics: ["environment", "app"] });
  const edit = (owner?: Owner) =>
    openDialog((close) => (
      <OriginsDialog path={path} owner={owner} reload={origins.reload} onClose={close} />
    ));
  const add = (
    <Button icon="plus" onClick={() => edit()}>
      {w.addOrigins}
    </Button>
  );
  return (
    <>
      <Loaded resource={origins}>
        {({ return_url: returnUrl, environments }) => (
          <>
            <Section title={w.redirectOrigins} isBare actions={environments.length > 0 && add}>
              <Table
                caption={w.redirectOrigins}
                rows={environments}
                keyOf={({ environment }) => environment}
                columns={columns(edit)}
                empty={<Empty title={w.noOrigins} hint={w.noOriginsHint} action={add} />}
              />
            </Section>
            <Section title={w.loginLink}>
              <Facts
                items={[
                  [
                    w.loginDomain,
                    returnUrl === undefined ? (
                      <span class="bad-text">{w.noPublicUrl}</span>
                    ) : (
                      <Id text={new URL(returnUrl).host} />
                    ),
                  ],
                ]}
              />
              <p class="muted">{w.loginLinkHint}</p>
              {returnUrl !== undefined && (
                <Code
                  label={w.loginLink}
                  text={linkOf(app, new URL(returnUrl).origin, environments[0]?.redirect_origins[0])}
                />
              )}
            </Section>
          </>
        )}
      </Loaded>
      {(me.value?.is_admin || may("oauth:manage", "*")) && <VerifyFiles />}
    </>
  );
}

function columns(edit: (owner: Owner) => void): Column<Owner>[] {
  return [
    { key: "environment", title: w.environment, cell: ({ environment }) => <strong>{environment}</strong> },
    {
      key: "origins",
      title: w.redirectOrigins,
      isFlexible: true,
      cell: (row) => (
        <ul class="plain">
          {row.redirect_origins.map((origin) => (
            <li key={origin}>
              <code>{origin}</code>
            </li>
          ))}
        </ul>
      ),
    },
    {
      key: "codes",
      title: w.codes,
      cell: ({ codes }) => (
        <Badge tone={codes === "raw" ? "info" : "idle"}>{codes === "raw" ? w.rawCodes : w.relayCodes}</Badge>
      ),
    },
    {
      key: "actions",
      title: "",
      isEnd: true,
      cell: (row) => (
        <Button isSmall onClick={() => edit(row)}>
          {w.edit}
        </Button>
      ),
    },
  ];
}

/** The link with which a page begins a login, as an environment writes it. */
function linkOf(app: string, origin: string, redirect = "https://dev.example.com"): string {
  const [id = "", agent] = app.split("_");
  const back = encodeURIComponent(`${redirect.replace("*", "www").replace(/\/$/, "")}/login`);
  // Of an account it is the component that has it.
  const component = agent?.startsWith("wx") ? `&component_appid=${agent}` : "";
  return agent === undefined || component !== ""
    ? `${origin}/connect/oauth2/authorize?appid=${id}&redirect_uri=${back}&response_type=code&scope=snsapi_base&state=STATE${component}#wechat_redirect`
    : `${origin}/wwlogin/sso/login?login_type=CorpApp&appid=${id}&agentid=${agent}&redirect_uri=${back}&state=STATE`;
}

function OriginsDialog(props: {
  readonly path: string;
  readonly owner: Owner | undefined;
  readonly reload: () => void;
  readonly onClose: () => void;
}) {
  const { owner } = props;
  const environment = useInput(owner?.environment ?? "");
  const text = useInput(owner?.redirect_origins.join("\n") ?? "");
  const save = async () => {
    const list = text.value.split(/\s+/).filter(Boolean);
    const path = `${props.path}/${encodeURIComponent(environment.value)}`;
    await put(path, { redirect_origins: list }, ifMatch(owner?.version));
    props.reload();
  };
  return (
    <FormDialog
      title={w.redirectOrigins}
      action={w.save}
      isDisabled={environment.value === ""}
      onClose={props.onClose}
      onSubmit={save}
    >
      {!owner && (
        <TextField label={w.environment} {...environment} choices={["prod", "pre", "st", "dev"]} hasFocus />
      )}
      <TextAreaField
        label={w.redirectOrigins}
        hint={w.originsHint}
        {...text}
        placeholder={"https://dev.example.com\nhttps://h5.example.com/app"}
      />
    </FormDialog>
  );
}

function VerifyFiles() {
  const files = useResource<VerifyFilesData>(FILES);
  const askRemoval = (name: string) =>
    ask(() => ({
      title: w.removeOf(name),
      action: w.remove,
      hint: w.removeFileHint,
      onConfirm: async () => {
        await remove(`${FILES}/${encodeURIComponent(name)}`);
        files.reload();
      },
    }));
  return (
    <Section
      title={w.verifyFiles}
      actions={
        <Button
          icon="plus"
          onClick={() => openDialog((close) => <FileDialog reload={files.reload} onClose={close} />)}
        >
          {w.addFile}
        </Button>
      }
    >
      <p class="muted">{w.verifyFilesHint}</p>
      <Loaded resource={files} skeleton={<p class="muted">…</p>}>
        {({ verify_files: names }) => (
          <ul class="plain">
            {names.map((each) => (
              <li key={each} class="row">
                <code>{each}</code>
                <Button
                  isSmall
                  kind="quiet"
                  icon="trash"
                  label={w.removeOf(each)}
                  onClick={() => askRemoval(each)}
                />
              </li>
            ))}
          </ul>
        )}
      </Loaded>
    </Section>
  );
}

function FileDialog(props: { readonly reload: () => void; readonly onClose: () => void }) {
  const name = useInput("");
  const content = useInput("");
  const save = async () => {
    await put(`${FILES}/${encodeURIComponent(name.value)}`, { content: content.value.trim() });
    props.reload();
  };
  return (
    <FormDialog
      title={w.addFile}
      action={w.save}
      isDisabled={name.value === "" || content.value === ""}
      onClose={props.onClose}
      onSubmit={save}
    >
      <TextField label={w.fileName} {...name} isMono hasFocus placeholder="MP_verify_a1B2c3D4e5F6g7H8.txt" />
      <TextField label={w.fileContent} hint={w.fileContentHint} {...content} isMono />
    </FormDialog>
  );
}
